"""What transformers' Reformer draws to hash with, kept."""

import contextlib
from unittest import mock

import torch


class RecordedRotations:
    """Rotations of one pass through a model.

    Attributes:
        seed: What torch's generator begins with; a `hash_seed` of the model's
            own overrides it at each layer.
        drawn: The rotations, float32 tensors, in the order of drawing.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.drawn = []

    @contextlib.contextmanager
    def recording(self):
        """Draws in float32, whatever is asked for, and keeps what is drawn."""
        draw = torch.randn

        def draw_and_keep(shape, device=None, dtype=None):
            self.drawn.append(draw(shape, dtype=torch.float32))
            return self.drawn[-1].to(dtype)

        torch.manual_seed(self.seed)
        with mock.patch.object(torch, "randn", draw_and_keep):
            yield
