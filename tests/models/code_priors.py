"""Small priors over codes, and codes for them."""

import numpy as np

from keras_xf import models

SHAPES = {"top_code_ids": (2, 3), "bottom_code_ids": (3, 5)}
NUM_CODES = {"top_code_ids": 5, "bottom_code_ids": 4}
ONE_LEVEL = {"code_shapes": {"code_ids": (4, 5)}, "num_codes": {"code_ids": 6}}
TRANSFORMER = {
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 32,
}
PIXEL_CNN = {
    "num_layers": 3,
    "hidden_dim": 8,
    "output_dim": 16,
    "first_kernel_size": 5,
    "num_condition_blocks": 1,
}
FAMILIES = {
    "build_code_transformer": TRANSFORMER,
    "build_pixel_cnn": PIXEL_CNN,
}


def make(builder, **arguments):
    """A model of two levels and three classes, unless told otherwise."""
    arguments = {
        "code_shapes": SHAPES,
        "num_codes": NUM_CODES,
        "num_classes": 3,
        "seed": 1,
        **FAMILIES[builder],
        **arguments,
    }
    return models.BUILDERS[builder](**arguments)


def random_inputs(model, batch_size=3, seed=0):
    """Codes, and classes if the model has any."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, tensor in model.input.items():
        high = 3
        if name != "class_ids":
            high = model.output[name.replace("_ids", "_logits")].shape[-1]
        arrays[name] = generator.integers(
            0, high, (batch_size, *tensor.shape[1:]), dtype="int32"
        )
    return arrays


def changes(model, name):
    """Inputs in each row of which another one of the codes has changed.

    Returns:
        The inputs, as many rows of the same as there are codes of that name,
        and the changed ones.
    """
    one = random_inputs(model, batch_size=1)
    size = one[name].size
    same = {key: np.repeat(array, size, axis=0) for key, array in one.items()}
    changed = same[name].reshape(size, size).copy()
    number = model.output[name.replace("_ids", "_logits")].shape[-1]
    places = np.arange(size)
    changed[places, places] = (changed[places, places] + 1) % number
    return same, {**same, name: changed.reshape(same[name].shape)}


def what_changes(model, name, of):
    """Whether a change of each of the codes changes each of the logits.

    Returns:
        Boolean array `(codes of that name, codes of the other)`.
    """
    same, changed = changes(model, name)
    logits = of.replace("_ids", "_logits")
    first, second = (np.asarray(model(x)[logits]) for x in (same, changed))
    differs = np.any(first != second, axis=-1)
    return differs.reshape(len(differs), -1)
