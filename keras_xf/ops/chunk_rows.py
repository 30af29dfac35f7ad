"""Rows of chunks, and where the results of their lots belong."""

import copy
import dataclasses

import tensorflow as tf

from keras_xf.ops.chunk_lot import ChunkLot
from keras_xf.ops.chunk_lots import ChunkLots
from keras_xf.ops.chunk_lots import map_lots
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.permutations import inverse_permutations


class ChunkRows:
    """Sequences as each head sees them, in the orders of its rounds.

    A row is one head's of one sequence; here are all of a batch, or some.

    Attributes:
        windows: What is seen from where.
        length: Number of positions.
        num_heads: Number of heads.
        num_chunks: Number of chunks of a round.
        num_rounds: Number of rounds.
        number: Number of rows.
        lots: How the rows are divided.
        tables: What is known of each row.
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
            inverses = inverse_permutations(orders)
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
        self.tables = RowTables(
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
        self._data = tf.stop_gradient(query)

    def after(self, data) -> "ChunkRows":
        """These, for results that are made from other data than the query.

        Args:
            data: A tensor of floats, as in `map_lots`.

        Returns:
            A copy.
        """
        rows = copy.copy(self)
        rows._data = data
        return rows

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
        some = copy.copy(self)
        some.tables = self.tables.select(numbers)
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

        sizes = (lots.rows, self.length)
        results = map_lots(
            run,
            lots.lots_of_rows,
            [((*sizes, dim), dtype) for dtype, dim in like],
            self._data,
        )
        return [self._join(x) for x in results]

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
            return (chunks * lots.rows, self._size, dim), dtype

        shown = shown or [False] * len(like)
        return map_lots(
            lambda number: function(ChunkLot(self, round_number, number)),
            lots.number,
            [
                specify(is_shown, *pair)
                for is_shown, pair in zip(shown, like, strict=True)
            ],
            self._data,
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
            is_real = self._arrange(own < self.tables.num_real[:, None])
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
        num_real = self.tables.num_real
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
        found = self.find(round_number, chunk, self.tables.num_real)
        positions = self.positions(tf.range(self.number), found)
        positions = tf.transpose(positions, (1, 0, 2))
        # Past the end there are zeros to add.
        positions = tf.minimum(positions, self.length - 1)
        if self._is_all:
            first = self.tables.first[:, None, None]
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
        orders = tf.reshape(self.tables.orders, (-1, self._size))
        return tf.gather(orders, tf.transpose(chunk))

    @property
    def _size(self):
        return self.windows.chunk_length

    def _inverse(self, round_number):
        return tf.gather(self.tables.inverses, round_number, axis=1)

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


@dataclasses.dataclass(frozen=True)
class RowTables:
    """What is known of each row.

    Attributes:
        numbers: int32 `(rows,)`, the rows' numbers among all.
        first: int32 `(rows,)`, where a row's first position is in a tensor
            `(batch * length * num_heads, dim)`.
        orders: int32 `(rows, num_rounds * num_chunks, chunk_length)`, the
            positions that stand in the chunks.
        inverses: int32 `(rows, num_rounds, length)`, where each stands.
        is_key: Boolean `(rows, length)`, or None if all are.
        num_real: int32 `(rows or 1,)`, the number of chunks with keys.
    """

    numbers: tf.Tensor
    first: tf.Tensor
    orders: tf.Tensor
    inverses: tf.Tensor
    is_key: tf.Tensor | None
    num_real: tf.Tensor

    def select(self, numbers) -> "RowTables":
        """Those of some rows."""

        def take(x):
            return None if x is None else tf.gather(x, numbers)

        num_real = self.num_real if self.is_key is None else take(self.num_real)
        return RowTables(
            numbers=take(self.numbers),
            first=take(self.first),
            orders=take(self.orders),
            inverses=take(self.inverses),
            is_key=take(self.is_key),
            num_real=num_real,
        )


def _flat(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _is_one(x):
    return isinstance(x, int) and x == 1
