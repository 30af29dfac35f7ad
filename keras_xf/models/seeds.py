"""Seeds for the parts of a model."""


class Seeds:
    """Gives out seeds that are all drawn from one.

    Args:
        seed: The first seed; None for random parts.
    """

    def __init__(self, seed: int | None):
        self.seed = seed

    def next(self) -> int | None:
        """Returns a seed that no other part has; None for random ones."""
        if self.seed is None:
            return None
        # Steps of a large odd number: parts of models with neighboring seeds
        # must not share seeds.
        self.seed = (self.seed + 0x9E3779B1) % 2**31
        return self.seed
