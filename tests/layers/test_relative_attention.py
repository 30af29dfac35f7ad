"""Tests of keras_xf.layers.RelativeAttention.

What every layer owes (configuration, saving, export, shapes, precision,
gradients) is tested in tests/conformance; here is what only this layer does.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import RelativeAttention
from keras_xf.layers import RelativeBiases
from keras_xf.layers import RelativePositions
from keras_xf.layers import SelfAttention
from keras_xf.layers import XLMemory
from tests.oracles import transformer_xl as oracle

HEADS, DIM, KEY_DIM, VALUE_DIM = 2, 8, 4, 3


@pytest.fixture
def sequences():
    generator = np.random.default_rng(0)
    return generator.normal(size=(3, 12, DIM)).astype("float32")


def make(**kwargs):
    """A layer with weights of unit size, biases too."""
    layer = RelativeAttention(
        **{
            "num_heads": HEADS,
            "key_dim": KEY_DIM,
            "value_dim": VALUE_DIM,
            "biases_initializer": keras.initializers.RandomNormal(0, 1, seed=5),
            "kernel_initializer": keras.initializers.GlorotUniform(seed=4),
            **kwargs,
        }
    )
    layer.build((None, None, DIM))
    return layer


def oracle_weights(layer):
    """Weights of a layer without biases of projections, for the oracle."""
    value_dim = layer.value_dim or layer.key_dim
    key, value = np.split(
        layer.key_value.kernel.numpy().reshape(DIM, HEADS, -1),
        [layer.key_dim],
        axis=-1,
    )
    shape = (DIM, HEADS, layer.key_dim)
    return {
        "query": layer.query.kernel.numpy().reshape(shape),
        "key": key,
        "value": value,
        "position": layer.position.kernel.numpy().reshape(shape),
        "output": layer.output_projection.kernel.numpy().reshape(
            HEADS, value_dim, DIM
        ),
        "content_bias": layer.content_bias.numpy(),
        "position_bias": layer.position_bias.numpy(),
    }


def assert_close(actual, expected, atol=2e-6):
    np.testing.assert_allclose(actual, expected, atol=atol)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clamp_length": 3},
        {"attention_window": 1},
        {"attention_window": 4, "clamp_length": 2},
        {"attention_window": 7},
        {"value_dim": None},
    ],
)
def test_equals_the_oracle(sequences, options):
    layer = make(**options)
    memory, inputs = np.split(sequences, [7], axis=1)
    remembered, real = [7, 3, 0], [5, 5, 2]
    outputs = layer(
        inputs,
        memory=memory,
        memory_length=np.array(remembered),
        padding_mask=np.arange(5) < np.c_[real],
    )
    options = {k: v for k, v in options.items() if k != "value_dim"}
    for row in range(3):
        expected = oracle.attend(
            oracle_weights(layer),
            inputs[row, : real[row]],
            memory[row, 7 - remembered[row] :],
            **options,
        )
        assert_close(outputs[row, : real[row]], expected)


def test_without_positions_it_is_plain_causal_attention(sequences):
    layer = make(biases_initializer="zeros")
    layer.position.kernel.assign(np.zeros((DIM, HEADS * KEY_DIM)))
    memory, inputs = np.split(sequences, [7], axis=1)
    plain = SelfAttention(HEADS, KEY_DIM, VALUE_DIM, causal=True)
    plain.build((None, None, DIM))
    weights = oracle_weights(layer)
    kernels = [weights[name] for name in ("query", "key", "value")]
    kernel = np.concatenate(kernels, axis=-1).reshape(DIM, -1)
    plain.query_key_value.kernel.assign(kernel)
    plain.output_projection.kernel.assign(layer.output_projection.kernel)
    assert_close(layer(inputs, memory=memory), plain(sequences)[:, 7:])


def test_biases_of_projections_stand_where_they_should(sequences):
    # A query's bias is one more for both of the layer's biases, a key's changes
    # no softmax, and a value's arrives whole.
    layer, plain = make(use_bias=True), make()
    generator = np.random.default_rng(1)
    query = generator.normal(size=(HEADS, KEY_DIM))
    key = generator.normal(size=(HEADS, KEY_DIM))
    value = generator.normal(size=(HEADS, VALUE_DIM))
    last = generator.normal(size=DIM)
    layer.query.bias.assign(query.ravel())
    layer.key_value.bias.assign(np.concatenate([key, value], axis=-1).ravel())
    layer.output_projection.bias.assign(last)
    assert layer.position.bias is None
    for name in ("content_bias", "position_bias"):
        getattr(plain, name).assign_add(query)
    memory, inputs = np.split(sequences, [7], axis=1)
    expected = plain(inputs, memory=memory) + (
        value.ravel() @ plain.output_projection.kernel.numpy() + last
    )
    assert_close(layer(inputs, memory=memory), expected, 5e-6)


def segments_with_memory(layer, sequences, widths, size):
    """Outputs of segments one after the other, each with the memory before."""
    memory_layer = XLMemory(size)
    memory = memory_layer.initial_state(len(sequences), (), DIM)
    outputs = []
    for inputs in np.split(sequences, np.cumsum(widths)[:-1], axis=1):
        outputs.append(layer(inputs, **memory))
        memory = dict(zip(memory, memory_layer(inputs, **memory), strict=True))
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("widths", [[12], [5, 4, 3], [2, 9, 1]])
@pytest.mark.parametrize(
    ("window", "size"), [(None, 12), (4, 3), (4, 7), (1, 0), (40, 12)]
)
def test_segments_equal_one_pass(sequences, widths, window, size):
    layer = make(attention_window=window)
    outputs = segments_with_memory(layer, sequences, widths, size)
    assert_close(outputs, layer(sequences))


def test_a_small_memory_hides_what_it_has_forgotten(sequences):
    layer = make()
    outputs = segments_with_memory(layer, sequences, [4, 5, 3], 2)
    weights = oracle_weights(layer)
    for start, stop in [(0, 4), (4, 9), (9, 12)]:
        for row in range(3):
            expected = oracle.attend(
                weights,
                sequences[row, start:stop],
                sequences[row, max(start - 2, 0) : start],
            )
            assert_close(outputs[row, start:stop], expected)


def test_a_window_shorter_of_memory_than_it_sees_less(sequences):
    # One position less than the window wants, and the first of a segment
    # misses it.
    layer = make(attention_window=4)
    outputs = segments_with_memory(layer, sequences, [6, 6], 2)
    differs = np.any(np.abs(outputs - layer(sequences)) > 1e-4, axis=-1)
    np.testing.assert_array_equal(differs, [[i == 6 for i in range(12)]] * 3)


def test_a_buffer_with_a_length_equals_a_memory_of_that_length(sequences):
    layer = make()
    memory, inputs = np.split(sequences, [7], axis=1)
    for length in (0, 1, 5, 7):
        alone = layer(inputs, memory=memory[:, 7 - length :])
        buffer = memory.copy()
        # What is not real is nonsense, which must leave nothing behind.
        buffer[:, : 7 - length] = 1e3
        lengths = np.full(3, length, "int32")
        outputs = layer(inputs, memory=buffer, memory_length=lengths)
        assert_close(outputs, alone)
    assert_close(layer(inputs, memory=memory[:, 7:]), layer(inputs))


def test_zeros_that_are_remembered_are_attended_to(sequences):
    layer = make()
    zeros = np.zeros((3, 4, DIM), "float32")
    outputs = np.asarray(layer(sequences, memory=zeros))
    for row in range(3):
        expected = oracle.attend(
            oracle_weights(layer), sequences[row], zeros[row]
        )
        assert_close(outputs[row], expected)
    assert np.max(np.abs(outputs - layer(sequences))) > 0.1


def test_padding_after_a_memory_leaves_nothing_behind(sequences):
    layer, memory_layer = make(), XLMemory(6)
    state = memory_layer.initial_state(3, (), DIM)
    seen = np.zeros(3, int)
    for lengths in ([5, 1, 3], [1, 0, 4], [4, 5, 1]):
        width = max(lengths)
        inputs = np.full((3, width, DIM), 1e3, "float32")
        for row, length in enumerate(lengths):
            inputs[row, :length] = sequences[row, seen[row] :][:length]
        length = np.array(lengths, "int32")
        mask = np.arange(width) < length[:, None]
        outputs = layer(inputs, padding_mask=mask, **state)
        for row, length_of_row in enumerate(lengths):
            start, stop = seen[row], seen[row] + length_of_row
            expected = oracle.attend(
                oracle_weights(layer),
                sequences[row, start:stop],
                sequences[row, max(start - 6, 0) : start],
            )
            assert_close(outputs[row, :length_of_row], expected, 5e-6)
        pair = memory_layer(inputs, **state, length=length)
        state = dict(zip(state, pair, strict=True))
        seen += lengths


def test_masks_of_keras_are_honored_beside_a_memory(sequences):
    ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    embedding = keras.layers.Embedding(5, DIM, mask_zero=True)
    layer = make()
    memory = sequences[:, :4]
    expected = np.asarray(
        layer(np.asarray(embedding(ids)), memory=memory, padding_mask=ids > 0)
    )
    assert_close(layer(embedding(ids), memory=memory), expected)


def test_rows_and_their_memories_do_not_mix(sequences):
    layer = make()
    memory, inputs = np.split(sequences, [7], axis=1)
    outputs = np.asarray(layer(inputs, memory=memory))
    changed = memory.copy()
    changed[1] += 1
    others = np.asarray(layer(inputs, memory=changed))
    np.testing.assert_array_equal(others[::2], outputs[::2])
    assert np.all(np.any(others[1] != outputs[1], axis=-1))


def test_the_past_does_not_know_the_future(sequences):
    layer = make()
    memory, inputs = np.split(sequences, [7], axis=1)
    changed = inputs.copy()
    changed[:, 3:] += 1
    outputs, others = (layer(x, memory=memory) for x in (inputs, changed))
    np.testing.assert_array_equal(outputs[:, :3], others[:, :3])
    assert np.all(np.any(outputs[:, 3:] != others[:, 3:], axis=-1))


def test_gradients_come_from_a_memory_but_do_not_go_into_it(sequences):
    layer = make(dtype="float64")
    memory, inputs = np.split(sequences.astype("float64"), [7], axis=1)
    memory = tf.Variable(memory)
    factors = np.random.default_rng(1).normal(size=inputs.shape)

    def weighted_sum(**arguments):
        return tf.reduce_sum(layer(inputs, **arguments) * factors)

    points = {w.path: w.value for w in layer.trainable_weights}
    points["memory"] = memory
    with tf.GradientTape() as tape:
        loss = weighted_sum(memory=memory)
    gradients = tape.gradient(loss, points)
    assert gradients.pop("memory") is None
    with tf.GradientTape() as tape:
        loss = weighted_sum(memory=memory, stop_memory_gradient=False)
    gradients["memory"] = tape.gradient(loss, memory)
    for name, point in points.items():
        direction = np.random.default_rng(2).normal(size=point.shape)
        values = []
        for step in (1e-6, -1e-6):
            point.assign_add(step * direction)
            values.append(weighted_sum(memory=memory))
            point.assign_sub(step * direction)
        # The weights were the same for the memory and for the inputs.
        np.testing.assert_allclose(
            tf.reduce_sum(gradients[name] * direction),
            (values[0] - values[1]) / 2e-6,
            rtol=1e-6,
            atol=1e-7,
            err_msg=name,
        )


@pytest.mark.parametrize(
    ("pieces", "new_length", "options"),
    [
        ([12], 1, {}),
        ([1] * 12, 1, {"clamp_length": 3}),
        ([4, 1, 5, 2], 1, {"attention_window": 4, "clamp_length": 2}),
        ([4, 1, 5, 2], 4, {}),
        ([4, 4, 4], 4, {"attention_window": 3, "clamp_length": 2}),
        ([6, 1, 1, 4], 4, {"attention_window": 1}),
        ([1] * 12, 1, {"attention_window": 5}),
    ],
)
def test_steps_equal_one_pass(sequences, pieces, new_length, options):
    layer = make(**options)
    expected = layer(sequences)
    state = layer.initial_state(3, 12, new_length)
    size = min(12, options.get("attention_window", 12))
    assert state["key"].shape == (3, HEADS, size, KEY_DIM)
    assert state["value"].shape == (3, HEADS, size, VALUE_DIM)
    places = size + new_length + 1
    assert state["positions"].shape == (3, HEADS, places, KEY_DIM)
    outputs = []
    for piece in np.split(sequences, np.cumsum(pieces)[:-1], axis=1):
        output, state = layer(piece, state=state)
        outputs.append(output)
    assert_close(np.concatenate(outputs, axis=1), expected)
    np.testing.assert_array_equal(state["position"], [12, 12, 12])


@pytest.mark.parametrize("pieces", [[12], [1] * 12, [4, 1, 5, 2]])
def test_a_full_state_forgets_the_oldest(sequences, pieces):
    layer = make()
    state = layer.initial_state(batch_size=3, max_length=3)
    start = 0
    for piece in np.split(sequences, np.cumsum(pieces)[:-1], axis=1):
        output, state = layer(piece, state=state)
        memory = sequences[:, max(start - 3, 0) : start]
        assert_close(output, layer(piece, memory=memory))
        start += piece.shape[1]


def test_rows_of_a_step_may_be_of_different_lengths(sequences):
    layer = make(attention_window=5)
    expected = np.asarray(layer(sequences))
    state = layer.initial_state(batch_size=3, max_length=12)
    seen = np.zeros(3, int)
    for lengths in ([5, 1, 3], [1, 0, 4], [4, 5, 1], [0, 4, 2], [1, 1, 1]):
        lengths = np.array(lengths)
        width = max(lengths)
        # What is not real is nonsense, which must leave nothing behind.
        piece = np.full((3, width, DIM), 1e3, "float32")
        for row, length in enumerate(lengths):
            piece[row, :length] = sequences[row, seen[row] :][:length]
        mask = np.arange(width) < lengths[:, None]
        outputs, state = layer(piece, padding_mask=mask, state=state)
        for row, length in enumerate(lengths):
            assert_close(
                outputs[row, :length], expected[row, seen[row] :][:length]
            )
        seen += lengths
    np.testing.assert_array_equal(state["position"], seen)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_steps_of_open_length_agree(sequences, jit_compile):
    layer = make(attention_window=5)
    expected = layer(sequences)
    state = layer.initial_state(batch_size=3, max_length=12, new_length=4)
    specs = {k: tf.TensorSpec(x.shape, x.dtype) for k, x in state.items()}

    @tf.function(
        input_signature=[tf.TensorSpec([3, None, DIM]), specs],
        jit_compile=jit_compile,
    )
    def function(piece, state):
        return layer(piece, state=state)

    start = 0
    for width in (4, 1, 3, 4):
        piece = sequences[:, start : start + width]
        output, state = function(piece, state)
        assert_close(output, expected[:, start : start + width])
        start += width


def test_given_positions_and_biases_are_those_of_the_layer(sequences):
    layer = make(clamp_length=3)
    memory, inputs = np.split(sequences, [7], axis=1)
    expected = layer(inputs, memory=memory)
    positions = RelativePositions(clamp_length=3)(inputs, memory=memory)
    # With positions that are given, a clamp of its own does not matter.
    other = make(own_biases=False)
    assert len(other.weights) == len(layer.weights) - 2
    biases = layer.content_bias.numpy(), layer.position_bias.numpy()
    outputs = other(inputs, memory=memory, positions=positions, biases=biases)
    assert_close(outputs, expected)
    shared = RelativeBiases(HEADS, KEY_DIM)
    shared.build(inputs.shape)
    shared.set_weights(biases)
    outputs = other(
        inputs, memory=memory, positions=positions, biases=shared(inputs)
    )
    assert_close(outputs, expected)


def test_a_layer_with_other_options_has_the_very_weights(sequences):
    for layer in (make(), make(own_biases=False, dropout=0.5)):
        other = layer.with_options(attention_window=3, clamp_length=2)
        assert (other.attention_window, other.clamp_length) == (3, 2)
        assert (layer.attention_window, layer.clamp_length) == (None, None)
        assert {id(w) for w in other.trainable_weights} == {
            id(w) for w in layer.trainable_weights
        }
        assert other.name == layer.name
        back = other.with_options(attention_window=None, clamp_length=None)
        assert back.get_config() == layer.get_config()
    layer = make()
    other = layer.with_options(attention_window=3, clamp_length=2)
    for _ in range(2):
        expected = [
            oracle.attend(
                oracle_weights(layer),
                row,
                row[:0],
                attention_window=3,
                clamp_length=2,
            )
            for row in sequences
        ]
        assert_close(other(sequences), expected)
        # It follows.
        layer.content_bias.assign_add(np.ones((HEADS, KEY_DIM)))


def test_only_unknown_options_and_layers_without_weights_are_refused():
    with pytest.raises(ValueError) as error:
        make().with_options(dropout=0.5, clamp_length=3)
    assert str(error.value) == (
        "`options` must be of ('clamp_length', 'attention_window'). "
        "Received: options=['clamp_length', 'dropout']."
    )
    layer = RelativeAttention(HEADS, KEY_DIM, name="attention")
    with pytest.raises(ValueError) as error:
        layer.with_options(clamp_length=3)
    assert str(error.value) == (
        "`layer` must be built. Received: layer='attention'."
    )
    with pytest.raises(ValueError) as error:
        make().with_options(attention_window=0)
    assert str(error.value) == (
        "`attention_window` must be positive. Received: attention_window=0."
    )


@pytest.mark.parametrize(
    "initializer", ["orthogonal", keras.initializers.Orthogonal(seed=3)]
)
def test_all_weights_start_from_their_own_draws(initializer):
    layer = make(
        num_heads=1,
        key_dim=8,
        value_dim=8,
        kernel_initializer=initializer,
        biases_initializer=initializer,
    )
    starts = [w.numpy().ravel()[:64] for w in layer.trainable_weights]
    kernels = [start for start in starts if len(start) == 64]
    biases = [start for start in starts if len(start) == 8]
    assert (len(kernels), len(biases)) == (4, 2)
    for group in (kernels, biases):
        correlations = np.abs(np.corrcoef(group)) - np.eye(len(group))
        assert np.max(correlations) < 0.9


def test_an_empty_sequence_stays_empty():
    layer = make()
    memory = np.zeros((3, 4, DIM), "float32")
    empty = np.zeros((3, 0, DIM), "float32")
    assert layer(empty).shape == (3, 0, DIM)
    assert layer(empty, memory=memory).shape == (3, 0, DIM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_heads": 0},
            "`num_heads` must be positive. Received: num_heads=0.",
        ),
        (
            {"key_dim": 0},
            "`key_dim` must be positive. Received: key_dim=0.",
        ),
        (
            {"value_dim": -1},
            "`value_dim` must be positive. Received: value_dim=-1.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
        (
            {"clamp_length": 0},
            "`clamp_length` must be positive. Received: clamp_length=0.",
        ),
        (
            {"attention_window": 0},
            "`attention_window` must be positive. Received: "
            "attention_window=0.",
        ),
        (
            {"attention_window": 2.5},
            "`attention_window` must be an integer. Received: "
            "attention_window=2.5.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        RelativeAttention(**{"num_heads": 2, "key_dim": 4, **arguments})
    assert str(error.value) == message


def test_rejects_an_odd_width():
    layer = RelativeAttention(num_heads=2, key_dim=4)
    with pytest.raises(ValueError) as error:
        layer(np.zeros((3, 5, 7)))
    assert str(error.value) == (
        "`inputs` must have an even width. Received: shape=(3, 5, 7)."
    )


def biases_of(*shapes):
    return tuple(np.zeros(shape, "float32") for shape in shapes)


MEMORY = np.zeros((3, 7, DIM), "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"memory": MEMORY[:2]},
            "`memory` must have the shape (batch, memory_length, dim) with "
            "batch=3, dim=8. Received: shape=(2, 7, 8).",
        ),
        (
            {"memory": MEMORY[..., :6]},
            "`memory` must have the shape (batch, memory_length, dim) with "
            "batch=3, dim=8. Received: shape=(3, 7, 6).",
        ),
        (
            {"memory": MEMORY[0]},
            "`memory` must have the shape (batch, memory_length, dim) with "
            "batch=3, dim=8. Received: shape=(7, 8).",
        ),
        (
            {"memory_length": np.zeros(3, "int32")},
            "`memory_length` must not be given without a `memory`. Received: "
            "memory=None.",
        ),
        (
            {"memory": MEMORY, "memory_length": np.zeros((3, 1), "int32")},
            "`memory_length` must have the shape (batch,) with batch=3. "
            "Received: shape=(3, 1).",
        ),
        (
            {"memory": MEMORY, "memory_length": np.zeros(2, "int32")},
            "`memory_length` must have the shape (batch,) with batch=3. "
            "Received: shape=(2,).",
        ),
        (
            {"padding_mask": np.ones((3, 12), bool), "memory": MEMORY},
            "`padding_mask` must have the shape (batch, length) with batch=3, "
            "length=5. Received: shape=(3, 12).",
        ),
        (
            {"positions": np.zeros((5, DIM), "float32")},
            "`positions` must have the shape (source_length + 1, dim) with "
            "dim=8, source_length + 1=6. Received: shape=(5, 8).",
        ),
        (
            {"positions": np.zeros((6, DIM), "float32"), "memory": MEMORY},
            "`positions` must have the shape (source_length + 1, dim) with "
            "dim=8, source_length + 1=13. Received: shape=(6, 8).",
        ),
        (
            {"biases": biases_of((2, 4), (2, 4))},
            "`biases` must be given if the layer has none, and only then. "
            "Received: own_biases=True.",
        ),
    ],
)
def test_rejects_at_a_call(arguments, message):
    with pytest.raises(ValueError) as error:
        make()(np.zeros((3, 5, DIM), "float32"), **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("biases", "message"),
    [
        (
            None,
            "`biases` must be given if the layer has none, and only then. "
            "Received: own_biases=False.",
        ),
        (
            biases_of((2, 4), (2, 3)),
            "`biases` must have the shape (num_heads, key_dim) with "
            "num_heads=2, key_dim=4. Received: shape=(2, 3).",
        ),
    ],
)
def test_rejects_biases(biases, message):
    layer = make(own_biases=False)
    with pytest.raises(ValueError) as error:
        layer(np.zeros((3, 5, DIM), "float32"), biases=biases)
    assert message in str(error.value)


def test_a_state_stands_alone():
    layer = make()
    state = layer.initial_state(batch_size=3, max_length=4)
    inputs = np.zeros((3, 5, DIM), "float32")
    with pytest.raises(ValueError) as error:
        layer(inputs, state=state, memory=MEMORY)
    assert (
        "`memory` must not be given beside a `state`. Received: shape=(3, 7, "
        "8)." in str(error.value)
    )
    with pytest.raises(ValueError) as error:
        layer(inputs, state=state, positions=np.zeros((10, DIM), "float32"))
    assert (
        "`positions` must not be given beside a `state`. Received: "
        "shape=(10, 8)." in str(error.value)
    )
