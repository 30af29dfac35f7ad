"""How well a prior predicts codes."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.models.code_levels import levels_of


def code_nll(model: keras.Model, codes: Mapping, class_ids=None) -> dict:
    """Minus the log-probability of each code, given those before it.

    The sum over all codes of an image is that of the image's codes. With the
    mean over `number` codes, and a mean of the reconstruction's over `dims`
    pixels and channels, both in nats, bits per dimension are `(dims
    reconstruction_nll + number code_nll) / (dims ln 2)`.

    Args:
        model: A model of `build_code_transformer` or `build_pixel_cnn`.
        codes: Codes by the model's names, integer `(batch, height, width)`;
            other names do not matter.
        class_ids: Integer `(batch,)`, if the model has classes.

    Returns:
        A dict of the same names, without `class_ids`, to nats, float32 `(batch,
        height, width)`.

    Raises:
        ValueError: If the model is another builder's, or codes or classes are
            not those that it takes.
    """
    levels = levels_of(model)
    check(
        {level.ids for level in levels} <= set(codes),
        "`codes` must be of all names that the model takes.",
        codes=sorted(codes),
        model=[level.ids for level in levels],
    )
    check(
        (class_ids is not None) == ("class_ids" in model.input),
        "`class_ids` must be given if the model has classes, and only then.",
        class_ids=class_ids,
    )
    inputs = {level.ids: codes[level.ids] for level in levels}
    if class_ids is not None:
        inputs["class_ids"] = class_ids
    logits = model(inputs, training=False)
    return {
        level.ids: keras.losses.sparse_categorical_crossentropy(
            ops.cast(codes[level.ids], "int32"),
            logits[level.logits],
            from_logits=True,
        )
        for level in levels
    }
