"""What our beam search finds, beside that of the TensorFlow Model Garden."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import beam_search
from tests import recorded_arrays
from tests.decoding.fake_steps import PairStep

CASES = {
    "greedy": (1, 0.0),
    "beams_2": (2, 0.6),
    "beams_4": (4, 0.6),
    "beams_4_long": (4, 1.0),
    "beams_4_plain": (4, 0.0),
}
EOS = 1


@pytest.mark.parametrize("case", CASES)
def test_finds_the_same(case):
    recorded = recorded_arrays.load("model_garden_beam_search")
    expected = recorded[f"{case}/token_ids"]
    num_beams, length_penalty = CASES[case]
    first = recorded["first"].astype("int32")[:, None]
    step = PairStep(recorded["table"])
    found = beam_search(
        step,
        step.initial_state(len(first)),
        tf.constant(first),
        np.ones(len(first), "int32"),
        max_new_tokens=expected.shape[-1],
        num_beams=num_beams,
        num_hypotheses=num_beams,
        length_penalty=length_penalty,
        suppressed_ids=(0,),
        eos_id=EOS,
    )
    # Theirs have their EOS.
    np.testing.assert_array_equal(
        found["token_ids"], np.where(expected == EOS, 0, expected)
    )
    np.testing.assert_array_equal(found["length"], (expected != 0).sum(-1) - 1)
    np.testing.assert_allclose(
        found["score"], recorded[f"{case}/scores"], rtol=1e-5
    )
    # Longer and shorter ones are among them.
    assert np.ptp(found["length"]) > 2
