"""Translation by ours: in one function, or by an exported SavedModel."""

import tempfile

import answering
import keras
import numpy as np
import tensorflow as tf

from keras_xf import decoding
from keras_xf import models
from keras_xf.serving.served_translation import ServedTranslation


def prepare(case, sizes):
    """Translates a batch of random sources, to the last token allowed."""
    step_model = models.build_step(*build(sizes))
    translate = _saved if sizes["saved"] else _function
    function = translate(step_model, sizes)
    random = np.random.default_rng(0)
    shape = (sizes["batch_size"], sizes["source_length"])
    source_ids = tf.constant(
        random.integers(5, sizes["vocabulary_size"], shape), tf.int32
    )
    length = tf.fill(shape[:1], shape[1])

    def call():
        found = function(source_ids=source_ids, source_length=length)
        # Waits for it.
        return found["length"].numpy()

    if (call() != sizes["length"]).any():
        raise ValueError("an end came: some work would be left out")
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return call, versions


def build(sizes):
    """The description of the model, and the model ready for inference."""
    names = ("vocabulary_size", "num_layers", "hidden_dim", "intermediate_dim")
    arguments = {
        **{name: sizes[name] for name in names},
        # As Marian has it.
        "norm_first": False,
        "seed": 0,
    }
    builder, heads = "build_sequence_to_sequence", "num_heads"
    if sizes["implementation"] == "weighted":
        builder, heads = "build_weighted_transformer", "num_branches"
    arguments[heads] = sizes["num_heads"]
    description = {"builder": builder, "arguments": arguments}
    model = models.build(description)
    return description, models.for_inference(description, model)


def _function(step_model, sizes):
    return tf.function(
        lambda source_ids, source_length: decoding.translate(
            step_model,
            step_model.initial_state,
            source_ids,
            source_length,
            max_new_tokens=sizes["length"],
            num_beams=sizes["num_beams"],
        ),
        jit_compile=sizes["xla"],
        autograph=False,
    )


def _saved(step_model, sizes):
    served = ServedTranslation(
        step_model,
        sizes["vocabulary_size"],
        max_new_tokens=sizes["length"],
        num_beams=sizes["num_beams"],
        num_hypotheses=1,
        length_penalty=0.6,
    )
    served.function = tf.function(
        served.translate,
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "source_ids"),
            tf.TensorSpec([None], tf.int32, "source_length"),
        ],
        autograph=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(
            served,
            folder,
            signatures={"translate": served.function.get_concrete_function()},
        )
        loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["translate"]

    def call(**inputs):
        # Keeps what it belongs to.
        call.loaded = loaded
        return signature(**inputs)

    return call


if __name__ == "__main__":
    answering.answer(prepare)
