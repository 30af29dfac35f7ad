"""Options of the kinds of language models, and what they build."""

import dataclasses
from typing import Literal

from apps.training.activations import check_activation
from keras_xf.checks import check
from keras_xf.launch import option

_POSITIONS = {
    "transformer": ("rotary", "sinusoidal", "learned"),
    "reformer": ("axial", "learned"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Options of the model."""

    model: Literal["transformer", "reformer"] = option(
        "The kind of model.", "transformer"
    )
    num_layers: int = option("Blocks of attention and feed-forward.", 6)
    hidden_dim: int = option("Width of the residual stream.", 256)
    num_heads: int = option("Attention heads.", 8)
    intermediate_dim: int = option("Width inside the feed-forward.", 1024)
    activation: str = option("Activation inside the feed-forward.", "gelu")
    dropout: float = option("Fraction dropped in training.", 0.0)
    positions: Literal["rotary", "sinusoidal", "learned", "axial"] | None = (
        option(
            "How the model knows places in a window: rotary, sinusoidal or "
            "learned in a transformer, axial or learned in a reformer; the "
            "first of these if none.",
            None,
        )
    )
    max_length: int | None = option(
        "Positions of a model that learns them; as many as a training window "
        "has if none.",
        None,
    )
    norm_first: bool = option(
        "Transformer: normalize before sublayers, not after.", True
    )
    tied: bool = option(
        "Transformer: one table for embeddings and logits.", True
    )
    attention: tuple[Literal["lsh", "chunked", "dense"], ...] = option(
        "Reformer: kinds of attention, layer by layer, over and over.",
        ("chunked", "lsh"),
    )
    chunk_length: int = option("Reformer: positions in a chunk.", 64)
    num_hashes: int = option("Reformer: rounds of hashing.", 1)
    feed_forward_chunk_length: int | None = option(
        "Reformer: positions that the feed-forward takes at once; all if none.",
        None,
    )
    reversible: bool = option(
        "Reformer: recompute activations instead of keeping them.", True
    )

    def __post_init__(self):
        check_activation(self.activation)
        positions = _POSITIONS[self.model]
        check(
            self.positions is None or self.positions in positions,
            f"`positions` of a {self.model} must be one of {positions}.",
            positions=self.positions,
        )
        check(
            self.max_length is None or self.positions_are_learned,
            "`max_length` must be none where positions are not learned.",
            max_length=self.max_length,
            positions=self.positions,
        )

    @property
    def positions_are_learned(self) -> bool:
        """Whether there are only so many positions."""
        return self._positions in ("learned", "axial")

    def describe(
        self, *, vocabulary_size: int, window_length: int, seed: int
    ) -> dict:
        """Describes the model as `keras_xf.models.build` takes it.

        Args:
            vocabulary_size: Number of tokens.
            window_length: Tokens of a training window.
            seed: Seed of the weights and the dropout.

        Raises:
            ValueError: If there are fewer positions than a window has.
        """
        max_length = self.max_length or window_length
        check(
            max_length >= window_length,
            "`max_length` must be `window_length` or more.",
            max_length=max_length,
            window_length=window_length,
        )
        names = (
            *("num_layers", "hidden_dim", "num_heads", "intermediate_dim"),
            *("activation", "dropout"),
        )
        if self.model == "transformer":
            builder = "build_language_model"
            names += ("norm_first", "tied")
        else:
            builder = "build_reformer_language_model"
            names += ("attention", "chunk_length", "num_hashes")
            names += ("feed_forward_chunk_length", "reversible")
        arguments = {name: getattr(self, name) for name in names}
        arguments["positions"] = self._positions
        arguments["vocabulary_size"] = vocabulary_size
        arguments["seed"] = seed
        if self.positions_are_learned:
            arguments["max_length"] = max_length
        if "attention" in arguments:
            arguments["attention"] = list(self.attention)
        return {"builder": builder, "arguments": arguments}

    @property
    def _positions(self):
        return self.positions or _POSITIONS[self.model][0]
