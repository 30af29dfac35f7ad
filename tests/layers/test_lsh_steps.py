"""What `LSHSelfAttention` says with a state, beside what it says without."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import LSHSelfAttention

# Of the prompt, of several positions more, and of as many single ones.
PROMPT, MORE, SINGLE = np.array([7, 0, 3]), np.array([5, 6, 2]), 3


@pytest.mark.parametrize(
    ("num_hashes", "reference_compatible", "chunks_before"),
    [(3, False, 1), (2, False, 2), (1, False, 0), (1, True, 1), (2, True, 1)],
)
def test_steps_are_the_last_positions_of_whole_passes(
    num_hashes, reference_compatible, chunks_before
):
    layer = LSHSelfAttention(
        2,
        4,
        chunk_length=4,
        chunks_before=chunks_before,
        num_hashes=num_hashes,
        num_buckets=6,
        causal=True,
        reference_compatible=reference_compatible,
        seed=1,
    )
    sequences = np.random.default_rng(0).normal(size=(3, 19, 8))
    sequences = sequences.astype("float32")
    layer.build(sequences.shape)

    def whole(row, length, padded_length=None):
        padded_length = padded_length or length
        outputs = layer(
            sequences[row : row + 1, :padded_length],
            padding_mask=np.arange(padded_length)[None] < length,
        )
        return np.asarray(outputs)[0, :length]

    def give(state, seen, counts):
        """The next positions of each row, padded with what has no meaning."""
        length = max(counts)
        inputs = np.full((3, length, 8), 9, "float32")
        for row, count in enumerate(counts):
            start = seen[row]
            inputs[row, :count] = sequences[row, start : start + count]
        return layer(
            inputs,
            padding_mask=np.arange(length) < counts[:, None],
            state=state,
        )

    state = layer.initial_state(3, 24)
    outputs, state = give(state, 0 * PROMPT, PROMPT)
    # The references weigh one that sees only itself by how long all are.
    padded_length = max(PROMPT) if reference_compatible else None
    for row in (0, 2):
        length = PROMPT[row]
        expected = whole(row, length, padded_length)
        np.testing.assert_allclose(outputs[row, :length], expected, atol=1e-5)
    outputs, state = give(state, PROMPT, MORE)
    # What is new to an empty row is hashed together, as a prompt is.
    np.testing.assert_allclose(outputs[1, :6], whole(1, 6), atol=1e-5)
    for row in (0, 2):
        for place in range(MORE[row]):
            expected = whole(row, PROMPT[row] + place + 1)[-1]
            np.testing.assert_allclose(outputs[row, place], expected, atol=1e-5)
    seen = PROMPT + MORE
    for _ in range(SINGLE):
        outputs, state = give(state, seen, np.ones(3, int))
        seen = seen + 1
        for row in range(3):
            expected = whole(row, seen[row])[-1]
            np.testing.assert_allclose(outputs[row, 0], expected, atol=1e-5)


def test_in_training_a_state_is_gone_on_with_as_in_inference():
    layer = LSHSelfAttention(2, 4, chunk_length=2, causal=True, seed=1)
    inputs = np.random.default_rng(0).normal(size=(2, 9, 8)).astype("float32")
    layer.build(inputs.shape)
    results = []
    for training in (False, True):
        state = layer.initial_state(2, 12)
        _, state = layer(inputs[:, :8], state=state, training=training)
        outputs, _ = layer(inputs[:, 8:], state=state, training=training)
        results.append(outputs)
    np.testing.assert_array_equal(*results)


def test_a_state_of_open_room():
    layer = LSHSelfAttention(2, 4, chunk_length=2, causal=True, seed=1)
    inputs = np.random.default_rng(0).normal(size=(2, 9, 8)).astype("float32")
    layer.build(inputs.shape)
    state = layer.initial_state(2, 12)

    def open_room(x):
        sizes = [None if size == 12 else size for size in x.shape]
        return tf.TensorSpec(sizes, x.dtype)

    @tf.function(
        input_signature=[
            tf.TensorSpec(inputs.shape),
            {name: open_room(x) for name, x in state.items()},
        ]
    )
    def step(inputs, state):
        return layer(inputs, state=state)

    expected, _ = layer(inputs, state=state)
    np.testing.assert_allclose(step(inputs, state)[0], expected, atol=1e-6)
