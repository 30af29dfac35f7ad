"""Tests of keras_xf.layers.CodeEncoder and CodeDecoder.

What they compute is in tests/models/test_vq_vae, what every layer owes in
tests/conformance.
"""

import keras
import numpy as np
import pytest

from keras_xf.layers import DVQ
from keras_xf.layers import CodeDecoder
from keras_xf.layers import CodeEncoder

VECTORS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
HALVES = {
    "code_encoder": lambda layer: CodeEncoder(
        layer, return_vectors=True, name="half"
    ),
    "code_decoder": lambda layer: CodeDecoder(layer, name="half"),
}
# What is in files, beside the bottleneck.
IN_FILES = {
    "code_encoder": ("CodeEncoder", {"return_vectors": True}),
    "code_decoder": ("CodeDecoder", {}),
}


@pytest.fixture
def bottleneck():
    layer = DVQ(5, num_parts=2, name="codes")
    layer.build((None, 4))
    return layer


@pytest.mark.parametrize("half", HALVES)
def test_files_name_them_as_ever(bottleneck, half):
    class_name, options = IN_FILES[half]
    in_file = {
        "module": f"keras_xf.layers.{half}",
        "class_name": class_name,
        "registered_name": f"keras_xf>{class_name}",
        "config": {
            "name": "half",
            "trainable": True,
            "dtype": keras.saving.serialize_keras_object(
                bottleneck.dtype_policy
            ),
            "layer": keras.saving.serialize_keras_object(bottleneck),
            **options,
        },
    }
    made = HALVES[half](bottleneck)
    assert keras.saving.serialize_keras_object(made) == in_file
    loaded = keras.saving.deserialize_keras_object(in_file)
    assert type(loaded) is type(made)
    assert loaded.get_config() == made.get_config()


def test_one_reads_what_the_other_writes(bottleneck):
    code_ids, vectors = HALVES["code_encoder"](bottleneck)(VECTORS)
    indices = np.asarray(bottleneck.encode(VECTORS))
    np.testing.assert_array_equal(code_ids, indices @ [1, 5])
    np.testing.assert_array_equal(vectors, bottleneck(VECTORS))
    decoded = HALVES["code_decoder"](bottleneck)(code_ids)
    np.testing.assert_array_equal(decoded, vectors)


@pytest.mark.parametrize("half", HALVES)
def test_rejects_what_is_no_bottleneck(half):
    with pytest.raises(ValueError) as error:
        HALVES[half](None)
    assert str(error.value) == (
        "`layer` must be one of VQ, VQEMA, DVQ, GumbelSoftmax and "
        "SemanticHashing. Received: layer=None."
    )


def test_a_decoder_needs_codes():
    with pytest.raises(ValueError) as error:
        CodeDecoder(DVQ(5, name="codes"))
    assert str(error.value) == (
        "`layer` must be built. Received: layer=<DVQ name=codes, built=False>."
    )
