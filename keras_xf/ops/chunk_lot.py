"""Some chunks of some rows, and what they see."""

import tensorflow as tf

# Added to the number of a position that is no key.
NO_KEY = 2**30


class ChunkLot:
    """Some chunks of some rows, in their order in one round.

    Of these chunks tensors are `(chunks * rows, chunk_length, dim)`, of what
    they see the same, longer by what is around them: what one place of their
    windows shows is part of it, and no copy.

    Args:
        rows: A `ChunkRows`.
        round_number: The round's number, an integer or a scalar tensor.
        number: The lot's among those of the rows, alike.

    Attributes:
        number: A number that no other lot of any round or row has.
        is_inside: Boolean `(chunks * rows, chunk_length)`, False where no
            query is.
    """

    def __init__(self, rows, round_number, number):
        tables, lots, windows = rows.tables, rows.lots, rows.windows
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
        return tf.gather(tf.reshape(x, (-1, x.shape[-1])), self._flat(index))

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
