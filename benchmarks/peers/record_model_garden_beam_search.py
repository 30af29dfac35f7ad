"""Records what beam search of the TensorFlow Model Garden finds.

Logits come from a table, by the last two tokens. Hypotheses end with token 1;
token 0 is what the search fills with, and is never probable. All end well
before the last step: what it does with others is not ours.
"""

import sys

import numpy as np
import tensorflow as tf
from official.nlp.modeling.ops import beam_search
from recording import write_recording

BATCH_SIZE, VOCABULARY_SIZE, MAX_LENGTH, EOS = 6, 12, 24, 1
CASES = {
    "greedy": (1, 0.0),
    "beams_2": (2, 0.6),
    "beams_4": (4, 0.6),
    "beams_4_long": (4, 1.0),
    "beams_4_plain": (4, 0.0),
}


def main(path):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    random = np.random.default_rng(0)
    table = random.normal(scale=1.5, size=(VOCABULARY_SIZE,) * 3)
    table[..., EOS] += 1.5
    table[..., 0] = -1e4
    first = random.integers(2, VOCABULARY_SIZE, BATCH_SIZE, "int32")
    arrays = {"table": table, "first": first}
    for case, (beam_size, alpha) in CASES.items():
        sequences, scores = beam_search.sequence_beam_search(
            step_of(tf.constant(table, tf.float32)),
            initial_ids=tf.constant(first, tf.int32),
            # It takes states of its own dtype alone.
            initial_cache={"last": tf.zeros([BATCH_SIZE, 1])},
            vocab_size=VOCABULARY_SIZE,
            beam_size=beam_size,
            alpha=alpha,
            max_decode_length=MAX_LENGTH,
            eos_id=EOS,
        )
        # Behind the first token, EOS counted, zeros behind it.
        sequences = sequences.numpy()[..., 1:]
        assert (sequences == EOS).sum(-1).min() == 1, "all must have ended"
        assert (sequences != 0).sum(-1).max() < MAX_LENGTH
        arrays[f"{case}/token_ids"] = np.pad(
            sequences,
            [(0, 0), (0, 0), (0, MAX_LENGTH - sequences.shape[-1])],
        )
        arrays[f"{case}/scores"] = scores.numpy()
    write_recording(path, __file__, "model_garden", arrays)


def step_of(table):
    """Logits that follow, as the search asks for them."""

    def step(token_ids, index, cache):
        last = token_ids[:, -1]
        before = tf.cast(cache["last"][:, 0], tf.int32)
        logits = tf.gather_nd(table, tf.stack([before, last], axis=-1))
        return logits, {"last": tf.cast(last[:, None], tf.float32)}

    return step


if __name__ == "__main__":
    main(sys.argv[1])
