"""Options of the kinds of translation models, and what they build."""

import dataclasses
from typing import Literal

from apps.training.activations import check_activation
from apps.training.owned_options import check_left_out
from keras_xf.launch import option

# Options of the one kind that the other has not.
_BRANCHES = ("branched", "weighting", "branch_scale", "min_weight", "ffn_mode")
# Of the program that trains, likewise.
BRANCH_RATES = ("branch_learning_rate", "branch_warmup_steps", "branch_steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Options of the model."""

    model: Literal["transformer", "weighted_transformer"] = option(
        "The kind of model.", "transformer"
    )
    num_layers: int = option("Blocks of the encoder, and of the decoder.", 2)
    hidden_dim: int = option("Width of the residual stream.", 128)
    num_heads: int = option("Attention heads, or branches.", 8)
    intermediate_dim: int = option("Width inside the feed-forward.", 512)
    activation: str = option("Activation inside the feed-forward.", "relu")
    dropout: float = option("Fraction dropped in training.", 0.1)
    positions: Literal["sinusoidal", "learned", "rotary"] = option(
        "How the model knows places in a sentence; a weighted_transformer "
        "cannot rotate.",
        "sinusoidal",
    )
    max_length: int | None = option("Positions if they are learned.", None)
    norm_first: bool = option("Normalize before sublayers, not after.", True)
    tied: bool = option("One table for target embeddings and logits.", True)
    branched: Literal["cross", "self", "both"] = option(
        "Weighted_transformer: which attention of the decoder has branches.",
        "cross",
    )
    weighting: Literal["projection", "softmax", "fixed"] = option(
        "Weighted_transformer: how branch weights are learned.", "projection"
    )
    branch_scale: Literal["paper", "unit"] = option(
        "Weighted_transformer: what branch weights count for.", "paper"
    )
    min_weight: float = option(
        "Weighted_transformer: smallest branch weight.", 0.0
    )
    ffn_mode: Literal["per_branch", "shared"] = option(
        "Weighted_transformer: whose the feed-forward networks are.",
        "per_branch",
    )

    def __post_init__(self):
        check_activation(self.activation)
        if self.model != "weighted_transformer":
            check_left_out(self, (*_BRANCHES, *BRANCH_RATES), self.model)

    def describe(
        self,
        *,
        vocabulary_size: int,
        source_vocabulary_size: int | None,
        seed: int,
    ) -> dict:
        """Describes the model as `keras_xf.models.build` takes it.

        Args:
            vocabulary_size: Number of target tokens.
            source_vocabulary_size: Number of source tokens, None if they have
                one vocabulary.
            seed: Seed of the weights and the dropout.
        """
        names = [
            *("num_layers", "hidden_dim", "intermediate_dim", "activation"),
            *("dropout", "positions", "max_length", "norm_first", "tied"),
        ]
        builder, heads = "build_sequence_to_sequence", "num_heads"
        if self.model == "weighted_transformer":
            builder, heads = "build_weighted_transformer", "num_branches"
            names += _BRANCHES
        return {
            "builder": builder,
            "arguments": {
                **{name: getattr(self, name) for name in names},
                heads: self.num_heads,
                "vocabulary_size": vocabulary_size,
                "source_vocabulary_size": source_vocabulary_size,
                "seed": seed,
            },
        }
