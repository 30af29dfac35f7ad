"""Tests of keras_xf.layers.ReversibleSequence.

What every layer owes is tested in tests/conformance, the arithmetic in
tests/ops/test_reversible.py.
"""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import FeedForward
from keras_xf.layers import LSHSelfAttention
from keras_xf.layers import Residual
from keras_xf.layers import ReversibleSequence
from keras_xf.layers import SelfAttention
from keras_xf.layers import Sublayer

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}
SHAPE = (2, 7, 8)


@pytest.fixture
def streams():
    random = np.random.default_rng(0)
    return tuple(random.normal(size=(2, *SHAPE)).astype("float32"))


def transformer_blocks(depth, dropout, dtype=None):
    return [
        (
            Sublayer(
                SelfAttention(2, 4, dropout=dropout, seed=3 * n, dtype=dtype),
                dropout=dropout,
                seed=3 * n + 1,
                dtype=dtype,
            ),
            Sublayer(
                FeedForward(12, "gelu", dropout, seed=3 * n + 2, dtype=dtype),
                dropout=dropout,
                seed=3 * n + 3,
                dtype=dtype,
            ),
        )
        for n in range(depth)
    ]


def make_pair(blocks, **kwargs):
    """The same stack twice, reversible and not, with the same weights."""
    pair = []
    for reversible in (True, False):
        stack = ReversibleSequence(blocks(), reversible, **kwargs)
        stack.build((SHAPE, SHAPE))
        pair.append(stack)
    pair[1].set_weights(pair[0].get_weights())
    return pair


def train(stack, streams, **kwargs):
    """Both streams, and gradients for them and for the weights."""
    factors = np.random.default_rng(1).normal(size=(2, *SHAPE))
    streams = [tf.convert_to_tensor(x) for x in streams]
    with tf.GradientTape() as tape:
        tape.watch(streams)
        y1, y2 = stack(streams, training=True, **kwargs)
        loss = tf.reduce_sum(
            factors[0] * tf.cast(y1, "float64")
            + factors[1] * tf.cast(y2, "float64") ** 2
        )
    weights = [v.value for v in stack.trainable_variables]
    return [y1, y2], tape.gradient(loss, [*streams, *weights])


def assert_close(actual, expected, tolerance):
    """In parts of the largest number of each tensor."""
    for a, e in zip(
        tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(a, e, atol=tolerance * np.max(np.abs(e)))


def assert_same_state(first, second):
    for a, b in zip(
        first.non_trainable_variables,
        second.non_trainable_variables,
        strict=True,
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


@pytest.mark.parametrize(
    ("mode", "depth"), [("eager", 3), ("graph", 1), ("compiled", 1)]
)
def test_gradients_equal_those_of_autodiff(streams, mode, depth):
    pair = make_pair(lambda: transformer_blocks(depth, dropout=0.3))

    def step(*streams):
        return [train(stack, streams) for stack in pair]

    step = MODES[mode](step)
    steps = [step(*streams) for _ in range(2)]
    for reversible, plain in steps:
        assert_close(reversible[0], plain[0], 1e-6)
        assert_close(reversible[1], plain[1], 1e-5)
    assert_same_state(*pair)
    for first, second in zip(*(each[0][0] for each in steps), strict=True):
        assert not np.array_equal(first, second), "the same noise twice"
    for variable in pair[0].non_trainable_variables:
        # A step moves a seed generator by one, twice here.
        assert variable.numpy()[1] in (0, 2), variable.path


def lsh_blocks(depth, dropout):
    """LSH attention in the first of three blocks, dense in the others."""

    def attention(n):
        if n % 3:
            return SelfAttention(2, 4, dropout=dropout, seed=3 * n)
        return LSHSelfAttention(
            2, 4, chunk_length=3, causal=True, dropout=dropout, seed=3 * n
        )

    return [
        (
            Sublayer(attention(n), dropout=dropout, seed=3 * n + 1),
            Sublayer(keras.layers.Dense(8), dropout=dropout, seed=3 * n + 2),
        )
        for n in range(depth)
    ]


def test_nothing_is_lost_at_depth_24_with_lsh_attention(streams):
    """Streams added up in float32 are off by some 1e-5 there."""
    keras.utils.set_random_seed(1)
    pair = make_pair(lambda: lsh_blocks(24, dropout=0.3))
    reversible, plain = [train(stack, streams) for stack in pair]
    assert all(x.dtype == "float32" for x in tf.nest.flatten(reversible))
    assert_close(reversible, plain, 1e-6)


def test_gradients_are_exact_in_float64(streams):
    pair = make_pair(
        lambda: transformer_blocks(3, dropout=0.3, dtype="float64"),
        dtype="float64",
    )
    reversible, plain = [
        train(stack, [x.astype("float64") for x in streams]) for stack in pair
    ]
    assert reversible[0][0].dtype == "float64"
    assert_close(reversible, plain, 1e-13)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_inside_the_sublayers(streams, policy):
    pair = make_pair(
        lambda: transformer_blocks(3, dropout=0.3, dtype=policy), dtype=policy
    )
    reversible, plain = [train(stack, streams) for stack in pair]
    assert all(x.dtype == "float32" for x in tf.nest.flatten(reversible))
    assert_close(reversible[0], plain[0], 0.0)
    assert_close(reversible[1], plain[1], 2e-2)
    # The sublayers did compute in half precision.
    full = ReversibleSequence(transformer_blocks(3, dropout=0.3))
    full.build((SHAPE, SHAPE))
    full.set_weights(pair[0].get_weights())
    assert np.max(np.abs(train(full, streams)[0][0] - reversible[0][0])) > 1e-4


def test_streams_stay_wide_inside_a_model_of_half_precision(streams):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = [keras.Input(SHAPE[1:], dtype="float32") for _ in range(2)]
        blocks = transformer_blocks(1, dropout=0.0)
        model = keras.Model(inputs, ReversibleSequence(blocks)(inputs))
        outputs = model(list(streams), training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert blocks[0][0].compute_dtype == "bfloat16"
    assert all(x.dtype == "float32" for x in outputs)
    # A stream is more than what bfloat16 can tell of it.
    added = np.asarray(outputs[0] - streams[0])
    f = np.asarray(tf.cast(blocks[0][0](streams[1]), "float32"))
    np.testing.assert_allclose(added, f, atol=1e-6)


class Noisy(keras.layers.Layer):
    """Has parts that are told of training by Keras alone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.layers.GaussianNoise(0.5, seed=1)
        self.norm = keras.layers.BatchNormalization(momentum=0.5)
        self.dense = keras.layers.Dense(8, activation="tanh")

    def call(self, inputs):
        return self.dense(self.norm(self.noise(inputs)))


def test_statistics_move_once_and_any_layer_will_do(streams):
    def blocks():
        inner = keras.Sequential(
            [keras.layers.Dense(5, "relu"), keras.layers.Dense(8)]
        )
        inputs = keras.Input((None, 8))
        outputs = keras.layers.Dropout(0.3, seed=2)(inner(inputs))
        return [
            (Noisy(), keras.layers.Conv1D(8, 3, padding="same")),
            (keras.layers.Activation("tanh"), keras.Model(inputs, outputs)),
        ]

    pair = make_pair(blocks)
    for _ in range(2):
        reversible, plain = [train(stack, streams) for stack in pair]
        assert_close(reversible[0], plain[0], 1e-6)
        assert_close(reversible[1], plain[1], 1e-5)
    assert_same_state(*pair)
    moving_mean = next(
        v for v in pair[0].non_trainable_variables if "mean" in v.path
    )
    assert np.any(moving_mean.numpy())


def test_frozen_layers_get_no_gradients_and_change_nothing(streams):
    pair = make_pair(lambda: transformer_blocks(2, dropout=0.3))
    number = len(pair[0].trainable_variables)
    for stack in pair:
        stack.blocks[0][1].trainable = False
        stack.blocks[1][0].layer.trainable = False
    assert len(pair[0].trainable_variables) == number - 6 - 4
    before = pair[0].get_weights()
    reversible, plain = [train(stack, streams) for stack in pair]
    assert len(reversible[1]) == 2 + number - 10
    assert_close(reversible, plain, 1e-5)
    for old, new in zip(before, pair[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_layer_may_come_again(streams):
    def blocks():
        (f, g), (other, _) = transformer_blocks(2, dropout=0.3)
        return [(f, g), (other, g), (f, g)]

    pair = make_pair(blocks)
    reversible, plain = [train(stack, streams) for stack in pair]
    assert_close(reversible, plain, 1e-5)
    assert_same_state(*pair)
    assert len(pair[0].trainable_variables) == 3 * 6
    config = json.loads(json.dumps(pair[0].get_config()))
    copy = ReversibleSequence.from_config(config)
    assert copy.blocks[1][1] is copy.blocks[0][1]
    assert copy.blocks[2][0] is copy.blocks[0][0]
    assert copy.blocks[1][0] is not copy.blocks[0][0]
    copy.build((SHAPE, SHAPE))
    copy.set_weights(pair[0].get_weights())
    assert_close(copy(streams), pair[0](streams), 0.0)


def test_weights_stand_in_the_order_of_the_blocks():
    stack = ReversibleSequence(transformer_blocks(2, dropout=0.1))
    stack.build((SHAPE, SHAPE))
    weights = [
        weight
        for block in stack.blocks
        for layer in block
        for weight in layer.trainable_variables
    ]
    assert len(weights) == 2 * 12
    assert all(
        a is b for a, b in zip(stack.trainable_variables, weights, strict=True)
    )
    names = [weight.path for weight in stack.weights]
    assert len(set(names)) == len(names)


def test_padding_does_not_matter(streams):
    stack = ReversibleSequence(transformer_blocks(2, dropout=0.0))
    mask = np.arange(7) < np.array([[5], [7]])
    for training in (False, True):
        padded = stack(streams, padding_mask=mask, training=training)
        short = stack([x[:1, :5] for x in streams], training=training)
        assert_close([y[:1, :5] for y in padded], short, 1e-6)
        whole = stack([x[1:] for x in streams], training=training)
        assert_close([y[1:] for y in padded], whole, 1e-6)


def test_gradients_know_the_mask(streams):
    pair = make_pair(lambda: transformer_blocks(2, dropout=0.3))
    mask = np.arange(7) < np.array([[5], [7]])
    reversible, plain = [
        train(stack, streams, padding_mask=mask) for stack in pair
    ]
    assert_close(reversible, plain, 1e-5)


def test_masks_of_keras_reach_layers_and_go_on():
    ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0]])
    x = keras.layers.Embedding(5, 8, mask_zero=True)(ids)
    bare = np.asarray(x)
    stack = ReversibleSequence(
        [
            *transformer_blocks(1, dropout=0.0),
            # One that knows Keras's name for it, one that hands on.
            (
                keras.layers.GRU(8, return_sequences=True),
                Residual(SelfAttention(2, 4)),
            ),
        ]
    )
    for training in (False, True):
        outputs = stack((x, x), training=training)
        assert_close(
            outputs,
            stack((bare, bare), padding_mask=ids > 0, training=training),
            1e-6,
        )
        for y in outputs:
            np.testing.assert_array_equal(y._keras_mask, ids > 0)
    unmasked = stack((bare, bare))
    assert np.max(np.abs(unmasked[1] - outputs[1])) > 1e-3


class Choosy(keras.layers.Layer):
    """Decides by its input, as hashing does, and keeps the decision."""

    keeps_record = True
    decisions = 0

    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[-1:], name="scale")

    def call(self, inputs, record=None, return_record=False):
        if record is None:
            type(self).decisions += 1
            # It turns at the slightest change.
            bits = tf.bitcast(inputs, tf.int32)
            record = {"odd": tf.equal(tf.bitwise.bitwise_and(bits, 1), 1)}
        outputs = tf.where(record["odd"], 1.0, -1.0) * self.scale * inputs
        return (outputs, record) if return_record else outputs


def test_what_was_decided_is_not_decided_again(streams):
    def blocks():
        return [
            (Choosy(), FeedForward(4)),
            (Sublayer(Choosy(), dropout=0.3, seed=1), Choosy()),
        ]

    pair = make_pair(blocks)
    Choosy.decisions = 0
    reversible, plain = [train(stack, streams) for stack in pair]
    assert Choosy.decisions == 2 * 3
    assert_close(reversible, plain, 1e-5)


def test_trains_in_a_model_and_survives_a_file(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 5, 8)).astype("float32")
    histories, models = [], []
    for reversible in (True, False):
        inputs = keras.Input((None, 8))
        kernel = keras.initializers.GlorotNormal(1)
        block = [
            Sublayer(SelfAttention(2, 4, kernel_initializer=kernel)),
            Sublayer(FeedForward(12, kernel_initializer=kernel)),
        ]
        stack = ReversibleSequence([block], reversible)
        outputs = keras.layers.Add()(stack((inputs, inputs)))
        model = keras.Model(inputs, outputs)
        model.compile(
            keras.optimizers.SGD(0.2),
            loss="mse",
            jit_compile=reversible,
            run_eagerly=not reversible,
        )
        history = model.fit(
            x,
            np.tanh(x[..., ::-1]),
            batch_size=8,
            epochs=3,
            verbose=0,
            shuffle=False,
        )
        histories.append(history.history["loss"])
        models.append(model)
    np.testing.assert_allclose(*histories, rtol=1e-4)
    assert histories[0][-1] < 0.9 * histories[0][0]
    path = tmp_path / "model.keras"
    models[0].save(path)
    revived = keras.saving.load_model(path, safe_mode=True)
    assert_close(revived(x), models[0](x), 0.0)


def test_replicas_train_as_one_device_does(strategy):
    x = np.random.default_rng(0).normal(size=(8, 5, 8)).astype("float32")

    def fit(place):
        keras.utils.set_random_seed(0)
        with place.scope():
            inputs = keras.Input((5, 8))
            stack = ReversibleSequence(
                [
                    (keras.layers.Dense(8, "tanh"), keras.layers.Dense(8))
                    for _ in range(2)
                ]
            )
            outputs = keras.layers.Add()(stack((inputs, inputs)))
            model = keras.Model(inputs, outputs)
            model.compile(
                keras.optimizers.SGD(0.1), loss="mse", jit_compile=False
            )
        model.fit(x, x[..., ::-1], batch_size=8, epochs=2, verbose=0)
        return model.get_weights()

    assert_close(fit(strategy), fit(tf.distribute.get_strategy()), 1e-5)


class Measured(keras.layers.Layer):
    """Has a metric."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean = keras.metrics.Mean()

    def call(self, inputs):
        return inputs


class Lossy(keras.layers.Layer):
    """Adds two losses."""

    def call(self, inputs):
        self.add_loss(keras.ops.sum(inputs))
        self.add_loss(keras.ops.sum(inputs))
        return inputs


class Late(keras.layers.Layer):
    """Makes its weights when called, behind the back of `build`."""

    def build(self, input_shape):
        self.dense = keras.layers.Dense(8)

    def call(self, inputs):
        return self.dense(inputs)


class Spectral(keras.layers.Layer):
    """Assigns what it learns."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale")

    def call(self, inputs):
        self.scale.assign(self.scale / 2)
        return inputs * self.scale


BUILT = "`blocks` must make their weights in `build`, and draw by seed "
BUILT += "generators of their own."
ONCE = "`blocks` must not add losses: they would be added twice."


@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Measured(name="inner"),
            "`blocks` must not have metrics: they would be updated twice. "
            "Received: block=1, layer='inner', metrics=1.",
        ),
        (
            lambda: Lossy(name="inner"),
            f"{ONCE} Received: losses=2, layer='inner', place='g of block 1'.",
        ),
        (
            lambda: Sublayer(
                keras.layers.Dense(8, activity_regularizer="l2", name="inner")
            ),
            "`blocks` must not have activity regularizers: their losses would "
            "be added twice. Received: block=1, layer='inner'.",
        ),
        (
            lambda: Late(name="inner"),
            f"{BUILT} Received: layer='inner', place='g of block 1'.",
        ),
        (
            lambda: keras.layers.Lambda(
                lambda x: keras.random.dropout(x, 0.5), name="inner"
            ),
            f"{BUILT} Received: layer='inner', place='g of block 1'.",
        ),
        (
            lambda: Spectral(name="inner"),
            "`blocks` must not assign trainable weights. "
            "Received: layer='inner', place='g of block 1'.",
        ),
        (
            lambda: keras.layers.Dense(5, name="inner"),
            "`blocks` must keep the shape of a stream. Received: inputs=(2, 7, "
            "8), outputs=(2, 7, 5), layer='inner', place='g of block 1'.",
        ),
        (
            lambda: keras.layers.GRU(8, return_state=True, name="inner"),
            "`blocks` must keep the shape of a stream. Received: inputs=(2, 7, "
            "8), outputs=None, layer='inner', place='g of block 1'.",
        ),
    ],
)
def test_refuses_what_cannot_be_done_twice(streams, make, message, reversible):
    first = keras.layers.Dropout(0.5, seed=0)
    stack = ReversibleSequence(
        [(first, FeedForward(4)), (FeedForward(4), make())], reversible
    )
    with pytest.raises(ValueError) as error:
        stack(streams, training=True)
    assert message in str(error.value)
    # Nothing has changed.
    assert first.seed_generator.state.numpy()[1] == 0


def test_is_refused_when_a_model_is_put_together():
    inputs = [keras.Input((7, 8)) for _ in range(2)]
    dense = keras.layers.Dense(8, activity_regularizer="l2", name="inner")
    wrapped = keras.Sequential([Residual(dense)])
    stack = ReversibleSequence([(wrapped, FeedForward(4))])
    with pytest.raises(ValueError, match="must not have activity regularizers"):
        stack(inputs)
    assert not dense.weights


@pytest.mark.parametrize(
    ("blocks", "received"),
    [
        ([], "[]"),
        (None, "None"),
        ([(1, 2)], "[(1, 2)]"),
        ([[None]], "[[None]]"),
    ],
)
def test_rejects_blocks(blocks, received):
    with pytest.raises(ValueError) as error:
        ReversibleSequence(blocks)
    assert str(error.value) == (
        "`blocks` must be pairs of `keras.layers.Layer`. "
        f"Received: blocks={received}."
    )


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            [(2, 7, 8), (2, 7, 6)],
            "`inputs` must be two streams of the same shape. "
            "Received: x1=(2, 7, 8), x2=(2, 7, 6).",
        ),
        (
            [(2, 7, 8), (2, 8)],
            "`inputs` must be two streams of the same shape. "
            "Received: x1=(2, 7, 8), x2=(2, 8).",
        ),
        (
            [(2, 7, 6)] * 2,
            "`inputs` must have the shape (batch, ..., dim) with dim=8. "
            "Received: shape=(2, 7, 6).",
        ),
        ([(2, 7, 8)] * 3, "`inputs` must be a pair of streams."),
    ],
)
def test_rejects_streams(shapes, message):
    stack = ReversibleSequence([(FeedForward(4), FeedForward(4))])
    stack.build((SHAPE, SHAPE))
    with pytest.raises(ValueError) as error:
        stack([np.zeros(shape, "float32") for shape in shapes])
    assert message in str(error.value)
    with pytest.raises(ValueError) as error:
        stack([keras.Input(shape[1:]) for shape in shapes])
    assert message.split(" Received")[0] in str(error.value)
    new = ReversibleSequence([(FeedForward(4), FeedForward(4))])
    if shapes[0] != (2, 7, 6):
        with pytest.raises(ValueError) as error:
            new([np.zeros(shape, "float32") for shape in shapes])
        assert message in str(error.value)
        assert not new.weights
