"""The Weighted Transformer (Ahmed et al., 2017)."""

import keras
import numpy as np

from keras_xf.checks import check
from keras_xf.layers import CrossAttention
from keras_xf.layers import MultiBranchAttention
from keras_xf.layers import SelfAttention
from keras_xf.models.encoder_decoder import EncoderDecoderParts
from keras_xf.models.encoder_decoder import assemble
from keras_xf.models.encoder_decoder import assemble_step
from keras_xf.models.encoder_decoder import layers_of
from keras_xf.models.step_model import SourceStepModel
from keras_xf.ops import simplex

POSITIONS = ("sinusoidal", "learned")
BRANCHED = ("cross", "self", "both")
_BASE = {
    "num_layers": 6,
    "hidden_dim": 512,
    "num_branches": 8,
    "intermediate_dim": 2048,
    "dropout": 0.1,
    "norm_first": False,
}
# Rows of the paper's table 2, and the large model of table 1.
_PRESETS = {
    "layers_2": _BASE | {"num_layers": 2},
    "layers_4": _BASE | {"num_layers": 4},
    "layers_6": _BASE,
    "layers_8": _BASE | {"num_layers": 8, "dropout": 0.3},
    "large": _BASE
    | {
        "hidden_dim": 1024,
        "num_branches": 16,
        "intermediate_dim": 4096,
        "dropout": 0.3,
    },
}


def weighted_transformer_preset(name: str) -> dict:
    """The sizes of a model of the paper.

    Args:
        name: "layers_2", "layers_4", "layers_6" and "layers_8" are those of
            table 2, of width 512; "large" is that of width 1024.

    Returns:
        Arguments of `build_weighted_transformer`, all but the vocabulary's
        size.

    Raises:
        ValueError: If there is no such model.

    Reference:
        [Ahmed et al., 2017](https://arxiv.org/abs/1711.02132), tables 1 and 2
    """
    check(
        name in _PRESETS, f"`name` must be one of {tuple(_PRESETS)}.", name=name
    )
    return dict(_PRESETS[name])


def build_weighted_transformer(
    *,
    vocabulary_size: int,
    source_vocabulary_size: int | None = None,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 512,
    num_branches: int = 8,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    dropout: float = 0.1,
    positions: str = "sinusoidal",
    max_length: int | None = None,
    norm_first: bool = True,
    tied: bool = True,
    branched: str = "cross",
    weighting: str = "projection",
    branch_scale: str = "paper",
    min_weight: float = 0.0,
    ffn_mode: str = "per_branch",
    branch_initializer: str = "equal",
    fold: bool | str = "auto",
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds an encoder and a decoder whose attention has weighted branches.

    In the encoder `MultiBranchAttention` is in the place of self-attention and
    feed-forward. In the decoder self-attention is an ordinary one; attention to
    the source and the feed-forward behind it are in branches. So a model has
    two numbers a branch and block more than `build_sequence_to_sequence`, and a
    normalization less. The paper does not say which attention of the decoder it
    means; this is the placement that has as many weights as it counts.

    The default sizes are those of the paper's base model. It normalizes after
    each sublayer (`norm_first=False`, as `weighted_transformer_preset` has it).
    `make_weighted_transformer_optimizer` has its rates.

    Args:
        vocabulary_size: Number of target tokens.
        source_vocabulary_size: Number of source tokens; None where both sides
            have one vocabulary, and then one table.
        num_layers: Number of blocks of the encoder, and of the decoder.
        num_decoder_layers: Of the decoder, if it has another number.
        hidden_dim: Width of the residual stream.
        num_branches: Branches, and heads of the ordinary attention.
        intermediate_dim: Width inside the feed-forward networks, of all
            branches together.
        activation: Activation inside the feed-forward networks.
        dropout: Fraction dropped in training of embeddings, of attention
            weights and of each sublayer's output.
        positions: "sinusoidal" or "learned".
        max_length: Number of positions if they are learned, else None.
        norm_first: Whether to normalize before each sublayer and once at the
            end, or after each sublayer.
        tied: Whether target embeddings and logits share one table.
        branched: Which attention of the decoder has branches: "cross", "self",
            or "both", which is a feed-forward more.
        weighting: How branch weights are learned, as `MultiBranchAttention`
            takes it, and so are the following.
        branch_scale: What they count for.
        min_weight: The smallest that one may be.
        ffn_mode: Whether branches have networks of their own.
        branch_initializer: First branch weights.
        fold: Whether projections are folded.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model as `build_sequence_to_sequence` gives it.

    Raises:
        ValueError: If arguments are out of range or do not go together.

    Reference:
        [Ahmed et al., 2017](https://arxiv.org/abs/1711.02132), section 3
    """
    for name, value, choices in (
        ("positions", positions, POSITIONS),
        ("branched", branched, BRANCHED),
    ):
        check(
            value in choices,
            f"`{name}` must be one of {choices}.",
            **{name: value},
        )
    parts = EncoderDecoderParts(
        vocabulary_size=vocabulary_size,
        source_vocabulary_size=source_vocabulary_size,
        num_layers=num_layers,
        num_decoder_layers=num_decoder_layers,
        hidden_dim=hidden_dim,
        num_heads=num_branches,
        dropout=dropout,
        positions=positions,
        max_length=max_length,
        norm_first=norm_first,
        tied=tied,
        seed=seed,
        dtype=dtype,
    )
    heads = (num_branches, hidden_dim // num_branches)

    def add_branches(name, causal=False):
        parts.add(
            name,
            MultiBranchAttention,
            num_branches,
            intermediate_dim,
            activation=activation,
            weighting=weighting,
            branch_scale=branch_scale,
            min_weight=min_weight,
            ffn_mode=ffn_mode,
            branch_initializer=branch_initializer,
            fold=fold,
            causal=causal,
            dropout=dropout,
        )

    for index in range(parts.num_layers):
        add_branches(f"encoder_attention_{index}")
    for index in range(parts.num_decoder_layers):
        name = f"decoder_attention_{index}"
        if branched == "cross":
            parts.add(name, SelfAttention, *heads, causal=True, dropout=dropout)
        else:
            add_branches(name, causal=True)
        name = f"cross_attention_{index}"
        if branched == "self":
            parts.add(name, CrossAttention, *heads, dropout=dropout)
        else:
            add_branches(name)
    return assemble(parts.layers, "weighted_transformer")


def build_weighted_transformer_step(model: keras.Model) -> SourceStepModel:
    """Assembles the step twin of a model of `build_weighted_transformer`.

    Args:
        model: The model, new or loaded from a file, or what `fold_branches`
            made of it, whose steps are faster. The twin works with its very
            layers.

    Returns:
        A `SourceStepModel` whose results equal the model's own.

    Raises:
        ValueError: If the model is another builder's.
    """
    return assemble_step(model)


def fold_branches(model: keras.Model) -> keras.Model:
    """Makes a model for inference, with all that is constant folded.

    A head's projection and the first of its network are one matrix, and branch
    weights are in the kernels; all else is the model's own layers. It does not
    follow when the model is trained.

    Args:
        model: A model of `build_weighted_transformer`.

    Raises:
        ValueError: If the model is another builder's, or its branches share one
            network.
    """
    layers = layers_of(model)
    found = _branches(model)
    check(
        found,
        "`model` must come from `build_weighted_transformer`.",
        model=model.name,
    )
    for name, layer in found.items():
        layers[name] = layers[name].with_layer(layer.folded())
    return assemble(layers, model.name)


def branch_weights(model: keras.Model) -> dict:
    """The branch weights of a model.

    Args:
        model: A model of `build_weighted_transformer`.

    Returns:
        For each block by its layer's name, a dict of float arrays `kappa` and
        `alpha`, `(num_branches,)`, which sum to one.
    """
    return {
        name: dict(zip(("kappa", "alpha"), layer.branch_weights(), strict=True))
        for name, layer in _branches(model).items()
    }


def set_branch_weights(model: keras.Model, weights: dict | str, seed=0) -> None:
    """Replaces the branch weights of a model, which were learned or not.

    Args:
        model: A model of `build_weighted_transformer`, whose weights are
            projected on the simplex or fixed.
        weights: What `branch_weights` returned; or "equal", or "random" for
            any point of the simplex, as in the paper's table 3.
        seed: Seed of the random ones.

    Raises:
        ValueError: If they are not on the simplex, or not those of the model.
    """
    found = branch_weights(model)
    check(
        found,
        "`model` must have branches, as those of `build_weighted_transformer`.",
        model=model.name,
    )
    if isinstance(weights, str):
        weights = _draw(model, weights, seed)
    check(
        set(weights) == set(found),
        "`weights` must be of the blocks of the model.",
        weights=sorted(weights),
        blocks=sorted(found),
    )
    for name, layer in _branches(model).items():
        check(
            layer.weighting in ("projection", "fixed"),
            "`weighting` must be projection or fixed.",
            weighting=layer.weighting,
        )
        for which in ("kappa", "alpha"):
            values = np.asarray(weights.get(name, {}).get(which, ()))
            is_on_simplex = (
                values.shape == (layer.num_branches,)
                and values.min() >= layer.min_weight - 1e-5
                and abs(values.sum() - 1) < 1e-5
            )
            check(
                is_on_simplex,
                "`weights` must have weights on the simplex for each block.",
                block=name,
                **{which: values.tolist()},
            )
    for name, layer in _branches(model).items():
        for which in ("kappa", "alpha"):
            values = np.asarray(weights[name][which], "float32")
            getattr(layer, which).assign(
                simplex.project(values, layer.min_weight)
            )


def _draw(model, kind, seed):
    check(
        kind in ("equal", "random"),
        "`weights` must be equal, random or a dict.",
        weights=kind,
    )
    generator = np.random.default_rng(seed)
    drawn = {}
    for name, layer in _branches(model).items():
        number, least = layer.num_branches, layer.min_weight
        drawn[name] = {
            which: np.full(number, 1 / number)
            if kind == "equal"
            else least
            + (1 - number * least) * generator.dirichlet(np.ones(number))
            for which in ("kappa", "alpha")
        }
    return drawn


def _branches(model):
    """The layers with branches, by the names of what is around them."""
    return {
        name: layer.layer
        for name, layer in layers_of(model).items()
        if isinstance(getattr(layer, "layer", None), MultiBranchAttention)
    }
