"""Tests of saving and loading tokenizers."""

import json

import pytest

from keras_xf.text import ByteTokenizer
from keras_xf.text import Tokenizer
from keras_xf.text import load_tokenizer
from keras_xf.text import register_tokenizer
from keras_xf.text import special_ids


def test_special_ids_are_the_first_and_all_different():
    names = [name for name in vars(special_ids) if name.isupper()]
    values = {name: getattr(special_ids, name) for name in names}
    assert values.pop("NUM_SPECIAL_IDS") == len(values)
    assert sorted(values.values()) == list(range(len(values)))
    # Stored models and batches depend on each of them.
    assert values == {"PAD": 0, "UNK": 1, "BOS": 2, "EOS": 3, "MASK": 4}


def test_interface_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Tokenizer()


def test_saved_tokenizer_loads(tmp_path):
    directory = tmp_path / "run" / "text"
    ByteTokenizer().save(directory)
    ByteTokenizer().save(str(directory))
    assert [path.name for path in directory.iterdir()] == ["tokenizer.json"]
    assert json.loads((directory / "tokenizer.json").read_text()) == {
        "class": "ByteTokenizer",
        "config": {},
    }
    assert type(load_tokenizer(directory)) is ByteTokenizer
    assert type(load_tokenizer(str(directory))) is ByteTokenizer


def test_failed_save_leaves_the_old_file(tmp_path):
    class Unwritable(ByteTokenizer):
        def get_config(self):
            return {"value": object()}

    ByteTokenizer().save(tmp_path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        Unwritable().save(tmp_path)
    assert type(load_tokenizer(tmp_path)) is ByteTokenizer


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        load_tokenizer(tmp_path / "nowhere")
    assert str(error.value) == (
        "`directory` must hold a file tokenizer.json. "
        f"Received: directory='{tmp_path}/nowhere'."
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"class": "ByteTokenizer"}',
        '{"class": "ByteTokenizer", "config": 3}',
        "\udcff",
    ],
)
def test_malformed_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        '`tokenizer.json` must be {"class": …, "config": {…}}. '
        f"Received: path='{path}'."
    )


def test_unknown_class_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"class": "SyllableTokenizer", "config": {}}')
    with pytest.raises(ValueError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        "`tokenizer.json` must name a known class: ByteTokenizer, "
        "SentencePieceTokenizer, WordPieceTokenizer, WordTokenizer. "
        f"Received: name='SyllableTokenizer', path='{path}'."
    )


def test_unknown_argument_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"class": "ByteTokenizer", "config": {"size": 3}}')
    with pytest.raises(ValueError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        "`tokenizer.json` must hold the arguments of ByteTokenizer. "
        f"Received: config={{'size': 3}}, path='{path}'."
    )


def test_class_name_cannot_be_taken_twice():
    with pytest.raises(ValueError) as error:
        register_tokenizer(ByteTokenizer)
    assert str(error.value) == (
        "`tokenizer_type` must have a class name that is not taken. "
        "Received: tokenizer_type='ByteTokenizer'."
    )
