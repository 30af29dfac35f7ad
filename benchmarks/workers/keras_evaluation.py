"""Evaluation by our Transformer-XL, with a memory or a window.

Or by our base Transformer with a window, which has positions in its inputs.
"""

import answering
import evaluation_inputs
import keras
import tensorflow as tf

from benchmarks import evaluation_models


def prepare(case, sizes):
    """Evaluates the next segment of a stream, or a window."""
    model = evaluation_models.build_evaluated(
        sizes, evaluation_inputs.evaluation_weights(sizes)
    )
    step, state = evaluation_models.evaluation_step(model, sizes)
    step = tf.function(step, jit_compile=sizes["xla"], autograph=False)

    def evaluate(token_ids, target_ids):
        nonlocal state
        nll, state = step(
            tf.constant(token_ids), tf.constant(target_ids), state
        )
        return nll.numpy()

    call, facts = evaluation_inputs.prepare_evaluation(
        evaluate, case, sizes, model.count_params()
    )
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return call, {**versions, **facts}


if __name__ == "__main__":
    answering.answer(prepare)
