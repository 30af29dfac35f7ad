"""A training step of a Reformer, by the very step of `Model.fit`."""

import itertools
from unittest import mock

import answering
import keras
import tensorflow as tf
from token_batches import token_batch

from benchmarks import reformer_models
from benchmarks.attention_layers import FORMS
from keras_xf.ops import attention


def prepare(case, sizes):
    """One step of Keras's Adam on one batch."""
    form = FORMS.get(sizes["dense_form"])
    if form is not None:
        # For good: the process makes this step alone.
        mock.patch.object(attention, "attend", form).start()
    keras.utils.set_random_seed(0)
    model = reformer_models.build_reformer(sizes)
    reformer_models.compile_reformer(model, jit_compile=sizes["xla"])
    token_ids, targets = map(tf.convert_to_tensor, token_batch(sizes))
    model.optimizer.build(model.trainable_variables)
    model.make_train_function(force=True)
    batches = itertools.repeat(({"token_ids": token_ids}, {"logits": targets}))
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return lambda: float(model.train_function(batches)["loss"]), versions


if __name__ == "__main__":
    answering.answer(prepare)
