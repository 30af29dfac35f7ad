"""Attention whose heads are branches with weights (Ahmed et al., 2017)."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.constraints import Simplex
from keras_xf.initializers import EqualWeights
from keras_xf.initializers import PerSlice
from keras_xf.initializers import RandomWeights
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.joined_mask import joined_mask
from keras_xf.layers.standard_block import read_attention
from keras_xf.layers.standard_block import read_feed_forward
from keras_xf.ops import attention
from keras_xf.ops import branches
from keras_xf.ops import simplex
from keras_xf.ops.dropout import drop
from keras_xf.ops.logits import wide_dtype

WEIGHTINGS = ("projection", "softmax", "fixed", "none")
# Those whose weights, not their logits, are variables.
_PROJECTED = ("projection", "fixed")
_NAMES = ("kappa", "alpha")
# A float32 that is as near to the simplex has come from there.
_TOLERANCE = 1e-5


@keras.saving.register_keras_serializable(package="keras_xf")
class MultiBranchAttention(keras.layers.Layer):
    """Attention and feed-forward in branches, of which a weighted sum is taken.

    Each head goes its own way: `kappa[i] * head[i]` is projected and passes a
    feed-forward network of its own, as wide as its share, and the outputs are
    summed with weights `alpha`. Both weights are learned, and stay on the
    simplex: none negative, their sum one. The layer takes the place of an
    attention and the feed-forward behind it, with one residual connection and
    one normalization around the pair, and has as many weights as they, and two
    more a branch.

    It is called as `keras.layers.MultiHeadAttention` is, and with a state for
    the next positions of sequences that it has seen before.

    Between the projection of a head and the first of its network there is
    nothing, so that both can be folded into one narrow product: the same
    outputs and gradients for some 60 % of the work outside of attention.

    Args:
        num_branches: Number of branches, each a head.
        intermediate_dim: Width inside the feed-forward networks, of all
            branches together.
        key_dim: Width of a query and of a key, per branch; the width of the
            inputs divided by `num_branches` if None.
        value_dim: Width of a value per branch; `key_dim` if None.
        activation: Activation inside the feed-forward networks.
        weighting: "projection" keeps the weights on the simplex after each
            step of the optimizer, as the paper does; "softmax" learns their
            logits, which it found worse; "fixed" leaves them as they begin;
            with "none" there are no weights.
        branch_scale: What weights on the simplex count for: "paper" as they
            are, "unit" times `num_branches`, so that equal ones are ones.
        min_weight: The smallest that a weight may be, with "projection". A
            branch whose weight has come to zero may have no gradient left. The
            paper has none.
        ffn_mode: "per_branch", or "shared": one network, as wide as
            `intermediate_dim`, that all branches pass, which is
            `num_branches` times the work.
        fold: Whether to fold projections; "auto" where the batch has rows
            enough to gain, and where their number is not known, but for steps
            with a state.
        factorized: Whether a head's projection and the first of its network
            are two matrices, as in the paper, or one, which is all that they
            can do.
        causal: Whether a position sees only itself and those before in every
            call, as `use_causal_mask` asks for in one.
        dropout: Fraction of the attention weights dropped in training.
        hidden_dropout: Fraction of the activations inside the feed-forward
            networks dropped in training.
        use_bias: Whether the projections of queries, keys, values and heads
            have biases, too. The paper's have none.
        kernel_initializer: Initializer of all matrices, which are drawn as
            those of an attention and a feed-forward.
        branch_initializer: First branch weights, with "projection" and
            "fixed": "equal", "random" for any point of the simplex, as the
            paper has it, or an initializer, whose draws are projected.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        query: Float tensor `(batch, target_length, dim)`.
        value: Float tensor `(batch, source_length, source_dim)`; `query` if
            None.
        key: Alike; `value` if None.
        query_mask: Boolean `(batch, target_length)`. Outputs of padding carry
            no meaning, and are not zeroed.
        value_mask: Boolean `(batch, source_length)`, True where a value is
            real.
        key_mask: Alike, of the keys.
        attention_mask: Boolean `(batch, target_length, source_length)`, True
            where a query may see a key.
        return_attention_scores: Whether to return the attention weights, too,
            `(batch, num_branches, target_length, source_length)`.
        training: Whether to drop.
        use_causal_mask: Whether a position sees only itself and those before.
        padding_mask: Another name of `value_mask`.
        state: What `initial_state` or the last call returned, to take the next
            positions of sequences, causally; or what `source_state` returned,
            which is in the place of `value`.

    Output shape:
        `(batch, target_length, dim)`; a tuple of it, the attention weights
        where they are asked for, and the new state where there is one.

    Example:

    >>> layer = keras_xf.layers.MultiBranchAttention(2, intermediate_dim=32)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])
    >>> layer.branch_weights()[0]
    array([0.5, 0.5], dtype=float32)

    Reference:
        [Ahmed et al., 2017](https://arxiv.org/abs/1711.02132), section 3,
        equations 3 to 6
    """

    def __init__(
        self,
        num_branches: int,
        intermediate_dim: int,
        key_dim: int | None = None,
        value_dim: int | None = None,
        activation="relu",
        weighting: str = "projection",
        branch_scale: str = "paper",
        min_weight: float = 0.0,
        ffn_mode: str = "per_branch",
        fold: bool | str = "auto",
        factorized: bool = True,
        causal: bool = False,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        use_bias: bool = False,
        kernel_initializer="glorot_uniform",
        branch_initializer="equal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_branches = as_integer("num_branches", num_branches)
        self.intermediate_dim = as_integer("intermediate_dim", intermediate_dim)
        if key_dim is not None:
            key_dim = as_integer("key_dim", key_dim)
        if value_dim is not None:
            value_dim = as_integer("value_dim", value_dim)
        for name, value, choices in (
            ("weighting", weighting, WEIGHTINGS),
            ("branch_scale", branch_scale, ("paper", "unit")),
            ("ffn_mode", ffn_mode, ("per_branch", "shared")),
            ("fold", fold, ("auto", True, False)),
        ):
            check(
                value in choices,
                f"`{name}` must be one of {choices}.",
                **{name: value},
            )
        check(
            ffn_mode == "shared" or intermediate_dim % num_branches == 0,
            "`intermediate_dim` must be divisible by `num_branches`.",
            intermediate_dim=intermediate_dim,
            num_branches=num_branches,
        )
        simplex.check_min_weight(min_weight, num_branches)
        check(
            min_weight == 0 or weighting == "projection",
            '`min_weight` must be 0 unless `weighting` is "projection".',
            min_weight=min_weight,
            weighting=weighting,
        )
        for name, value in (
            ("dropout", dropout),
            ("hidden_dropout", hidden_dropout),
        ):
            check(
                0 <= value < 1,
                f"`{name}` must lie in [0, 1).",
                **{name: value},
            )
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.activation = keras.activations.get(activation)
        self.weighting = weighting
        self.branch_scale = branch_scale
        self.min_weight = min_weight
        self.ffn_mode = ffn_mode
        self.fold = fold
        self.factorized = factorized
        self.causal = causal
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.branch_initializer = _branch_initializer(branch_initializer, seed)
        check(
            weighting in _PROJECTED
            or isinstance(self.branch_initializer, EqualWeights),
            f"`branch_initializer` must be left out unless `weighting` is one "
            f"of {_PROJECTED}.",
            branch_initializer=branch_initializer,
            weighting=weighting,
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, query_shape, value_shape=None, key_shape=None):
        layout = "(batch, target_length, dim)"
        check_shape("query", query_shape, layout, dim=None)
        dim = query_shape[-1]
        check(
            self.key_dim is not None or dim % self.num_branches == 0,
            "`dim` must be divisible by `num_branches` where there is no "
            "`key_dim`.",
            dim=dim,
            num_branches=self.num_branches,
        )
        value_shape = value_shape or query_shape
        key_shape = key_shape or value_shape
        self._dim = dim
        self._key_dim = self.key_dim or dim // self.num_branches
        self._value_dim = self.value_dim or self._key_dim
        number = self.num_branches
        self.query = self._projection("query", dim, number * self._key_dim, 0)
        self.key = self._projection(
            "key", key_shape[-1], number * self._key_dim, 1
        )
        self.value = self._projection(
            "value", value_shape[-1], number * self._value_dim, 2
        )
        if self.factorized:
            self.output_projection = self._projection(
                "output_projection", number * self._value_dim, dim, 3
            )
            self.widen = self._projection(
                "widen", dim, self.intermediate_dim, 4, use_bias=True
            )
        else:
            self._build_folded()
        self.narrow = self._projection(
            "narrow", self.intermediate_dim, dim, 5, use_bias=True
        )
        for place, name in enumerate(_NAMES):
            if self.weighting != "none":
                setattr(self, name, self._branch_weight(name, place))

    def call(
        self,
        query,
        value=None,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=False,
        use_causal_mask=False,
        padding_mask=None,
        state=None,
    ):
        del query_mask
        check_shape(
            "query", query.shape, "(batch, target_length, dim)", dim=self._dim
        )
        is_source_state = state is not None and "position" not in state
        check(
            state is None or (value is None and key is None),
            "`value` and `key` must not be given beside a `state`.",
            value=value is not None and tuple(value.shape),
            key=key is not None and tuple(key.shape),
        )
        if attention_mask is not None:
            check_shape(
                "attention_mask",
                attention_mask.shape,
                "(batch, target_length, source_length)",
            )
        if is_source_state:
            given = (padding_mask, value_mask, key_mask)
            check(
                all(each is None for each in given),
                "Masks of the source must not be given beside a `state`, which "
                "has one.",
                masks=[None if m is None else tuple(m.shape) for m in given],
            )
            keys, values = state["key"], state["value"]
            padding_mask = state["mask"]
        else:
            source = query if value is None else value
            padding_mask = joined_mask(source, padding_mask, value_mask)
            padding_mask = joined_mask(source, padding_mask, key_mask)
            keys = self._heads(self.key, source if key is None else key)
            values = self._heads(self.value, source)
        queries = self._heads(self.query, query)
        positions = None
        if state is not None and not is_source_state:
            check(
                attention_mask is None,
                "`attention_mask` must not be given beside a `state`.",
                shape=attention_mask is not None
                and tuple(attention_mask.shape),
            )
            positions = state["position"][:, None]
            positions += ops.arange(ops.shape(query)[1])
            state = attention.append(
                state, keys, values, positions, padding_mask
            )
            keys, values = state["key"], state["value"]
            # What is behind a row's real positions is after every query.
            padding_mask, use_causal_mask = None, True
        masks = {
            "padding_mask": padding_mask,
            "attention_mask": attention_mask,
            "causal": self.causal or use_causal_mask,
            "query_positions": positions,
        }
        heads = attention.attend(
            queries,
            keys,
            values,
            **masks,
            dropout=self.dropout if training else 0.0,
            seed=self.seed_generator,
        )
        batch_size, length = ops.shape(query)[:2]
        outputs = self._feed_forward(heads, training, state is not None)
        results = [ops.reshape(outputs, (batch_size, length, self._dim))]
        if return_attention_scores:
            weights = attention.attention_weights(queries, keys, **masks)
            results.append(ops.cast(weights, self.compute_dtype))
        if state is not None:
            results.append(state)
        return tuple(results) if len(results) > 1 else results[0]

    def branch_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights `kappa` and `alpha`, each `(num_branches,)`.

        They are on the simplex; `branch_scale` is not in them.
        """
        check(
            self.weighting != "none",
            "`weighting` must not be none.",
            weighting=self.weighting,
        )
        return tuple(
            ops.convert_to_numpy(self._on_simplex(name)) for name in _NAMES
        )

    def initial_state(self, batch_size: int, max_length: int) -> dict:
        """The state before the first position, for self-attention.

        Args:
            batch_size: Number of sequences.
            max_length: Number of positions the state has room for.

        Returns:
            A dict of `key` `(batch, num_branches, max_length, key_dim)`,
            `value` alike, both in the compute dtype, and int32 `position`
            `(batch,)`, the number of positions seen.
        """
        shape = (batch_size, self.num_branches, max_length)
        return {
            "key": ops.zeros((*shape, self._key_dim), self.compute_dtype),
            "value": ops.zeros((*shape, self._value_dim), self.compute_dtype),
            "position": ops.zeros((batch_size,), "int32"),
        }

    def source_state(self, value, value_mask=None) -> dict:
        """The keys and values of a source, for attention to it step by step.

        Args:
            value: Float tensor `(batch, source_length, source_dim)`.
            value_mask: Boolean `(batch, source_length)`.

        Returns:
            A dict of `key`, `value` and boolean `mask`, which calls take as
            `state` and return as it is.
        """
        value = ops.cast(value, self.compute_dtype)
        if value_mask is None:
            value_mask = ops.ones(ops.shape(value)[:2], "bool")
        return {
            "key": self._heads(self.key, value),
            "value": self._heads(self.value, value),
            "mask": value_mask,
        }

    def folded(self) -> "MultiBranchAttention":
        """A layer of the same outputs in which all that is constant is folded.

        Projections are one matrix, and branch weights are in the kernels: for
        inference, and for steps of a few positions above all.

        Raises:
            ValueError: If this one has no weights yet, or its branches share
                one network, which cannot have their weights.
        """
        check(self.built, "`layer` must be built.", layer=self.name)
        check(
            self.ffn_mode == "per_branch",
            "`ffn_mode` must be per_branch.",
            ffn_mode=self.ffn_mode,
        )
        options = {
            "key_dim": self._key_dim,
            "value_dim": self._value_dim,
            "factorized": False,
            "weighting": "none",
            "min_weight": 0.0,
            "branch_initializer": "equal",
        }
        layer = type(self).from_config({**self.get_config(), **options})
        layer.build(
            *(
                (None, None, projection.kernel.shape[0])
                for projection in (self.query, self.value, self.key)
            )
        )
        for name in ("query", "key", "value"):
            projection = getattr(layer, name)
            projection.set_weights(getattr(self, name).get_weights())
        kernel, bias = self._folded(self._factor("kappa", self.variable_dtype))
        layer.folded_kernel.assign(kernel)
        layer.folded_bias.assign(bias)
        narrow = branches.weighted(
            self._slices(self.narrow, axis=0),
            self._factor("alpha", self.variable_dtype),
        )
        layer.narrow.kernel.assign(
            ops.reshape(narrow, self.narrow.kernel.shape)
        )
        layer.narrow.bias.assign(self.narrow.bias)
        return layer

    @classmethod
    def from_standard_block(
        cls, attention: keras.layers.Layer, feed_forward, **options
    ) -> "MultiBranchAttention":
        """A layer that begins with the weights of an ordinary block.

        Its matrices are theirs, cut into branches, and branch weights are
        equal. With `branch_scale="unit"`, the default here, they count for
        ones. Outputs are not those of the block, as each branch is bent on its
        own: training has to go on. Only with one linear network, and
        `ffn_mode="shared"`, do they equal.

        Args:
            attention: A built `SelfAttention`, `CrossAttention` or
                `keras.layers.MultiHeadAttention`; its heads are the branches.
            feed_forward: A built `FeedForward`, or a pair of built
                `keras.layers.Dense`.
            **options: Arguments of the layer; those that are left out come from
                the block.

        Raises:
            ValueError: If the block has other layers, or they do not fit.
        """
        found, weights = read_attention(attention)
        found_inside, weights_inside = read_feed_forward(feed_forward)
        weights |= weights_inside
        found["num_branches"] = found.pop("num_heads")
        layer = cls(
            **{
                "branch_scale": "unit",
                "dtype": attention.dtype_policy,
                **found,
                **found_inside,
                **options,
            }
        )
        check(
            layer.factorized,
            "`factorized` must be True: a block has two matrices.",
            factorized=layer.factorized,
        )
        layer.build(
            *(
                (None, None, len(weights[name][0]))
                for name in ("query", "value", "key")
            )
        )
        for name, (kernel, bias) in weights.items():
            projection = getattr(layer, name)
            check(
                kernel.shape == projection.kernel.shape
                and (bias is None) == (projection.bias is None),
                "The block's layers, and `options`, must fit together.",
                projection=name,
                kernel=kernel.shape,
                bias=None if bias is None else bias.shape,
                fits=tuple(projection.kernel.shape),
            )
            projection.set_weights([kernel] if bias is None else [kernel, bias])
        return layer

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if self.weighting not in _PROJECTED:
            return
        for name in _NAMES:
            weights = getattr(self, name)
            before = ops.convert_to_numpy(weights)
            after = ops.convert_to_numpy(
                simplex.project(before, self.min_weight)
            )
            if not np.abs(after - before).max() <= _TOLERANCE:
                weights.assign(after)
                warnings.warn(
                    f"{name} of layer {self.name} was not on the simplex and "
                    f"has been projected: {before.tolist()} is now "
                    f"{after.tolist()}.",
                    stacklevel=2,
                )

    def compute_output_shape(self, query_shape, *args, **kwargs):
        return tuple(query_shape)

    def compute_output_spec(
        self,
        query,
        value=None,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=False,
        use_causal_mask=False,
        padding_mask=None,
        state=None,
    ):
        dtype = self.compute_dtype
        results = [keras.KerasTensor(query.shape, dtype=dtype)]
        if return_attention_scores:
            source = query if value is None else value
            length = source.shape[1]
            if state is not None:
                length = state["key"].shape[2]
            shape = (query.shape[0], self.num_branches, query.shape[1], length)
            results.append(keras.KerasTensor(shape, dtype=dtype))
        if state is not None:
            results.append(
                keras.tree.map_structure(
                    lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), state
                )
            )
        return tuple(results) if len(results) > 1 else results[0]

    def get_config(self):
        return {
            **super().get_config(),
            "num_branches": self.num_branches,
            "intermediate_dim": self.intermediate_dim,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "activation": keras.activations.serialize(self.activation),
            "weighting": self.weighting,
            "branch_scale": self.branch_scale,
            "min_weight": self.min_weight,
            "ffn_mode": self.ffn_mode,
            "fold": self.fold,
            "factorized": self.factorized,
            "causal": self.causal,
            "dropout": self.dropout,
            "hidden_dropout": self.hidden_dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "branch_initializer": keras.initializers.serialize(
                self.branch_initializer
            ),
            "seed": self.seed,
        }

    @property
    def _networks(self):
        """Number of feed-forward networks."""
        return self.num_branches if self.ffn_mode == "per_branch" else 1

    def _projection(self, name, dim, units, place, use_bias=None):
        projection = keras.layers.Dense(
            units,
            use_bias=self.use_bias if use_bias is None else use_bias,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )
        projection.build((None, dim))
        return projection

    def _build_folded(self):
        hidden_dim = self.intermediate_dim // self._networks
        shape = (self.num_branches, self._value_dim, hidden_dim)
        self.folded_kernel = self.add_weight(
            name="folded_kernel",
            shape=shape,
            initializer=PerSlice(own_draws(self.kernel_initializer, place=3)),
        )
        self.folded_bias = self.add_weight(
            name="folded_bias",
            shape=(self.num_branches, hidden_dim),
            initializer="zeros",
        )

    def _branch_weight(self, name, place):
        learned = self.weighting != "fixed"
        # Half precision would leave the simplex.
        dtype = wide_dtype(self.variable_dtype)
        if self.weighting == "softmax":
            return self.add_weight(
                name=f"{name}_logits",
                shape=(self.num_branches,),
                initializer="zeros",
                dtype=dtype,
                autocast=False,
            )
        return self.add_weight(
            name=name,
            shape=(self.num_branches,),
            initializer=self._first_weights(place),
            constraint=Simplex(self.min_weight) if learned else None,
            trainable=learned,
            dtype=dtype,
            autocast=False,
        )

    def _first_weights(self, place):
        """Draws weights, and takes them to the simplex from wherever."""
        draw = own_draws(self.branch_initializer, place)

        def initialize(shape, dtype=None):
            return simplex.project(draw(shape, dtype), self.min_weight)

        return initialize

    def _on_simplex(self, name):
        weights = ops.convert_to_tensor(getattr(self, name))
        return ops.softmax(weights) if self.weighting == "softmax" else weights

    def _factor(self, name, dtype=None):
        """What multiplies a branch; None for ones."""
        if self.weighting == "none":
            return None
        weights = self._on_simplex(name)
        if self.branch_scale == "unit":
            weights = weights * self.num_branches
        return ops.cast(weights, dtype or self.compute_dtype)

    def _heads(self, projection, inputs):
        """To `(batch, num_branches, length, dim of a head)`."""
        batch_size, length = ops.shape(inputs)[:2]
        projected = projection(ops.reshape(inputs, (-1, inputs.shape[-1])))
        dim = projected.shape[-1] // self.num_branches
        shape = (batch_size, length, self.num_branches, dim)
        return ops.transpose(ops.reshape(projected, shape), (0, 2, 1, 3))

    def _slices(self, projection, axis):
        """The kernels of the branches' networks."""
        return branches.slices(projection.kernel, self._networks, axis)

    def _folded(self, kappa):
        """The one projection of heads, weighted, and its bias."""
        if not self.factorized:
            return branches.weighted(
                self.folded_kernel, kappa
            ), self.folded_bias
        output_kernel, *rest = self._factors(kappa)
        return branches.fold(output_kernel, *rest, kappa=kappa)

    def _factors(self, kappa):
        """Both kernels, and both biases."""
        projection = self.output_projection
        kernel = branches.slices(projection.kernel, self.num_branches, axis=0)
        return (
            branches.weighted(kernel, kappa),
            self._slices(self.widen, axis=1),
            ops.reshape(self.widen.bias, (self._networks, -1)),
            projection.bias if self.use_bias else None,
        )

    def _feed_forward(self, heads, training, steps):
        rows = branches.branch_rows(heads)
        kappa = self._factor("kappa")
        if self.factorized and not self._folds(heads.shape, steps):
            output_kernel, widen_kernel, *biases = self._factors(kappa)
            units = ops.matmul(ops.matmul(rows, output_kernel), widen_kernel)
            bias = branches.hidden_bias(widen_kernel, *biases, kappa=kappa)
        else:
            kernel, bias = self._folded(kappa)
            units = ops.matmul(rows, kernel)
        units = self.activation(units + bias[:, None])
        if training and self.hidden_dropout:
            units = drop(units, self.hidden_dropout, self.seed_generator)
        return branches.join(
            units,
            self._factor("alpha"),
            self._slices(self.narrow, axis=0),
            self.narrow.bias,
        )

    def _folds(self, shape, steps):
        if self.fold != "auto":
            return self.fold
        batch_size, _, length, _ = shape
        if batch_size is None or length is None:
            return not steps
        hidden_dim = self.intermediate_dim // self._networks
        return batch_size * length >= branches.folding_rows(
            self._value_dim, self._dim, hidden_dim
        )


def _branch_initializer(initializer, seed):
    if initializer == "equal":
        return EqualWeights()
    if initializer == "random":
        return RandomWeights(seed)
    return keras.initializers.get(initializer)
