"""Which chunks of a sequence see which."""

import dataclasses

from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check

WRAPS = (None, "row", "rounds")


@dataclasses.dataclass(frozen=True)
class ChunkWindows:
    """Chunks of equal length, each with a window of chunks around it.

    Attributes:
        chunk_length: Number of positions of a chunk.
        chunks_before: Number of chunks before its own that a chunk sees.
        chunks_after: Number of chunks after its own that a chunk sees.
        wrap: What the first chunk sees before itself, and the last behind:
            nothing if None; the row's other end if "row", where the row ends
            with its last real position, and each chunk is seen once at most;
            the neighboring round's end if "rounds", as often as it comes up,
            where the rounds make a ring. As in the reference implementation,
            a chunk sees itself instead of what is as far away as the ring is
            long, or farther.
    """

    chunk_length: int
    chunks_before: int = 1
    chunks_after: int = 0
    wrap: str | None = None

    def __post_init__(self):
        for name, least in (
            ("chunk_length", 1),
            ("chunks_before", 0),
            ("chunks_after", 0),
        ):
            value = as_integer(name, getattr(self, name), least)
            object.__setattr__(self, name, value)
        check(
            self.wrap in WRAPS,
            f"`wrap` must be one of {WRAPS}.",
            wrap=self.wrap,
        )

    def clip(self, num_chunks):
        """Leaves out what sees nothing new, if the number of chunks is known.

        Args:
            num_chunks: Number of chunks, an integer or a scalar tensor.

        Returns:
            A `ChunkWindows` that shows the same.
        """
        if self.wrap == "rounds" or not isinstance(num_chunks, int):
            return self
        most = max(num_chunks - 1, 0)
        after = min(self.chunks_after, most)
        before = min(self.chunks_before, most)
        if self.wrap == "row":
            before = min(before, most - after)
        return dataclasses.replace(
            self, chunks_before=before, chunks_after=after
        )

    @property
    def size(self):
        """Number of chunks in a window."""
        return self.chunks_before + 1 + self.chunks_after

    def offsets(self, num_all):
        """How far from its own the chunks are that a chunk sees.

        Args:
            num_all: Number of chunks of all rounds.

        Returns:
            int32 `(size,)`, negative for chunks before.
        """
        offset = ops.arange(self.size, dtype="int32") - self.chunks_before
        if self.wrap != "rounds":
            return offset
        return ops.where(ops.abs(offset) < num_all, offset, 0)

    def find(self, number, chunk, num_chunks, num_rounds, num_real):
        """Finds chunks that may lie before the first one or behind the last.

        Args:
            number: The round's number, an integer or a scalar tensor.
            chunk: int32 `(chunks,)` or `(rows or 1, chunks)`, numbers of
                chunks of the round, and on beyond its ends.
            num_chunks: Number of chunks of a round.
            num_rounds: Number of rounds.
            num_real: Integer `(rows or 1,)`, the number of chunks that hold
                real positions; the others come after them.

        Returns:
            int32 `(rows or 1, chunks)`, numbers of chunks, counted through
            all rounds. Where there is none, any; what is not real is itself
            unless `chunks_after`.
        """
        chunk = chunk if len(chunk.shape) == 2 else chunk[None]
        start = number * num_chunks
        if self.wrap == "rounds":
            return ops.mod(chunk + start, num_rounds * num_chunks)
        if self.wrap == "row":
            end = ops.maximum(num_real, 1)[:, None]
            found = ops.mod(chunk, end)
            if not self.chunks_after:
                # Nothing sees what is behind the end but itself.
                last = ops.minimum(chunk, num_chunks - 1)
                found = ops.where(chunk < end, found, last)
            return start + found
        return start + ops.clip(chunk, 0, num_chunks - 1)

    def exist(self, own, num_chunks, num_real):
        """Which places of the windows of some chunks show a chunk.

        Args:
            own: int32 tensor `(chunks,)`, the chunks' numbers.
            num_chunks: Number of chunks of a round.
            num_real: As in `find`.

        Returns:
            Boolean `(rows or 1, chunks, size)`.
        """
        own = own[:, None]
        slot = ops.arange(self.size, dtype="int32")
        if self.wrap == "rounds":
            return (own + slot >= 0)[None]
        if self.wrap == "row":
            num_real = num_real[:, None, None]
            # Of what comes up twice, its own place is among those that stay.
            first = ops.maximum(self.chunks_before - num_real + 1, 0)
            shown = ops.logical_and(slot >= first, slot < first + num_real)
            return ops.logical_and(shown, own < num_real)
        chunk = own + slot - self.chunks_before
        return ops.logical_and(chunk >= 0, chunk < num_chunks)[None]

    def seen(self, number, num_chunks, num_rounds, num_real):
        """The chunks that each chunk of a round sees.

        Args:
            number: The round's number, an integer or a scalar tensor.
            num_chunks: Number of chunks of a round.
            num_rounds: Number of rounds.
            num_real: As in `find`.

        Returns:
            A pair of int32 `(rows or 1, num_chunks, size)`, numbers of
            chunks, counted through all rounds, and a boolean tensor alike,
            False where there is none to see.
        """
        own = ops.arange(num_chunks, dtype="int32")
        chunk = own[:, None] + self.offsets(num_rounds * num_chunks)
        found = self.find(
            number,
            ops.reshape(chunk, (-1,)),
            num_chunks,
            num_rounds,
            num_real,
        )
        exists = self.exist(own, num_chunks, num_real)
        return ops.reshape(found, (-1, num_chunks, self.size)), exists
