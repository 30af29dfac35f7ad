"""Tests of keras_xf.decoding.generate.

Prompts are padded with 8, a token like others: padding that is looked at shows.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import generate
from keras_xf.decoding import prepend_bos
from keras_xf.decoding import sample
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import MASK
from keras_xf.text.special_ids import PAD
from keras_xf.text.special_ids import UNK
from tests.decoding import oracles
from tests.decoding.fake_steps import VOCABULARY_SIZE
from tests.decoding.fake_steps import HistoryStep
from tests.decoding.fake_steps import PairStep
from tests.decoding.fake_steps import chain

SUPPRESSED = (PAD, UNK, BOS, MASK)
PROMPTS = [[BOS, 7, 5, 6], [BOS], [BOS, 6, 6]]
SEEDS = np.array([[3, 1], [4, 1], [5, 9]], "int32")


def pad(prompts, padding=8, extra=0):
    """Returns `token_ids` and `length` of a list of prompts."""
    length = [len(prompt) for prompt in prompts]
    width = max(length) + extra
    rows = [prompt + [padding] * (width - len(prompt)) for prompt in prompts]
    return np.array(rows, "int32"), np.array(length, "int32")


def run(step, token_ids, length, mode="eager", **options):
    """Calls `generate` in one of three modes; returns arrays."""

    def function(token_ids, length):
        state = step.initial_state(tf.shape(token_ids)[0])
        return generate(step, state, token_ids, length, **options)

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
    assert {name: tensor.dtype.name for name, tensor in results.items()} == {
        "token_ids": "int32",
        "length": "int32",
        "score": "float32",
    }
    return {name: tensor.numpy() for name, tensor in results.items()}


def assert_same(results, expected):
    np.testing.assert_array_equal(results["token_ids"], expected["token_ids"])
    np.testing.assert_array_equal(results["length"], expected["length"])
    np.testing.assert_allclose(
        results["score"], expected["score"], rtol=1e-5, atol=1e-5
    )


def search(step, prompt, max_new_tokens):
    return oracles.continue_greedily(
        step.logits_after, prompt, max_new_tokens, SUPPRESSED, EOS
    )


def expect(rows, max_new_tokens):
    """The results that stand for a list of (new tokens, score)."""
    tokens = [new + [PAD] * (max_new_tokens - len(new)) for new, _ in rows]
    return {
        "token_ids": np.array(tokens)[:, np.newaxis],
        "length": np.array([[len(new)] for new, _ in rows]),
        "score": np.array([[score] for _, score in rows]),
    }


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("make_step", [PairStep, HistoryStep])
def test_greedy_rows_are_those_of_a_slow_search(make_step, mode):
    step = make_step(seed=10)
    rows = [search(step, prompt, 12) for prompt in PROMPTS]
    # Rows that end at once or never would show less.
    assert len({len(new) for new, _ in rows}) == 3
    results = run(step, *pad(PROMPTS), mode=mode, max_new_tokens=12)
    assert_same(results, expect(rows, 12))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_loop_ends_with_the_last_row(mode):
    # The rows write 5 6 7 EOS, 7 EOS and EOS.
    step = chain({BOS: 5, 5: 6, 6: 7, 7: EOS})
    results = run(step, *pad([[BOS], [6], [7]]), mode=mode, max_new_tokens=50)
    np.testing.assert_array_equal(results["length"], [[3], [1], [0]])
    np.testing.assert_array_equal(
        results["token_ids"][:, 0, :4],
        [[5, 6, 7, PAD], [7, PAD, PAD, PAD], [PAD] * 4],
    )
    assert not results["token_ids"][:, 0, 4:].any()
    each = oracles.log_softmax([5.0] + [0.0] * (VOCABULARY_SIZE - 1))[0]
    np.testing.assert_allclose(
        results["score"], [[4 * each], [2 * each], [each]], rtol=1e-5
    )
    # The prompt, then 5, 6 and 7; nobody asks what follows EOS.
    assert step.num_calls.numpy() == 4


def test_last_token_is_not_fed_back():
    step = chain({BOS: 5, 5: 5})
    results = run(step, *pad([[BOS]]), max_new_tokens=6)
    np.testing.assert_array_equal(results["token_ids"], [[[5] * 6]])
    np.testing.assert_array_equal(results["length"], [[6]])
    assert step.num_calls.numpy() == 6


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_one_new_token_takes_one_step(mode):
    step = chain({BOS: 5, 6: EOS})
    results = run(step, *pad([[BOS], [6]]), mode=mode, max_new_tokens=1)
    np.testing.assert_array_equal(results["token_ids"], [[[5]], [[PAD]]])
    np.testing.assert_array_equal(results["length"], [[1], [0]])
    assert step.num_calls.numpy() == 1


def test_eos_in_the_last_column_is_told_from_no_eos():
    step = chain({BOS: 5, 5: EOS, 6: 6})
    results = run(step, *pad([[BOS], [6]]), max_new_tokens=2)
    np.testing.assert_array_equal(results["token_ids"], [[[5, PAD]], [[6, 6]]])
    np.testing.assert_array_equal(results["length"], [[1], [2]])


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("make_step", [PairStep, HistoryStep])
def test_each_row_is_what_it_is_alone_however_padded(make_step, sampled):
    step = make_step(seed=5)
    choose = functools.partial(sample, temperature=1.5, top_p=0.9)

    def run_rows(rows, **padding):
        options = {"seed": SEEDS[rows], "choose": choose} if sampled else {}
        prompts = pad([PROMPTS[row] for row in rows], **padding)
        return run(step, *prompts, max_new_tokens=10, **options)

    together = run_rows([0, 1, 2])
    assert_same(run_rows([0, 1, 2], padding=3, extra=5), together)
    for row in range(3):
        alone = run_rows([row])
        expected = {name: array[[row]] for name, array in together.items()}
        assert_same(alone, expected)
    # A server fills a batch up with rows that it repeats.
    repeated = run_rows([2, 0, 0, 0])
    expected = {name: array[[2, 0, 0, 0]] for name, array in together.items()}
    assert_same(repeated, expected)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_sampled_rows_are_the_same_eagerly_and_compiled(mode):
    step = HistoryStep(seed=1)
    options = {
        "max_new_tokens": 10,
        "seed": SEEDS,
        "choose": functools.partial(
            sample,
            temperature=tf.constant([1.0, 3.0, 0.7]),
            top_k=4,
            top_p=tf.constant([0.9, 1.0, 0.5]),
        ),
    }
    eager = run(step, *pad(PROMPTS), **options)
    assert_same(run(step, *pad(PROMPTS), mode=mode, **options), eager)


def test_seed_decides_what_is_sampled_and_length_is_only_where_it_stops():
    step = HistoryStep(seed=1)
    hot = functools.partial(sample, temperature=3.0)

    def run_seeds(seed, max_new_tokens=20):
        return run(
            step,
            *pad(PROMPTS),
            max_new_tokens=max_new_tokens,
            seed=seed,
            choose=hot,
            suppressed_ids=(*SUPPRESSED, EOS),
        )["token_ids"]

    first = run_seeds(SEEDS)
    np.testing.assert_array_equal(run_seeds(SEEDS), first)
    np.testing.assert_array_equal(
        run_seeds(SEEDS, max_new_tokens=7), first[..., :7]
    )
    other = run_seeds(SEEDS + [[0, 1]])
    assert np.all(np.any(other != first, axis=-1))


def test_rows_of_temperature_0_are_greedy_beside_sampled_ones():
    step = HistoryStep(seed=2)
    greedy = run(step, *pad(PROMPTS), max_new_tokens=12)
    mixed = run(
        step,
        *pad(PROMPTS),
        max_new_tokens=12,
        seed=SEEDS,
        choose=functools.partial(
            sample, temperature=tf.constant([0.0, 5.0, 0.0]), top_p=0.99
        ),
    )
    for row, is_greedy in enumerate([True, False, True]):
        same = np.array_equal(mixed["token_ids"][row], greedy["token_ids"][row])
        assert same == is_greedy


def test_score_of_sampled_rows_is_the_models_own():
    step = HistoryStep(seed=3)
    results = run(
        step,
        *pad(PROMPTS),
        max_new_tokens=12,
        seed=SEEDS,
        choose=functools.partial(sample, temperature=0.6, top_k=3, top_p=0.8),
    )
    # Ended rows and one cut short both count.
    assert {length < 12 for length in results["length"][:, 0]} == {True, False}
    for row, prompt in enumerate(PROMPTS):
        length = results["length"][row, 0]
        new = list(results["token_ids"][row, 0, :length])
        eos = [EOS] if length < 12 else []
        score = oracles.score_of(step.logits_after, prompt, new + eos)
        np.testing.assert_allclose(results["score"][row, 0], score, rtol=1e-5)


def test_two_sampled_tokens_are_distributed_as_the_model_says():
    step = PairStep(seed=4)
    num_rows = 4000
    seeds = np.stack([np.arange(num_rows), np.ones(num_rows)], axis=1)
    results = run(
        step,
        *pad([[BOS]] * num_rows),
        mode="graph",
        max_new_tokens=2,
        seed=seeds.astype("int32"),
        choose=functools.partial(sample, temperature=2.0, top_p=0.95),
        suppressed_ids=(),
        eos_id=EOS,
    )
    first, second = results["token_ids"][:, 0].T
    # Column 1 of rows that have ended is PAD, as is the token 0: tell apart.
    is_open = results["length"][:, 0] > 0
    expected = oracles.filtered_distribution(
        step.logits_after([BOS]), temperature=2.0, top_p=0.95
    )
    observed = np.bincount(first[is_open], minlength=VOCABULARY_SIZE)
    observed[EOS] = num_rows - is_open.sum()
    assert_plausible(observed, expected)

    token = int(np.argmax(np.where(np.arange(9) == EOS, 0, observed)))
    after = is_open & (first == token)
    is_ended = after & (results["length"][:, 0] == 1)
    observed = np.bincount(second[after & ~is_ended], minlength=VOCABULARY_SIZE)
    observed[EOS] = is_ended.sum()
    expected = oracles.filtered_distribution(
        step.logits_after([BOS, token]), temperature=2.0, top_p=0.95
    )
    assert_plausible(observed, expected)


def assert_plausible(observed, expected_distribution):
    """Chi-square test; nothing may come that has no chance."""
    expected = observed.sum() * expected_distribution
    assert not observed[expected == 0].any()
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert len(expected) > 4
    statistic = np.sum((observed - expected) ** 2 / expected)
    # At most 8 degrees of freedom: 26.1 has a chance of 0.001.
    assert statistic < 26.1


def test_suppressed_tokens_are_never_written_and_keep_their_probability():
    # After each token the suppressed ones are the most probable, then 6.
    table = np.zeros((VOCABULARY_SIZE,) * 3)
    table[..., list(SUPPRESSED)] = 9.0
    table[..., 6] = 4.0
    step = PairStep(table)
    results = run(step, *pad([[BOS]]), max_new_tokens=3)
    np.testing.assert_array_equal(results["token_ids"], [[[6, 6, 6]]])
    each = oracles.log_softmax(table[0, 0])[6]
    np.testing.assert_allclose(results["score"], [[3 * each]], rtol=1e-5)

    hot = run(
        step,
        *pad(PROMPTS),
        mode="graph",
        max_new_tokens=200,
        seed=SEEDS,
        choose=functools.partial(sample, temperature=1e9),
        suppressed_ids=(*SUPPRESSED, EOS),
    )
    np.testing.assert_array_equal(hot["length"], [[200]] * 3)
    assert set(hot["token_ids"].ravel()) == {5, 6, 7, 8}


def test_other_special_ids():
    step = chain({BOS: 5, 5: 6, 6: 7})
    results = run(
        step, *pad([[BOS]]), max_new_tokens=5, eos_id=7, suppressed_ids=[PAD]
    )
    np.testing.assert_array_equal(
        results["token_ids"], [[[5, 6, PAD, PAD, PAD]]]
    )
    np.testing.assert_array_equal(results["length"], [[2]])


def test_empty_prompts_are_continued_from_bos():
    step = HistoryStep(seed=2)
    prompts = prepend_bos(np.zeros((2, 0), "int32"), [0, 0])
    row = search(step, [BOS], 8)
    results = run(step, *prompts, mode="graph", max_new_tokens=8)
    assert_same(results, expect([row, row], 8))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_logits_of_any_precision(dtype):
    step = PairStep(seed=2, dtype=dtype)
    rows = [search(step, prompt, 12) for prompt in PROMPTS]
    results = run(step, *pad(PROMPTS), max_new_tokens=12)
    assert_same(results, expect(rows, 12))


def test_prompts_of_int64():
    step = HistoryStep(seed=2)
    token_ids, length = pad(PROMPTS)
    wide = generate(
        step,
        step.initial_state(3),
        token_ids.astype("int64"),
        length.astype("int64"),
        max_new_tokens=5,
    )
    assert wide["token_ids"].dtype == wide["length"].dtype == tf.int32
    assert_same(wide, run(step, token_ids, length, max_new_tokens=5))


class Served(tf.Module):
    """Greedy and sampled decoding of a step, as signatures."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def _decode(self, token_ids, length, **options):
        token_ids, length = prepend_bos(token_ids, length)
        state = self.step.initial_state(tf.shape(token_ids)[0])
        return generate(
            self.step, state, token_ids, length, max_new_tokens=9, **options
        )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def generate(self, token_ids, length):
        return self._decode(token_ids, length)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def sample(self, token_ids, length, seed, temperature, top_p):
        choose = functools.partial(sample, temperature=temperature, top_p=top_p)
        return self._decode(token_ids, length, seed=seed, choose=choose)


def test_saved_model_decodes_the_same(tmp_path):
    step = HistoryStep(seed=2)
    module = Served(step)
    tf.saved_model.save(
        module,
        tmp_path,
        signatures={"generate": module.generate, "sample": module.sample},
    )
    signatures = tf.saved_model.load(tmp_path).signatures
    choices = {
        "seed": SEEDS,
        "temperature": np.float32([0.5, 1.0, 2.0]),
        "top_p": np.float32([0.9, 1.0, 0.5]),
    }
    for num_rows, width in [(3, 3), (1, 0), (2, 7)]:
        prompts = {
            "token_ids": np.full((num_rows, width), 6, "int32"),
            "length": np.minimum([3, 0, 2][:num_rows], width).astype("int32"),
        }
        rows = {name: array[:num_rows] for name, array in choices.items()}
        for name, arguments in [
            ("generate", prompts),
            ("sample", {**prompts, **rows}),
        ]:
            arguments = {k: tf.constant(v) for k, v in arguments.items()}
            served = signatures[name](**arguments)
            live = getattr(module, name).python_function(**arguments)
            assert_same(served, live)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"token_ids": [BOS, 5]},
            "`token_ids` must have the shape (batch, length), the length at "
            "least 1: `prepend_bos` makes it so. Received: shape='(2,)'.",
        ),
        (
            {"token_ids": np.zeros((2, 0))},
            "`token_ids` must have the shape (batch, length), the length at "
            "least 1: `prepend_bos` makes it so. Received: shape='(2, 0)'.",
        ),
        (
            {"length": 1},
            "`length` must have the shape (batch,). "
            "Received: shape='()', batch=2.",
        ),
        (
            {"length": [1, 1, 1]},
            "`length` must have the shape (batch,). "
            "Received: shape='(3,)', batch=2.",
        ),
        (
            {"seed": [[1, 2]]},
            "`seed` must have a row for each prompt. "
            "Received: rows=1, batch=2.",
        ),
        (
            {"max_new_tokens": 0},
            "`max_new_tokens` must be positive. Received: max_new_tokens=0.",
        ),
        (
            {"suppressed_ids": (0, 9)},
            "`suppressed_ids` must be ids of the vocabulary. "
            "Received: suppressed_ids=(0, 9), vocabulary_size=9.",
        ),
        (
            {"suppressed_ids": range(9)},
            "`suppressed_ids` must leave an id to write. "
            "Received: suppressed_ids=range(0, 9), vocabulary_size=9.",
        ),
        (
            {"eos_id": -1},
            "`eos_id` must be an id of the vocabulary. "
            "Received: eos_id=-1, vocabulary_size=9.",
        ),
        (
            {"choose": sample},
            "`noise` must be given: `generate` makes it from `seed`. "
            "Received: noise=None.",
        ),
    ],
)
def test_rejects(options, message):
    step = PairStep()
    arguments = {
        "token_ids": [[BOS, 5], [BOS, 6]],
        "length": [1, 2],
        "max_new_tokens": 3,
        **options,
    }
    with pytest.raises(ValueError) as error:
        generate(step, step.initial_state(2), **arguments)
    assert str(error.value) == message
