"""Tests of keras_xf.ops.adaptive_softmax."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import adaptive_softmax
from keras_xf.ops.adaptive_softmax import Bin
from tests.oracles import adaptive_softmax as oracle

DIM = 6
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
