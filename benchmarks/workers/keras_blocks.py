"""A block of attention and feed-forward on Keras, in branches or whole.

All train by the very step of `Model.fit`, with Keras's Adam.
"""

import itertools

import answering
import attention_inputs
import keras
import tensorflow as tf

from benchmarks import branch_blocks


def prepare(case, sizes):
    """A training step of `fit`."""
    keras.utils.set_random_seed(0)
    model = branch_blocks.build_block(sizes["implementation"], sizes)
    branch_blocks.compile_block(model, jit_compile=sizes["xla"])
    inputs, targets = map(
        tf.convert_to_tensor, attention_inputs.attention_inputs(sizes)
    )
    batch = ({"inputs": inputs}, {"outputs": targets})
    # Variables of the optimizer and the metrics, as `fit` makes them.
    model.train_on_batch(*batch)
    model.make_train_function(force=True)
    batches = itertools.repeat(batch)
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return lambda: float(model.train_function(batches)["loss"]), versions


if __name__ == "__main__":
    answering.answer(prepare)
