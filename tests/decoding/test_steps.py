"""Tests of keras_xf.decoding.steps: what a step function is held to."""

import pytest
import tensorflow as tf

from keras_xf.decoding import generate

STATE = {"cache": tf.zeros([2, 4]), "clock": {"position": tf.zeros([2])}}


def run(step):
    # Autograph would wrap the errors' messages.
    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    def function(token_ids):
        return generate(step, STATE, token_ids, [1, 1], max_new_tokens=3)

    return function(tf.fill([2, 1], 2))


STATE_MESSAGE = (
    "`step` must return a state of the structure, shapes and dtypes that it "
    "was given. Received: given={'cache': 'float32(2, 4)', 'clock': "
    "{'position': 'float32(2,)'}}, returned=%s."
)


@pytest.mark.parametrize(
    ("next_state", "returned"),
    [
        ({"cache": tf.zeros([2, 4])}, "{'cache': 'float32(2, 4)'}"),
        (
            {"cache": tf.zeros([2, 5]), "clock": {"position": tf.zeros([2])}},
            "{'cache': 'float32(2, 5)', 'clock': {'position': 'float32(2,)'}}",
        ),
        (
            {
                "cache": tf.zeros([2, 4]),
                "clock": {"position": tf.zeros([2], tf.int32)},
            },
            "{'cache': 'float32(2, 4)', 'clock': {'position': 'int32(2,)'}}",
        ),
    ],
)
def test_state_that_changes_its_form_is_rejected(next_state, returned):
    def step(token_ids, state, length=None):
        return tf.zeros([2, 1, 9]), next_state

    with pytest.raises(ValueError) as error:
        run(step)
    assert str(error.value) == STATE_MESSAGE % returned


@pytest.mark.parametrize(
    ("make_logits", "shape"),
    [
        (lambda nine: tf.zeros([2, 9]), "(2, 9)"),
        (lambda nine: tf.zeros([2, 1, nine]), "(2, 1, None)"),
        (lambda nine: tf.zeros(tf.ones([nine], tf.int32)), "<unknown>"),
    ],
)
def test_logits_of_a_wrong_shape_are_rejected(make_logits, shape):
    def step(token_ids, state, length=None):
        return make_logits(0 * token_ids[0, 0] + 9), state

    with pytest.raises(ValueError) as error:
        run(step)
    assert str(error.value) == (
        "`step` must return logits of shape (batch, length, vocabulary), the "
        f"vocabulary's size known. Received: shape='{shape}'."
    )


def test_each_step_sees_the_static_shapes_of_the_initial_state():
    def step(token_ids, state, length=None):
        assert state["cache"].shape == (2, 4)
        batch_size = tf.shape(token_ids)[0]
        cache = tf.reshape(state["cache"] + 1.0, [batch_size, -1])
        assert cache.shape.as_list() == [None, None]
        position = state["clock"]["position"]
        return tf.zeros([batch_size, tf.shape(token_ids)[1], 9]), {
            "cache": cache,
            "clock": {"position": position},
        }

    assert run(step)["token_ids"].shape == (2, 1, 3)
