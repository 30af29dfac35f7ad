"""Seeds for the parts of a model."""


class Seeds:
    """Gives out seeds that are all drawn from one.

    Args:
        seed: The first seed; None for random parts.
    """

    def __init__(self, seed: int | None):
        self.seed = seed

    def next(self, draws: int = 1) -> int | None:
        """Returns a seed that no other part has; None for random ones.

        Args:
            draws: Matrices that the part draws from it: those after the first
                have the seeds that follow (see `own_draws`), which no other
                part then gets.
        """
        if self.seed is None:
            return None
        # Steps of a large odd number: parts of models with neighboring seeds
        # must not share seeds.
        first = self._advance()
        for _ in range(draws - 1):
            self._advance()
        return first

    def _advance(self):
        self.seed = (self.seed + 0x9E3779B1) % 2**31
        return self.seed
