"""Tests of keras_xf.serving.classifier_bundles, live and published."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.contract.warm_up import read_warm_up
from keras_xf.text import ByteTokenizer
from tests.serving.cases import BOS
from tests.serving.cases import VOCABULARY_SIZE
from tests.serving.cases import assert_alike
from tests.serving.cases import log_softmax
from tests.serving.cases import run

CLASSES = ["ant", "bee", "crab"]
# Seven tokens and BOS.
MAX_LENGTH = 8
# Of one piece, of none, and of 2, 3 and 9.
LENGTHS = (7, 0, 8, 15, 57)


def make_model(**arguments):
    model = models.build_reformer_encoder(
        **{
            "vocabulary_size": VOCABULARY_SIZE,
            "num_classes": len(CLASSES),
            "max_length": MAX_LENGTH,
            "hidden_dim": 16,
            "num_heads": 2,
            "intermediate_dim": 32,
            "attention": ("lsh",),
            "chunk_length": 2,
            "num_hashes": 2,
            "seed": 1,
            **arguments,
        }
    )
    return models.fix_rotations(model)


def make_bundles(model, **arguments):
    return serving.classifier_bundles(
        model,
        ByteTokenizer(),
        **{"classes": CLASSES, "max_length": MAX_LENGTH, **arguments},
    )


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def bundles(model):
    return make_bundles(model)


@pytest.fixture(scope="module")
def export_dir(bundles, tmp_path_factory):
    """Published only if it keeps the contract, run as a server would."""
    export_dir = tmp_path_factory.mktemp("served")
    # The other bundle answers by the same function, and is used live.
    serving.publish({"text": bundles["text"]}, export_dir)
    return export_dir


@pytest.fixture(scope="module")
def signatures(bundles, export_dir):
    loaded = tf.saved_model.load(export_dir / "text" / "1")
    return {**bundles["tokens"].traced, **loaded.signatures}


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    # Letters.
    return [generator.integers(70, 95, n).tolist() for n in LENGTHS]


def request_of(rows, padding=0):
    width = max([1, *map(len, rows)])
    return {
        "token_ids": np.array(
            [row + [padding] * (width - len(row)) for row in rows], "int32"
        ).reshape(len(rows), width),
        "length": np.array([len(row) for row in rows], "int32"),
    }


def text_of(row):
    return bytes(token - 5 for token in row)


def oracle(model, row):
    """Log-probabilities of one row, from passes over its pieces alone."""
    num_pieces = max(1, -(-len(row) // (MAX_LENGTH - 1)))
    bounds = [len(row) * n // num_pieces for n in range(num_pieces + 1)]
    log_probs = []
    for start, stop in itertools.pairwise(bounds):
        piece = [BOS, *row[start:stop]]
        outputs = model(
            {
                "token_ids": np.array([piece], "int32"),
                "length": np.array([len(piece)], "int32"),
            }
        )
        log_probs.append(log_softmax(outputs["logits"])[0])
    return log_softmax(np.mean(log_probs, axis=0))


def classify(bundles, request):
    """Runs the function behind the signature, without a trace."""
    signature = bundles["tokens"].signatures["classify"]
    return run(signature.python_function, request)


def test_rows_get_the_mean_of_their_pieces(signatures, model, rows):
    # Padding may be any id, as a server makes it of rows that it joins.
    results = run(signatures["classify"], request_of(rows, padding=90))
    assert results["log_probs"].dtype == np.float32
    assert results["class_id"].dtype == np.int32
    expected = [oracle(model, row) for row in rows]
    np.testing.assert_allclose(results["log_probs"], expected, atol=1e-5)
    assert results["class_id"].tolist() == np.argmax(expected, axis=1).tolist()
    # Else these rows could not tell one from another.
    assert np.abs(np.diff(expected, axis=0)).min() > 1e-3


def test_texts_get_the_names_of_all_classes_in_order(signatures, model, rows):
    texts = [text_of(row) for row in rows]
    results = run(
        signatures["classify_text"], {"text": np.array(texts, object)}
    )
    for row, tokens in enumerate(rows):
        expected = oracle(model, tokens)
        order = np.argsort(-expected)
        assert results["label"][row].astype(str).tolist() == [
            CLASSES[place] for place in order
        ]
        np.testing.assert_allclose(
            results["score"][row], expected[order], atol=1e-5
        )


def test_a_row_does_not_depend_on_those_beside_it(signatures, rows):
    classify = signatures["classify"]
    together = run(classify, request_of(rows))
    for place, row in enumerate(rows):
        alone = run(classify, request_of([row]))
        assert_alike(
            alone, {name: value[[place]] for name, value in together.items()}
        )


def test_more_pieces_than_the_model_sees_at_once(signatures, rows):
    classify = signatures["classify"]
    # 9 pieces each, 81 in all, in groups of 27; and one more, in groups with
    # rows that fill up.
    many = [rows[-1][n:] + rows[-1][:n] for n in range(9)]
    alone = [run(classify, request_of([row])) for row in (*many, rows[0])]
    for count in (9, 10):
        together = run(classify, request_of([*many, rows[0]][:count]))
        for name, value in together.items():
            np.testing.assert_allclose(
                value,
                np.concatenate([one[name] for one in alone[:count]]),
                atol=1e-5,
            )


def test_no_rows_give_no_results(signatures):
    request = {
        "token_ids": np.zeros((0, 3), "int32"),
        "length": np.zeros((0,), "int32"),
    }
    results = run(signatures["classify"], request)
    assert results["log_probs"].shape == (0, 3)
    assert results["class_id"].shape == (0,)
    texts = run(signatures["classify_text"], {"text": np.array([], object)})
    assert texts["label"].shape == texts["score"].shape == (0, 3)


def test_what_is_served_tells_what_it_is(bundles, export_dir):
    folder = export_dir / "text" / "1"
    assert (folder / "assets" / "classes.txt").read_text() == "ant\nbee\ncrab\n"
    assert (folder / "assets" / "text" / "tokenizer.json").is_file()
    page = (export_dir / "README.md").read_text()
    for sentence in (
        "Says to which class each text belongs, a long one by its pieces.",
        "names of all classes, the most probable first",
        "num_classes 3",
    ):
        assert sentence in page
    assert {
        name: set(bundle.signatures) for name, bundle in bundles.items()
    } == {
        "tokens": {"classify", "serving_default"},
        "text": {"classify_text", "serving_default"},
    }
    assert bundles["tokens"].names == {"classes.txt": CLASSES}
    assert bundles["tokens"].core_ops_only
    # One of several pieces is among the requests that warm a server up.
    lengths = [
        len(request.inputs["text"][-1]) for request in read_warm_up(folder)
    ]
    assert max(lengths) > MAX_LENGTH


def test_nothing_served_draws_random_numbers(bundles):
    for bundle in bundles.values():
        for function in bundle.traced.values():
            definition = function.graph.as_graph_def()
            nodes = list(definition.node)
            for inner in definition.library.function:
                nodes += inner.node_def
            assert len(nodes) > 50
            assert not [node.op for node in nodes if "Random" in node.op]


def test_one_model_that_is_not_a_reformer_is_served_too():
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    length = keras.Input((), dtype="int32", name="length")
    lengths = keras.ops.stack([keras.ops.cast(length, "float32")] * 3, axis=-1)
    model = keras.Model(
        {"token_ids": token_ids, "length": length}, {"logits": lengths}
    )
    results = classify(make_bundles(model), request_of([[70, 71]]))
    np.testing.assert_allclose(results["log_probs"], -np.log([[3, 3, 3]]))


def test_mixed_precision_answers_in_float32(model, rows):
    bundles = make_bundles(make_model(dtype="mixed_bfloat16"))
    mixed = classify(bundles, request_of(rows[:3]))["log_probs"]
    assert mixed.dtype == np.float32
    expected = [oracle(model, row) for row in rows[:3]]
    np.testing.assert_allclose(mixed, expected, atol=0.1)
    assert np.abs(mixed - expected).max() > 1e-4


def test_a_limit_of_the_text_is_kept(model):
    bundles = make_bundles(model, max_text_length=5)
    for bundle in bundles.values():
        assert bundle.limits == {
            "max_text_length": 5,
            "vocabulary_size": 261,
            "num_classes": 3,
        }
        # None of the requests is too long for it.
        for requests in bundle.requests.values():
            for request in requests:
                assert all(len(text) <= 5 for text in request.get("text", []))
                assert np.all(request.get("length", 0) <= 5)
    classify(bundles, request_of([[70] * 5, [71]]))
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        classify(bundles, request_of([[70] * 6]))
    assert (
        "`token_ids` must have a length of at most 5 tokens. Received:"
        in error.value.message
    )
    classify_text = bundles["text"].signatures["classify_text"]
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(
            classify_text.python_function,
            {"text": np.array([b"12345", b"1234567"])},
        )
    assert (
        "`text` must have a length of at most 5 tokens. Received:"
        in error.value.message
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"token_ids": [[70], [71]], "length": [1]},
            "[`length` must have as many rows as `token_ids`. Received:] [1] "
            "[2]",
        ),
        (
            {"token_ids": [[70, 71]], "length": [3]},
            "[`length` must lie between 0 and the width of `token_ids`. "
            "Received:] [3] [width:] [2]",
        ),
        (
            {"token_ids": [[70, 261]], "length": [2]},
            "[`token_ids` must lie in [0, 261). Received:] [261]",
        ),
    ],
)
def test_bad_requests_are_told_what_is_wrong(signatures, request_, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(signatures["classify"], request_)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"classes": ["ant", "bee", "ant"]},
            "`classes` must be different. "
            "Received: classes=['ant', 'bee', 'ant'].",
        ),
        (
            {"classes": ["ant", "bee"]},
            "`classes` must have a name for each class of the model. "
            "Received: classes=2, model=3.",
        ),
        (
            {"max_length": 1},
            "`max_length` must be at least 2. Received: max_length=1.",
        ),
        (
            {"max_text_length": 0},
            "`max_text_length` must be None or positive. "
            "Received: max_text_length=0.",
        ),
    ],
)
def test_rejects(model, arguments, message):
    with pytest.raises(ValueError) as error:
        make_bundles(model, **arguments)
    assert str(error.value) == message
