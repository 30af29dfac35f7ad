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

from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows

# As the references have it: a position that may attend to itself only where
# there is nothing else gets a logit above that of what is masked out.
MASKED_LOGIT = -1e9
SELF_LOGIT = -1e5
# Added to the number of a position that is no key.
_NO_KEY = 2**30


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
    bias: Callable | None = None,
    dropout: float = 0.0,
    seed=None,
):
    """Lets each chunk of positions attend to the chunks in its window.

    Args:
        query: Float tensor `(batch, length, num_heads, key_dim)`.
        key: Float tensor like `query`.
        value: Float tensor `(batch, length, num_heads, value_dim)`.
        orders: int32 `(batch, num_heads, num_rounds, length)`, permutations
            of the positions, in which what is not real comes last; a single
            round in the order of the sequence if None.
        windows: What is seen from where.
        padding_mask: Boolean `(batch, length)`, True where a key is real.
        causal: Whether a query sees only positions up to its own.
        attend_to_self: Whether a query sees its own position always, or only
            if it sees no other.
        bias: Function of a round's number and of the positions of queries,
            int32 `(batch, num_heads, num_chunks, chunk_length)`, and of keys,
            alike but longer, that returns what to add to their logits.
            Nothing is differentiated in it.
        dropout: Fraction of the attention weights that is dropped.
        seed: int32 `(2,)`, the seed of the dropout.

    Returns:
        A pair of a tensor like `value`, zeros where a query sees nothing, and
        float tensor `(num_rounds, batch, length, num_heads)`, the log of the
        sum of the exponentials of a query's logits in each round, None unless
        `windows.wrap` is "rounds". First derivatives only.
    """
    rounds = _Rounds(query, orders, windows, padding_mask)
    weigh = _Weights(causal, attend_to_self, bias, dropout, seed)

    @tf.custom_gradient
    def run(query, key, value):
        outputs, top, total, log_sums = _forward(
            rounds, weigh, query, key, value
        )

        def gradient(upstream, *_):
            return _backward(
                rounds, weigh, query, key, value, outputs, top, total, upstream
            )

        return (tf.cast(outputs, value.dtype), log_sums), gradient

    outputs, log_sums = run(query, key, value)
    return outputs, log_sums if windows.wrap == "rounds" else None


def _forward(rounds, weigh, query, key, value):
    """Outputs and what the backward pass needs, all float32 or wider."""

    def attend_in(part):
        q = part.of_queries(query)
        k, v = part.of_keys(key), part.of_keys(value)
        logits = weigh.logits(q, k, part)
        top = tf.reduce_max(logits, axis=-1, keepdims=True)
        factors = tf.exp(logits - top)
        total = tf.reduce_sum(factors, axis=-1, keepdims=True)
        weights = weigh.drop(factors / total, part)
        outputs = tf.matmul(tf.cast(weights, v.dtype), v)
        return tf.cast(outputs, logits.dtype), top, total

    def attend_in_round(number):
        here = _Round(rounds, number)
        results = here.join(map(attend_in, here.parts))
        return [here.from_queries(result) for result in results]

    def add(number, outputs, top, total, log_sums):
        new, new_top, new_total = attend_in_round(number)
        is_new = tf.range(num_kept)[:, None, None, None, None] == number
        log_sums = tf.where(is_new, new_top + tf.math.log(new_total), log_sums)
        joint = tf.maximum(top, new_top)
        total = total * tf.exp(top - joint)
        new_total *= tf.exp(new_top - joint)
        # What equals the average so far leaves it as it is, to the last bit.
        outputs += (new - outputs) * (new_total / (total + new_total))
        return number + 1, outputs, joint, total + new_total, log_sums

    is_ring = rounds.windows.wrap == "rounds"
    num_kept = rounds.number if is_ring else 0
    if rounds.number == 1:
        outputs, top, total = attend_in_round(0)
        log_sums = (top + tf.math.log(total))[None][:num_kept]
    else:
        outputs = tf.zeros_like(value, _wide(query.dtype))
        total = tf.zeros_like(outputs[..., :1])
        log_sums = tf.repeat(total[None], num_kept, axis=0)
        lowest = tf.fill(tf.shape(total), total.dtype.min)
        outputs, top, total, log_sums = _repeat(
            rounds.number, add, (outputs, lowest, total, log_sums)
        )
    if not weigh.attend_to_self and not rounds.has_empty:
        return outputs, top, total, log_sums[..., 0]
    outputs = tf.where(top > MASKED_LOGIT / 2, outputs, tf.zeros_like(outputs))
    return outputs, top, total, log_sums[..., 0]


def _backward(rounds, weigh, query, key, value, outputs, top, total, upstream):
    """Gradients of query, key and value."""
    wide = outputs.dtype
    upstream = tf.where(
        top > MASKED_LOGIT / 2, upstream, tf.zeros_like(upstream)
    )
    delta = tf.reduce_sum(
        tf.cast(upstream, wide) * outputs, axis=-1, keepdims=True
    )
    statistics = tf.concat([top, 1 / total, delta], axis=-1)

    def gradients_in(part):
        q, up = part.of_queries(query), part.of_queries(upstream)
        k, v = part.of_keys(key), part.of_keys(value)
        top, scale, delta = tf.split(part.of_queries(statistics), 3, axis=-1)
        # What fills the last chunk has no gradient of its own.
        top = tf.where(part.is_inside, top, top.dtype.max)
        weights = tf.exp(weigh.logits(q, k, part) - top) * scale
        to_weights = tf.cast(tf.matmul(up, v, transpose_b=True), wide)
        to_logits = weights * (weigh.drop(to_weights, part) - delta)
        to_logits = tf.cast(to_logits, q.dtype)
        weights = tf.cast(weigh.drop(weights, part), v.dtype)
        return (
            tf.cast(tf.matmul(to_logits, k), wide),
            tf.cast(tf.matmul(to_logits, q, transpose_a=True), wide),
            tf.cast(tf.matmul(weights, up, transpose_a=True), wide),
        )

    def gradients_in_round(number):
        here = _Round(rounds, number)
        of_queries, *of_keys = here.join(map(gradients_in, here.parts))
        return (
            here.from_queries(of_queries),
            *(here.from_keys(gradient) for gradient in of_keys),
        )

    def add(number, *gradients):
        pairs = zip(gradients, gradients_in_round(number), strict=True)
        return number + 1, *(old + new for old, new in pairs)

    if rounds.number == 1:
        gradients = gradients_in_round(0)
    else:
        zeros = tuple(tf.zeros_like(x, wide) for x in (query, key, value))
        gradients = _repeat(rounds.number, add, zeros)
    return [tf.cast(gradient, query.dtype) for gradient in gradients]


def _repeat(times, body, state):
    """Runs `body(number, *state)` for each number."""

    def next_round(number, *state):
        number, *new = body(number, *state)
        for tensor, before in zip(new, state, strict=True):
            tensor.set_shape(before.shape)
        return number, *new

    return tf.while_loop(
        lambda number, *_: number < times,
        next_round,
        (tf.constant(0), *state),
        # One round at a time: it is what bounds the memory.
        parallel_iterations=1,
    )[1:]


def _wide(dtype):
    return dtype if dtype == tf.float64 else tf.float32


@dataclasses.dataclass(frozen=True)
class _Weights:
    """Masked logits, and dropout of what becomes of them."""

    causal: bool
    attend_to_self: bool
    bias: Callable | None
    dropout: float
    seed: object

    def logits(self, query, key, part):
        logits = tf.matmul(query, key, transpose_b=True)
        logits = tf.cast(logits, _wide(query.dtype))
        if self.bias is not None:
            logits += part.bias(self.bias, logits.dtype)
        query_codes = part.query_codes[:, :, None]
        key_codes = part.key_codes[:, None, :]
        last = query_codes % _NO_KEY if self.causal else _NO_KEY - 1
        masked = tf.constant(MASKED_LOGIT, logits.dtype)
        logits = tf.where(key_codes > last, masked, logits)
        if self.attend_to_self:
            return logits
        alone = tf.constant(SELF_LOGIT, logits.dtype)
        return tf.where(key_codes == query_codes, alone, logits)

    def drop(self, weights, part):
        if not self.dropout:
            return weights
        seed = stateless_random.fold_in(self.seed, part.number)
        kept = stateless_random.keep(seed, tf.shape(weights), self.dropout)
        weights = weights / (1 - self.dropout)
        return tf.where(kept, weights, tf.zeros_like(weights))


class _Rounds:
    """All orders of the positions, and sizes."""

    def __init__(self, query, orders, windows, padding_mask):
        self.batch_size, self.length, self.num_heads = (
            known if known is not None else size
            for known, size in zip(
                query.shape[:3], tf.unstack(tf.shape(query))[:3], strict=True
            )
        )
        self.num_chunks = -(-self.length // windows.chunk_length)
        self.windows = windows.clip(self.num_chunks)
        if orders is None:
            orders = tf.reshape(tf.range(self.length), (1, 1, 1, -1))
            orders = tf.tile(orders, (self.batch_size, self.num_heads, 1, 1))
            self.inverses = orders
        else:
            self.inverses = _inverse(orders)
        self.number = orders.shape[2]
        self.orders = self._padded(orders)
        # Whether a query may see nothing, not even itself.
        self.has_empty = padding_mask is not None
        self.is_key = None
        self.num_real = tf.reshape(self.num_chunks, (1,))
        if padding_mask is not None:
            self.is_key = tf.cast(padding_mask, tf.bool)
            num_real = tf.math.count_nonzero(self.is_key, 1, dtype=tf.int32)
            self.num_real = -(-num_real // windows.chunk_length)

    def _padded(self, orders):
        """Adds positions past the end, so that chunks come out even."""
        size = self.windows.chunk_length
        end = tf.range(self.length, self.num_chunks * size)
        end = tf.tile(
            end[None, None, None],
            (self.batch_size, self.num_heads, self.number, 1),
        )
        return tf.reshape(
            tf.concat([orders, end], axis=-1),
            (
                self.batch_size,
                self.num_heads,
                self.number * self.num_chunks,
                size,
            ),
        )


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some of the chunks of a round, one of two lots.

    In their order tensors are `(chunks, positions, dim)`.
    """

    here: "_Round"
    number: object
    place: slice
    query_rows: tf.Tensor
    key_rows: tf.Tensor
    query_codes: tf.Tensor
    key_codes: tf.Tensor
    is_inside: tf.Tensor

    def of_queries(self, x):
        """From `(batch, length, num_heads, dim)`."""
        return tf.gather(_flat(x), self.query_rows)

    def of_keys(self, x):
        """Alike, what stands in the chunks' windows."""
        return tf.gather(_flat(x), self.key_rows)

    def bias(self, function, dtype):
        """What a function adds to the logits."""
        return self.here.bias(function, dtype)[self.place]


class _Round:
    """Gathers what stands in one round's chunks, and puts it back.

    In the order of the chunks, tensors are `(batch * num_heads * num_chunks,
    positions, dim)`.
    """

    def __init__(self, rounds, number):
        self._rounds, self.number = rounds, number
        self._size = rounds.windows.chunk_length
        self._queries = tf.gather(
            rounds.orders,
            number * rounds.num_chunks + tf.range(rounds.num_chunks),
            axis=2,
        )
        seen, exist = rounds.windows.seen(
            number, rounds.num_chunks, rounds.number, rounds.num_real
        )
        seen = tf.reshape(seen, (tf.shape(seen)[0], 1, -1))
        seen = tf.broadcast_to(
            seen, (rounds.batch_size, rounds.num_heads, tf.shape(seen)[2])
        )
        self._keys = tf.reshape(
            tf.gather(rounds.orders, seen, batch_dims=2),
            (
                rounds.batch_size,
                rounds.num_heads,
                rounds.num_chunks,
                rounds.windows.size * self._size,
            ),
        )
        exist = tf.repeat(exist, self._size, axis=-1)[:, None]
        key_codes = tf.where(exist, self._codes(self._keys), tf.int32.max)
        key_codes = _flat(key_codes)
        query_codes = _flat(self._codes(self._queries))
        query_rows = _flat(self._rows(self._queries))
        key_rows = _flat(self._rows(self._keys))
        # Two parts that depend on nothing of each other: TensorFlow's product
        # of many small matrices takes one core, and two at once take two.
        half = tf.shape(query_rows)[0] // 2
        self.parts = [
            _Part(
                here=self,
                number=2 * number + place,
                place=rows,
                query_rows=query_rows[rows],
                key_rows=key_rows[rows],
                query_codes=query_codes[rows],
                key_codes=key_codes[rows],
                is_inside=_flat(self._queries < rounds.length)[rows, :, None],
            )
            for place, rows in enumerate((slice(half), slice(half, None)))
        ]

    def join(self, results):
        """Joins the parts of several tensors."""
        return [
            tf.concat(parts, axis=0) for parts in zip(*results, strict=True)
        ]

    def from_queries(self, x):
        """To `(batch, length, num_heads, dim)`."""
        return self._take(x, self._inverse(0))

    def from_keys(self, x):
        """Alike, the sum of what stands in all windows."""
        rounds, windows = self._rounds, self._rounds.windows
        total = 0
        for turn in windows.turns(rounds.num_chunks):
            inverse = self._inverse(turn)
            chunk, place = inverse // self._size, inverse % self._size
            for slot in range(windows.size):
                seeing, exists = (
                    tf.gather(of_chunk, chunk, batch_dims=1)
                    for of_chunk in self._seeing(slot, turn)
                )
                rows = (seeing * windows.size + slot) * self._size + place
                part = self._take(x, rows)
                if windows.wrap != "row" or rounds.is_key is not None:
                    exists = tf.transpose(exists, (0, 2, 1))[..., None]
                    part = tf.where(exists, part, tf.zeros_like(part))
                total += part
        return total

    def bias(self, function, dtype):
        """What a function adds to the logits."""
        number, size = self.number, self._size
        bias = function(number, self._queries, self._keys)
        shape = (-1, size, self._rounds.windows.size * size)
        return tf.reshape(tf.cast(bias, dtype), shape)

    def _seeing(self, slot, turn):
        rounds = self._rounds
        return (
            tf.broadcast_to(x, (rounds.batch_size, tf.shape(x)[1]))
            for x in rounds.windows.seeing(
                slot, turn, rounds.num_chunks, rounds.num_real
            )
        )

    def _inverse(self, turn):
        number = (self.number + turn) % self._rounds.number
        return tf.gather(self._rounds.inverses, number, axis=2)

    def _codes(self, positions):
        """Positions, and `_NO_KEY` more where they are no keys."""
        rounds = self._rounds
        is_key = positions < rounds.length
        if rounds.is_key is not None:
            inside = tf.minimum(positions, rounds.length - 1)
            real = tf.gather(
                rounds.is_key,
                tf.reshape(inside, (rounds.batch_size, -1)),
                batch_dims=1,
            )
            is_key &= tf.reshape(real, tf.shape(positions))
        return tf.where(is_key, positions, positions + _NO_KEY)

    def _rows(self, positions):
        rounds = self._rounds
        row = tf.range(rounds.batch_size)[:, None, None, None]
        head = tf.range(rounds.num_heads)[:, None, None]
        # What is past the end is nobody's key: any vector will do.
        inside = tf.minimum(positions, rounds.length - 1)
        return (row * rounds.length + inside) * rounds.num_heads + head

    def _take(self, x, rows):
        """Of chunks' vectors, those of each head by their numbers in it."""
        rounds = self._rounds
        row = tf.range(rounds.batch_size)[:, None, None] * rounds.num_heads
        head = row + tf.range(rounds.num_heads)
        per_head = rounds.num_chunks * x.shape[1]
        rows = tf.transpose(rows, (0, 2, 1)) + head * per_head
        return tf.gather(_flat(x), rows)


def _flat(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _inverse(orders):
    """The inverse permutations along the last axis."""
    # A scatter is as fast as sorting, and compiled 20 times as fast.
    shape = tf.shape(orders)
    places = tf.broadcast_to(tf.range(shape[-1]), shape)
    starts = tf.range(tf.reduce_prod(shape[:-1])) * shape[-1]
    index = tf.reshape(orders, (-1, shape[-1])) + starts[:, None]
    inverse = tf.scatter_nd(
        tf.reshape(index, (-1, 1)),
        tf.reshape(places, (-1,)),
        tf.reshape(tf.size(orders), (1,)),
    )
    return tf.ensure_shape(tf.reshape(inverse, shape), orders.shape)
