"""What all encoder-decoder Transformers have in common.

A model is made of layers by name: `embedding`, `source_positions`, for each
layer `encoder_attention_0`, `encoder_feed_forward_0`, `decoder_attention_0`,
`cross_attention_0`, `decoder_feed_forward_0`, and so on. Attention in branches
is a feed-forward, too, so that one may be missing.
"""

import keras

from keras_xf.checks import check
from keras_xf.layers import Dropout
from keras_xf.layers import LearnedPositions
from keras_xf.layers import MultiBranchAttention
from keras_xf.layers import PaddingMask
from keras_xf.layers import Residual
from keras_xf.layers import SinusoidalPositions
from keras_xf.layers import TokenEmbedding
from keras_xf.models.seeds import Seeds
from keras_xf.models.step_model import SourceStepModel

# Of the layer that has most, attention in branches.
_MOST_DRAWS = 6


class EncoderDecoderParts:
    """Makes the layers of an encoder-decoder, each with a seed of its own.

    Args:
        vocabulary_size: Number of target tokens.
        source_vocabulary_size: Number of source tokens; None where both have
            one vocabulary and one table.
        hidden_dim: Width of the residual stream.
        num_layers: Blocks of the encoder.
        num_decoder_layers: Blocks of the decoder; as many if None.
        num_heads: Attention heads, or branches.
        dropout: Fraction dropped in training.
        positions: "sinusoidal", "learned", or another way that has no layer.
        max_length: Number of positions if they are learned.
        norm_first: Whether to normalize before each sublayer.
        tied: Whether embeddings and logits share one table.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers.

    Attributes:
        layers: What has been made, by name.
        num_layers: Blocks of the encoder.
        num_decoder_layers: Blocks of the decoder.
    """

    def __init__(
        self,
        *,
        vocabulary_size,
        source_vocabulary_size,
        num_layers,
        num_decoder_layers,
        hidden_dim,
        num_heads,
        dropout,
        positions,
        max_length,
        norm_first,
        tied,
        seed,
        dtype,
    ):
        if num_decoder_layers is None:
            num_decoder_layers = num_layers
        check(
            min(num_layers, num_decoder_layers) > 0,
            "`num_layers` and `num_decoder_layers` must be positive.",
            num_layers=num_layers,
            num_decoder_layers=num_decoder_layers,
        )
        self.num_layers = num_layers
        self.num_decoder_layers = num_decoder_layers
        check(
            min(num_heads, hidden_dim) > 0 and hidden_dim % num_heads == 0,
            "`hidden_dim` must be positive and divisible by `num_heads`.",
            hidden_dim=hidden_dim,
            num_heads=num_heads,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        check(
            (positions == "learned") == (max_length is not None),
            "`max_length` must be given if `positions` are learned, and only "
            "then.",
            max_length=max_length,
            positions=positions,
        )
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.norm_first = norm_first
        self.dtype = dtype
        self.seeds = Seeds(seed)
        self.layers = {}
        sizes = {"embedding": (vocabulary_size, tied)}
        if source_vocabulary_size is not None:
            sizes["source_embedding"] = (source_vocabulary_size, True)
        for name, (size, is_tied) in sizes.items():
            self.layers[name] = TokenEmbedding(
                size,
                hidden_dim,
                tied=is_tied,
                embeddings_initializer=self._normal(hidden_dim**-0.5, draws=2),
                dtype=dtype,
                name=name,
            )
        for side in ("source", "target"):
            self._add_positions(f"{side}_positions", positions, max_length)
            self.layers[f"{side}_dropout"] = Dropout(
                dropout,
                seed=self.seeds.next(),
                dtype=dtype,
                name=f"{side}_dropout",
            )
            self.layers[f"{side}_mask"] = PaddingMask(name=f"{side}_mask")
        if norm_first:
            for name in ("encoder_norm", "decoder_norm"):
                self.layers[name] = keras.layers.LayerNormalization(
                    epsilon=1e-5, dtype=dtype, name=name
                )

    def add(self, name, layer_class, *arguments, **options) -> None:
        """Makes a layer with a residual connection around it.

        Args:
            name: Its name.
            layer_class: Its class, which takes a `kernel_initializer`.
            *arguments: Arguments of the class.
            **options: Likewise.
        """
        layer = layer_class(
            *arguments,
            **options,
            kernel_initializer=keras.initializers.GlorotUniform(
                seed=self.seeds.next(_MOST_DRAWS)
            ),
            # That of dropout, and of two branch weights.
            seed=self.seeds.next(_MOST_DRAWS),
            dtype=self.dtype,
            name=name.rstrip("_0123456789"),
        )
        self.layers[name] = Residual(
            layer,
            norm_first=self.norm_first,
            dropout=self.dropout,
            seed=self.seeds.next(),
            dtype=self.dtype,
            name=name,
        )

    def _add_positions(self, name, positions, max_length):
        if positions == "sinusoidal":
            self.layers[name] = SinusoidalPositions(dtype=self.dtype, name=name)
        if positions == "learned":
            self.layers[name] = LearnedPositions(
                max_length,
                embeddings_initializer=self._normal(0.02),
                dtype=self.dtype,
                name=name,
            )

    def _normal(self, stddev, draws=1):
        return keras.initializers.RandomNormal(
            stddev=stddev, seed=self.seeds.next(draws)
        )


def assemble(layers: dict, name: str) -> keras.Model:
    """A functional model of the layers.

    Args:
        layers: Layers by name.
        name: The model's name.

    Returns:
        A model from a dict of `source_ids`, int32 `(batch, source_length)`,
        `source_length`, int32 `(batch,)`, and `target_ids` and
        `target_length` alike, to a dict of `logits`, float32 `(batch,
        target_length, vocabulary_size)`.
    """
    inputs = {}
    for side in ("source", "target"):
        for part, shape in ((f"{side}_ids", (None,)), (f"{side}_length", ())):
            inputs[part] = keras.Input(shape, dtype="int32", name=part)
    source, source_mask = _encode(
        layers, inputs["source_ids"], inputs["source_length"]
    )
    target_mask = layers["target_mask"](
        inputs["target_ids"], inputs["target_length"]
    )
    logits, _ = _decode(
        layers,
        inputs["target_ids"],
        target_mask,
        source={"source": source, "source_mask": source_mask},
    )
    return keras.Model(inputs, {"logits": logits}, name=name)


def assemble_step(model: keras.Model) -> SourceStepModel:
    """The step twin of a model of `assemble`, on its very layers.

    Args:
        model: The model.

    Raises:
        ValueError: If it is another builder's.
    """
    layers = layers_of(model)
    names = [name for name in layers if name.startswith("decoder_attention_")]

    def initial_state(source_ids, source_length, max_length):
        source, mask = _encode(layers, source_ids, source_length)
        batch_size = keras.ops.shape(source_ids)[0]
        state = {"source": {"mask": mask}}
        for index, name in enumerate(names):
            state[name] = layers[name].initial_state(batch_size, max_length)
            state["position"] = state[name].pop("position")
            name = f"cross_attention_{index}"
            state["source"][name] = layers[name].layer.source_state(
                source, mask
            )
            state["source"][name].pop("mask")
        return state

    def step(token_ids, state, length=None):
        mask = None
        if length is not None:
            mask = layers["target_mask"](token_ids, length)
        return _decode(layers, token_ids, mask, state=state)

    positions = layers.get("target_positions")
    learned = isinstance(positions, LearnedPositions)
    return SourceStepModel(
        step=step,
        initial_state=initial_state,
        model=model,
        max_length=positions.max_length if learned else None,
    )


def layers_of(model: keras.Model) -> dict:
    """The layers of a model of `assemble`, by name.

    Raises:
        ValueError: If it is another builder's.
    """
    layers = {layer.name: layer for layer in model.layers}
    check(
        {"embedding", "encoder_attention_0", "cross_attention_0"}
        <= set(layers),
        "`model` must be an encoder-decoder of keras_xf.",
        model=model.name,
    )
    return layers


def _encode(layers, source_ids, source_length):
    mask = layers["source_mask"](source_ids, source_length)
    embedding = layers.get("source_embedding", layers["embedding"])
    x = _begin(layers, "source", embedding(source_ids))
    for index in range(_count(layers, "encoder_attention_")):
        x = layers[f"encoder_attention_{index}"](x, padding_mask=mask)
        x = _pass(layers, f"encoder_feed_forward_{index}", x)
    return _pass(layers, "encoder_norm", x), mask


def _decode(layers, target_ids, target_mask, source=None, state=None):
    """Logits of the next tokens, of whole sequences or with a state."""
    position = None if state is None else state["position"]
    new_state = {}
    if state is not None:
        new_state["source"] = state["source"]
    x = _begin(layers, "target", layers["embedding"](target_ids), position)
    for index in range(_count(layers, "decoder_attention_")):
        name = f"decoder_attention_{index}"
        given = {"padding_mask": target_mask}
        if state is None:
            x = layers[name](x, **given)
        else:
            given["state"] = {**state[name], "position": position}
            x, new_state[name] = layers[name](x, **given)
            new_state["position"] = new_state[name].pop("position")
        name = f"cross_attention_{index}"
        if state is None:
            x = layers[name](x, **_source_arguments(layers[name], source))
        else:
            mask = state["source"]["mask"]
            x, _ = layers[name](
                x, state={**state["source"][name], "mask": mask}
            )
        x = _pass(layers, f"decoder_feed_forward_{index}", x)
    x = _pass(layers, "decoder_norm", x)
    return layers["embedding"](x, reverse=True), new_state


def _source_arguments(layer, source):
    """A source by the names that a layer takes it by."""
    if isinstance(layer.layer, MultiBranchAttention):
        return {"value": source["source"], "value_mask": source["source_mask"]}
    return source


def _begin(layers, side, x, start=None):
    name = f"{side}_positions"
    if name in layers:
        x = layers[name](x, start=start)
    return layers[f"{side}_dropout"](x)


def _pass(layers, name, x):
    """Through the layer, if there is one."""
    return layers[name](x) if name in layers else x


def _count(layers, prefix):
    return sum(name.startswith(prefix) for name in layers)
