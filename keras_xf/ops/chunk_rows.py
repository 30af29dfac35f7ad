"""Rows of chunks: what a lot of them shows, and where its results belong."""

import dataclasses

import tensorflow as tf

from keras_xf.ops.chunk_lots import ChunkLots
from keras_xf.ops.chunk_lots import map_lots
from keras_xf.ops.chunk_windows import ChunkWindows

# Added to the number of a position that is no key.
NO_KEY = 2**30


class ChunkRows:
    """All heads of all rows, each in the orders of its rounds, or some.

    Attributes:
        windows: What is seen from where.
        length: Number of positions.
        num_heads: Number of heads.
        num_chunks: Number of chunks of a round.
        num_rounds: Number of rounds.
        number: Number of rows.
        lots: How the rows are divided.
        group: Which selection of rows it is.
        num_groups: Number of selections.
        is_empty: Whether there are no positions, a scalar tensor if the
            length is not known.
        is_padded: Whether there is a padding mask.
        hides: Whether a window may show what is no key.
    """

    def __init__(self, query, orders, windows: ChunkWindows, padding_mask):
        batch_size, self.length, self.num_heads = (
            known if known is not None else size
            for known, size in zip(
                query.shape[:3], tf.unstack(tf.shape(query))[:3], strict=True
            )
        )
        self._batch_size = batch_size
        self.number = batch_size * self.num_heads
        size = windows.chunk_length
        self.num_chunks = -(-self.length // size)
        self.windows = windows.clip(self.num_chunks)
        if orders is None:
            orders = tf.tile(
                tf.range(self.length)[None, None], (self.number, 1, 1)
            )
            inverses = orders
        else:
            shape = (self.number, orders.shape[2], self.length)
            orders = tf.reshape(orders, shape)
            inverses = _inverse(orders)
        self.num_rounds = orders.shape[1]
        self.is_empty = self.length == 0
        self.is_padded = padding_mask is not None
        is_even = isinstance(self.length, int) and self.length % size == 0
        self.hides = (
            self.is_padded
            or not is_even
            or (self.windows.wrap is None and self.windows.size > 1)
        )
        row = tf.range(self.number)
        row, head = row // self.num_heads, row % self.num_heads
        real = tf.reshape(self.num_chunks, (1,))
        mask = None
        if padding_mask is not None:
            mask = tf.gather(tf.cast(padding_mask, tf.bool), row)
            real = tf.math.count_nonzero(mask, 1, dtype=tf.int32)
            real = -(-real // size)
        self._tables = _Tables(
            numbers=tf.range(self.number),
            first=row * (self.length * self.num_heads) + head,
            orders=self._padded(orders),
            inverses=inverses,
            is_key=mask,
            num_real=real,
        )
        self.lots = ChunkLots(self.number, self.num_chunks, size)
        self.group, self.num_groups = 0, 1
        self._is_all = True

    def select(self, numbers, count, group, num_groups) -> "ChunkRows":
        """Some of the rows.

        Args:
            numbers: int32 `(count,)`, which ones.
            count: How many.
            group: Number of this selection.
            num_groups: Number of selections.

        Returns:
            Them, with lots of their own.
        """
        some = object.__new__(ChunkRows)
        some.__dict__.update(self.__dict__)
        some._tables = self._tables.select(numbers)
        some.number, some._is_all = count, False
        some.group, some.num_groups = group, num_groups
        size = self.windows.chunk_length
        some.lots = ChunkLots(count, self.num_chunks, size)
        return some

    def map(self, function, like):
        """Puts together what a function makes of some rows at a time.

        Args:
            function: Function of a `ChunkRows` that returns tensors `(rows,
                length, dim)`.
            like: Pairs of their dtypes and `dim`.

        Returns:
            A list of tensors `(batch, length, num_heads, dim)`.
        """
        lots = self.lots

        def run(number):
            numbers = lots.row_numbers(number * lots.lots_of_row)
            some = self.select(numbers, lots.rows, number, lots.lots_of_rows)
            return function(some)

        sizes = (_known(lots.rows), _known(self.length))
        specs = [tf.TensorSpec((*sizes, dim), dtype) for dtype, dim in like]
        return [self._join(x) for x in map_lots(run, lots.lots_of_rows, specs)]

    def map_chunks(self, round_number, function, like, shown=None):
        """Puts together what a function makes of some chunks at a time.

        Args:
            round_number: The round's number.
            function: Function of a `ChunkLot` that returns tensors `(chunks,
                chunk_length, dim)`.
            like: Pairs of their dtypes and `dim`.
            shown: Of each, whether it is of all that is shown to the
                chunks, not of these alone.

        Returns:
            A list of tensors with an axis of lots in front.
        """
        lots = self.lots

        def specify(is_shown, dtype, dim):
            chunks = lots.chunks
            if is_shown:
                chunks += self.windows.size - 1
            chunks = _known(chunks * lots.rows)
            return tf.TensorSpec((chunks, self._size, dim), dtype)

        shown = shown or [False] * len(like)
        return map_lots(
            lambda number: function(ChunkLot(self, round_number, number)),
            lots.number,
            [
                specify(is_shown, *pair)
                for is_shown, pair in zip(shown, like, strict=True)
            ],
        )

    def from_queries(self, results, round_number):
        """Puts what lots made of queries back.

        Args:
            results: `(lots, chunks * rows, chunk_length, dim)`.
            round_number: The round's number.

        Returns:
            `(batch, length, num_heads, dim)`, of some rows `(rows, length,
            dim)`.
        """
        index = self._places(round_number, self.lots.chunks, 0)
        return tf.gather(_flat(results), self._arrange(index))

    def from_keys(self, results, round_number):
        """Adds up what lots made of keys.

        Args:
            results: `(lots, (chunks + windows.size - 1) * rows, chunk_length,
                dim)`: what each lot's first chunk sees first comes first.
            round_number: The round's number.

        Returns:
            As `from_queries`.
        """
        windows, lots = self.windows, self.lots
        around = windows.size - 1
        before = windows.chunks_before
        index = self._places(round_number, lots.chunks + around, before)
        total = tf.gather(_flat(results), self._arrange(index))
        if windows.wrap == "row" and windows.chunks_after and self.is_padded:
            own = self._inverse(round_number) // self._size
            is_real = self._arrange(own < self._tables.num_real[:, None])
            total = tf.where(is_real[..., None], total, tf.zeros_like(total))
        if not around:
            return total
        shape, total = tf.shape(total), _flat(total)
        for chunk, place, counts in self._elsewhere():
            total = self._add(
                total, results, round_number, chunk, place, counts
            )
        return tf.reshape(total, shape)

    def _elsewhere(self):
        """Chunks that stand in lots where their own place is another.

        Yields:
            Their numbers, int32 `(rows or 1, chunks)`, their places among all
            that lots show, and whether they count.
        """
        windows, lots = self.windows, self.lots
        row = tf.range(self.number)[:, None]
        width = lots.chunks + windows.size - 1
        if windows.wrap is not None or not _is_one(lots.lots_of_row):
            first = tf.range(lots.lots_of_row)[None] * lots.chunks
            for slot in range(windows.size - 1):
                place = slot
                if slot >= windows.chunks_before:
                    place += lots.chunks
                chunk = first + place - windows.chunks_before
                yield chunk, lots.place(row, first, width, place), None
        if windows.wrap is None:
            return
        # Behind the last chunk there is room in the last lot.
        end = lots.lots_of_row * lots.chunks
        num_real = self._tables.num_real
        if windows.wrap == "rounds" or not self.is_padded:
            num_real = tf.reshape(self.num_chunks, (1,))
            if isinstance(end, int) and end == self.num_chunks:
                return
        for slot in range(windows.chunks_after):
            chunk = num_real[:, None] + slot
            inside = tf.minimum(chunk, end - 1)
            place = lots.place(row, inside, width, windows.chunks_before)
            yield chunk, place, chunk < end

    def _add(self, total, results, round_number, chunk, place, counts):
        found = self.find(round_number, chunk, self._tables.num_real)
        positions = self.positions(tf.range(self.number), found)
        positions = tf.transpose(positions, (1, 0, 2))
        # Past the end there are zeros to add.
        positions = tf.minimum(positions, self.length - 1)
        if self._is_all:
            first = self._tables.first[:, None, None]
            targets = first + positions * self.num_heads
        else:
            row = tf.range(self.number)[:, None, None]
            targets = row * self.length + positions
        index = place[..., None] * self._size + tf.range(self._size)
        values = tf.gather(_flat(results), index)
        if counts is not None:
            zeros = tf.zeros_like(values)
            values = tf.where(counts[..., None, None], values, zeros)
        targets = tf.broadcast_to(targets, tf.shape(index))
        return tf.tensor_scatter_nd_add(
            total, tf.reshape(targets, (-1, 1)), _flat(values)
        )

    def find(self, round_number, chunk, num_real):
        """As `ChunkWindows.find`."""
        return self.windows.find(
            round_number, chunk, self.num_chunks, self.num_rounds, num_real
        )

    def positions(self, row, chunk):
        """What stands in chunks, counted through all rounds.

        Args:
            row: Integer `(rows,)`.
            chunk: Integer `(rows or 1, chunks)`.

        Returns:
            int32 `(chunks, rows, chunk_length)`.
        """
        chunk += row[:, None] * (self.num_rounds * self.num_chunks)
        orders = tf.reshape(self._tables.orders, (-1, self._size))
        return tf.gather(orders, tf.transpose(chunk))

    @property
    def _size(self):
        return self.windows.chunk_length

    def _inverse(self, round_number):
        return tf.gather(self._tables.inverses, round_number, axis=1)

    def _join(self, x):
        """From lots of rows to `(batch, length, num_heads, dim)`."""
        dim = x.shape[-1]
        x = tf.reshape(x, (-1, self.length, dim))[: self.number]
        shape = (self._batch_size, self.num_heads, self.length, dim)
        return tf.transpose(tf.reshape(x, shape), (0, 2, 1, 3))

    def _places(self, round_number, width, start):
        inverse = self._inverse(round_number)
        row = tf.range(self.number)[:, None]
        chunk = inverse // self._size
        place = self.lots.place(row, chunk, width, start)
        return place * self._size + inverse % self._size

    def _arrange(self, x):
        """From `(rows, length)` to `(batch, length, num_heads)`, of all."""
        if not self._is_all:
            return x
        shape = (self._batch_size, self.num_heads, self.length)
        return tf.transpose(tf.reshape(x, shape), (0, 2, 1))

    def _padded(self, orders):
        """Adds positions past the end, so that chunks come out even."""
        end = tf.range(self.length, self.num_chunks * self._size)
        end = tf.tile(end[None, None], (self.number, self.num_rounds, 1))
        chunks = self.num_rounds * self.num_chunks
        return tf.reshape(
            tf.concat([orders, end], axis=-1),
            (self.number, chunks, self._size),
        )


class ChunkLot:
    """Some chunks of some rows, in their order in one round.

    Of these chunks tensors are `(chunks * rows, chunk_length, dim)`, of what
    they see the same, longer by what is around them: what one place of their
    windows shows is part of it, and no copy.

    Attributes:
        number: A number that no other lot of any round or row has.
        is_inside: Boolean `(chunks * rows, chunk_length)`, False where no
            query is.
    """

    def __init__(self, rows: ChunkRows, round_number, number):
        tables, lots, windows = rows._tables, rows.lots, rows.windows
        self._rows, self._lots, self._windows = rows, lots, windows
        self._round_number = round_number
        group = round_number * rows.num_groups + rows.group
        self.number = group * lots.number + number
        local = lots.row_numbers(number)
        start = lots.first_chunk(number)
        self._own = start + tf.range(lots.chunks)
        self._numbers = tf.gather(tables.numbers, local)
        self._first = tf.gather(tables.first, local)[:, None]
        self._is_key, num_real = None, tables.num_real
        if rows.is_padded:
            self._is_key = tf.gather(tables.is_key, local)
            num_real = tf.gather(tables.num_real, local)
        around = windows.size - 1
        shown = start - windows.chunks_before
        shown += tf.range(lots.chunks + around)
        found = rows.find(round_number, shown, num_real)
        self._shown = rows.positions(local, found)
        inside = tf.minimum(self._own, rows.num_chunks - 1)
        own = round_number * rows.num_chunks + inside
        self._queries = rows.positions(local, own[None])
        limit = num_real if windows.wrap == "row" else rows.num_chunks
        is_inside = (self._own[:, None] < limit)[..., None]
        is_inside &= self._queries < rows.length
        self.is_inside = tf.reshape(is_inside, (-1, windows.chunk_length))
        self._exist = windows.exist(self._own, rows.num_chunks, num_real)

    @property
    def chunk_length(self):
        """Number of positions of a chunk."""
        return self._windows.chunk_length

    @property
    def slots(self):
        """The places of the chunks' windows."""
        return range(self._windows.size)

    def queries(self, x):
        """Takes what stands in the chunks from `(batch, length, num_heads,
        dim)`."""
        return self._take(x, self._queries)

    def shown(self, x):
        """Takes what the chunks see, each chunk once, from the same."""
        return self._take(x, self._shown)

    def own(self, shown):
        """Of what is shown, the chunks' own."""
        return self._part(shown, self._windows.chunks_before)

    def at(self, slot, shown):
        """Of what is shown, what one place of the windows shows."""
        return self._part(shown, self._start(slot))

    def add_slots(self, parts):
        """The transpose of `at`: the sum of what is of one chunk.

        Args:
            parts: A list of tensors, of one place of the windows each.

        Returns:
            A tensor as `shown` returns them.
        """
        if len(parts) == 1:
            return parts[0]
        return tf.add_n(
            [self._pad(x, self._start(slot)) for slot, x in enumerate(parts)]
        )

    def among_shown(self, x):
        """Puts what is of the chunks among zeros for those around them."""
        return self._pad(x, self._windows.chunks_before)

    def codes(self):
        """Positions of queries, and `NO_KEY` and more where they are no key.

        Returns:
            int32 `(chunks * rows, chunk_length)`.
        """
        return self._flat(self._codes(self._queries))

    def key_codes(self, slot):
        """Alike, of what one place of the windows shows.

        Returns:
            int32 tensor, the largest of all where there is no chunk to see.
        """
        codes = self.at(slot, self._flat(self._codes(self._shown)))
        exist = tf.transpose(self._exist[..., slot])
        shape = (self._lots.chunks, self._lots.rows)
        exist = tf.reshape(tf.broadcast_to(exist, shape), (-1, 1))
        return tf.where(exist, codes, tf.int32.max)

    def bias(self, function, dtype):
        """What a function adds to the logits, by places of the windows."""
        rows_first = (1, 0, 2)
        shown = self._flat(self._shown)
        shape = (self._lots.chunks, self._lots.rows, self.chunk_length)
        keys = tf.concat(
            [tf.reshape(self.at(slot, shown), shape) for slot in self.slots],
            axis=-1,
        )
        bias = function(
            self._round_number,
            self._numbers,
            self._own,
            tf.transpose(self._queries, rows_first),
            tf.transpose(keys, rows_first),
        )
        bias = tf.transpose(tf.cast(bias, dtype), (1, 0, 2, 3))
        shape = (-1, self.chunk_length, keys.shape[-1])
        return tf.split(tf.reshape(bias, shape), len(self.slots), axis=-1)

    def _take(self, x, positions):
        # What is past the end is nobody's key: any vector will do.
        inside = tf.minimum(positions, self._rows.length - 1)
        index = self._first + inside * self._rows.num_heads
        return tf.gather(_flat(x), self._flat(index))

    def _flat(self, x):
        return tf.reshape(x, (-1, self.chunk_length))

    def _start(self, slot):
        rows, windows = self._rows, self._windows
        if windows.wrap != "rounds":
            return slot
        offsets = windows.offsets(rows.num_rounds * rows.num_chunks)
        return windows.chunks_before + offsets[slot]

    def _part(self, shown, start):
        # Along the first axis: so it is not copied.
        rows = self._lots.rows
        return shown[start * rows : (start + self._lots.chunks) * rows]

    def _pad(self, x, start):
        rows, around = self._lots.rows, self._windows.size - 1
        ends = (start * rows, (around - start) * rows)
        return tf.pad(x, [ends, (0, 0), (0, 0)])

    def _codes(self, positions):
        rows = self._rows
        is_key = positions < rows.length
        if self._is_key is not None:
            row = tf.range(self._lots.rows)[:, None] * rows.length
            inside = row + tf.minimum(positions, rows.length - 1)
            is_key &= tf.gather(tf.reshape(self._is_key, (-1,)), inside)
        return tf.where(is_key, positions, positions + NO_KEY)


@dataclasses.dataclass(frozen=True)
class _Tables:
    """What is known of each row."""

    numbers: tf.Tensor
    first: tf.Tensor
    orders: tf.Tensor
    inverses: tf.Tensor
    is_key: tf.Tensor | None
    num_real: tf.Tensor

    def select(self, numbers):
        def take(x):
            return None if x is None else tf.gather(x, numbers)

        num_real = self.num_real if self.is_key is None else take(self.num_real)
        return _Tables(
            numbers=take(self.numbers),
            first=take(self.first),
            orders=take(self.orders),
            inverses=take(self.inverses),
            is_key=take(self.is_key),
            num_real=num_real,
        )


def _flat(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _known(size):
    return size if isinstance(size, int) else None


def _is_one(x):
    return isinstance(x, int) and x == 1


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
