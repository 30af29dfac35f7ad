"""Tests of keras_xf.decoding.beam_search."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import beam_search
from keras_xf.decoding import generate
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import MASK
from keras_xf.text.special_ids import PAD
from keras_xf.text.special_ids import UNK
from tests.decoding import oracles
from tests.decoding.fake_steps import HistoryStep
from tests.decoding.fake_steps import PairStep
from tests.decoding.test_generate import PROMPTS
from tests.decoding.test_generate import pad

SUPPRESSED = (PAD, UNK, BOS, MASK)


def penalty(num_tokens, power):
    return ((5 + num_tokens) / 6) ** power


def search_all(logits_after, prompt, vocabulary_size, max_length, power):
    """All hypotheses with their scores, those that end first, then by score."""
    letters = [
        token
        for token in range(vocabulary_size)
        if token not in (*SUPPRESSED, EOS)
    ]
    ended, unfinished = [], []
    for length in range(max_length + 1):
        for tokens in itertools.product(letters, repeat=length):
            if length < max_length:
                score = oracles.score_of(logits_after, prompt, [*tokens, EOS])
                found = score / penalty(length + 1, power)
                ended.append((found, list(tokens)))
            else:
                score = oracles.score_of(logits_after, prompt, tokens)
                found = score / penalty(length, power)
                unfinished.append((found, list(tokens)))
    return sorted(ended, reverse=True) + sorted(unfinished, reverse=True)


def search_beams(
    logits_after, prompt, vocabulary_size, max_length, power, num_beams
):
    """Beam search with lists, one row, to the very end."""
    letters = [i for i in range(vocabulary_size) if i not in SUPPRESSED]
    beams, ended = [(0.0, [])], []
    for length in range(1, max_length + 1):
        candidates = []
        for log_prob, tokens in beams:
            log_probs = oracles.log_softmax(logits_after([*prompt, *tokens]))
            candidates += [
                (log_prob + log_probs[token], [*tokens, token])
                for token in letters
            ]
        candidates.sort(key=lambda each: -each[0])
        candidates = candidates[: 2 * num_beams]
        ended += [
            (log_prob / penalty(length, power), tokens[:-1])
            for log_prob, tokens in candidates
            if tokens[-1] == EOS
        ]
        ended = sorted(ended, key=lambda each: -each[0])[:num_beams]
        beams = [each for each in candidates if each[1][-1] != EOS][:num_beams]
    return ended + [
        (log_prob / penalty(max_length, power), tokens)
        for log_prob, tokens in beams
    ]


def run(step, token_ids, length, mode="eager", **options):
    def function(token_ids, length):
        state = step.initial_state(tf.shape(token_ids)[0])
        return beam_search(step, state, token_ids, length, **options)

    if mode != "eager":
        function = tf.function(
            function,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ],
            jit_compile=mode == "xla",
            autograph=False,
        )
    results = function(tf.constant(token_ids), tf.constant(length))
    return {name: tensor.numpy() for name, tensor in results.items()}


def expect(rows, count, max_length):
    """The results that stand for lists of scores and tokens, a list a row."""
    rows = [row[:count] for row in rows]
    padded = [
        [tokens + [PAD] * (max_length - len(tokens)) for _, tokens in row]
        for row in rows
    ]
    return {
        "token_ids": np.array(padded, "int32"),
        "length": np.array([[len(t) for _, t in row] for row in rows]),
        "score": np.array([[score for score, _ in row] for row in rows]),
    }


def assert_same(results, expected):
    np.testing.assert_array_equal(results["token_ids"], expected["token_ids"])
    np.testing.assert_array_equal(results["length"], expected["length"])
    np.testing.assert_allclose(results["score"], expected["score"], rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_equals_exhaustive_search(power, mode):
    step = HistoryStep(vocabulary_size=8, seed=3)
    max_length, count = 3, 12
    results = run(
        step,
        *pad(PROMPTS),
        mode=mode,
        max_new_tokens=max_length,
        num_beams=30,
        num_hypotheses=count,
        length_penalty=power,
    )
    rows = [
        search_all(step.logits_after, prompt, 8, max_length, power)
        for prompt in PROMPTS
    ]
    assert_same(results, expect(rows, count, max_length))


@pytest.mark.parametrize("num_beams", [1, 2, 5])
@pytest.mark.parametrize("power", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("step", [PairStep(seed=2), HistoryStep(seed=5)])
def test_equals_a_search_with_lists(step, power, num_beams):
    rows = [
        search_beams(step.logits_after, prompt, 9, 8, power, num_beams)
        for prompt in PROMPTS
    ]
    results = run(
        step,
        *pad(PROMPTS),
        mode="graph",
        max_new_tokens=8,
        num_beams=num_beams,
        num_hypotheses=num_beams,
        length_penalty=power,
    )
    assert_same(results, expect(rows, num_beams, 8))
    assert len({len(tokens) for row in rows for _, tokens in row}) > 1


def test_rows_do_not_matter_to_each_other():
    step = HistoryStep(seed=1)
    options = {"max_new_tokens": 10, "num_beams": 3, "num_hypotheses": 3}
    together = run(step, *pad(PROMPTS, extra=2), **options)
    for row, prompt in enumerate(PROMPTS):
        alone = run(step, *pad([prompt]), **options)
        assert_same(
            {name: array[row : row + 1] for name, array in together.items()},
            alone,
        )


def test_hypotheses_of_a_row_differ_and_none_is_filler():
    results = run(
        HistoryStep(seed=4),
        *pad(PROMPTS),
        max_new_tokens=2,
        num_beams=5,
        num_hypotheses=5,
    )
    assert np.isfinite(results["score"]).all()
    for row in results["token_ids"]:
        assert len({tuple(tokens) for tokens in row}) == 5


def test_what_the_vocabulary_does_not_allow_for_is_said():
    # Of 7, twice, and of EOS there are three hypotheses.
    results = run(
        HistoryStep(vocabulary_size=9, seed=4),
        *pad(PROMPTS),
        max_new_tokens=2,
        num_beams=5,
        num_hypotheses=5,
        suppressed_ids=(*SUPPRESSED, 5, 6, 8),
    )
    np.testing.assert_array_equal(
        np.isfinite(results["score"]), [[True] * 3 + [False] * 2] * 3
    )
    assert (results["length"][:, 3:] == 0).all()
    assert (results["token_ids"][:, 3:] == PAD).all()


def test_ends_as_soon_as_nothing_can_become_better():
    # The first token is EOS all but surely.
    table = np.zeros((9, 9, 9))
    table[..., EOS] = 30.0
    step = PairStep(table)
    for num_beams in (1, 4):
        step.num_calls.assign(0)
        results = run(
            step, *pad(PROMPTS), max_new_tokens=50, num_beams=num_beams
        )
        assert (results["length"] == 0).all()
        assert step.num_calls.numpy() == 1


def test_one_beam_without_a_penalty_is_greedy_until_an_end():
    step = HistoryStep(seed=7)
    token_ids, length = pad(PROMPTS)
    greedy = generate(
        step,
        step.initial_state(3),
        token_ids,
        length,
        max_new_tokens=6,
        suppressed_ids=(*SUPPRESSED, EOS),
    )
    beams = run(
        step,
        token_ids,
        length,
        max_new_tokens=6,
        num_beams=1,
        length_penalty=0.0,
        suppressed_ids=(*SUPPRESSED, EOS),
    )
    assert_same(beams, {name: each.numpy() for name, each in greedy.items()})


class SourceStep(HistoryStep):
    """Adds to the logits what it knows of a source."""

    def initial_state(self, batch_size):
        state = super().initial_state(batch_size)
        source = tf.range(tf.cast(batch_size, tf.float32))[:, None]
        return {**state, "source": {"bias": source * tf.range(9.0) / 9}}

    def __call__(self, token_ids, state, length=None):
        source = state["source"]
        rest = {name: state[name] for name in ("code", "clock")}
        logits, rest = super().__call__(token_ids, rest, length)
        return logits + source["bias"][:, None], {**rest, "source": source}


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_a_source_stays_with_its_row(mode):
    options = {"max_new_tokens": 6, "num_beams": 3, "num_hypotheses": 2}
    arguments = (SourceStep(seed=2), *pad(PROMPTS))
    kept = run(*arguments, mode=mode, **options)
    moved = run(*arguments, mode=mode, constants=(), **options)
    assert_same(kept, moved)
    other = run(HistoryStep(seed=2), *pad(PROMPTS), **options)
    assert (other["token_ids"][1:] != kept["token_ids"][1:]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_beams": 0},
            "`num_beams` must be positive. Received: num_beams=0.",
        ),
        (
            {"num_beams": 2, "num_hypotheses": 3},
            "`num_hypotheses` must not be more than `num_beams`. "
            "Received: num_hypotheses=3, num_beams=2.",
        ),
        (
            {"length_penalty": -0.5},
            "`length_penalty` must not be negative. "
            "Received: length_penalty=-0.5.",
        ),
        (
            {"max_new_tokens": 0},
            "`max_new_tokens` must be positive. Received: max_new_tokens=0.",
        ),
        (
            {"suppressed_ids": (99,)},
            "`suppressed_ids` must be ids of the vocabulary. "
            "Received: suppressed_ids=(99,), vocabulary_size=9.",
        ),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError) as error:
        run(HistoryStep(), *pad(PROMPTS), **{"max_new_tokens": 3, **options})
    assert str(error.value) == message
