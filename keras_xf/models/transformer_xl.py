"""Transformer-XL language model (Dai et al., 2019), its variants and twins."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.layers import AdaptiveEmbedding
from keras_xf.layers import AdaptiveSoftmax
from keras_xf.layers import Dropout
from keras_xf.layers import FeedForward
from keras_xf.layers import PaddingMask
from keras_xf.layers import RelativeAttention
from keras_xf.layers import RelativeBiases
from keras_xf.layers import RelativePositions
from keras_xf.layers import Residual
from keras_xf.layers import XLMemory
from keras_xf.models.memory_model import MemoryModel
from keras_xf.models.seeds import Seeds
from keras_xf.models.step_model import StepModel
from keras_xf.ops.logits import wide_dtype

# Left as it is in the model that a variant is made of; as `help` shows it.
_SAME = "as in the model"


def build_transformer_xl(
    *,
    vocabulary_size: int,
    num_layers: int = 12,
    hidden_dim: int = 512,
    num_heads: int = 8,
    key_dim: int | None = None,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    memory_length: int = 512,
    attention_window: int | None = None,
    clamp_length: int | None = None,
    norm_first: bool = False,
    final_norm: bool = False,
    untied_biases: bool = False,
    cutoffs: Sequence[int] = (),
    embedding_dim: int | None = None,
    divisor: int = 1,
    tied_embeddings: bool = True,
    tied_projections: bool | Sequence[bool] = True,
    initializer_stddev: float = 0.02,
    epsilon: float = 1e-5,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a Transformer-XL, which predicts the next token of a segment.

    Each layer attends to its own inputs of the segment and to those of the
    segments before, which the memory holds, by relative positions. The default
    sizes and rates are those of the authors' 12-layer model of enwik8; see
    `transformer_xl_preset` for others.

    The memory goes in and comes out. A sequence begins with a `memory_length`
    of 0: nothing is remembered, whatever numbers the memory holds; NaN and
    infinities would be felt. Some references begin with a memory of zeros that
    is attended to: that is zeros and a `memory_length` of the full size.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of blocks, each attention and feed-forward.
        hidden_dim: Width of the residual stream, even.
        num_heads: Attention heads.
        key_dim: Width of a head; `hidden_dim / num_heads` if None.
        intermediate_dim: Width inside the feed-forward networks.
        activation: Activation inside the feed-forward networks.
        dropout: Fraction dropped in training of embeddings, of positions, of
            each sublayer's output, inside the feed-forward networks, and of
            what the logits are made of.
        attention_dropout: Fraction of the attention weights dropped.
        memory_length: Positions that each layer remembers, which may be 0.
        attention_window: How many positions a query sees in each layer, itself
            the first; all of the segment and the memory if None, as the
            authors train. Given one, and a memory of at least that length
            less one, results do not depend on how a text is cut into segments;
            the authors evaluate with one of the memory's length.
        clamp_length: Distances beyond it count as it; for evaluation with a
            memory longer than in training.
        norm_first: Whether to normalize before each sublayer, not after.
        final_norm: Whether to normalize what the logits are made of. The
            authors' code does not, whatever `norm_first` is; beside
            `norm_first` a model learns better with it.
        untied_biases: Whether each layer has content and position biases of
            its own.
        cutoffs: Ids where further bins of the adaptive embedding and softmax
            begin; a single bin if empty. Ids are to fall in frequency.
        embedding_dim: Width of the embeddings of the first bin; `hidden_dim`
            if None.
        divisor: How much narrower the embeddings of each further bin are.
        tied_embeddings: Whether embedding and softmax share their tables.
        tied_projections: Whether they share the projections between tables and
            residual stream, one answer for all bins or one for each.
        initializer_stddev: Standard deviation of the initial weights; the
            authors have 0.02, and 0.005 for their large models of words.
        epsilon: Added to variances by the normalizations.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model from a dict of

        - `token_ids`, int32 `(batch, length)`,
        - `length`, int32 `(batch,)`, how many of a row are real,
        - `memory`, float32 `(batch, num_layers, memory_length, hidden_dim)`,
        - `memory_length`, int32 `(batch,)`, how much of it is real,

        to a dict of `log_probs`, float32 `(batch, length, vocabulary_size)`,
        those of the token after each, and the new `memory` and
        `memory_length`. With a dtype of float64 the floats are that.

    Raises:
        ValueError: If arguments are out of range or do not go together.

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860)
        [Grave et al., 2017](https://arxiv.org/abs/1609.04309), the softmax
        [Baevski & Auli, 2019](https://arxiv.org/abs/1809.10853), the embedding
    """
    num_layers = as_integer("num_layers", num_layers)
    hidden_dim = as_integer("hidden_dim", hidden_dim)
    num_heads = as_integer("num_heads", num_heads)
    memory_length = as_integer("memory_length", memory_length, least=0)
    check(
        hidden_dim % 2 == 0,
        "`hidden_dim` must be even.",
        hidden_dim=hidden_dim,
    )
    check(
        key_dim is not None or hidden_dim % num_heads == 0,
        "`hidden_dim` must be divisible by `num_heads` if `key_dim` is not "
        "given.",
        hidden_dim=hidden_dim,
        num_heads=num_heads,
    )
    check(0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout)
    check(
        0 <= attention_dropout < 1,
        "`attention_dropout` must lie in [0, 1).",
        attention_dropout=attention_dropout,
    )
    check(
        initializer_stddev > 0,
        "`initializer_stddev` must be positive.",
        initializer_stddev=initializer_stddev,
    )
    if key_dim is None:
        key_dim = hidden_dim // num_heads
    seeds = Seeds(seed)

    def normal(stddev=initializer_stddev):
        return keras.initializers.RandomNormal(stddev=stddev, seed=seeds.next())

    def residual(layer):
        return Residual(
            layer,
            norm_first=norm_first,
            dropout=dropout,
            epsilon=epsilon,
            seed=seeds.next(),
            dtype=dtype,
            name=layer.name,
        )

    def dropping(name):
        return Dropout(dropout, seed=seeds.next(), dtype=dtype, name=name)

    parts = {
        "embedding": AdaptiveEmbedding(
            vocabulary_size,
            hidden_dim,
            cutoffs=cutoffs,
            embedding_dim=embedding_dim,
            divisor=divisor,
            embeddings_initializer=normal(),
            projections_initializer=normal(0.01),
            dtype=dtype,
            name="embedding",
        ),
        "embedding_dropout": dropping("embedding_dropout"),
        "positions": RelativePositions(
            clamp_length=clamp_length,
            dropout=dropout,
            seed=seeds.next(),
            dtype=dtype,
            name="positions",
        ),
        "padding_mask": PaddingMask(name="padding_mask"),
    }
    if not untied_biases:
        parts["biases"] = RelativeBiases(
            num_heads,
            key_dim,
            biases_initializer=normal(),
            dtype=dtype,
            name="biases",
        )
    for index in range(num_layers):
        attention = RelativeAttention(
            num_heads,
            key_dim,
            clamp_length=clamp_length,
            attention_window=attention_window,
            own_biases=untied_biases,
            dropout=attention_dropout,
            kernel_initializer=normal(),
            biases_initializer=normal(),
            seed=seeds.next(),
            dtype=dtype,
            name=f"attention_{index}",
        )
        feed_forward = FeedForward(
            intermediate_dim,
            activation=activation,
            dropout=dropout,
            kernel_initializer=normal(),
            seed=seeds.next(),
            dtype=dtype,
            name=f"feed_forward_{index}",
        )
        parts[attention.name] = residual(attention)
        parts[feed_forward.name] = residual(feed_forward)
    if final_norm:
        parts["final_norm"] = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=dtype, name="final_norm"
        )
    parts["dropout"] = dropping("dropout")
    parts["xl_memory"] = XLMemory(memory_length, dtype=dtype, name="xl_memory")
    parts["softmax"] = AdaptiveSoftmax(
        vocabulary_size,
        cutoffs=cutoffs,
        embedding_dim=embedding_dim,
        divisor=divisor,
        tied_embeddings=tied_embeddings,
        tied_projections=tied_projections,
        embeddings_initializer=normal(),
        projections_initializer=normal(0.01),
        dtype=dtype,
        name="softmax",
    )
    return _assemble(parts, hidden_dim)


def transformer_xl_variant(
    model: keras.Model,
    *,
    memory_length: int | str = _SAME,
    attention_window: int | str | None = _SAME,
    clamp_length: int | str | None = _SAME,
) -> keras.Model:
    """Makes a model of the same weights with other options.

    It is how a model is evaluated with more memory than it was trained with.
    The weights are the model's very own: the variant follows when one of the
    two is trained.

    Args:
        model: A model of `build_transformer_xl`, new or loaded from a file.
        memory_length: As there; the model's own if left out.
        attention_window: Likewise.
        clamp_length: Likewise.

    Raises:
        ValueError: If an option is out of range or the model is another
            builder's.
    """
    parts = _parts_of(model)
    if memory_length is not _SAME:
        parts["xl_memory"] = XLMemory(
            memory_length,
            dtype=parts["xl_memory"].dtype_policy,
            name="xl_memory",
        )
    options = {}
    if attention_window is not _SAME:
        options["attention_window"] = attention_window
    if clamp_length is not _SAME:
        options["clamp_length"] = clamp_length
        positions = parts["positions"]
        parts["positions"] = RelativePositions(
            **{**positions.get_config(), "clamp_length": clamp_length}
        )
    if options:
        for name in _attention_names(parts):
            residual = parts[name]
            parts[name] = residual.with_layer(
                residual.layer.with_options(**options)
            )
    return _assemble(parts, model.input["memory"].shape[-1])


def initial_memory(
    model: keras.Model, batch_size: int, attend_zeros: bool = False
) -> dict:
    """What a model remembers before the first segment, which is nothing.

    Args:
        model: A model of `build_transformer_xl`.
        batch_size: Number of sequences.
        attend_zeros: Whether the zeros that the memory holds count as real, as
            in Hugging Face's models and the authors' TensorFlow code.

    Returns:
        A dict of the inputs `memory` and `memory_length`.

    Raises:
        ValueError: If the model is another builder's.
    """
    xl_memory = _parts_of(model)["xl_memory"]
    _, num_layers, _, dim = model.input["memory"].shape
    blank = xl_memory.initial_state(batch_size, (num_layers,), dim)
    if attend_zeros:
        blank["memory_length"] = ops.full_like(
            blank["memory_length"], xl_memory.memory_length
        )
    return blank


def build_transformer_xl_scorer(model: keras.Model) -> keras.Model:
    """Assembles the model that tells how well targets were predicted.

    It makes no more of the softmax than the targets need, and is what is
    trained.

    Args:
        model: A model of `build_transformer_xl`. The scorer works with its very
            layers.

    Returns:
        A model of the same inputs and `target_ids`, int32 `(batch, length)`, to
        a dict of `nll`, float32 `(batch, length)`, minus the log-probabilities
        of the targets, and the new `memory` and `memory_length`.

    Raises:
        ValueError: If the model is another builder's.
    """
    parts = _parts_of(model)
    return _assemble(parts, model.input["memory"].shape[-1], scores=True)


def build_transformer_xl_step(model: keras.Model) -> StepModel:
    """Assembles the step twin of a model of `build_transformer_xl`.

    Its state holds the keys and values of what is remembered, so that a memory
    is not projected again with each step. With an `attention_window` results
    equal the model's own, whatever is taken at a time. Without one, a position
    sees as many before the new ones as the state has room for.

    Args:
        model: The model, new or loaded from a file. The twin works with its
            very layers; a state is for the weights it was made with.

    Returns:
        A `StepModel`, whose logits are log-probabilities. It has `nll`, and its
        `initial_state` takes `new_length`, the number of positions that steps
        take, 1 by default: other steps are slower.

    Raises:
        ValueError: If the model is another builder's.
    """
    parts = _parts_of(model)
    names = _attention_names(parts)

    def initial_state(batch_size, max_length, new_length=1):
        state = {}
        for name in names:
            state[name] = parts[name].layer.initial_state(
                batch_size, max_length, new_length
            )
            # All layers are at one position: what depends on it alone, such
            # as the mask, is then computed once for all.
            state["position"] = state[name].pop("position")
        return state

    def run(token_ids, state, length):
        mask = None
        if length is not None:
            mask = parts["padding_mask"](token_ids, length)
        return _run(parts, token_ids, mask, state=state)

    def step(token_ids, state, length=None):
        x, tables, _, state = run(token_ids, state, length)
        return parts["softmax"](x, tables=tables), state

    def nll(token_ids, state, target_ids, length=None):
        x, tables, _, state = run(token_ids, state, length)
        nats = parts["softmax"](x, tables=tables, target_ids=target_ids)
        return nats, state

    return StepModel(
        step=step, initial_state=initial_state, model=model, nll=nll
    )


def _parts_of(model):
    parts = {layer.name: layer for layer in model.layers}
    check(
        {"embedding", "attention_0", "xl_memory", "softmax"} <= set(parts),
        "`model` must come from `build_transformer_xl`.",
        model=model.name,
    )
    return parts


def _attention_names(parts):
    number = sum(name.startswith("attention_") for name in parts)
    return [f"attention_{index}" for index in range(number)]


def _assemble(parts, hidden_dim, scores=False):
    """A functional model of the parts."""
    names = _attention_names(parts)
    memory_length = parts["xl_memory"].memory_length
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "length": keras.Input((), dtype="int32", name="length"),
        "memory": keras.Input(
            (len(names), memory_length, hidden_dim),
            dtype=wide_dtype(parts["embedding"].compute_dtype),
            name="memory",
        ),
        "memory_length": keras.Input((), dtype="int32", name="memory_length"),
    }
    mask = parts["padding_mask"](inputs["token_ids"], inputs["length"])
    x, tables, levels, _ = _run(
        parts,
        inputs["token_ids"],
        mask,
        inputs["memory"] if memory_length else None,
        inputs["memory_length"] if memory_length else None,
    )
    memory, new_length = parts["xl_memory"](
        ops.stack(levels, axis=1),
        memory=inputs["memory"],
        memory_length=inputs["memory_length"],
        length=inputs["length"],
    )
    arguments = {"tables": tables} if tables is not None else {}
    if scores:
        inputs["target_ids"] = keras.Input(
            (None,), dtype="int32", name="target_ids"
        )
        arguments["target_ids"] = inputs["target_ids"]
    outputs = parts["softmax"](x, **arguments)
    return MemoryModel(
        inputs,
        {
            "nll" if scores else "log_probs": outputs,
            "memory": memory,
            "memory_length": new_length,
        },
        name="transformer_xl_scorer" if scores else "transformer_xl",
    )


def _run(
    parts, token_ids, padding_mask, memory=None, memory_length=None, state=None
):
    """Runs the stack over a segment after a memory or a state.

    Returns:
        What the softmax reads, the embedding's tables, the inputs of all
        layers, which are to be remembered, and the new state.
    """
    x, tables = parts["embedding"](token_ids, return_tables=True)
    x = parts["embedding_dropout"](x)
    biases = parts["biases"](x) if "biases" in parts else None
    positions = None
    if state is None:
        positions = parts["positions"](x, memory=memory)
    levels = []
    new_state = {}
    for index, name in enumerate(_attention_names(parts)):
        levels.append(x)
        given = {"padding_mask": padding_mask, "biases": biases}
        if state is not None:
            given["state"] = {**state[name], "position": state["position"]}
        else:
            given["positions"] = positions
        if memory is not None:
            given["memory"] = memory[:, index]
            given["memory_length"] = memory_length
        x = parts[name](
            x,
            **{key: value for key, value in given.items() if value is not None},
        )
        if state is not None:
            x, new_state[name] = x
            new_state["position"] = new_state[name].pop("position")
        x = parts[f"feed_forward_{index}"](x)
    if "final_norm" in parts:
        x = parts["final_norm"](x)
    return parts["dropout"](x), tables, levels, new_state
