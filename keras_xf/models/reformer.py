"""Reformer models (Kitaev et al., 2020), and the language model's step twin."""

import math
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_xf.checks import check
from keras_xf.layers import LearnedPositions
from keras_xf.layers import PaddingMask
from keras_xf.models.reversible_stack import ReversibleStack
from keras_xf.models.reversible_stack import blocks_of
from keras_xf.models.seeds import Seeds
from keras_xf.models.step_model import StepModel

POOLINGS = ("mean", "first")


def build_reformer_language_model(
    *,
    vocabulary_size: int,
    max_length: int,
    num_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    key_dim: int | None = None,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    attention: Sequence[str] = ("chunked", "lsh") * 3,
    chunk_length: int = 64,
    num_hashes: int = 1,
    lsh: Mapping | None = None,
    chunked: Mapping | None = None,
    feed_forward_chunk_length: int | None = None,
    positions: str = "axial",
    axial_shape: Sequence[int] | None = None,
    axial_dims: Sequence[int] | None = None,
    causal: bool = True,
    dropout: float = 0.1,
    epsilon: float = 1e-5,
    reversible: bool = True,
    reference_compatible: bool = False,
    length_multiple: int | None = None,
    longer_than: int = 0,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a Reformer that predicts the next token.

    Embeddings plus positions enter a stack of reversible blocks as two equal
    streams; what leaves it is joined, normalized and projected to logits. The
    default sizes are those of the authors' code, `ReformerLM` of Trax; the
    kinds of attention alternate as in the published checkpoints.

    Args:
        vocabulary_size: Number of tokens.
        max_length: Largest number of positions.
        num_layers: Number of blocks; one for each entry of `attention` if
            None.
        hidden_dim: Width of each of the two streams.
        num_heads: Attention heads.
        key_dim: Width of a head; `hidden_dim / num_heads` if None.
        intermediate_dim: Width inside the feed-forward networks.
        activation: Activation inside the feed-forward networks.
        attention: Kinds of attention, block by block, over and over: "lsh",
            "chunked" (to the chunk around a position) or "dense".
        chunk_length: Positions in a chunk of LSH and of chunked attention.
        num_hashes: Rounds of hashing. A model built with another number takes
            the same weights.
        lsh: Further arguments of the `LSHSelfAttention` layers. Their
            `num_buckets` is by default what suits `max_length`, whatever the
            length of a batch.
        chunked: Further arguments of the `ChunkedSelfAttention` layers.
        feed_forward_chunk_length: Positions that the feed-forward networks
            take at once, which bounds memory; all if None.
        positions: "axial" or "learned".
        axial_shape: Sizes of the grid of positions; if None about as many
            rows as columns.
        axial_dims: Widths of the grid's vectors; if None a quarter for the
            rows.
        causal: Whether positions see only those before. If not, logits at a
            position are of the token at it, as for a masked language model.
        dropout: Fraction dropped in training of embeddings, of positions
            (axial ones), inside the feed-forward networks, of each sublayer's
            output, and of what the logits are made of. That of attention
            weights is an argument in `lsh` and `chunked`.
        epsilon: Added to variances by the normalizations.
        reversible: Whether training recomputes activations instead of keeping
            them; results are the same.
        reference_compatible: Whether attention computes what published
            checkpoints were trained with.
        length_multiple: If given, whole sequences are padded to a multiple of
            it, as Hugging Face's models do, rather than by each layer.
        longer_than: Sequences of this length or shorter are not padded so.
        seed: Seed of the weights, the hashing and the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.
            The streams are float32 at least.

    Returns:
        A model from a dict of `token_ids`, int32 `(batch, length)`, and
        `length`, int32 `(batch,)`, to a dict of `logits`, float32 `(batch,
        length, vocabulary_size)`, where the logits at a position are of the
        token after it.

    Raises:
        ValueError: If arguments are out of range or do not go together.
    """
    arguments = dict(locals())
    seeds = Seeds(arguments.pop("seed"))
    stack = ReversibleStack(**arguments)
    parts = stack.layers(seeds)
    parts["logits"] = keras.layers.Dense(
        vocabulary_size,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seeds.next()),
        dtype=stack.wide_dtype,
        name="logits",
    )
    token_ids, length = _inputs()
    mask = PaddingMask(name="padding_mask")(token_ids, length)
    x = _run(parts, token_ids, mask)
    return keras.Model(
        {"token_ids": token_ids, "length": length},
        {"logits": parts["logits"](x)},
        name="reformer_language_model",
    )


def build_reformer_encoder(
    *,
    vocabulary_size: int,
    num_classes: int,
    max_length: int,
    pooling: str = "mean",
    num_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    key_dim: int | None = None,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    attention: Sequence[str] = ("chunked", "lsh") * 3,
    chunk_length: int = 64,
    num_hashes: int = 1,
    lsh: Mapping | None = None,
    chunked: Mapping | None = None,
    feed_forward_chunk_length: int | None = None,
    positions: str = "axial",
    axial_shape: Sequence[int] | None = None,
    axial_dims: Sequence[int] | None = None,
    dropout: float = 0.1,
    epsilon: float = 1e-5,
    reversible: bool = True,
    reference_compatible: bool = False,
    length_multiple: int | None = None,
    longer_than: int = 0,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a Reformer that looks both ways and classifies sequences.

    The stack is that of `build_reformer_language_model`, where the arguments
    that are not listed here are described.

    Args:
        num_classes: Number of classes.
        pooling: What is classified: the "mean" of a sequence's real positions,
            or the "first" one.

    Returns:
        A model from a dict of `token_ids`, int32 `(batch, length)`, and
        `length`, int32 `(batch,)`, to a dict of `logits`, float32 `(batch,
        num_classes)`.

    Raises:
        ValueError: If arguments are out of range or do not go together.
    """
    arguments = dict(locals())
    for name in ("num_classes", "pooling", "seed"):
        del arguments[name]
    check(
        num_classes > 0,
        "`num_classes` must be positive.",
        num_classes=num_classes,
    )
    check(
        pooling in POOLINGS,
        f"`pooling` must be one of {POOLINGS}.",
        pooling=pooling,
    )
    seeds = Seeds(seed)
    stack = ReversibleStack(causal=False, **arguments)
    parts = stack.layers(seeds)
    token_ids, length = _inputs()
    mask = PaddingMask(name="padding_mask")(token_ids, length)
    x = _run(parts, token_ids, mask)
    if pooling == "first":
        x = x[:, 0]
    else:
        x = _mean(keras.ops.cast(x, stack.wide_dtype), mask)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seeds.next()),
        dtype=stack.wide_dtype,
        name="logits",
    )(x)
    return keras.Model(
        {"token_ids": token_ids, "length": length},
        {"logits": logits},
        name="reformer_encoder",
    )


def build_reformer_language_model_step(model: keras.Model) -> StepModel:
    """Assembles the step twin of a model of `build_reformer_language_model`.

    Logits of a prompt are the model's own. Those of later positions are what
    the model would give if each position were hashed among those before it:
    in the model itself, later positions change which of the earlier ones an
    LSH layer compares. Where all attention is chunked or dense, or no sequence
    is longer than an LSH layer's window, they equal the model's own.

    The twin of a `reference_compatible` model pads nothing and shows no chunk
    of local attention twice. Its logits differ where the model does so: where
    `length_multiple` pads what an LSH layer looks back into, and in sequences
    of no more chunks than `chunks_before`.

    Args:
        model: The model, new or loaded from a file. The twin works with its
            very layers, so it follows when the model is trained.

    Returns:
        A `StepModel`.

    Raises:
        ValueError: If the model is another builder's, or is not causal.
    """
    parts = {layer.name: layer for layer in model.layers}
    check(
        {"embedding", "positions", "stack", "streams"} <= set(parts),
        "`model` must come from `build_reformer_language_model`.",
        model=model.name,
    )
    blocks = blocks_of(parts["stack"])
    check(
        all(f.layer.causal for f, _ in blocks),
        "`model` must be causal.",
        model=model.name,
        causal=[f.layer.causal for f, _ in blocks],
    )
    names = [f.name for f, _ in blocks]
    wide = parts["streams"].compute_dtype

    def initial_state(batch_size, max_length):
        state = {}
        for name, (f, _) in zip(names, blocks, strict=True):
            state[name] = f.initial_state(batch_size, max_length)
            # All layers are at one position.
            state["position"] = state[name].pop("position")
        return state

    def step(token_ids, state, length=None):
        mask = None
        if length is not None:
            mask = parts["padding_mask"](token_ids, length)
        new_state = {}

        def stack(streams, padding_mask):
            # As wide as those of `ReversibleSequence`.
            x1, x2 = (keras.ops.cast(x, wide) for x in streams)
            for name, (f, g) in zip(names, blocks, strict=True):
                layer_state = {**state[name], "position": state["position"]}
                outputs, new_state[name] = f(
                    x2, padding_mask=padding_mask, state=layer_state
                )
                new_state["position"] = new_state[name].pop("position")
                x1 = x1 + keras.ops.cast(outputs, x1.dtype)
                x2 = x2 + keras.ops.cast(g(x1), x2.dtype)
            return x1, x2

        x = _run({**parts, "stack": stack}, token_ids, mask, state["position"])
        return parts["logits"](x), new_state

    return StepModel(
        step=step,
        initial_state=initial_state,
        model=model,
        max_length=_num_positions(parts["positions"]),
    )


def _inputs():
    return (
        keras.Input((None,), dtype="int32", name="token_ids"),
        keras.Input((), dtype="int32", name="length"),
    )


def _run(parts, token_ids, padding_mask, start=None):
    """Ids to normalized vectors, twice as wide as a stream."""
    x = parts["embedding"](token_ids)
    x = parts["embedding_dropout"](x)
    x = parts["positions"](x, start=start)
    streams = parts["stack"]((x, x), padding_mask=padding_mask)
    x = parts["norm"](parts["streams"](list(streams)))
    return parts["dropout"](x)


def _mean(x, padding_mask):
    """The mean over what is real, zeros if nothing is."""
    real = keras.ops.cast(padding_mask, x.dtype)[..., None]
    count = keras.ops.maximum(keras.ops.sum(real, axis=1), 1.0)
    return keras.ops.sum(x * real, axis=1) / count


def _num_positions(layer):
    if isinstance(layer, LearnedPositions):
        return layer.max_length
    return math.prod(layer.shape)
