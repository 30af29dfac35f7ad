"""Codes of images as a sequence, in raster order."""

import itertools
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.token_ids import as_token_ids


@keras.saving.register_keras_serializable(package="keras_xf")
class RasterSequence(keras.layers.Layer):
    """Lays codes out as what a language model reads, and its logits back.

    The sequence is the class of the image, or one token that begins all
    sequences, then the codes of the first level row by row, then those of the
    next; the last code is left out, since nothing comes after it. All have
    their ids in one vocabulary: those of the classes come first, then those of
    the levels.

    In reverse, the logits at each position are of the code that comes next, and
    of its level's ids alone.

    Masks do not matter to it, and nothing is learned.

    Args:
        shapes: Height and width of each level, the first one first.
        num_codes: Number of codes of each level.
        num_classes: Number of classes; None without `class_ids`.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: For each level an integer tensor `(batch, height, width)` in
            `[0, num_codes)`, in a list or tuple; what is out of range is an
            error in eager execution, and elsewhere `vocabulary_size`, which is
            no token. If `reverse`, float tensor `(batch, length,
            vocabulary_size)`.
        class_ids: Integer tensor `(batch,)` in `[0, num_classes)`.
        reverse: Whether logits are to be laid out as images.

    Output shape:
        A pair of token ids, int32 `(batch, length)`, and the number of them,
        int32 `(batch,)`; if `reverse` for each level `(batch, height, width,
        num_codes)`.

    Example:

    >>> layer = keras_xf.layers.RasterSequence([(1, 2), (2, 2)], [5, 7])
    >>> layer([np.array([[[0, 4]]]), np.array([[[0, 1], [2, 3]]])])[0]
    <tf.Tensor: shape=(1, 6), dtype=int32, numpy=array([[0, 1, 5, 6, 7, 8]],
      dtype=int32)>
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        num_codes: Sequence[int],
        num_classes: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            len(shapes) == len(num_codes) > 0,
            "`num_codes` must have one number for each of `shapes`.",
            num_codes=num_codes,
            shapes=shapes,
        )
        check(
            all(len(shape) == 2 and min(shape) > 0 for shape in shapes),
            "`shapes` must be pairs of height and width.",
            shapes=shapes,
        )
        check(
            all(number > 0 for number in num_codes),
            "`num_codes` must be positive.",
            num_codes=num_codes,
        )
        if num_classes is not None:
            num_classes = as_integer("num_classes", num_classes)
        self.shapes = [tuple(shape) for shape in shapes]
        self.num_codes = list(num_codes)
        self.num_classes = num_classes

    @property
    def length(self) -> int:
        """Number of codes of an image, which is that of its tokens."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def offsets(self) -> list[int]:
        """The token that each level's first code is."""
        first = self.num_classes or 1
        return list(itertools.accumulate(self.num_codes, initial=first))[:-1]

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return self.offsets[-1] + self.num_codes[-1]

    def build(self, input_shape):
        # It has no weights.
        pass

    def call(self, inputs, class_ids=None, reverse=False):
        if reverse:
            return self._images(inputs)
        self._check_levels([tuple(codes.shape) for codes in inputs])
        check(
            (class_ids is None) == (self.num_classes is None),
            "`class_ids` must be given if there are classes, and only then.",
            num_classes=self.num_classes,
        )
        rows = []
        for codes, number, offset in zip(
            inputs, self.num_codes, self.offsets, strict=True
        ):
            codes = self._tokens("inputs", codes, number, offset)
            rows.append(ops.reshape(codes, (-1, math.prod(codes.shape[1:]))))
        if class_ids is None:
            first = ops.zeros_like(rows[0][:, :1])
        else:
            ids = self._tokens("class_ids", class_ids, self.num_classes)
            check_shape("class_ids", ids.shape, "(batch,)")
            first = ids[:, None]
        token_ids = ops.concatenate([first, *rows], axis=1)[:, :-1]
        return token_ids, ops.full_like(token_ids[:, 0], self.length)

    def compute_output_shape(self, input_shape, reverse=False):
        if not reverse:
            batch = input_shape[0][0]
            return (batch, self.length), (batch,)
        return tuple(
            (input_shape[0], *shape, number)
            for shape, number in zip(self.shapes, self.num_codes, strict=True)
        )

    def compute_output_spec(self, inputs, class_ids=None, reverse=False):
        if reverse:
            self._check_logits(inputs.shape)
            shapes, dtype = self.compute_output_shape(inputs.shape, True), None
        else:
            given = [tuple(codes.shape) for codes in inputs]
            self._check_levels(given)
            shapes, dtype = self.compute_output_shape(given), "int32"
        return tuple(
            keras.KerasTensor(shape, dtype=dtype or inputs.dtype)
            for shape in shapes
        )

    def get_config(self):
        return {
            **super().get_config(),
            "shapes": [list(shape) for shape in self.shapes],
            "num_codes": self.num_codes,
            "num_classes": self.num_classes,
        }

    def _tokens(self, name, ids, number, offset=0):
        ids = as_token_ids(name, ids, number)
        # Those of others would be tokens of another level.
        is_known = ops.logical_and(ids >= 0, ids < number)
        ids = ops.cast(ops.where(is_known, ids, 0), "int32") + offset
        return ops.where(is_known, ids, self.vocabulary_size)

    def _check_levels(self, given):
        check(
            len(given) == len(self.shapes),
            "`inputs` must be the codes of each level.",
            shape=given,
            shapes=self.shapes,
        )
        for shape, (height, width) in zip(given, self.shapes, strict=True):
            check_shape(
                "inputs",
                shape,
                "(batch, height, width)",
                height=height,
                width=width,
            )

    def _check_logits(self, shape):
        check_shape(
            "inputs",
            shape,
            "(batch, length, vocabulary_size)",
            length=self.length,
            vocabulary_size=self.vocabulary_size,
        )

    def _images(self, logits):
        self._check_logits(logits.shape)
        images, place = [], 0
        for shape, number, offset in zip(
            self.shapes, self.num_codes, self.offsets, strict=True
        ):
            end = place + math.prod(shape)
            part = logits[:, place:end, offset : offset + number]
            images.append(ops.reshape(part, (-1, *shape, number)))
            place = end
        return tuple(images)
