"""Losses of a layer that pauses in the middle of its call."""

from keras_xf.ops.replicas import replica_number


class ReplicaLosses:
    """Takes the place of a layer's list of losses, and keeps one a replica.

    Replicas of one process share their layers, and take turns: one runs until
    it adds something up over all, then the next. A layer that does so in its
    call would find that the next replica's call has thrown its loss away and
    put another in its place, which has no gradient here.

    What other layers of the model have added is Keras's matter; it has the same
    trouble with regularized activities before a batch normalization.
    """

    def __init__(self):
        self._lists = {}

    def clear(self):
        """Forgets this replica's losses."""
        self._own().clear()

    def extend(self, losses):
        """Adds losses of this replica."""
        self._own().extend(losses)

    def __getitem__(self, key):
        return self._own()[key]

    def __len__(self):
        return len(self._own())

    def _own(self):
        number, _ = replica_number()
        # It is a tensor where replicas are no threads, and share nothing.
        return self._lists.setdefault(
            number if isinstance(number, int) else 0, []
        )
