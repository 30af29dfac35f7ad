"""Self-attention by relative positions, with a memory (Dai et al., 2019)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.ops import memory as buffers
from keras_xf.ops import relative

# What a layer of the same weights may have otherwise.
_OPTIONS = ("clamp_length", "attention_window")


@keras.saving.register_keras_serializable(package="keras_xf")
class RelativeAttention(MultiHeadLayer):
    """Lets positions attend to those before, in a memory too, by distance.

    A query meets a key by what both hold and by how far apart they are:
    `(q + u) k + (q + v) r` over `sqrt(key_dim)`, where `r` is a projection of
    the sinusoids of the distance, and the content bias `u` and the position
    bias `v` are learned. Since no position is absolute, the inputs of a segment
    may be read after the memory of the segments before it. No gradient goes
    into the memory; its keys and values have one, as the paper's equations do.

    Given a state, the layer takes the next one or more positions of sequences
    whose keys and values the state holds: a memory that is not projected again,
    for inference.

    Positions where `padding_mask` is False are not attended to; their own
    outputs carry no meaning. In a segment with a memory the real ones of a row
    must come first if distances are to be right.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        clamp_length: Distances beyond it count as it, for inference on more
            than training has shown; None for no limit.
        attention_window: How many positions a query sees, itself the first;
            None for all that is there. With one, and a memory of at least
            `attention_window - 1` positions, results do not depend on how a
            sequence is cut into segments. The references' option `same_length`
            is a window of the memory's length.
        own_biases: Whether the layer has content and position biases; if not,
            `biases` are given.
        dropout: Fraction of the attention weights dropped in training.
        use_bias: Whether the projections but that of positions have biases.
        kernel_initializer: Initializer of the projections.
        biases_initializer: Initializer of content and position biases.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`, `dim` even.
        memory: Float tensor `(batch, memory_length, dim)`, what this layer got
            as inputs in the segments before, the last of it last.
        memory_length: Integer `(batch,)`, how many positions of the memory are
            real; they are its last. All by default.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
        positions: Float tensor `(memory_length + length + 1, dim)`, what
            `RelativePositions` makes of inputs and memory, with a
            `clamp_length` of its own; by default the layer makes them.
        biases: Pair of float tensors `(num_heads, key_dim)`, content bias and
            position bias.
        state: None, or what `initial_state` or the last call returned; it is
            in the memory's place.
        stop_memory_gradient: Whether to keep gradients out of the memory. One
            that was normalized has been cut off before, by `Residual`, whose
            normalization learns from it.
        mask: The mask that Keras passes on; joined with `padding_mask`.
        training: Whether to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the new state.

    Example:

    >>> layer = keras_xf.layers.RelativeAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 5, 8)), memory=np.ones((2, 3, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), section 3.3
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        clamp_length: int | None = None,
        attention_window: int | None = None,
        own_biases: bool = True,
        dropout: float = 0.0,
        use_bias: bool = False,
        kernel_initializer="glorot_uniform",
        biases_initializer="zeros",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            num_heads,
            key_dim,
            value_dim,
            causal=True,
            dropout=dropout,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            seed=seed,
            **kwargs,
        )
        if clamp_length is not None:
            clamp_length = as_integer("clamp_length", clamp_length)
        if attention_window is not None:
            attention_window = as_integer("attention_window", attention_window)
        self.clamp_length = clamp_length
        self.attention_window = attention_window
        self.own_biases = own_biases
        self.biases_initializer = keras.initializers.get(biases_initializer)

    def build(self, input_shape):
        self._build_projections(
            input_shape,
            query=self.key_dim,
            key_value=self.key_dim + self._value_dim,
        )
        check(
            self._dim % 2 == 0,
            "`inputs` must have an even width.",
            shape=tuple(input_shape),
        )
        # It has no bias: the position bias is one for all distances already.
        self.position = keras.layers.Dense(
            self.num_heads * self.key_dim,
            use_bias=False,
            kernel_initializer=own_draws(self.kernel_initializer, place=3),
            dtype=self.dtype_policy,
            name="position",
        )
        self.position.build((None, self._dim))
        if self.own_biases:
            self.content_bias = self._bias("content_bias", place=0)
            self.position_bias = self._bias("position_bias", place=1)

    def call(
        self,
        inputs,
        memory=None,
        memory_length=None,
        padding_mask=None,
        positions=None,
        biases=None,
        state=None,
        stop_memory_gradient=True,
        mask=None,
        training=False,
    ):
        padding_mask = self._check_call(inputs, padding_mask, mask, state)
        self._check_memory(inputs, memory, memory_length, state)
        content_bias, position_bias = self._biases(biases)
        query = self._project(self.query, inputs, self.key_dim)
        source = inputs
        if memory is not None:
            memory = ops.cast(memory, inputs.dtype)
            if stop_memory_gradient:
                memory = ops.stop_gradient(memory)
            source = ops.concatenate([memory, inputs], axis=1)
        dim = self.key_dim + self._value_dim
        key, value = ops.split(
            _heads_first(self._project(self.key_value, source, dim)),
            [self.key_dim],
            axis=-1,
        )
        length = ops.shape(inputs)[1]
        new_state = None
        if state is not None:
            new_state = _advance(state, key, value, padding_mask, length)
            memory_length = ops.minimum(
                state["position"], state["key"].shape[2]
            )
            key = ops.concatenate([state["key"], key], axis=2)
            value = ops.concatenate([state["value"], value], axis=2)
        source_length = ops.shape(key)[2]
        outputs = relative.attend(
            _heads_first(query),
            key,
            value,
            self._position_key(positions, source_length, key, state),
            content_bias=content_bias,
            position_bias=position_bias,
            source_mask=buffers.source_mask(
                memory_length, source_length - length, padding_mask, length
            ),
            attention_window=self.attention_window,
            dropout=self.dropout if training else 0.0,
            seed=self.seed_generator,
        )
        outputs = self._join_heads(ops.transpose(outputs, (0, 2, 1, 3)))
        return outputs if state is None else (outputs, new_state)

    def initial_state(
        self, batch_size: int, max_length: int, new_length: int = 1
    ) -> dict:
        """The state before the first position.

        It is for the weights that the layer has now.

        Args:
            batch_size: Number of sequences.
            max_length: How many positions are to be remembered. Where an
                `attention_window` is smaller, it is enough.
            new_length: Number of positions that the calls will take; calls
                with another number take longer, as they project positions.

        Returns:
            A dict of `key` `(batch, num_heads, size, key_dim)`, `value` alike,
            `positions` `(batch, num_heads, size + new_length + 1, key_dim)`,
            the projections of the distances, all in the compute dtype, and
            int32 `position` `(batch,)`, the number of positions seen.
        """
        size = max_length
        if self.attention_window is not None:
            size = min(size, self.attention_window)
        state = super().initial_state(batch_size, size)
        positions = self._project_positions(
            self._own_positions(size + new_length)
        )
        state["positions"] = ops.broadcast_to(
            positions, (batch_size, *positions.shape)
        )
        return state

    def with_options(self, **options) -> "RelativeAttention":
        """A layer with other options and this layer's very weights.

        Args:
            **options: `clamp_length` or `attention_window`, which a model
                may have otherwise in evaluation than in training.

        Raises:
            ValueError: If the layer has no weights yet, or for other options.
        """
        check(
            set(options) <= set(_OPTIONS),
            f"`options` must be of {_OPTIONS}.",
            options=sorted(options),
        )
        check(self.built, "`layer` must be built.", layer=self.name)
        other = type(self)(**{**self.get_config(), **options})
        parts = ["query", "key_value", "position", "output_projection"]
        if self.own_biases:
            parts += ["content_bias", "position_bias"]
        for name in parts:
            setattr(other, name, getattr(self, name))
        other._dim = self._dim
        other.built = True
        return other

    def compute_output_spec(self, inputs, *args, state=None, **kwargs):
        return super().compute_output_spec(inputs, state=state)

    def get_config(self):
        config = super().get_config()
        del config["causal"]
        return {
            **config,
            "clamp_length": self.clamp_length,
            "attention_window": self.attention_window,
            "own_biases": self.own_biases,
            "use_bias": self.use_bias,
            "biases_initializer": keras.initializers.serialize(
                self.biases_initializer
            ),
        }

    def _bias(self, name, place):
        return self.add_weight(
            name=name,
            shape=(self.num_heads, self.key_dim),
            initializer=own_draws(self.biases_initializer, place),
        )

    def _biases(self, biases):
        check(
            (biases is None) == self.own_biases,
            "`biases` must be given if the layer has none, and only then.",
            own_biases=self.own_biases,
        )
        if biases is None:
            return self.content_bias, self.position_bias
        for bias in biases:
            check_shape(
                "biases",
                bias.shape,
                "(num_heads, key_dim)",
                num_heads=self.num_heads,
                key_dim=self.key_dim,
            )
        return biases

    def _position_key(self, positions, source_length, key, state):
        """The projected distances `source_length` down to 0."""
        if state is not None:
            check(
                positions is None,
                "`positions` must not be given beside a `state`.",
                shape=positions is not None and tuple(positions.shape),
            )
            # In a graph the number of keys may be unknown.
            if key.shape[2] == state["positions"].shape[2] - 1:
                return state["positions"]
        if positions is None:
            positions = self._own_positions(source_length)
        else:
            check_shape(
                "positions",
                positions.shape,
                "(source_length + 1, dim)",
                dim=self._dim,
                **_one_more(key.shape[2]),
            )
        return self._project_positions(positions)

    def _own_positions(self, source_length):
        return relative.distance_sinusoids(
            source_length,
            self._dim,
            self.clamp_length,
            dtype=self.compute_dtype,
        )

    def _project_positions(self, positions):
        """To `(num_heads, source_length + 1, key_dim)`."""
        projected = self.position(positions)
        shape = (-1, self.num_heads, self.key_dim)
        return ops.transpose(ops.reshape(projected, shape), (1, 0, 2))

    def _check_memory(self, inputs, memory, memory_length, state):
        check(
            memory is None or state is None,
            "`memory` must not be given beside a `state`.",
            shape=memory is not None and tuple(memory.shape),
        )
        check(
            memory is not None or memory_length is None,
            "`memory_length` must not be given without a `memory`.",
            memory=memory,
        )
        if memory is None:
            return
        batch_size = inputs.shape[0]
        batch = {} if batch_size is None else {"batch": batch_size}
        check_shape(
            "memory",
            memory.shape,
            "(batch, memory_length, dim)",
            **batch,
            memory_length=None,
            dim=self._dim,
        )
        if memory_length is not None:
            check_shape(
                "memory_length", memory_length.shape, "(batch,)", **batch
            )


def _heads_first(x):
    return ops.transpose(x, (0, 2, 1, 3))


def _one_more(length):
    return {} if length is None else {"source_length + 1": length + 1}


def _advance(state, key, value, padding_mask, length):
    count = None
    if padding_mask is not None:
        count = ops.sum(ops.cast(padding_mask, "int32"), axis=1)
    return {
        "key": buffers.push(state["key"], key, count),
        "value": buffers.push(state["value"], value, count),
        "positions": state["positions"],
        "position": state["position"] + (length if count is None else count),
    }
