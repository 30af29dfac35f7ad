"""What `LSHSelfAttention` says with a state, beside what it says without."""

import numpy as np
import pytest

from keras_xf.layers import LSHSelfAttention

# Of the prompt, of several positions more, and of as many single ones.
PROMPT, MORE, SINGLE = np.array([7, 0, 3]), np.array([5, 6, 2]), 3


@pytest.mark.parametrize(
    ("num_hashes", "reference_compatible"), [(3, False), (1, True)]
)
def test_steps_are_the_last_positions_of_whole_passes(
    num_hashes, reference_compatible
):
    layer = LSHSelfAttention(
        2,
        4,
        chunk_length=4,
        num_hashes=num_hashes,
        num_buckets=6,
        causal=True,
        reference_compatible=reference_compatible,
        seed=1,
    )
    sequences = np.random.default_rng(0).normal(size=(3, 19, 8))
    sequences = sequences.astype("float32")
    layer.build(sequences.shape)

    def whole(row, length):
        return np.asarray(layer(sequences[row : row + 1, :length]))[0]

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
    for row in (0, 2):
        length = PROMPT[row]
        np.testing.assert_allclose(
            outputs[row, :length], whole(row, length), atol=1e-5
        )
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
