"""Attention of chunks to the chunks around them, in one order or several.

The Reformer's two attentions (Kitaev et al., 2020) differ in the order alone:
that of the sequence, or one for each round of hashing. However many rounds,
one softmax is over all that they show, taken round by round as Milakov &
Gimelshein (2018) do, and made again in the backward pass: beside the orders,
memory does not grow with the number of rounds.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_lot import NO_KEY
from keras_xf.ops.chunk_rows import ChunkRows
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.logits import MASKED_LOGIT
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.only_first import only_first
from keras_xf.ops.unit_vectors import unit_vectors
from keras_xf.ops.unit_vectors import unit_vectors_gradient

# As the references have it: a position that may attend to itself only where
# there is nothing else gets a logit above that of what is masked out.
SELF_LOGIT = -1e5


def attend(
    query,
    key,
    value,
    orders=None,
    *,
    windows: ChunkWindows,
    padding_mask=None,
    causal: bool = False,
    attend_to_self: bool = True,
    key_scale: float = 1.0,
    bias: Callable | None = None,
    dropout: float = 0.0,
    seed=None,
):
    """Lets each chunk of positions attend to the chunks in its window.

    Args:
        query: Float tensor `(batch, length, num_heads, key_dim)`.
        key: Float tensor like `query`; if None the queries are keys, too,
            scaled to the length `key_scale`.
        value: Float tensor `(batch, length, num_heads, value_dim)`.
        orders: int32 `(batch, num_heads, num_rounds, length)`, permutations
            of the positions, in which what is not real comes last; a single
            round in the order of the sequence if None.
        windows: What is seen from where.
        padding_mask: Boolean `(batch, length)`, True where a key is real.
        causal: Whether a query sees only positions up to its own.
        attend_to_self: Whether a query sees its own position always, or only
            if it sees no other.
        key_scale: Length of keys that are made of the queries.
        bias: Function of a round's number and of int32 tensors, the numbers
            of rows, counted through all heads, `(rows,)`, of chunks
            `(chunks,)`, and the positions of queries `(rows, chunks,
            chunk_length)` and of keys, alike but longer, that returns what to
            add to their logits. Nothing is differentiated in it.
        dropout: Fraction of the attention weights that is dropped.
        seed: int32 `(2,)`, the seed of the dropout.

    Returns:
        A pair of a tensor like `value`, zeros where a query sees nothing, and
        float tensor `(num_rounds, batch, length, num_heads)`, the log of the
        sum of the exponentials of a query's logits in each round, None unless
        `windows.wrap` is "rounds". First derivatives only.
    """
    _check(query, key, value, orders, padding_mask, dropout, seed)
    rows = ChunkRows(query, orders, windows, padding_mask)
    windows = rows.windows
    weigh = _Weights(
        causal,
        attend_to_self,
        bias,
        dropout,
        seed,
        hides=rows.hides,
        # In a ring its chunk may come up anywhere.
        own_slot=None if windows.wrap == "rounds" else windows.chunks_before,
    )
    attention = _Attention(rows, weigh, key_scale, value.shape[-1])
    tensors = (query, value) if key is None else (query, value, key)

    @tf.custom_gradient
    def run(*tensors):
        # Without gradients, or eager execution would keep what each lot made.
        kept = [tf.stop_gradient(tensor) for tensor in tensors]
        outputs, statistics, log_sums = _unless(
            rows.is_empty,
            lambda: attention.forward(kept),
            lambda: attention.forward_nothing(kept),
        )

        def gradient(upstream, *_):
            (upstream,) = only_first(
                [upstream],
                tensors,
                "attention of chunks has no second gradients.",
            )
            return _unless(
                rows.is_empty,
                lambda: attention.backward(kept, outputs, statistics, upstream),
                lambda: [tf.zeros_like(x) for x in kept],
            )

        return (tf.cast(outputs, value.dtype), log_sums), gradient

    outputs, log_sums = run(*tensors)
    return outputs, log_sums if windows.wrap == "rounds" else None


@dataclasses.dataclass(frozen=True)
class _Attention:
    """Forward and backward pass, lot by lot."""

    rows: ChunkRows
    weigh: "_Weights"
    key_scale: float
    value_dim: int

    def forward(self, tensors):
        """Outputs and what the backward pass needs, all float32 or wider."""
        rows = self.rows
        if rows.num_rounds == 1:
            outputs, statistics = self._forward_round(rows, 0, tensors)
            log_sums = _log_sum(statistics)[None, ..., 0][: self._num_kept]
            return outputs, statistics, log_sums
        num_kept = self._num_kept
        wide = wide_dtype(tensors[0].dtype)

        def run(some):
            shape = (some.number, some.length)
            start = (
                tf.zeros((*shape, self.value_dim), wide),
                tf.fill((*shape, 1), tf.as_dtype(wide).min),
                tf.zeros((*shape, 1), wide),
                tf.zeros((*shape, num_kept), wide),
            )

            def add(number, outputs, top, total, log_sums):
                new, statistics = self._forward_round(some, number, tensors)
                is_new = tf.range(num_kept) == number
                log_sums = tf.where(is_new, _log_sum(statistics), log_sums)
                new_top, new_total = tf.split(statistics, 2, axis=-1)
                joint = tf.maximum(top, new_top)
                total = total * tf.exp(top - joint)
                new_total *= tf.exp(new_top - joint)
                # What equals the average so far leaves it as it is, to the
                # last bit.
                share = new_total / (total + new_total)
                outputs += (new - outputs) * share
                return outputs, joint, total + new_total, log_sums

            outputs, top, total, log_sums = _repeat(rows.num_rounds, add, start)
            return outputs, tf.concat([top, total], axis=-1), log_sums

        outputs, statistics, log_sums = rows.map(
            run,
            [(wide, self.value_dim), (wide, 2), (wide, num_kept)],
        )
        return outputs, statistics, tf.transpose(log_sums, (3, 0, 1, 2))

    def forward_nothing(self, tensors):
        """What `forward` returns for sequences without positions."""
        value = tf.cast(tensors[1], wide_dtype(tensors[1].dtype))
        statistics = tf.zeros(
            (*tf.unstack(tf.shape(value))[:3], 2), value.dtype
        )
        num_kept = self._num_kept
        log_sums = tf.repeat(statistics[None, ..., 0], num_kept, axis=0)
        return value, statistics, log_sums

    @property
    def _num_kept(self):
        # Only the references' arithmetic needs the sums of each round.
        rows = self.rows
        return rows.num_rounds if rows.windows.wrap == "rounds" else 0

    def backward(self, tensors, outputs, statistics, upstream):
        """Gradients of all tensors."""
        rows, wide = self.rows.after(upstream), outputs.dtype
        arguments = (tensors, outputs, statistics, upstream)
        if rows.num_rounds == 1:
            gradients = self._backward_round(rows, 0, *arguments)
        else:

            def run(some):
                shape = (some.number, some.length)
                zeros = tuple(
                    tf.zeros((*shape, x.shape[-1]), wide) for x in tensors
                )

                def add(number, *gradients):
                    new = self._backward_round(some, number, *arguments)
                    return [x + y for x, y in zip(gradients, new, strict=True)]

                return _repeat(rows.num_rounds, add, zeros)

            gradients = rows.map(run, [(wide, x.shape[-1]) for x in tensors])
        return [tf.cast(gradient, tensors[0].dtype) for gradient in gradients]

    def _forward_round(self, rows, number, tensors):
        wide = wide_dtype(tensors[0].dtype)
        results = rows.map_chunks(
            number,
            lambda lot: self._attend_in(lot, *tensors),
            [(wide, self.value_dim), (wide, 2)],
        )
        return [rows.from_queries(result, number) for result in results]

    def _backward_round(self, rows, number, tensors, *rest):
        wide = rest[0].dtype
        gradients = rows.map_chunks(
            number,
            lambda lot: self._gradients_in(lot, tensors, *rest),
            [(wide, x.shape[-1]) for x in tensors],
            shown=[True, True] if len(tensors) == 2 else [False, True, True],
        )
        return [
            rows.from_queries(gradient, number)
            if len(tensors) == 3 and place == 0
            else rows.from_keys(gradient, number)
            for place, gradient in enumerate(gradients)
        ]

    def _attend_in(self, lot, query, value, key=None):
        shown, q = self._shown_and_queries(lot, query, key)
        # A product with a transposed factor takes twice the time.
        keys = _transpose(self._keys(shown, key))
        values = lot.shown(value)
        logits = [tf.matmul(q, lot.at(slot, keys)) for slot in lot.slots]
        logits = self.weigh.logits(logits, lot)
        top = _most([tf.reduce_max(x, -1, keepdims=True) for x in logits])
        factors = [tf.exp(x - top) for x in logits]
        total = tf.add_n([tf.reduce_sum(x, -1, keepdims=True) for x in factors])
        factors = self.weigh.drop(factors, lot)
        if values.dtype != total.dtype:
            # Sums of more than one might be too large.
            factors = [tf.cast(x / total, values.dtype) for x in factors]
        outputs = tf.add_n(
            [
                tf.cast(tf.matmul(x, lot.at(slot, values)), total.dtype)
                for slot, x in enumerate(factors)
            ]
        )
        if values.dtype == total.dtype:
            outputs /= total
        if self.rows.is_padded:
            counts = self._counts(lot, top)
            outputs = tf.where(counts, outputs, tf.zeros_like(outputs))
        return [outputs, tf.concat([top, total], axis=-1)]

    def _gradients_in(self, lot, tensors, outputs, statistics, upstream):
        """Gradients of query, value and key; of a query that is a key, too,
        and value."""
        query, value, *key = tensors
        shown, q = self._shown_and_queries(lot, query, *key)
        keys, values = self._keys(shown, *key), lot.shown(value)
        up = lot.queries(upstream)
        top, total, delta = self._statistics(lot, outputs, statistics, up)
        # All with keys first: so most products are of what is there.
        q_last, up_last = _transpose(q), _transpose(up)
        logits = [tf.matmul(lot.at(slot, keys), q_last) for slot in lot.slots]
        logits = self.weigh.logits(logits, lot, keys_first=True)
        weights = [tf.exp(x - top) / total for x in logits]
        to_weights = [
            tf.cast(tf.matmul(lot.at(slot, values), up_last), top.dtype)
            for slot in lot.slots
        ]
        to_weights = self.weigh.drop(to_weights, lot, keys_first=True)
        to_logits = [
            tf.cast(x * (y - delta), q.dtype)
            for x, y in zip(weights, to_weights, strict=True)
        ]
        weights = self.weigh.drop(weights, lot, keys_first=True)

        def sum_up(parts):
            return lot.add_slots([tf.cast(x, top.dtype) for x in parts])

        to_query = tf.add_n(
            [
                tf.cast(tf.matmul(_transpose(x), lot.at(slot, keys)), top.dtype)
                for slot, x in enumerate(to_logits)
            ]
        )
        to_value = sum_up(
            [tf.matmul(tf.cast(x, up.dtype), up) for x in weights]
        )
        to_key = sum_up([tf.matmul(x, q) for x in to_logits])
        if key:
            return [to_query, to_value, to_key]
        to_key = unit_vectors_gradient(shown, to_key, self.key_scale)
        return [to_key + lot.among_shown(to_query), to_value]

    def _statistics(self, lot, outputs, statistics, up):
        """With queries last: what logits and their gradients are made of."""
        top, total = tf.split(lot.queries(statistics), 2, axis=-1)
        out = tf.cast(up, top.dtype) * lot.queries(outputs)
        delta = tf.reduce_sum(out, axis=-1, keepdims=True)
        # What is no query, or sees nothing, has no gradient.
        top = tf.where(self._counts(lot, top), top, top.dtype.max)
        return [_transpose(x) for x in (top, total, delta)]

    def _shown_and_queries(self, lot, query, key=None):
        """What the keys are made of, and the queries."""
        if key is not None:
            return lot.shown(key), lot.queries(query)
        shown = lot.shown(query)
        if self.rows.is_padded and self.rows.windows.chunks_after:
            return shown, lot.queries(query)
        return shown, lot.own(shown)

    def _keys(self, shown, key=None):
        return unit_vectors(shown, self.key_scale) if key is None else shown

    def _counts(self, lot, top):
        """Which queries are in the sequence and see something."""
        counts = lot.is_inside[..., None]
        if self.weigh.attend_to_self and self.rows.is_padded:
            counts &= top > MASKED_LOGIT / 2
        return counts


def _check(query, key, value, orders, padding_mask, dropout, seed):
    """Compiled, a gather from what is too short would give wrong numbers."""
    shape = query.shape
    like_query = {
        "key": (key, shape),
        "value": (value, (*shape[:3], None)),
        "orders": (orders, (shape[0], shape[2], None, shape[1])),
        "padding_mask": (padding_mask, shape[:2]),
    }
    for name, (tensor, expected) in like_query.items():
        check(
            tensor is None
            or tf.TensorShape(tensor.shape).is_compatible_with(expected),
            f"`{name}` must go with `query`.",
            **{name: None if tensor is None else tuple(tensor.shape)},
            query=tuple(shape),
        )
    check(
        value.dtype == query.dtype
        and (key is None or key.dtype == query.dtype),
        "`query`, `key` and `value` must be of one dtype.",
        query=query.dtype,
        value=value.dtype,
    )
    check(
        not dropout or seed is not None,
        "`seed` must be given if there is `dropout`.",
        dropout=dropout,
        seed=seed,
    )


def _unless(condition, function, other):
    if isinstance(condition, bool):
        return other() if condition else function()
    return tf.cond(condition, other, function)


def _repeat(times, body, state):
    """Runs `body(number, *state)` for each number."""

    def next_round(number, *state):
        new = body(number, *state)
        for tensor, before in zip(new, state, strict=True):
            tensor.set_shape(before.shape)
        return number + 1, *new

    return tf.while_loop(
        lambda number, *_: number < times,
        next_round,
        (tf.constant(0), *state),
        # One round at a time: it is what bounds the memory.
        parallel_iterations=1,
    )[1:]


def _log_sum(statistics):
    top, total = tf.split(statistics, 2, axis=-1)
    return top + tf.math.log(total)


def _most(tensors):
    most = tensors[0]
    for tensor in tensors[1:]:
        most = tf.maximum(most, tensor)
    return most


def _transpose(x):
    # The reshape keeps TensorFlow from giving it to the product to do.
    first, second = x.shape[1:]
    x = tf.transpose(x[None], (0, 1, 3, 2))
    return tf.reshape(x, (-1, second, first))


@dataclasses.dataclass(frozen=True)
class _Weights:
    """Masked logits, and dropout of what becomes of them.

    Of each place of the windows `(chunks, queries, keys)`, or with keys first.
    """

    causal: bool
    attend_to_self: bool
    bias: Callable | None
    dropout: float
    seed: object
    hides: bool
    own_slot: int | None

    def logits(self, logits, lot, keys_first=False):
        """Adds the bias, and hides what is not to be seen."""
        wide = wide_dtype(logits[0].dtype)
        logits = [tf.cast(x, wide) for x in logits]
        if self.bias is not None:
            bias = lot.bias(self.bias, wide)
            bias = map(_transpose, bias) if keys_first else bias
            logits = [x + y for x, y in zip(logits, bias, strict=True)]
        queries = lot.codes()
        return [
            self._mask(x, slot, queries, lot, keys_first)
            for slot, x in enumerate(logits)
        ]

    def _mask(self, logits, slot, queries, lot, keys_first):
        alone = tf.constant(SELF_LOGIT, logits.dtype)
        keys = lot.key_codes(slot)
        queries, keys = (
            (queries[:, None], keys[:, :, None])
            if keys_first
            else (queries[:, :, None], keys[:, None])
        )
        if self.causal or self.hides:
            last = queries % NO_KEY if self.causal else NO_KEY - 1
            masked = tf.constant(MASKED_LOGIT, logits.dtype)
            logits = tf.where(keys > last, masked, logits)
        if self.attend_to_self:
            return logits
        if self.own_slot is None:
            return tf.where(keys == queries, alone, logits)
        if slot != self.own_slot:
            return logits
        # Faster than to compare all.
        return tf.linalg.set_diag(logits, tf.fill(tf.shape(logits)[:2], alone))

    def drop(self, weights, lot, keys_first=False):
        """Sets some to zero, the same each time, and enlarges the others."""
        if not self.dropout:
            return weights
        seed = stateless_random.fold_in(self.seed, lot.number)
        shape = tf.shape(weights[0])
        kept = stateless_random.keep(
            seed, (len(weights), *tf.unstack(shape)), self.dropout
        )
        results = []
        for x, keep in zip(weights, tf.unstack(kept), strict=True):
            keep = tf.ensure_shape(keep, weights[0].shape)
            keep = _transpose(keep) if keys_first else keep
            x /= 1 - self.dropout
            results.append(tf.where(keep, x, tf.zeros_like(x)))
        return results
