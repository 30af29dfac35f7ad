"""Options of the kinds of language models, and what they build."""

import dataclasses
from typing import Literal

from apps.training.activations import check_activation
from apps.training.owned_options import check_left_out
from keras_xf.checks import check
from keras_xf.launch import option

_POSITIONS = {
    "transformer": ("rotary", "sinusoidal", "learned"),
    "reformer": ("axial", "learned"),
    "transformer_xl": ("relative",),
}
# Of the options that some kinds of model do not have: whose they are.
_OWNERS = {
    ("transformer", "transformer_xl"): (
        *("norm_first", "tied", "cutoffs", "embedding_dim", "divisor"),
    ),
    ("reformer",): (
        *("attention", "chunk_length", "num_hashes"),
        *("feed_forward_chunk_length", "reversible"),
    ),
    ("transformer_xl",): (
        *("final_norm", "memory_length", "attention_dropout", "untied_biases"),
        "initializer_stddev",
        # Of the program that trains.
        *("segment_length", "eval_segment_length", "eval_memory_length"),
        "clamp_length",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Options of the model."""

    model: Literal["transformer", "reformer", "transformer_xl"] = option(
        "The kind of model.", "transformer"
    )
    num_layers: int = option("Blocks of attention and feed-forward.", 6)
    hidden_dim: int = option("Width of the residual stream.", 256)
    num_heads: int = option("Attention heads.", 8)
    intermediate_dim: int = option("Width inside the feed-forward.", 1024)
    activation: str = option("Activation inside the feed-forward.", "gelu")
    dropout: float = option("Fraction dropped in training.", 0.0)
    positions: (
        Literal["rotary", "sinusoidal", "learned", "axial", "relative"] | None
    ) = option(
        "How the model knows places in a window: rotary, sinusoidal or learned "
        "in a transformer, axial or learned in a reformer, relative in a "
        "transformer_xl; the first of these if none.",
        None,
    )
    max_length: int | None = option(
        "Positions of a model that learns them; as many as a training window "
        "has if none.",
        None,
    )
    norm_first: bool = option(
        "Transformer and transformer_xl: normalize before sublayers, not "
        "after.",
        True,
    )
    final_norm: bool = option(
        "Transformer_xl: normalize what the logits are made of, which the "
        "published models do not.",
        True,
    )
    tied: bool = option(
        "Transformer and transformer_xl: one table for embeddings and logits.",
        True,
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
    memory_length: int | None = option(
        "Transformer_xl: positions that each layer remembers in training; as "
        "many as a segment has if none.",
        None,
    )
    attention_dropout: float = option(
        "Transformer_xl: fraction of attention weights dropped in training.",
        0.0,
    )
    untied_biases: bool = option(
        "Transformer_xl: each layer has content and position biases of its "
        "own.",
        False,
    )
    cutoffs: tuple[int, ...] = option(
        "Transformer and transformer_xl: token ids where a further bin of the "
        "adaptive embedding and softmax begins, for words; one bin if empty.",
        (),
    )
    embedding_dim: int | None = option(
        "Transformer and transformer_xl: width of the embeddings of the first "
        "bin; hidden_dim if none.",
        None,
    )
    divisor: int = option(
        "Transformer and transformer_xl: how much narrower each further bin's "
        "embeddings are.",
        1,
    )
    initializer_stddev: float = option(
        "Transformer_xl: standard deviation of the initial weights.", 0.02
    )

    def __post_init__(self):
        for models, names in _OWNERS.items():
            if self.model not in models:
                check_left_out(self, names, self.model)
        check_activation(self.activation)
        check(
            self.memory_length is None or self.memory_length >= 0,
            "`memory_length` must not be negative.",
            memory_length=self.memory_length,
        )
        check(
            list(self.cutoffs) == sorted(set(self.cutoffs))
            and min(self.cutoffs, default=1) > 0,
            "`cutoffs` must be positive and increase.",
            cutoffs=self.cutoffs,
        )
        check(
            self.cutoffs
            or self.model != "transformer"
            or (self.embedding_dim is None and self.divisor == 1),
            "`embedding_dim` and `divisor` must be left out without `cutoffs`.",
            embedding_dim=self.embedding_dim,
            divisor=self.divisor,
        )
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
            window_length: Tokens of a training window, or segment.
            seed: Seed of the weights and the dropout.

        Raises:
            ValueError: If there are fewer positions than a window has, or a bin
                of the softmax without tokens.
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
        if self.model == "transformer_xl":
            return self._describe_transformer_xl(
                {name: getattr(self, name) for name in names},
                vocabulary_size=vocabulary_size,
                segment_length=window_length,
                seed=seed,
            )
        if self.model == "transformer":
            builder = "build_language_model"
            names += ("norm_first", "tied")
            if self.cutoffs:
                self._check_cutoffs(vocabulary_size)
                names += ("cutoffs", "embedding_dim", "divisor")
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
        for name in ("attention", "cutoffs"):
            if name in arguments:
                arguments[name] = list(arguments[name])
        return {"builder": builder, "arguments": arguments}

    def _describe_transformer_xl(
        self, arguments, *, vocabulary_size, segment_length, seed
    ):
        self._check_cutoffs(vocabulary_size)
        memory_length = self.memory_length
        if memory_length is None:
            memory_length = segment_length
        names = (
            *("attention_dropout", "norm_first", "final_norm"),
            "untied_biases",
            *("embedding_dim", "divisor", "initializer_stddev"),
        )
        return {
            "builder": "build_transformer_xl",
            "arguments": {
                **arguments,
                **{name: getattr(self, name) for name in names},
                "memory_length": memory_length,
                "cutoffs": list(self.cutoffs),
                "tied_embeddings": self.tied,
                "tied_projections": self.tied,
                "vocabulary_size": vocabulary_size,
                "seed": seed,
            },
        }

    def _check_cutoffs(self, vocabulary_size):
        check(
            max(self.cutoffs, default=0) < vocabulary_size,
            "`cutoffs` must be less than the number of tokens.",
            cutoffs=self.cutoffs,
            num_tokens=vocabulary_size,
        )

    @property
    def _positions(self):
        return self.positions or _POSITIONS[self.model][0]
