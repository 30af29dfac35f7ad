"""Transformers (Vaswani et al., 2017), and their step twins."""

from collections.abc import Sequence

import keras

from keras_xf.checks import check
from keras_xf.layers import AdaptiveEmbedding
from keras_xf.layers import AdaptiveSoftmax
from keras_xf.layers import CrossAttention
from keras_xf.layers import Dropout
from keras_xf.layers import FeedForward
from keras_xf.layers import LearnedPositions
from keras_xf.layers import PaddingMask
from keras_xf.layers import Residual
from keras_xf.layers import SelfAttention
from keras_xf.layers import SinusoidalPositions
from keras_xf.layers import TokenEmbedding
from keras_xf.models.encoder_decoder import EncoderDecoderParts
from keras_xf.models.encoder_decoder import assemble
from keras_xf.models.encoder_decoder import assemble_step
from keras_xf.models.seeds import Seeds
from keras_xf.models.step_model import SourceStepModel
from keras_xf.models.step_model import StepModel

POSITIONS = ("sinusoidal", "learned", "rotary")


def build_language_model(
    *,
    vocabulary_size: int,
    num_layers: int = 6,
    hidden_dim: int = 512,
    num_heads: int = 8,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    dropout: float = 0.1,
    positions: str = "sinusoidal",
    max_length: int | None = None,
    norm_first: bool = True,
    tied: bool = True,
    cutoffs: Sequence[int] = (),
    embedding_dim: int | None = None,
    divisor: int = 1,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a decoder-only Transformer that predicts the next token.

    The default sizes are those of the paper's base model (table 3). The paper
    normalizes after each sublayer (`norm_first=False`); normalizing before is
    the default here, since it trains without a warm-up.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of blocks, each self-attention and feed-forward.
        hidden_dim: Width of the residual stream.
        num_heads: Attention heads; they divide `hidden_dim` among them.
        intermediate_dim: Width inside the feed-forward networks.
        activation: Activation inside the feed-forward networks.
        dropout: Fraction dropped in training of embeddings, of attention
            weights and of each sublayer's output.
        positions: "sinusoidal" and "learned" are added to the embeddings,
            "rotary" turns queries and keys.
        max_length: Number of positions if they are learned, else None.
        norm_first: Whether to normalize before each sublayer and once at the
            end, or after each sublayer.
        tied: Whether embeddings and logits share one table.
        cutoffs: Token ids at which further bins of an adaptive embedding and
            softmax begin, for vocabularies of words in the order of frequency;
            none for an ordinary one.
        embedding_dim: Width of the embeddings of the first bin, with `cutoffs`;
            `hidden_dim` if None.
        divisor: By how much each further bin's are narrower.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model from a dict of `token_ids`, int32 `(batch, length)`, and
        `length`, int32 `(batch,)`, to a dict of `logits`, float32 `(batch,
        length, vocabulary_size)`, where the logits at a position are of the
        token after it. With `cutoffs` it is a dict of `log_probs` instead, and
        `build_language_model_scorer` makes what is trained.

    Raises:
        ValueError: If arguments are out of range or do not go together.
    """
    check(
        num_layers > 0, "`num_layers` must be positive.", num_layers=num_layers
    )
    check(
        min(num_heads, hidden_dim) > 0 and hidden_dim % num_heads == 0,
        "`hidden_dim` must be positive and divisible by `num_heads`.",
        hidden_dim=hidden_dim,
        num_heads=num_heads,
    )
    check(0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout)
    check(
        positions in POSITIONS,
        f"`positions` must be one of {POSITIONS}.",
        positions=positions,
    )
    check(
        (positions == "learned") == (max_length is not None),
        "`max_length` must be given if `positions` are learned, and only then.",
        max_length=max_length,
        positions=positions,
    )
    check(
        cutoffs or (embedding_dim is None and divisor == 1),
        "`embedding_dim` and `divisor` must be left out without `cutoffs`.",
        embedding_dim=embedding_dim,
        divisor=divisor,
    )
    seeds = Seeds(seed)

    def kernel():
        return keras.initializers.GlorotUniform(seed=seeds.next())

    def residual(layer, name):
        return Residual(
            layer,
            norm_first=norm_first,
            dropout=dropout,
            seed=seeds.next(),
            dtype=dtype,
            name=name,
        )

    if cutoffs:
        bins = {
            "cutoffs": cutoffs,
            "embedding_dim": embedding_dim,
            "divisor": divisor,
            "dtype": dtype,
        }
        stack = _adaptive_layers(
            vocabulary_size, hidden_dim, bins, tied=tied, seeds=seeds
        )
    else:
        embedding = TokenEmbedding(
            vocabulary_size,
            hidden_dim,
            tied=tied,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=hidden_dim**-0.5, seed=seeds.next()
            ),
            dtype=dtype,
            name="embedding",
        )
        stack = {"embedding": embedding}
    # Drawn before the positions: the seed after a layer's is that of its
    # second matrix (see `own_draws`), here of an untied embedding's.
    stack["embedding_dropout"] = Dropout(
        dropout, seed=seeds.next(), dtype=dtype, name="embedding_dropout"
    )
    if positions == "sinusoidal":
        stack["positions"] = SinusoidalPositions(dtype=dtype, name="positions")
    if positions == "learned":
        stack["positions"] = LearnedPositions(
            max_length,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=seeds.next()
            ),
            dtype=dtype,
            name="positions",
        )
    for index in range(num_layers):
        attention = SelfAttention(
            num_heads,
            hidden_dim // num_heads,
            causal=True,
            rotary=positions == "rotary",
            dropout=dropout,
            kernel_initializer=kernel(),
            seed=seeds.next(),
            dtype=dtype,
            name="self_attention",
        )
        feed_forward = FeedForward(
            intermediate_dim,
            activation=activation,
            kernel_initializer=kernel(),
            dtype=dtype,
            name="feed_forward",
        )
        stack[f"attention_{index}"] = residual(attention, f"attention_{index}")
        stack[f"feed_forward_{index}"] = residual(
            feed_forward, f"feed_forward_{index}"
        )
    if norm_first:
        stack["norm"] = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="norm"
        )

    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = PaddingMask(name="padding_mask")(token_ids, length)
    outputs, _ = _apply(stack, token_ids, mask)
    return keras.Model(
        {"token_ids": token_ids, "length": length},
        {"log_probs" if cutoffs else "logits": outputs},
        name="language_model",
    )


def build_language_model_scorer(model: keras.Model) -> keras.Model:
    """Assembles the model that tells how well targets were predicted.

    It makes no more of an adaptive softmax than the targets need, and is what
    is trained.

    Args:
        model: A model of `build_language_model` with `cutoffs`. The scorer
            works with its very layers.

    Returns:
        A model of the same inputs and `target_ids`, int32 `(batch, length)`, to
        a dict of `nll`, float32 `(batch, length)`, minus the log-probabilities
        of the targets.

    Raises:
        ValueError: If the model is another builder's, or has no `cutoffs`.
    """
    stack = {layer.name: layer for layer in model.layers}
    check(
        {"embedding", "attention_0", "softmax"} <= set(stack)
        and "xl_memory" not in stack,
        "`model` must come from `build_language_model`, with `cutoffs`.",
        model=model.name,
    )
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "length": keras.Input((), dtype="int32", name="length"),
        "target_ids": keras.Input((None,), dtype="int32", name="target_ids"),
    }
    mask = stack["padding_mask"](inputs["token_ids"], inputs["length"])
    nll, _ = _apply(
        stack, inputs["token_ids"], mask, target_ids=inputs["target_ids"]
    )
    return keras.Model(inputs, {"nll": nll}, name="language_model_scorer")


def build_language_model_step(model: keras.Model) -> StepModel:
    """Assembles the step twin of a model of `build_language_model`.

    Args:
        model: The model, new or loaded from a file. The twin works with its
            very layers, so it follows when the model is trained.

    Returns:
        A `StepModel` whose results equal the model's own.

    Raises:
        ValueError: If the model is another builder's.
    """
    stack = {layer.name: layer for layer in model.layers}
    check(
        "embedding" in stack and "attention_0" in stack,
        "`model` must come from `build_language_model`.",
        model=model.name,
    )
    num_layers = sum(name.startswith("attention_") for name in stack)

    def initial_state(batch_size, max_length):
        state = {}
        for index in range(num_layers):
            name = f"attention_{index}"
            state[name] = stack[name].initial_state(batch_size, max_length)
            # All layers are at one position: what depends on it alone, such
            # as the causal mask, is then computed once for all.
            state["position"] = state[name].pop("position")
        return state

    def step(token_ids, state, length=None):
        mask = None
        if length is not None:
            mask = stack["padding_mask"](token_ids, length)
        return _apply(stack, token_ids, mask, state)

    def nll(token_ids, state, target_ids, length=None):
        mask = None
        if length is not None:
            mask = stack["padding_mask"](token_ids, length)
        return _apply(stack, token_ids, mask, state, target_ids)

    learned = isinstance(stack.get("positions"), LearnedPositions)
    return StepModel(
        step=step,
        initial_state=initial_state,
        model=model,
        max_length=stack["positions"].max_length if learned else None,
        nll=nll if "softmax" in stack else None,
    )


def build_sequence_to_sequence(
    *,
    vocabulary_size: int,
    source_vocabulary_size: int | None = None,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    dropout: float = 0.1,
    positions: str = "sinusoidal",
    max_length: int | None = None,
    norm_first: bool = True,
    tied: bool = True,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds an encoder and a decoder, which writes what the source becomes.

    The default sizes are those of the paper's base model (table 3). The paper
    normalizes after each sublayer (`norm_first=False`); normalizing before is
    the default here, since it is easier to train.

    Args:
        vocabulary_size: Number of target tokens.
        source_vocabulary_size: Number of source tokens; None where both sides
            have one vocabulary, and then one table.
        num_layers: Number of blocks of the encoder, and of the decoder.
        num_decoder_layers: Of the decoder, if it has another number.
        hidden_dim: Width of the residual stream.
        num_heads: Attention heads; they divide `hidden_dim` among them.
        intermediate_dim: Width inside the feed-forward networks.
        activation: Activation inside the feed-forward networks.
        dropout: Fraction dropped in training of embeddings, of attention
            weights and of each sublayer's output.
        positions: "sinusoidal" and "learned" are added to the embeddings,
            "rotary" turns queries and keys of self-attention.
        max_length: Number of positions if they are learned, else None.
        norm_first: Whether to normalize before each sublayer and once at the
            end, or after each sublayer.
        tied: Whether target embeddings and logits share one table.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model from a dict of `source_ids`, int32 `(batch, source_length)`,
        `source_length`, int32 `(batch,)`, and `target_ids` and
        `target_length` alike, to a dict of `logits`, float32 `(batch,
        target_length, vocabulary_size)`, where the logits at a position are of
        the token after it. Targets begin with a BOS.

    Raises:
        ValueError: If arguments are out of range or do not go together.
    """
    check(
        positions in POSITIONS,
        f"`positions` must be one of {POSITIONS}.",
        positions=positions,
    )
    parts = EncoderDecoderParts(
        vocabulary_size=vocabulary_size,
        source_vocabulary_size=source_vocabulary_size,
        num_layers=num_layers,
        num_decoder_layers=num_decoder_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        dropout=dropout,
        positions=positions,
        max_length=max_length,
        norm_first=norm_first,
        tied=tied,
        seed=seed,
        dtype=dtype,
    )
    heads = (num_heads, hidden_dim // num_heads)
    rotary = positions == "rotary"

    def add_self_attention(name, causal):
        parts.add(
            name,
            SelfAttention,
            *heads,
            causal=causal,
            rotary=rotary,
            dropout=dropout,
        )

    def add_feed_forward(name):
        parts.add(name, FeedForward, intermediate_dim, activation=activation)

    for index in range(parts.num_layers):
        add_self_attention(f"encoder_attention_{index}", causal=False)
        add_feed_forward(f"encoder_feed_forward_{index}")
    for index in range(parts.num_decoder_layers):
        add_self_attention(f"decoder_attention_{index}", causal=True)
        parts.add(
            f"cross_attention_{index}", CrossAttention, *heads, dropout=dropout
        )
        add_feed_forward(f"decoder_feed_forward_{index}")
    return assemble(parts.layers, "sequence_to_sequence")


def build_sequence_to_sequence_step(model: keras.Model) -> SourceStepModel:
    """Assembles the step twin of a model of `build_sequence_to_sequence`.

    Args:
        model: The model, new or loaded from a file. The twin works with its
            very layers, so it follows when the model is trained.

    Returns:
        A `SourceStepModel` whose results equal the model's own.

    Raises:
        ValueError: If the model is another builder's.
    """
    return assemble_step(model)


def _adaptive_layers(vocabulary_size, hidden_dim, bins, tied, seeds):
    # A table and a projection a bin, and the entries of the bins themselves.
    draws = len(bins["cutoffs"]) + 2

    def initializers():
        return {
            "embeddings_initializer": keras.initializers.RandomNormal(
                stddev=hidden_dim**-0.5, seed=seeds.next(draws)
            ),
            "projections_initializer": keras.initializers.LecunNormal(
                seed=seeds.next(draws)
            ),
        }

    return {
        "embedding": AdaptiveEmbedding(
            vocabulary_size,
            hidden_dim,
            **bins,
            **initializers(),
            name="embedding",
        ),
        "softmax": AdaptiveSoftmax(
            vocabulary_size,
            **bins,
            **initializers(),
            tied_embeddings=tied,
            tied_projections=tied,
            name="softmax",
        ),
    }


def _apply(stack, token_ids, padding_mask, state=None, target_ids=None):
    """Runs the stack over whole sequences or, with a state, over a step."""
    new_state = {}
    position = None if state is None else state["position"]
    if "softmax" in stack:
        x, tables = stack["embedding"](token_ids, return_tables=True)
    else:
        x = stack["embedding"](token_ids)
    if "positions" in stack:
        x = stack["positions"](x, start=position)
    x = stack["embedding_dropout"](x)
    num_layers = sum(name.startswith("attention_") for name in stack)
    for index in range(num_layers):
        name = f"attention_{index}"
        if state is None:
            x = stack[name](x, padding_mask=padding_mask)
        else:
            layer_state = {**state[name], "position": position}
            x, new_state[name] = stack[name](
                x, padding_mask=padding_mask, state=layer_state
            )
            new_state["position"] = new_state[name].pop("position")
        x = stack[f"feed_forward_{index}"](x)
    if "norm" in stack:
        x = stack["norm"](x)
    if "softmax" not in stack:
        return stack["embedding"](x, reverse=True), new_state
    given = {} if target_ids is None else {"target_ids": target_ids}
    if stack["softmax"].tied_embeddings:
        given["tables"] = tables
    return stack["softmax"](x, **given), new_state
