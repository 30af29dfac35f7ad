"""Tests of export.saved_model on a Transformer-XL, and of its client."""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from export.clients import conversation
from export.clients import talk
from export.clients.conversation import Conversation
from export.clients.local_model import LocalModel
from export.clients.rest_model import RestModel
from export.clients.text import ByteText
from export.clients.text import load_text
from keras_xf import models
from keras_xf.local_server.local_server import LocalServer
from keras_xf.text import ByteTokenizer
from keras_xf.text import WordTokenizer

PAD, UNK, BOS, EOS, MASK = range(5)
MEMORY = 8
DESCRIPTION = {
    "builder": "build_transformer_xl",
    "arguments": {
        "vocabulary_size": 261,
        "num_layers": 2,
        "hidden_dim": 64,
        "num_heads": 2,
        "intermediate_dim": 32,
        "memory_length": 4,
        "initializer_stddev": 0.3,
        "seed": 1,
    },
    "evaluation": {
        "segment_length": 4,
        "memory_length": MEMORY,
        "attention_window": MEMORY,
        "clamp_length": 6,
    },
}
TEXT = "Once upon a time there was a text that had been cut."
OTHER = "It is another one, of which the first must know nothing."


@pytest.fixture(scope="module")
def model():
    return models.build(DESCRIPTION)


@pytest.fixture(scope="module")
def run_dir(model, tmp_path_factory):
    """What a training leaves, as far as export reads it."""
    run_dir = tmp_path_factory.mktemp("transformer_xl")
    (run_dir / "model.json").write_text(json.dumps(DESCRIPTION))
    model.save(run_dir / "model.keras")
    ByteTokenizer().save(run_dir / "text")
    return run_dir


@pytest.fixture(scope="module")
def export_dir(run_dir, tmp_path_factory):
    """The tokens bundle with what is asked here alone: it is sooner there."""
    export_dir = tmp_path_factory.mktemp("served")
    publish = saved_model.serving.publish

    def publish_some(bundles, export_dir, **arguments):
        bundle = bundles["tokens"]
        signatures, requests = (
            {name: some[name] for name in ("lm_step", "serving_default")}
            for some in (bundle.signatures, bundle.requests)
        )
        bundle = dataclasses.replace(
            bundle,
            signatures=signatures,
            requests=requests,
            bad_requests={},
            random_signatures=(),
        )
        folders = publish({"tokens": bundle}, export_dir, **arguments)
        return {**folders, "text": None}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model.serving, "publish", publish_some)
        saved_model.export(
            saved_model.Options(
                run_dir=str(run_dir),
                export_dir=str(export_dir),
                max_new_tokens=4,
                verify=False,
            )
        )
    return export_dir


@pytest.fixture(scope="module")
def url(export_dir):
    # It joins requests as batching_parameters.txt says, and pads them.
    with LocalServer(
        export_dir, rest_port=0, grpc_port=None, emulate_batching=True
    ) as server:
        yield f"{server.rest_url}/v1/models/tokens"


@pytest.fixture(scope="module")
def local(export_dir):
    return LocalModel(export_dir / "tokens")


@pytest.fixture(params=["rest", "local"])
def served(request, url, local):
    return RestModel(url) if request.param == "rest" else local


@pytest.fixture(scope="module")
def oracle(model):
    """One pass over all tokens, with the window of the run's evaluation."""
    variant = tf.function(
        models.transformer_xl_variant(
            model, attention_window=MEMORY, clamp_length=6
        ),
        reduce_retracing=True,
    )
    nothing = models.initial_memory(model, 1)

    def log_probs(token_ids):
        inputs = {
            "token_ids": tf.constant([token_ids], tf.int32),
            "length": tf.constant([len(token_ids)], tf.int32),
        }
        return variant({**inputs, **nothing})["log_probs"][0].numpy()

    return log_probs


def ids_of(text):
    return [byte + 5 for byte in text.encode()]


def score_oracle(oracle, text):
    token_ids = ids_of(text)
    log_probs = oracle([BOS, *token_ids[:-1]])
    return log_probs[np.arange(len(token_ids)), token_ids].sum()


def greedy_oracle(oracle, token_ids, count):
    token_ids = [BOS, *token_ids]
    start = len(token_ids)
    for _ in range(count):
        log_probs = oracle(token_ids)[-1]
        log_probs[[PAD, UNK, BOS, MASK]] = -np.inf
        chosen = int(log_probs.argmax())
        if chosen == EOS:
            break
        token_ids.append(chosen)
    return token_ids[start:]


def test_a_text_cut_anyhow_is_one_text(served, oracle):
    expected = score_oracle(oracle, TEXT)
    whole = Conversation(served, ByteText())
    assert whole.read(TEXT) == pytest.approx(expected, rel=1e-5)
    for seed in range(2):
        pick = random.Random(seed)
        places = sorted(pick.choices(range(len(TEXT) + 1), k=4))
        cut = Conversation(served, ByteText())
        score = sum(
            cut.read(TEXT[start:end])
            for start, end in zip(
                [0, *places], [*places, len(TEXT)], strict=True
            )
        )
        assert score == pytest.approx(expected, rel=1e-5)
        assert cut.memory_length == whole.memory_length == MEMORY
        np.testing.assert_allclose(cut.memory, whole.memory, atol=1e-5)


def test_long_texts_take_several_requests(local, oracle, monkeypatch):
    monkeypatch.setattr(conversation, "_MAX_TOKENS", 7)
    widths = []
    step = local.lm_step

    def lm_step(**inputs):
        widths.append(inputs["token_ids"].shape[1])
        return step(**inputs)

    monkeypatch.setattr(local, "lm_step", lm_step)
    score = Conversation(local, ByteText()).read(TEXT)
    assert score == pytest.approx(score_oracle(oracle, TEXT), rel=1e-5)
    # BOS goes with the first, once.
    assert widths == [8, 7, 7, 7, 7, 7, 7, 3]


def test_what_is_written_is_the_most_probable(served, oracle):
    talk_ = Conversation(served, ByteText())
    talk_.read(TEXT)
    text = talk_.write(3) + talk_.write(2)
    written = greedy_oracle(oracle, ids_of(TEXT), 5)
    assert text == ByteText().decode(written)
    # It has been read, too.
    more = greedy_oracle(oracle, [*ids_of(TEXT), *written, *ids_of("!")], 2)
    talk_.read("!")
    assert talk_.write(2) == ByteText().decode(more)


def test_nothing_need_be_read_before(local, oracle):
    written = greedy_oracle(oracle, [], 3)
    talk_ = Conversation(local, ByteText())
    assert talk_.read("") == 0.0
    assert talk_.write(3) == ByteText().decode(written)


def test_an_end_is_the_end(monkeypatch):
    class Ending:
        """Writes one letter, and then would end."""

        memory_shape = (1, 2, 3)
        vocabulary_size = 261

        def lm_step(self, token_ids, length, memory, memory_length):
            chosen = EOS if token_ids[0, -1] == 70 else 70
            log_probs = np.full([1, token_ids.shape[1], 261], -9.0)
            log_probs[..., chosen] = -1.0
            # It never writes what is no text, however probable.
            log_probs[..., [PAD, UNK, BOS, MASK]] = 0.0
            return {
                "log_probs": log_probs,
                "memory": memory,
                "memory_length": memory_length,
            }

    talk_ = Conversation(Ending(), ByteText())
    assert talk_.write(9) == "A"
    assert talk_.write(9) == ""


def test_draws_follow_seed_and_temperature(local):
    talk_ = Conversation(local, ByteText())
    talk_.read(TEXT)
    texts = [
        talk_.fork().write(8, temperature=temperature, seed=seed)
        for temperature, seed in [(1.5, 1), (1.5, 1), (1.5, 2), (0.01, 2)]
    ]
    assert texts[0] == texts[1] != texts[2]
    # So cold, it is as good as greedy.
    assert texts[3] == talk_.write(8)


def test_two_threads_and_forks_hold_conversations_apart(served):
    def hold(text):
        talk_ = Conversation(served, ByteText())
        said = []
        for start in range(0, len(text), 12):
            score = talk_.read(text[start : start + 12])
            said.append((score, talk_.write(2)))
        return said

    alone = [hold(text) for text in (TEXT, OTHER)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        together = list(pool.map(hold, (TEXT, OTHER)))
    for said, expected in zip(together, alone, strict=True):
        (scores, texts), (own_scores, own_texts) = (
            zip(*some, strict=True) for some in (said, expected)
        )
        # The server joins requests: sums are rounded otherwise.
        assert scores == pytest.approx(own_scores, rel=1e-5)
        assert texts == own_texts
    talk_ = Conversation(served, ByteText())
    talk_.read(TEXT[:12])
    fork = talk_.fork()
    fork.read(OTHER)
    # As if the other had never been.
    assert talk_.write(2) == alone[0][0][1]


def test_the_program_talks(url, export_dir, capsys, monkeypatch):
    prompts = ["Once ", "upon a time"]
    flags = [f"--prompt={prompt}" for prompt in prompts]
    flags += ["--max_new_tokens=3"]
    outputs = []
    for where in (url, str(export_dir / "tokens")):
        talk.main([f"--model={where}", *flags])
        outputs.append(capsys.readouterr().out)
    # Lines of its input are prompts, too.
    monkeypatch.setattr(sys, "stdin", io.StringIO("Once \nupon a time"))
    talk_ = talk.open_conversation(url)
    expected = list(talk.talk(talk_, prompts, max_new_tokens=3))
    assert len(expected) == 2
    assert outputs == [talk._visible("\n".join([*expected, ""]))] * 2
    talk.main([f"--model={url}", "--max_new_tokens=3"])
    answers = capsys.readouterr().out
    talk_ = talk.open_conversation(url)
    expected = talk.talk(talk_, ["Once \n", "upon a time"], max_new_tokens=3)
    assert answers == talk._visible("\n".join([*expected, ""]))


def test_a_client_of_a_server_needs_numpy_alone(url):
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras_xf'] = None\n"
        "from export.clients import talk\n"
        f"talk.main(['--model={url}', '--prompt=a', '--max_new_tokens=1'])\n"
        "assert 'keras' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "{url}/versions/7",
            "Error: The server answers 404: Servable not found for request: "
            "Specific(tokens, 7)",
        ),
        ("http://127.0.0.1:9/v1/models/tokens", "Error: <urlopen error "),
        ("{folder}", "Error: SavedModel file does not exist at: "),
    ],
)
def test_the_program_tells_what_is_wrong(url, tmp_path, where, message):
    where = where.format(url=url, folder=tmp_path)
    with pytest.raises(SystemExit) as exit_:
        talk.main([f"--model={where}", "--prompt=a"])
    assert str(exit_.value.code).startswith(message)


def test_conversations_reject(local):
    class Letters(ByteText):
        vocabulary_size = 7

    with pytest.raises(ValueError) as error:
        Conversation(local, Letters())
    assert str(error.value) == (
        "`text` must have the vocabulary of the model. "
        "Received: text=7, model=261."
    )
    talk_ = Conversation(local, ByteText())
    with pytest.raises(ValueError) as error:
        talk_.write(0)
    assert str(error.value) == (
        "`max_new_tokens` must be positive. Received: max_new_tokens=0."
    )
    with pytest.raises(ValueError) as error:
        talk_.write(1, temperature=-1.0)
    assert str(error.value) == (
        "`temperature` must be finite and not negative. "
        "Received: temperature=-1.0."
    )
    # Nothing has been sent.
    assert talk_.memory_length == 0


def test_texts_are_those_of_the_library(tmp_path):
    words = WordTokenizer(["a", "\n", "b"])
    for name, tokenizer, kind in [
        ("bytes", ByteTokenizer(), "ByteText"),
        ("words", words, "LibraryText"),
    ]:
        tokenizer.save(tmp_path / name)
        text = load_text(tmp_path / name)
        assert type(text).__name__ == kind
        assert text.vocabulary_size == tokenizer.vocabulary_size
        ids = text.encode("b a\né")
        assert ids == tokenizer.encode_bytes("b a\né".encode()).tolist()
        read = tokenizer.decode([ids], [len(ids)]).numpy()[0].decode()
        assert text.decode(ids) == read
        assert text.decode([]) == text.decode([BOS, PAD]) == ""
    assert ByteText().decode(ids_of("é")[:1]) == "\ufffd"


def test_the_page_shows_how_to_call_it(export_dir, url, local, capsys):
    page = (export_dir / "README.md").read_text(encoding="utf-8")
    section = page.split("### `lm_step`")[1].split("\n### ")[0]
    (program,) = re.findall("```python\n(.*?)```", section, re.DOTALL)
    assert '"memory": [[[[0.0] * 64] * 8] * 2]' in program
    assert "http://localhost:8501/v1/models/tokens:predict" in program
    program = program.replace("http://localhost:8501/v1/models/tokens", url)
    program = program.replace("[:1000]", "")
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    printed = json.loads(capsys.readouterr().out)
    step = local.lm_step(
        token_ids=np.array([[BOS, *ids_of("Once")]], "int32"),
        length=np.array([5], "int32"),
        memory=np.zeros([1, 2, MEMORY, 64], "float32"),
        memory_length=np.array([0], "int32"),
    )
    assert printed.keys() == step.keys()
    for name, values in step.items():
        np.testing.assert_allclose(printed[name], values, atol=1e-5)


def memory_options_of(run_dir, monkeypatch, tmp_path, **options):
    """What the bundles of an export are told to remember."""
    told = {}

    def transformer_xl_bundles(model, tokenizer, **arguments):
        told.update(arguments)
        return {}

    monkeypatch.setattr(
        saved_model.serving, "transformer_xl_bundles", transformer_xl_bundles
    )
    monkeypatch.setattr(
        saved_model.serving,
        "publish",
        lambda *_, **__: {"tokens": None, "text": None},
    )
    saved_model.export(
        saved_model.Options(
            run_dir=str(run_dir), export_dir=str(tmp_path), **options
        )
    )
    for name in ("max_new_tokens", "top_k", "max_prompt_length"):
        assert told.pop(name) == options.get(
            name, 128 if name == "max_new_tokens" else None
        )
    return told


def test_the_memory_is_that_of_the_runs_evaluation(
    run_dir, monkeypatch, tmp_path
):
    def told(**options):
        return memory_options_of(run_dir, monkeypatch, tmp_path, **options)

    assert told(top_k=9) == {
        "memory_length": MEMORY,
        "attention_window": MEMORY,
        "clamp_length": 6,
    }
    assert told(memory_length=20) == {"memory_length": 20, "clamp_length": 6}
    assert told(attention_window=3, clamp_length=2) == {
        "attention_window": 3,
        "clamp_length": 2,
    }


@pytest.mark.parametrize(
    "flag", ["memory_length", "attention_window", "clamp_length"]
)
@pytest.mark.parametrize(
    "builder", ["build_language_model", "build_reformer_encoder"]
)
def test_options_of_a_memory_are_refused_for_others(
    run_dir, tmp_path, flag, builder
):
    other = tmp_path / "run"
    other.mkdir()
    for path in run_dir.iterdir():
        with contextlib.suppress(FileExistsError):
            (other / path.name).symlink_to(path)
    (other / "model.json").unlink()
    (other / "model.json").write_text(
        json.dumps({**DESCRIPTION, "builder": builder})
    )
    with pytest.raises(ValueError) as error:
        saved_model.export(
            saved_model.Options(
                run_dir=str(other),
                export_dir=str(tmp_path / "served"),
                **{flag: 5},
            )
        )
    assert str(error.value) == (
        f"`{flag}` must be left out for a model of this kind. "
        f"Received: builder={builder!r}, {flag}=5."
    )
