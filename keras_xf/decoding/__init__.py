"""Decoding: token ids from a step function, with no knowledge of the model.

A step function continues sequences. Called as

    logits, state = step(token_ids, state, length)

it takes

- `token_ids`, int32 `(batch, n)`: the next `n` tokens of each row, after all
  that the state has seen. Positions count on from the state;
- `state`: a nested dict, list or tuple of tensors whose first axis is the
  batch. It comes back with the same structure, shapes and dtypes, so it has
  its full size from the start: room for the prompt and `max_new_tokens - 1`
  more tokens (the last new token is never fed back);
- `length`, int32 `(batch,)` or None: how many of the `n` tokens of each row
  are real; None means all of them. What stands behind them is padding of any
  value, and must leave no trace that a later step can see;

and returns

- `logits`, float `(batch, n, vocabulary)`, of any precision: those at
  position `i` predict the token after `token_ids[:, i]`. The vocabulary's size
  is static; logits at padding are ignored;
- the state after the real tokens.

Row `b` of the results must depend on row `b` of the arguments alone. Then what
`generate` returns for a row does not depend on the rows beside it either, nor
on how far its prompt is padded.

A chooser takes the logits of one position and picks a token:

    token_ids = choose(logits, noise)

from float32 `(batch, vocabulary)` and from uniform noise in `[0, 1)`, float32
`(batch,)`, or None where `generate` was given no seed; it returns int32
`(batch,)`. `greedy` is one. `sample` is another, once its options are bound:

    generate(
        step,
        state,
        *prepend_bos(token_ids, length),
        max_new_tokens=64,
        seed=seed,
        choose=functools.partial(sample, temperature=0.8, top_p=0.95),
    )

All of it runs eagerly, in a `tf.function`, compiled by XLA and in a SavedModel.
"""

from keras_xf.decoding.beam_search import beam_search
from keras_xf.decoding.choosers import assert_sampling_inputs
from keras_xf.decoding.choosers import greedy
from keras_xf.decoding.choosers import sample
from keras_xf.decoding.filters import keep_nucleus
from keras_xf.decoding.generate import generate
from keras_xf.decoding.noise import uniform_noise
from keras_xf.decoding.prompts import prepend_bos
from keras_xf.decoding.segments import read_segments
from keras_xf.decoding.segments import score_segments
from keras_xf.decoding.translate import translate

__all__ = [
    "assert_sampling_inputs",
    "beam_search",
    "generate",
    "greedy",
    "keep_nucleus",
    "prepend_bos",
    "read_segments",
    "sample",
    "score_segments",
    "translate",
    "uniform_noise",
]
