"""How the arrays of attention are cut into blocks of queries and of keys."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cut:
    """A length in blocks.

    Attributes:
        length: The length, a number or a scalar tensor.
        block: Length of a block, a number. The last one is padded.
        number: How many blocks there are, a number or a scalar tensor.
    """

    length: object
    block: int
    number: object

    @classmethod
    def of(cls, tensor, axis: int, block_length: int):
        """Cuts an axis of a tensor into equal blocks.

        Args:
            tensor: The tensor.
            axis: Which axis.
            block_length: Length of a block: at most, where the axis is known,
                so that little is padded.
        """
        length = tensor.shape[axis]
        if length is None:
            length = tf.shape(tensor)[axis]
            return cls(length, block_length, -(-length // block_length))
        number = -(-length // block_length)
        return cls(length, -(-length // max(number, 1)), number)

    @property
    def padding(self):
        """How many positions are added at the end."""
        return self.number * self.block - self.length


@dataclasses.dataclass(frozen=True)
class AttentionBlocks:
    """Attention as a sequence of products of blocks.

    A row is a head of a row of the batch. Unless `batched`, a block is a
    matrix of a single row, since TensorFlow and XLA multiply matrices faster
    on a CPU than batches of them; else it is one of all rows.

    Attributes:
        batch_size: Rows of the batch, a number or a scalar tensor.
        num_heads: Heads, likewise.
        queries: How the queries are cut.
        keys: How the keys are cut.
        batched: Whether a block is of all rows at once.
    """

    batch_size: object
    num_heads: object
    queries: Cut
    keys: Cut
    batched: bool

    @property
    def num_rows(self):
        """How often the sequence of blocks is gone through."""
        return 1 if self.batched else self.batch_size * self.num_heads

    @property
    def lead(self) -> tuple:
        """The axes of a block before the length and the dim."""
        return (self.batch_size, self.num_heads) if self.batched else ()

    def split(self, x, cut: Cut):
        """Cuts `(batch, num_heads, length, dim)` into blocks.

        Returns:
            Tensor `(num_rows * cut.number, *lead, cut.block, dim)`.
        """
        dim = x.shape[-1]
        x = tf.pad(x, [[0, 0], [0, 0], [0, cut.padding], [0, 0]])
        if not self.batched:
            return tf.reshape(x, (-1, cut.block, dim))
        x = tf.reshape(x, (*self.lead, cut.number, cut.block, dim))
        return tf.transpose(x, (2, 0, 1, 3, 4))

    def join(self, blocks, cut: Cut):
        """What `split` has cut, as a whole again."""
        dim = blocks.shape[-1]
        if self.batched:
            blocks = tf.transpose(blocks, (1, 2, 0, 3, 4))
        shape = (self.batch_size, self.num_heads, cut.number * cut.block, dim)
        return tf.reshape(blocks, shape)[:, :, : cut.length]
