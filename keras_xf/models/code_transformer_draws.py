"""The loop in which a Transformer writes codes."""

import math

import keras
import tensorflow as tf

from keras_xf.decoding import sample
from keras_xf.decoding.steps import run_step
from keras_xf.models.transformer import build_language_model_step


class CodeTransformerDraws:
    """Draws the codes of all levels, one after another, with a cache.

    Args:
        model: A model of `build_code_transformer`.

    Call arguments:
        class_ids: int32 `(batch,)`, or None without classes.
        noise: Float32 `(batch, number of codes)`, uniform in `[0, 1)`.
        temperature: Float32 `(batch,)`.

    Output shape:
        For each level int32 `(batch, height * width)`.
    """

    def __init__(self, model: keras.Model):
        self._sequence = model.get_layer("raster_sequence")
        self._twin = build_language_model_step(
            model.get_layer("language_model")
        )

    def __call__(self, class_ids, noise, temperature):
        batch_size = tf.shape(noise)[0]
        length = self._sequence.length
        state = tf.nest.map_structure(
            tf.convert_to_tensor, self._twin.initial_state(batch_size, length)
        )
        last = class_ids
        if class_ids is None:
            last = tf.zeros([batch_size], tf.int32)
        levels, place = [], 0
        for shape, num_codes, offset in zip(
            self._sequence.shapes,
            self._sequence.num_codes,
            self._sequence.offsets,
            strict=True,
        ):
            end = place + math.prod(shape)
            codes, state = self._level(
                last,
                state,
                noise[:, place:end],
                temperature,
                (offset, offset + num_codes),
            )
            levels.append(codes)
            last = codes[:, -1] + offset
            place = end
        return levels

    def _level(self, last, state, noise, temperature, ids):
        start, end = ids
        columns = tf.range(noise.shape[1])

        def write(index, token_ids, codes, state):
            logits, state = run_step(
                self._twin.step, state, token_ids[:, tf.newaxis]
            )
            chosen = sample(
                logits[:, 0, start:end],
                tf.gather(noise, index, axis=1),
                temperature=temperature,
            )
            codes = tf.where(columns == index, chosen[:, tf.newaxis], codes)
            return index + 1, chosen + start, codes, state

        codes = tf.zeros_like(noise, tf.int32)
        _, _, codes, state = tf.while_loop(
            lambda index, *_: index < noise.shape[1],
            write,
            (tf.constant(0), last, codes, state),
        )
        return codes, state
