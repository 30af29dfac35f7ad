"""The loops in which a PixelCNN writes codes."""

import keras
import tensorflow as tf
from keras import ops

from keras_xf.decoding import sample
from keras_xf.models.code_levels import levels_of


class PixelCNNDraws:
    """Draws the codes of all levels, row by row and from left to right.

    Args:
        model: A model of `build_pixel_cnn`.

    Call arguments:
        class_ids: int32 `(batch,)`, or None without classes.
        noise: Float32 `(batch, number of codes)`, uniform in `[0, 1)`.
        temperature: Float32 `(batch,)`.

    Output shape:
        For each level int32 `(batch, height * width)`.
    """

    def __init__(self, model: keras.Model):
        self._levels = [_Level(model, level) for level in levels_of(model)]
        self._condition = None
        if len(self._levels) > 1:
            self._condition = keras.Model(
                model.input["top_code_ids"],
                model.get_layer("top_code_condition").output,
            )

    def __call__(self, class_ids, noise, temperature):
        levels, place, condition = [], 0, None
        for level in self._levels:
            end = place + level.height * level.width
            codes = level.draw(
                class_ids, condition, noise[:, place:end], temperature
            )
            levels.append(tf.reshape(codes, (-1, end - place)))
            place = end
            if level is not self._levels[-1]:
                condition = self._condition(codes, training=False)
        return levels


class _Level:
    """The net of one level, a row and a place at a time."""

    def __init__(self, model, level):
        layers = {layer.name: layer for layer in model.layers}
        self.height, self.width = level.shape
        self._embedding = layers[f"{level.name}_embedding"]
        self._blocks = []
        while (name := f"{level.name}_block_{len(self._blocks)}") in layers:
            self._blocks.append(layers[name])
        self._head = [
            layers[name]
            for name in (
                f"{level.name}_relu",
                f"{level.name}_hidden",
                level.logits,
            )
        ]

    def draw(self, class_ids, condition, noise, temperature):
        """Codes `(batch, height, width)`."""
        noise = tf.reshape(noise, (-1, self.height, self.width))
        biases = [block.biases(condition, class_ids) for block in self._blocks]

        def write_row(row, codes, caches):
            links, above, caches = self._see_rows(row, caches, biases)
            new = self._draw_row(
                links, tf.gather(noise, row, axis=1), temperature
            )
            # The row is what the next one's first layer sees.
            caches[0] = _push(above, self._embedding(new)[:, tf.newaxis])
            is_row = (tf.range(self.height) == row)[:, tf.newaxis]
            codes = tf.where(is_row, new[:, tf.newaxis], codes)
            return row + 1, codes, caches

        _, codes, _ = tf.while_loop(
            lambda row, *_: row < self.height,
            write_row,
            (
                tf.constant(0),
                tf.zeros_like(noise, tf.int32),
                [
                    self._zeros(noise, block, rows=True)
                    for block in self._blocks
                ],
            ),
        )
        return codes

    def _see_rows(self, row, caches, biases):
        """The vertical stacks at a row, from caches of the rows above it.

        Returns what the horizontal stacks are told, `(batch, width, blocks, 2
        filters)`, what the first layer saw, and the caches of the next row.
        """
        links, next_caches, x = [], [], None
        for block, cache, (above, before) in zip(
            self._blocks, caches, biases, strict=True
        ):
            rows = cache if block.strict else tf.concat([cache, x], axis=1)
            next_caches.append(rows if block.strict else rows[:, 1:])
            x, link = block.see_rows(rows, _row_of(above, row))
            if before is not None:
                link += _row_of(before, row)
            links.append(link[:, 0])
        return tf.stack(links, axis=2), next_caches[0], next_caches

    def _draw_row(self, links, noise, temperature):
        """Codes `(batch, width)` of a row."""
        columns = tf.range(self.width)

        def write(column, codes, caches):
            x, caches = self._see_column(
                tf.gather(links, column, axis=1), caches
            )
            x = x[:, 0, 0]
            for layer in self._head:
                x = layer(x)
            chosen = sample(
                tf.cast(x, tf.float32),
                tf.gather(noise, column, axis=1),
                temperature=temperature,
            )
            seen = self._embedding(chosen)[:, tf.newaxis, tf.newaxis]
            caches[0] = _push(caches[0], seen, axis=2)
            codes = tf.where(columns == column, chosen[:, tf.newaxis], codes)
            return column + 1, codes, caches

        _, codes, _ = tf.while_loop(
            lambda column, *_: column < self.width,
            write,
            (
                tf.constant(0),
                tf.zeros_like(noise, tf.int32),
                [
                    self._zeros(noise, block, rows=False)
                    for block in self._blocks
                ],
            ),
        )
        return codes

    def _see_column(self, links, caches):
        """The horizontal stacks at a place, from caches of those before it."""
        next_caches, x = [], None
        links = tf.unstack(links[:, tf.newaxis, tf.newaxis], axis=3)
        for block, cache, link in zip(self._blocks, caches, links, strict=True):
            columns = cache if block.strict else tf.concat([cache, x], axis=2)
            next_caches.append(columns if block.strict else columns[:, :, 1:])
            x = block.see_columns(columns, link)
        return x, next_caches

    def _zeros(self, noise, block, rows):
        """A cache of what a block sees where the image has nothing."""
        dim = self._embedding.dim if block.strict else block.filters
        shape = (block.reach, self.width) if rows else (1, block.reach)
        return ops.zeros(
            (tf.shape(noise)[0], *shape, dim), dtype=block.compute_dtype
        )


def _row_of(bias, row):
    """What concerns a row, with its axis kept."""
    if bias is None or bias.shape[1] == 1:
        # One row, or the same for all.
        return bias
    return tf.gather(bias, row, axis=1)[:, tf.newaxis]


def _push(cache, new, axis=1):
    """Drops what is oldest for what is new."""
    joined = tf.concat([cache, new], axis=axis)
    return joined[:, 1:] if axis == 1 else joined[:, :, 1:]
