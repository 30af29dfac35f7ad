"""Tests of keras_xf.models.code_sampler."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.decoding import uniform_noise
from tests.models.code_priors import FAMILIES
from tests.models.code_priors import ONE_LEVEL
from tests.models.code_priors import make

SEEDS = np.arange(10, 18).reshape(4, 2)
CLASSES = np.array([0, 1, 2, 1])
TEMPERATURES = np.array([1.0, 0.0, 0.5, 2.0], "float32")


@pytest.fixture(params=FAMILIES)
def builder(request):
    return request.param


@pytest.fixture(scope="module")
def all_models():
    return {builder: make(builder) for builder in FAMILIES}


@pytest.fixture(scope="module")
def all_samplers(all_models):
    return {name: models.code_sampler(m) for name, m in all_models.items()}


@pytest.fixture
def model(builder, all_models):
    return all_models[builder]


@pytest.fixture
def sampler(builder, all_samplers):
    return all_samplers[builder]


def sample_slowly(model, class_ids, seed, temperature):
    """A whole pass of the model for each code, and sums of probabilities."""
    function = tf.function(model)
    names = ["code_ids", "top_code_ids", "bottom_code_ids"]
    codes = {
        name: np.zeros((len(seed), *model.input[name].shape[1:]), "int32")
        for name in names
        if name in model.input
    }
    inputs = {} if class_ids is None else {"class_ids": class_ids}
    noise = iter(np.transpose(uniform_noise(seed, 100)))
    for name, written in codes.items():
        for place in np.ndindex(written.shape[1:]):
            logits = function({**codes, **inputs})
            logits = logits[name.replace("_ids", "_logits")]
            logits = np.asarray(logits, "float64")[(slice(None), *place)]
            draws = next(noise)
            for row in range(len(seed)):
                code = np.argmax(logits[row])
                if temperature[row]:
                    exponents = logits[row] / temperature[row]
                    weights = np.exp(exponents - exponents.max())
                    shares = np.cumsum(weights) / weights.sum()
                    code = np.searchsorted(shares, draws[row], side="right")
                written[(row, *place)] = code
    return codes


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])


def test_equals_a_whole_pass_for_each_code(model, sampler):
    sampled = sampler(CLASSES, SEEDS, TEMPERATURES)
    assert_same(sampled, sample_slowly(model, CLASSES, SEEDS, TEMPERATURES))
    for name, codes in sampled.items():
        assert codes.dtype == tf.int32
        assert (
            np.ptp(codes)
            == model.output[name.replace("_ids", "_logits")].shape[-1] - 1
        )


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": None, **ONE_LEVEL},
        {"num_layers": 1},
    ],
)
def test_so_do_models_of_other_kinds(builder, arguments):
    model = make(builder, **arguments)
    class_ids = CLASSES if "class_ids" in model.input else None
    sampled = models.code_sampler(model)(class_ids, SEEDS, TEMPERATURES)
    expected = sample_slowly(model, class_ids, SEEDS, TEMPERATURES)
    assert_same(sampled, expected)


def test_frequencies_are_the_probabilities(builder):
    model = make(
        builder,
        code_shapes={"top_code_ids": (1, 1), "bottom_code_ids": (2, 1)},
        num_codes={"top_code_ids": 2, "bottom_code_ids": 3},
    )
    # Untrained, they are too much alike.
    model.set_weights([2 * w for w in model.get_weights()])
    images = np.array(list(np.ndindex(2, 3, 3)), "int32")
    every = {
        "top_code_ids": images[:, :1, None],
        "bottom_code_ids": images[:, 1:, None],
    }
    nll = models.code_nll(model, every, np.full(18, 1))
    nll = sum(np.sum(values, axis=(1, 2)) for values in nll.values())
    number = 4000
    seeds = np.random.default_rng(0).integers(0, 2**31, (number, 2))
    sampled = models.code_sampler(model)(np.full(number, 1), seeds)
    top, bottom = (np.reshape(x, (number, -1)) for x in sampled.values())
    drawn = top[:, 0] * 9 + bottom[:, 0] * 3 + bottom[:, 1]
    expected = number * np.exp(-nll)
    statistic = np.sum(
        (np.bincount(drawn, minlength=18) - expected) ** 2 / expected
    )
    # Of 17 degrees of freedom: one in a thousand is above.
    assert statistic < 40.8
    # Equal probabilities would be refused.
    assert np.sum((number / 18 - expected) ** 2 / expected) > 400


def test_a_row_depends_on_its_own_seed_class_and_temperature(sampler):
    together = sampler(CLASSES, SEEDS, TEMPERATURES)
    again = sampler(CLASSES, SEEDS, TEMPERATURES)
    assert_same(again, together)
    for rows in ([2], [3, 0, 1]):
        some = sampler(CLASSES[rows], SEEDS[rows], TEMPERATURES[rows])
        for name, codes in together.items():
            np.testing.assert_array_equal(some[name], np.asarray(codes)[rows])
    others = sampler(CLASSES, SEEDS + 1, TEMPERATURES)
    changed = [
        np.any(np.asarray(others[name]) != together[name], axis=(1, 2))
        for name in together
    ]
    # Without a temperature, seeds mean nothing.
    np.testing.assert_array_equal(
        np.any(changed, axis=0), [True, False, True, True]
    )


def test_eager_graph_and_compiled_agree(builder):
    model = make(
        builder,
        code_shapes={"top_code_ids": (1, 2), "bottom_code_ids": (2, 2)},
    )
    sampler = models.code_sampler(model)
    expected = sampler(CLASSES, SEEDS, TEMPERATURES)
    for jit_compile in (False, True):
        function = tf.function(sampler, jit_compile=jit_compile)
        assert_same(function(CLASSES, SEEDS, TEMPERATURES), expected)
    tf.config.run_functions_eagerly(True)
    try:
        assert_same(sampler(CLASSES, SEEDS, TEMPERATURES), expected)
    finally:
        tf.config.run_functions_eagerly(False)


def test_batches_of_any_size_are_traced_once(builder):
    sampler = models.code_sampler(
        make(builder, num_classes=None, num_layers=1, **ONE_LEVEL)
    )
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def function(seed, temperature):
        traces.append(1)
        return sampler(None, seed, temperature)

    for number in (0, 1, 4):
        codes = function(SEEDS[:number], TEMPERATURES[:number])["code_ids"]
        assert codes.shape == (number, 4, 5)
    assert len(traces) == 1


def test_what_it_draws_follows_the_model(builder, tmp_path):
    model = make(builder)
    sampler = models.code_sampler(model)
    first = sampler(CLASSES, SEEDS)
    model.save(tmp_path / "model.keras")
    model.set_weights([3 * weight for weight in model.get_weights()])
    other = sampler(CLASSES, SEEDS)
    assert not np.array_equal(other["top_code_ids"], first["top_code_ids"])
    revived = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(models.code_sampler(revived)(CLASSES, SEEDS), first)


@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
def test_all_precisions_draw(builder, policy):
    arguments = {"num_classes": None, "num_layers": 2, **ONE_LEVEL}
    model = make(builder, **arguments)
    expected = models.code_sampler(model)(None, SEEDS)
    other = make(builder, dtype=policy, **arguments)
    other.set_weights(model.get_weights())
    codes = np.asarray(models.code_sampler(other)(None, SEEDS)["code_ids"])
    is_same = codes == np.asarray(expected["code_ids"])
    assert np.mean(is_same) > (0.5 if policy == "mixed_bfloat16" else 0.99)


def test_rejects(sampler):
    def message(*arguments, **keywords):
        with pytest.raises(ValueError) as error:
            sampler(*arguments, **keywords)
        return str(error.value)

    assert message(CLASSES) == "`seed` must be given. Received: seed=None."
    assert message(CLASSES, SEEDS[:, :1]) == (
        "`seed` must have the shape (batch, two) with two=2. "
        "Received: shape=(4, 1)."
    )
    assert message(None, SEEDS) == (
        "`class_ids` must be given if the model has classes, and only then. "
        "Received: class_ids=None."
    )
    assert message(CLASSES, SEEDS, -1.0) == (
        "`temperature` must be finite and not negative. "
        "Received: temperature=-1.0."
    )
    for wrong in (np.float32(-1), np.full(4, np.nan), tf.constant(np.inf)):
        assert "`temperature` must be finite and not negative. " in message(
            CLASSES, SEEDS, wrong
        )
    for wrong in (-1, 3):
        assert message(CLASSES * 0 + wrong, SEEDS) == (
            f"`class_ids` must lie in [0, 3). Received: class_ids={wrong}."
        )
    assert message(CLASSES * 1.0, SEEDS) == (
        "`class_ids` must be integer token ids. Received: dtype='float64'."
    )
    assert message(CLASSES[:3], SEEDS) == (
        "`class_ids` must have as many rows as `seed`. "
        "Received: class_ids=3, seed=4."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CLASSES - 1, SEEDS, TEMPERATURES), "must lie in [0, 3)"),
        ((CLASSES + 1, SEEDS, TEMPERATURES), "must lie in [0, 3)"),
        ((CLASSES[:3], SEEDS, TEMPERATURES), "must have as many rows"),
        ((CLASSES, SEEDS, -TEMPERATURES), "must be finite and not negative"),
    ],
)
def test_graphs_reject(sampler, arguments, message):
    function = tf.function(
        sampler,
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ],
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        function(*arguments)
    assert message in str(error.value)
