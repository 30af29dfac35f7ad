"""Which chunks of a sequence see which."""

import dataclasses

from keras import ops

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
            where the rounds make a ring.
    """

    chunk_length: int
    chunks_before: int = 1
    chunks_after: int = 0
    wrap: str | None = None

    def __post_init__(self):
        check(
            self.chunk_length > 0,
            "`chunk_length` must be positive.",
            chunk_length=self.chunk_length,
        )
        check(
            self.chunks_before >= 0,
            "`chunks_before` must not be negative.",
            chunks_before=self.chunks_before,
        )
        check(
            self.chunks_after >= 0,
            "`chunks_after` must not be negative.",
            chunks_after=self.chunks_after,
        )
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

    def seen(self, number, num_chunks, num_rounds, num_real):
        """The chunks that each chunk of a round sees.

        Args:
            number: The round's number, an integer or a scalar tensor.
            num_chunks: Number of chunks of a round.
            num_rounds: Number of rounds.
            num_real: Integer `(batch or 1,)`, the number of chunks that hold
                real positions; the others come after them.

        Returns:
            A pair of int32 `(batch or 1, num_chunks, size)`, numbers of
            chunks, counted through all rounds, and a boolean tensor alike,
            False where there is none to see.
        """
        own = ops.arange(num_chunks, dtype="int32")[:, None]
        slot = ops.arange(self.size, dtype="int32")
        chunk = (own + slot - self.chunks_before)[None]
        start = number * num_chunks
        if self.wrap == "rounds":
            chunk = ops.mod(chunk + start, num_rounds * num_chunks)
            return chunk, ops.ones_like(chunk, dtype="bool")
        if self.wrap == "row":
            num_real = ops.maximum(num_real, 1)[:, None, None]
            exists = ops.logical_and(slot < num_real, own < num_real)
            return start + ops.mod(chunk, num_real), exists
        exists = ops.logical_and(chunk >= 0, chunk < num_chunks)
        return start + ops.where(exists, chunk, own), exists

    def turns(self, num_chunks):
        """How many rounds away what a round's chunks see can be.

        Args:
            num_chunks: Number of chunks of a round.

        Returns:
            A range of integers, 0 the round itself.
        """
        if self.wrap != "rounds":
            return range(1)
        # At the worst a round is one chunk.
        size = num_chunks if isinstance(num_chunks, int) else 1
        last = (size - 1 + self.chunks_after) // max(size, 1)
        return range(-self.chunks_before // max(size, 1), last + 1)

    def seeing(self, slot, turn, num_chunks, num_real):
        """The chunks of a round that see each chunk in some place.

        The inverse of `seen`.

        Args:
            slot: Place in the window.
            turn: How many rounds later the round of the chunks seen is.
            num_chunks: Number of chunks of a round.
            num_real: As in `seen`.

        Returns:
            A pair of int32 `(batch or 1, num_chunks)`, numbers of chunks in
            the round, and a boolean tensor alike, False where there is none.
        """
        own = ops.arange(num_chunks, dtype="int32")[None]
        chunk = own + turn * num_chunks + self.chunks_before - slot
        if self.wrap == "row":
            num_real = ops.maximum(num_real, 1)[:, None]
            exists = ops.logical_and(slot < num_real, own < num_real)
            return ops.mod(chunk, num_real), exists
        exists = ops.logical_and(chunk >= 0, chunk < num_chunks)
        return ops.where(exists, chunk, 0), exists
