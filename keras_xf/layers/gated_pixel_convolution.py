"""Gated masked convolutions of PixelCNN (van den Oord et al., 2016)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.token_ids import as_token_ids
from keras_xf.ops import embedding
from keras_xf.ops.dropout import drop
from keras_xf.ops.empty_batches import never_empty


@keras.saving.register_keras_serializable(package="keras_xf")
class GatedPixelConvolution(keras.layers.Layer):
    """Lets each place of an image see what is before it in raster order.

    Two stacks share the work. The vertical one sees the rows above a place,
    the horizontal one what is left of it in its row, and is told by the
    vertical one of the rows above, so that nothing before a place is hidden
    from it. Each computes `tanh(a) * sigmoid(b)` of the two halves of a
    convolution, to which what depends on the class and on a condition is added
    first; the horizontal stack then has a projection and a residual connection.

    Kernels have the shape of what they may see, and inputs are padded where
    they end: there is no mask that a kernel would be multiplied with.

    In a stack of these layers the first is `strict` (the paper's mask A) and
    takes the image as both inputs: a place does not see its own input. The
    others are not (mask B): vertical inputs at a place then know of the rows
    above only, and horizontal ones of places before it only, and so do outputs.

    Masks do not matter to it.

    Args:
        filters: Width of both outputs.
        kernel_size: Odd number of places that an unmasked kernel would have in
            a row. The default is the paper's.
        strict: Whether a place does not see its own input.
        num_classes: Number of classes; None without `class_ids`.
        dropout: Fraction of the gated activations dropped in training.
        kernel_initializer: Initializer of all kernels, the classes' too.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Pair of float tensors `(batch, height, width, dim)`, vertical
            and horizontal. Unless `strict`, the latter is `filters` wide.
        condition: Float tensor `(batch, height, width, condition_dim)`, all of
            which any place may know; None without.
        class_ids: Integer tensor `(batch,)` in `[0, num_classes)`.
        training: Whether to drop.

    Output shape:
        A pair of `(batch, height, width, filters)`.

    Example:

    >>> layer = keras_xf.layers.GatedPixelConvolution(16, 7, strict=True)
    >>> image = np.ones((2, 5, 5, 8))
    >>> [x.shape for x in layer((image, image))]
    [TensorShape([2, 5, 5, 16]), TensorShape([2, 5, 5, 16])]

    Reference:
        [van den Oord et al., 2016](https://arxiv.org/abs/1606.05328), section
        2, equations 2 to 4, and figure 2
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strict: bool = False,
        num_classes: int | None = None,
        dropout: float = 0.0,
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = as_integer("filters", filters)
        self.kernel_size = as_integer("kernel_size", kernel_size)
        check(
            kernel_size > 1 and kernel_size % 2 == 1,
            "`kernel_size` must be odd, and more than 1.",
            kernel_size=kernel_size,
        )
        if num_classes is not None:
            num_classes = as_integer("num_classes", num_classes)
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.strict = strict
        self.num_classes = num_classes
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def reach(self) -> int:
        """How many rows above its own, or places to the left, it looks."""
        return self.kernel_size // 2

    def build(self, inputs_shape, condition_shape=None):
        vertical, horizontal = self._check_pair(inputs_shape)
        self._dims = vertical[-1], horizontal[-1]
        # A strict place has no input of its own.
        depth = self.reach + (not self.strict)
        self.vertical = self._convolution(
            (depth, self.kernel_size), place=0, name="vertical"
        )
        self.vertical.build((None, None, None, vertical[-1]))
        self.horizontal = self._convolution((1, depth), 1, name="horizontal")
        self.horizontal.build((None, None, None, horizontal[-1]))
        self.link = self._projection(2, place=2, name="link")
        self.link.build((None, None, None, 2 * self.filters))
        self.output_projection = self._projection(1, 3, "output_projection")
        self.output_projection.build((None, None, None, self.filters))
        self._condition_dim = None
        if condition_shape is not None:
            check_shape("condition", condition_shape, _LAYOUT, dim=None)
            self._condition_dim = condition_shape[-1]
            self.condition_projection = self._projection(
                4, place=4, name="condition_projection"
            )
            self.condition_projection.build(condition_shape)
        if self.num_classes is not None:
            self.class_biases = self.add_weight(
                shape=(self.num_classes, 4 * self.filters),
                initializer=own_draws(self.kernel_initializer, 5),
                name="class_biases",
                autocast=False,
            )

    def call(self, inputs, condition=None, class_ids=None, training=False):
        shapes = [tuple(x.shape) for x in inputs]
        self._check_pair(shapes, *self._dims)
        biases = self.biases(condition, class_ids)
        # Only what is given has rows.
        given = {
            name: tensor
            for name, tensor in zip(
                ("above", "before", "above_bias", "before_bias"),
                (*inputs, *biases),
                strict=True,
            )
            if tensor is not None
        }
        return never_empty(lambda x: self._see(**x, training=training), given)

    def biases(self, condition=None, class_ids=None):
        """What condition and class add to the two stacks, before the gates.

        Args:
            condition: As `call` takes it.
            class_ids: As `call` takes them.

        Returns:
            A pair for the vertical and the horizontal stack: tensors `(batch,
            height, width, 2 filters)`, where height and width are 1 without a
            condition; or None and None, if there is neither.

        Raises:
            ValueError: If the layer was built for others.
        """
        check(
            (condition is None) == (self._condition_dim is None),
            "`condition` must be given as it was when the layer was built.",
            shape=None if condition is None else tuple(condition.shape),
        )
        check(
            (class_ids is None) == (self.num_classes is None),
            "`class_ids` must be given if there are classes, and only then.",
            num_classes=self.num_classes,
        )
        bias = None
        if condition is not None:
            check_shape(
                "condition", condition.shape, _LAYOUT, dim=self._condition_dim
            )
            bias = _flat(self.condition_projection, condition)
        if class_ids is not None:
            ids = as_token_ids("class_ids", class_ids, self.num_classes)
            check_shape("class_ids", ids.shape, "(batch,)")
            of_class = ops.cast(
                embedding.look_up(self.class_biases, ids), self.compute_dtype
            )[:, None, None]
            bias = of_class if bias is None else bias + of_class
        return (None, None) if bias is None else ops.split(bias, 2, axis=-1)

    def see_rows(self, rows, bias=None, training=False):
        """Computes the vertical stack of one or more rows.

        Args:
            rows: Vertical inputs `(batch, number, width, dim)`: for each row
                to be computed its own, unless `strict`, and before the first of
                them `reach` rows more; zeros where the image has none.
            bias: None, or what `biases` says of these rows.
            training: Whether to drop.

        Returns:
            The pair of vertical outputs, `(batch, rows, width, filters)`, and
            of what the horizontal stack is told, with twice the width.
        """
        sides = _padding(rows=0, sides=self.reach, right=self.reach)
        x = self.vertical(ops.pad(rows, sides))
        link = _flat(self.link, x)
        return self._gate(x if bias is None else x + bias, training), link

    def see_columns(self, columns, link, training=False):
        """Computes the horizontal stack of one or more places of rows.

        Args:
            columns: Horizontal inputs `(batch, rows, number, dim)`: for each
                place to be computed its own, unless `strict`, and before the
                first of them `reach` places more; zeros where a row has none.
            link: What `see_rows` says of these places, with what `biases`
                does.
            training: Whether to drop.

        Returns:
            Horizontal outputs `(batch, rows, places, filters)`.
        """
        x = self._gate(self.horizontal(columns) + link, training)
        x = _flat(self.output_projection, x)
        # A residual connection would let a strict place see itself.
        return x if self.strict else x + columns[:, :, self.reach :]

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        return tuple((*shape[:-1], self.filters) for shape in inputs_shape)

    def compute_output_spec(
        self, inputs, condition=None, class_ids=None, training=False
    ):
        shapes = self.compute_output_shape([x.shape for x in inputs])
        return tuple(
            keras.KerasTensor(shape, dtype=self.compute_dtype)
            for shape in shapes
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strict": self.strict,
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }

    def _check_pair(self, shapes, vertical_dim=None, horizontal_dim=None):
        check(
            isinstance(shapes, list | tuple)
            and len(shapes) == 2
            and isinstance(shapes[0], list | tuple),
            "`inputs` must be a pair, vertical and horizontal.",
            shape=shapes,
        )
        for shape, dim in zip(
            shapes, (vertical_dim, horizontal_dim), strict=True
        ):
            check_shape("inputs", shape, _LAYOUT, dim=dim)
        check(
            self.strict or shapes[1][-1] == self.filters,
            "`inputs` must have `filters` channels in the horizontal stack, "
            "unless `strict`.",
            shape=tuple(shapes[1]),
            filters=self.filters,
        )
        return shapes

    def _see(
        self, above, before, above_bias=None, before_bias=None, training=False
    ):
        """Both stacks of whole images."""
        rows = ops.pad(above, _padding(rows=self.reach, sides=0))
        columns = ops.pad(before, _padding(rows=0, sides=self.reach))
        if self.strict:
            rows, columns = rows[:, :-1], columns[:, :, :-1]
        vertical, link = self.see_rows(rows, above_bias, training)
        link = link if before_bias is None else link + before_bias
        return vertical, self.see_columns(columns, link, training)

    def _convolution(self, kernel_size, place, name):
        return keras.layers.Conv2D(
            2 * self.filters,
            kernel_size,
            padding="valid",
            data_format="channels_last",
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

    def _projection(self, times, place, name):
        return keras.layers.Dense(
            times * self.filters,
            # The convolution that it follows, or is added to, has one.
            use_bias=name == "output_projection",
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

    def _gate(self, x, training):
        value, gate = ops.split(x, 2, axis=-1)
        x = ops.tanh(value) * ops.sigmoid(gate)
        if training and self.dropout:
            x = drop(x, self.dropout, self.seed_generator)
        return x


_LAYOUT = "(batch, height, width, dim)"


def _flat(projection, x):
    """Projects vectors as rows, see FeedForward."""
    flat = projection(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(flat, (*ops.shape(x)[:-1], flat.shape[-1]))


def _padding(rows, sides, right=0):
    return ((0, 0), (rows, 0), (sides, right), (0, 0))
