"""Options of how a model's translations are searched for."""

import dataclasses

from keras_xf.checks import check
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """Options of the search; `search` has them by the names it takes."""

    num_beams: int = option("Unfinished translations that are followed.", 5)
    length_penalty: float = option(
        "How much longer translations are preferred; 0: not at all.", 0.6
    )
    max_new_tokens: int = option("Most tokens of a translation.", 128)
    batch_size: int = option("Lines at once.", 64)

    def __post_init__(self):
        for name in ("num_beams", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})
        check(
            self.length_penalty >= 0,
            "`length_penalty` must not be negative.",
            length_penalty=self.length_penalty,
        )

    @property
    def search(self) -> dict:
        """As `Translator` takes them."""
        names = ("num_beams", "length_penalty", "max_new_tokens", "batch_size")
        return {name: getattr(self, name) for name in names}
