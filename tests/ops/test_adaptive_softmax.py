"""Tests of keras_xf.ops.adaptive_softmax."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import adaptive_softmax
from keras_xf.ops.adaptive_softmax import Bin
from tests.oracles import adaptive_softmax as oracle

DIM = 6
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}
VOCABULARIES = {
    "one bin": (9, (), (6,)),
    "two bins": (9, (4,), (5, 2)),
    "three bins": (13, (4, 9), (6, 3, 1)),
    "bins of one token": (5, (1, 2, 3), (2, 2, 2, 2)),
}


class Vocabulary:
    """Random bins, for the op and for the oracle."""

    def __init__(self, size, cutoffs, widths, dtype="float64"):
        generator = np.random.default_rng(1)

        def draw(*shape):
            return generator.normal(size=shape).astype(dtype)

        self.size, self.cutoffs = size, cutoffs
        sizes = np.diff([0, *cutoffs, size])
        self.parts = [
            (draw(number, width), draw(number), draw(width, DIM))
            for number, width in zip(sizes, widths, strict=True)
        ]
        self.entries = None
        if cutoffs:
            self.entries = draw(len(cutoffs), widths[0]), draw(len(cutoffs))
        self.hidden = draw(12, DIM)
        self.target_ids = generator.integers(0, size, 12)

    def bins(self):
        bins = [Bin(*map(tf.constant, parts)) for parts in self.parts]
        if self.entries is not None:
            table, bias, projection = self.parts[0]
            bins[0] = Bin(
                tf.concat([table, self.entries[0]], axis=0),
                tf.concat([bias, self.entries[1]], axis=0),
                tf.constant(projection),
            )
        return bins

    def expected(self):
        return [
            [
                oracle.log_prob(
                    vector, token, self.cutoffs, self.parts, self.entries
                )
                for token in range(self.size)
            ]
            for vector in self.hidden
        ]


@pytest.fixture(params=sorted(VOCABULARIES))
def vocabulary(request):
    return Vocabulary(*VOCABULARIES[request.param])


def test_log_probs_are_those_of_the_oracle(vocabulary):
    outputs = adaptive_softmax.log_probs(vocabulary.hidden, vocabulary.bins())
    np.testing.assert_allclose(outputs, vocabulary.expected(), atol=1e-12)
    np.testing.assert_allclose(np.sum(np.exp(outputs), axis=-1), 1, atol=1e-12)


def test_nll_is_that_of_the_targets_in_their_order(vocabulary):
    outputs = adaptive_softmax.nll(
        vocabulary.hidden, vocabulary.bins(), vocabulary.target_ids
    )
    expected = np.array(vocabulary.expected())
    np.testing.assert_allclose(
        outputs,
        -expected[np.arange(len(expected)), vocabulary.target_ids],
        atol=1e-12,
    )


def test_extreme_logits_stay_finite():
    vocabulary = Vocabulary(*VOCABULARIES["three bins"], dtype="float32")
    hidden = vocabulary.hidden * 1e4
    bins = vocabulary.bins()
    assert np.all(np.isfinite(adaptive_softmax.log_probs(hidden, bins)))
    sources = [
        tf.constant(hidden),
        *(x for each in bins for x in (each.table, each.bias)),
    ]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        nll = adaptive_softmax.nll(sources[0], bins, vocabulary.target_ids)
    assert np.all(np.isfinite(nll))
    for gradient in tape.gradient(nll, sources):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_only_that_of_products(dtype):
    vocabulary = Vocabulary(*VOCABULARIES["three bins"], dtype="float32")
    bins = vocabulary.bins()
    hidden = tf.cast(vocabulary.hidden, dtype)
    outputs = adaptive_softmax.log_probs(hidden, bins)
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(np.sum(np.exp(outputs), -1), 1, atol=1e-6)
    expected = adaptive_softmax.log_probs(vocabulary.hidden, bins)
    np.testing.assert_allclose(outputs, expected, rtol=0.02, atol=0.05)
    nll = adaptive_softmax.nll(hidden, bins, vocabulary.target_ids)
    assert nll.dtype == "float32"


@pytest.mark.parametrize("token", [-1, 13])
def test_a_token_that_no_bin_has_is_noticed(token):
    vocabulary = Vocabulary(*VOCABULARIES["three bins"])
    function = tf.function(
        lambda ids: adaptive_softmax.nll(
            vocabulary.hidden[:1], vocabulary.bins(), ids
        )
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(tf.constant([token]))


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_samples_are_as_frequent_as_they_are_probable(vocabulary, mode):
    bins, vector = vocabulary.bins(), vocabulary.hidden[:1]
    probs = np.exp(adaptive_softmax.log_probs(vector, bins))[0]
    # The middles of a grid of equal parts, so that there is no chance in it.
    parts = (np.arange(60) + 0.5) / 60
    noise = np.stack(np.meshgrid(parts, parts), -1).reshape(-1, 2)
    function = MODES[mode](
        lambda noise: adaptive_softmax.sample(
            tf.repeat(vector, len(noise), axis=0), bins, noise
        )
    )
    token_ids = function(tf.constant(noise, "float32"))
    assert token_ids.dtype == "int32"
    frequencies = np.bincount(token_ids, minlength=vocabulary.size) / len(noise)
    np.testing.assert_allclose(frequencies, probs, atol=2.5 / 60)


def test_samples_of_rows_are_their_own(vocabulary):
    bins = vocabulary.bins()
    noise = np.random.default_rng(7).random((12, 2), "float32")
    together = adaptive_softmax.sample(vocabulary.hidden, bins, noise)
    for row, token_id in enumerate(together):
        (alone,) = adaptive_softmax.sample(
            vocabulary.hidden[row : row + 1], bins, noise[row : row + 1]
        )
        assert alone == token_id


@pytest.mark.parametrize("noise", [0.0, 1 - 2.0**-24])
def test_a_sample_at_either_end_is_a_token(vocabulary, noise):
    hidden = vocabulary.hidden.astype("float32")
    bins = [
        Bin(*(tf.cast(part, "float32") for part in vars(each).values()))
        for each in vocabulary.bins()
    ]
    token_ids = adaptive_softmax.sample(
        hidden, bins, np.full((12, 2), noise, "float32")
    )
    assert np.all((token_ids >= 0) & (token_ids < vocabulary.size))


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_gradients_are_those_of_the_log_probs(vocabulary, mode):
    upstream = np.random.default_rng(3).normal(size=12)
    ids = vocabulary.target_ids

    def by_log_probs(hidden, bins):
        log_probs = adaptive_softmax.log_probs(hidden, bins)
        return -tf.gather(log_probs, ids, batch_dims=1)

    def in_blocks(hidden, bins):
        return adaptive_softmax.nll(hidden, bins, ids, block_length=3)

    def differentiate(function, hidden, bins):
        sources = [hidden, *(x for each in bins for x in vars(each).values())]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = function(hidden, bins)
        return [outputs, *tape.gradient(outputs, sources, upstream)]

    hidden = tf.constant(vocabulary.hidden)
    expected = differentiate(by_log_probs, hidden, vocabulary.bins())
    actual = MODES[mode](
        lambda hidden: differentiate(in_blocks, hidden, vocabulary.bins())
    )(hidden)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-11)
