"""Tests of MultiBranchAttention, by the oracles of the specification."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_xf.layers
from keras_xf.layers import MultiBranchAttention
from tests.oracles import branches as oracle

DIM, BRANCHES, HIDDEN = 12, 3, 18
BATCH, TARGETS, SOURCES = 2, 5, 7


def arrays(seed=0, dtype="float64"):
    """Queries, values, and a mask that lets each query see something."""
    generator = np.random.default_rng(seed)
    query = generator.normal(size=(BATCH, TARGETS, DIM))
    value = generator.normal(size=(BATCH, SOURCES, DIM))
    mask = generator.random((BATCH, TARGETS, SOURCES)) < 0.6
    mask[:, :, 0] = True
    return query.astype(dtype), value.astype(dtype), mask


def make(seed=0, dtype="float64", dim=DIM, randomize=True, **options):
    """A layer whose weights, biases too, are anything."""
    layer = MultiBranchAttention(
        **{"num_branches": BRANCHES, "intermediate_dim": HIDDEN, **options},
        seed=seed,
        dtype=dtype,
    )
    layer.build((None, None, dim))
    if randomize:
        generator = np.random.default_rng(seed + 1)
        for weight in layer.weights:
            if weight.name in ("kappa", "alpha"):
                weights = generator.dirichlet(np.ones(weight.shape[0]))
                weight.assign(weights)
            else:
                scale = 0.5 if len(weight.shape) < 2 else 0.4
                weight.assign(generator.normal(size=weight.shape) * scale)
    return layer


def parts(layer):
    """The weights of each branch, as the oracle takes them."""
    number = layer.num_branches
    shared = layer.ffn_mode == "shared"

    def of(projection, i, axis=-1):
        return np.split(np.asarray(projection.kernel), number, axis)[i]

    def bias(projection, i, whole=False):
        width = projection.kernel.shape[1] // (1 if whole else number)
        if projection.bias is None:
            return np.zeros(width)
        found = np.asarray(projection.bias)
        return found if whole else np.split(found, number)[i]

    found = []
    for i in range(number):
        part = {
            "output": of(layer.output_projection, i, axis=0),
            "output_bias": bias(layer.output_projection, i, whole=True),
            "narrow_bias": np.asarray(layer.narrow.bias),
        }
        for name in ("query", "key", "value"):
            part[name] = of(getattr(layer, name), i)
            part[f"{name}_bias"] = bias(getattr(layer, name), i)
        if shared:
            part["widen"] = np.asarray(layer.widen.kernel)
            part["widen_bias"] = np.asarray(layer.widen.bias)
            part["narrow"] = np.asarray(layer.narrow.kernel)
        else:
            part["widen"] = of(layer.widen, i)
            part["widen_bias"] = bias(layer.widen, i)
            part["narrow"] = of(layer.narrow, i, axis=0)
        found.append(part)
    return found


def run(layer, query, value=None, mode="eager", **kwargs):
    """Outputs and the gradients of all weights and inputs."""
    inputs = [tf.constant(each) for each in (query, value) if each is not None]

    def compute(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(*inputs, **kwargs)
            loss = tf.reduce_sum(tf.sin(outputs))
        sources = [weight.value for weight in layer.trainable_weights]
        return outputs, tape.gradient(loss, [*sources, *inputs])

    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "xla")
    outputs, gradients = compute(*inputs)
    return np.asarray(outputs), [np.asarray(each) for each in gradients]


# Oracle 1: branches one by one.
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": True, "key_dim": 3, "value_dim": 5},
        {"ffn_mode": "shared", "use_bias": True},
        {"branch_scale": "unit", "activation": "gelu"},
        {"num_branches": 1},
    ],
    ids=str,
)
def test_equals_the_branches_one_by_one(options, fold):
    query, value, mask = arrays()
    layer = make(fold=fold, **options)
    scale = layer.num_branches if layer.branch_scale == "unit" else 1
    activation = None
    if options.get("activation") == "gelu":
        activation = np.vectorize(
            lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2
        )
        layer.activation = lambda x: ops.gelu(x, approximate=False)
    expected = oracle.attend(
        query,
        value,
        value,
        parts(layer),
        np.asarray(layer.kappa, "float64") * scale,
        np.asarray(layer.alpha, "float64") * scale,
        mask,
        activation,
    )
    for mode in ("eager", "graph", "xla"):
        outputs, _ = run(layer, query, value, mode, attention_mask=mask)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)


# Oracles 1 and 14: gradients.
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"activation": "tanh", "use_bias": True},
        {"activation": "tanh", "ffn_mode": "shared"},
        {"activation": "tanh", "weighting": "softmax"},
        {"activation": "tanh", "factorized": False},
    ],
    ids=str,
)
def test_gradients_equal_differences(options, fold):
    query, value, mask = arrays()
    layer = make(fold=fold, **options)
    _, gradients = run(layer, query, value, attention_mask=mask)
    generator = np.random.default_rng(3)

    def loss():
        return float(ops.sum(ops.sin(layer(query, value, attention_mask=mask))))

    for weight, gradient in zip(
        layer.trainable_weights, gradients, strict=False
    ):
        before = np.asarray(weight)
        step = 1e-6
        direction = generator.normal(size=weight.shape)
        sums = []
        for sign in (1, -1):
            weight.assign(before + sign * step * direction)
            sums.append(loss())
        weight.assign(before)
        difference = (sums[0] - sums[1]) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(
            difference, rel=1e-6, abs=1e-6
        ), weight.path


# Oracle 2.
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("ffn_mode", ["per_branch", "shared"])
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_folding_changes_nothing(use_bias, ffn_mode, mode):
    query, value, _ = arrays()
    results = [
        run(
            make(fold=fold, use_bias=use_bias, ffn_mode=ffn_mode),
            query,
            value,
            mode,
        )
        for fold in (True, False)
    ]
    (folded, folded_gradients), (plain, plain_gradients) = results
    np.testing.assert_allclose(folded, plain, atol=1e-12)
    for one, other in zip(folded_gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_folds_where_it_pays():
    layer = make(dim=64, num_branches=4, intermediate_dim=256)
    # 16 * 64 * 64 / (16 * 64 + 64 * 64 - 16 * 64) = 16 rows.
    for rows, folds in ((15, False), (16, True), (None, True)):
        assert layer._folds((rows, 4, 1, 16), steps=False) == folds
    assert not layer._folds((None, 4, 1, 16), steps=True)


def standard(layer, query, value, activation):
    """Keras's attention and two dense layers, of the same matrices."""
    number, dim = layer.num_branches, query.shape[-1]
    attention = keras.layers.MultiHeadAttention(
        number, dim // number, use_bias=False, dtype="float64"
    )
    attention.build(query.shape, value.shape)
    kernels = [
        np.reshape(getattr(layer, name).kernel, (dim, number, dim // number))
        for name in ("query", "key", "value")
    ]
    output_kernel = np.asarray(layer.output_projection.kernel)
    attention.set_weights(
        [*kernels, output_kernel.reshape(number, dim // number, dim)]
    )
    hidden = ops.matmul(attention(query, value), layer.widen.kernel)
    return ops.matmul(activation(hidden), layer.narrow.kernel)


# Oracle 3.
@pytest.mark.parametrize("fold", [True, False])
def test_equal_shares_of_a_linear_network_are_attention(fold):
    query, value, _ = arrays()
    layer = make(
        ffn_mode="shared", activation="linear", weighting="none", fold=fold
    )
    for projection in (layer.widen, layer.narrow):
        projection.bias.assign(ops.zeros_like(projection.bias))
    np.testing.assert_allclose(
        layer(query, value),
        standard(layer, query, value, lambda x: x),
        atol=1e-12,
    )
    # Summed before the activation, heads would be no branches.
    layer.activation = keras.activations.relu
    difference = layer(query, value) - standard(layer, query, value, ops.relu)
    assert np.abs(difference).max() > 1


# Oracle 4.
def test_equals_a_network_whose_first_matrix_is_in_blocks():
    query, value, _ = arrays()
    layer = make()
    attention = keras.layers.MultiHeadAttention(
        BRANCHES, DIM // BRANCHES, use_bias=False, dtype="float64"
    )
    attention.build(query.shape, value.shape)
    shape = (DIM, BRANCHES, DIM // BRANCHES)
    kernels = [
        np.reshape(getattr(layer, name).kernel, shape)
        for name in ("query", "key", "value")
    ]
    # Heads side by side.
    joined = np.eye(DIM).reshape(BRANCHES, DIM // BRANCHES, DIM)
    attention.set_weights([*kernels, joined])
    heads = np.asarray(attention(query, value))
    kappa, alpha = (np.asarray(w, "float64") for w in layer.branch_weights())
    first = np.zeros((DIM, HIDDEN))
    for i, part in enumerate(parts(layer)):
        rows = slice(i * DIM // BRANCHES, (i + 1) * DIM // BRANCHES)
        columns = slice(i * HIDDEN // BRANCHES, (i + 1) * HIDDEN // BRANCHES)
        first[rows, columns] = part["output"] @ part["widen"]
    heads = heads * np.repeat(kappa, DIM // BRANCHES)
    second = (
        np.asarray(layer.narrow.kernel)
        * np.repeat(alpha, HIDDEN // BRANCHES)[:, None]
    )
    units = np.maximum(heads @ first + np.asarray(layer.widen.bias), 0)
    expected = units @ second + np.asarray(layer.narrow.bias)
    np.testing.assert_allclose(layer(query, value), expected, atol=1e-6)


# Oracle 6.
def test_one_hot_weights_choose_a_branch():
    query, value, mask = arrays()
    layer = make()
    layer.widen.bias.assign(np.zeros(HIDDEN))
    layer.narrow.bias.assign(np.zeros(DIM))
    for i in range(BRANCHES):
        for weights in (layer.kappa, layer.alpha):
            weights.assign(np.eye(BRANCHES)[i])
        expected = oracle.attend(
            query, value, value, parts(layer)[i : i + 1], [1], [1], mask
        )
        outputs = layer(query, value, attention_mask=mask)
        np.testing.assert_allclose(outputs, expected, atol=1e-10)


# Oracle 7.
def test_the_order_of_branches_does_not_matter():
    query, value, _ = arrays()
    layer = make(use_bias=True)
    before = layer(query, value)
    order = np.array([2, 0, 1])

    def permute(variable, axis):
        split = np.split(np.asarray(variable), BRANCHES, axis)
        variable.assign(np.concatenate([split[i] for i in order], axis))

    for projection in (layer.query, layer.key, layer.value, layer.widen):
        permute(projection.kernel, 1)
        permute(projection.bias, 0)
    for projection in (layer.output_projection, layer.narrow):
        permute(projection.kernel, 0)
    for weights in (layer.kappa, layer.alpha):
        weights.assign(np.asarray(weights)[order])
    np.testing.assert_allclose(layer(query, value), before, atol=1e-12)


# Oracle 8.
def test_weights_change_places_where_networks_are_homogeneous():
    query, value, _ = arrays()
    layer = make()
    layer.widen.bias.assign(np.zeros(HIDDEN))
    layer.narrow.bias.assign(np.zeros(DIM))
    before, gradients = run(layer, query, value)
    paths = [weight.name for weight in layer.trainable_weights]
    kappa, alpha = (np.asarray(weights) for weights in layer.branch_weights())
    of_kappa, of_alpha = (
        gradients[paths.index(name)] for name in ("kappa", "alpha")
    )
    np.testing.assert_allclose(kappa * of_kappa, alpha * of_alpha, rtol=1e-4)
    layer.kappa.assign(alpha)
    layer.alpha.assign(kappa)
    np.testing.assert_allclose(layer(query, value), before, atol=1e-6)
    layer.widen.bias.assign(np.ones(HIDDEN))
    changed = layer(query, value)
    layer.kappa.assign(kappa)
    layer.alpha.assign(alpha)
    assert np.abs(layer(query, value) - changed).max() > 1e-3


# Oracle 11.
@pytest.mark.parametrize(
    ("dim", "hidden", "number"), [(16, 48, 4), (12, 24, 2)]
)
def test_counts_of_weights(dim, hidden, number):
    standard = 4 * dim**2 + 2 * dim * hidden + hidden + dim
    options = {"num_branches": number, "intermediate_dim": hidden, "dim": dim}
    assert make(**options).count_params() == standard + 2 * number
    shared = make(ffn_mode="shared", **options)
    assert shared.count_params() == standard + 2 * number
    value_dim = dim // number
    narrow = 3 * dim**2 + value_dim * hidden + dim * hidden + hidden + dim
    assert make(factorized=False, **options).count_params() == (
        narrow + 2 * number
    )
    assert make(weighting="none", **options).count_params() == standard
    fixed = make(weighting="fixed", **options)
    assert sum(math.prod(w.shape) for w in fixed.trainable_weights) == standard


# Oracle 12.
def test_steps_equal_the_whole():
    query, _, _ = arrays(dtype="float32")
    layer = make(dtype="float32", use_bias=True)
    whole = layer(query, use_causal_mask=True)
    state = layer.initial_state(BATCH, TARGETS + 2)
    found = []
    for start, stop in ((0, 2), (2, 3), (3, 5)):
        outputs, state = layer(query[:, start:stop], state=state)
        found.append(outputs)
    np.testing.assert_allclose(np.concatenate(found, 1), whole, atol=1e-5)
    np.testing.assert_array_equal(state["position"], [TARGETS] * BATCH)


def test_padding_inside_of_steps_leaves_nothing_behind():
    query, _, _ = arrays(dtype="float32")
    layer = make(dtype="float32")
    whole = np.asarray(layer(query[:1], use_causal_mask=True))
    state = layer.initial_state(1, TARGETS)
    padded = np.concatenate([query[:1, :2], 100 * query[:1, :1]], axis=1)
    _, state = layer(
        padded, state=state, padding_mask=np.array([[True, True, False]])
    )
    outputs, _ = layer(query[:1, 2:], state=state)
    np.testing.assert_allclose(outputs, whole[:, 2:], atol=1e-5)


def test_a_source_is_projected_once():
    query, value, mask = arrays(dtype="float32")
    layer = make(dtype="float32")
    value_mask = mask[:, 0]
    whole = layer(query, value, value_mask=value_mask)
    state = layer.source_state(value, value_mask)
    for place in range(TARGETS):
        outputs, state = layer(query[:, place : place + 1], state=state)
        np.testing.assert_allclose(outputs[:, 0], whole[:, place], atol=1e-5)


def test_a_position_sees_what_is_before_alone():
    query, _, _ = arrays()
    layer = make()
    np.testing.assert_array_equal(
        make(causal=True)(query), layer(query, use_causal_mask=True)
    )
    before = np.asarray(layer(query, use_causal_mask=True))
    query[:, 3] += 1
    after = np.asarray(layer(query, use_causal_mask=True))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before[:, 3:] - after[:, 3:]).min() > 0


@pytest.mark.parametrize("name", ["value_mask", "key_mask", "padding_mask"])
def test_padding_is_not_attended_to(name):
    query, value, _ = arrays()
    layer = make()
    mask = np.arange(SOURCES) < np.array([[4], [6]])
    padded = np.where(mask[..., None], value, 1e3)
    outputs = layer(query, padded, **{name: mask})
    for row, length in enumerate((4, 6)):
        expected = layer(query[row : row + 1], value[row : row + 1, :length])
        np.testing.assert_allclose(outputs[row], expected[0], atol=1e-10)


def test_attention_scores_are_those_of_keras():
    query, value, mask = arrays()
    layer = make()
    outputs, scores = layer(
        query, value, attention_mask=mask, return_attention_scores=True
    )
    assert scores.shape == (BATCH, BRANCHES, TARGETS, SOURCES)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1, atol=1e-6)
    assert np.abs(np.where(mask[:, None], 0, scores)).max() == 0
    np.testing.assert_array_equal(
        outputs, layer(query, value, attention_mask=mask)
    )


def test_keys_may_be_others_than_values():
    query, value, _ = arrays()
    layer = MultiBranchAttention(BRANCHES, HIDDEN, dtype="float64")
    generator = np.random.default_rng(1)
    other = generator.normal(size=(BATCH, SOURCES, 4))
    first = layer(query, value, other)
    assert layer.key.kernel.shape[0] == 4
    assert np.abs(first - layer(query, value, 2 * other)).max() > 1e-6


# Oracle 13, and what `conformance` does not see.
@pytest.mark.parametrize("weighting", ["projection", "softmax", "fixed"])
def test_branch_weights_are_on_the_simplex(weighting):
    layer = make(dtype="mixed_float16", randomize=False, weighting=weighting)
    for weights in layer.branch_weights():
        assert weights.dtype == "float32"
        np.testing.assert_allclose(weights, 1 / BRANCHES)
    random = make(branch_initializer="random", randomize=False)
    kappa, alpha = random.branch_weights()
    assert np.abs(kappa - alpha).max() > 0.01
    for weights in (kappa, alpha):
        assert weights.min() > 0
        np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)


def test_softmax_weights_are_those_of_their_logits():
    layer = make(weighting="softmax", randomize=False)
    layer.kappa.assign(np.log([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(
        layer.branch_weights()[0], [0.5, 0.3, 0.2], atol=1e-6
    )
    assert layer.kappa.name == "kappa_logits"


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": "fixed", "branch_initializer": "ones"},
        {"min_weight": 0.3, "branch_initializer": "random"},
        {"weighting": "fixed", "branch_initializer": "random"},
        {"weighting": "softmax"},
    ],
    ids=str,
)
def test_loading_changes_nothing(tmp_path, options):
    inputs = keras.Input((None, DIM))
    layer = MultiBranchAttention(BRANCHES, HIDDEN, **options)
    model = keras.Model(inputs, layer(inputs))
    for weights in layer.branch_weights():
        np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
        assert weights.min() >= options.get("min_weight", 0) - 1e-6
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*simplex")
        again = keras.saving.load_model(tmp_path / "model.keras")
    query, _, _ = arrays(dtype="float32")
    np.testing.assert_array_equal(model(query), again(query))


def test_masks_are_not_taken_for_others():
    query, value, mask = arrays()
    layer = make()
    with pytest.raises(
        ValueError, match="`attention_mask` must have the shape"
    ):
        layer(query, value, attention_mask=mask[0])
    state = layer.source_state(value)
    with pytest.raises(ValueError, match="Masks of the source must not be"):
        layer(query, state=state, value_mask=mask[:, 0])


@pytest.mark.parametrize("min_weight", [0.0, 0.05])
def test_weights_off_the_simplex_are_projected_and_said(tmp_path, min_weight):
    inputs = keras.Input((None, DIM))
    layer = MultiBranchAttention(
        BRANCHES, HIDDEN, min_weight=min_weight, name="branches"
    )
    model = keras.Model(inputs, layer(inputs))
    path = tmp_path / "model.keras"
    layer.kappa.assign([0.6, 0.3, 0.1])
    model.save(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*simplex")
        same = keras.saving.load_model(path)
    np.testing.assert_array_equal(same.get_layer("branches").kappa, layer.kappa)
    layer.kappa.assign([1.2, 0.3, -0.1])
    model.save(path)
    with pytest.warns(UserWarning, match="kappa of layer branches was not on"):
        mended = keras.saving.load_model(path)
    expected = [0.95, 0.05, 0.0] if min_weight == 0 else [0.9, 0.05, 0.05]
    np.testing.assert_allclose(
        mended.get_layer("branches").kappa, expected, atol=1e-6
    )


# Oracle 15.
def test_the_first_outputs_are_as_small_as_the_paper_has_them():
    number, dim, hidden = 8, 256, 1024
    inputs = np.random.default_rng(0).normal(size=(4, 32, dim))
    ratios = []
    for seed in range(3):
        options = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=seed),
            "dtype": "float64",
        }
        layer = MultiBranchAttention(number, hidden, **options)
        outputs = np.asarray(layer(inputs))
        deviation = np.std(standard(layer, inputs, inputs, ops.relu))
        ratios.append(np.std(outputs) / deviation)
        unit = MultiBranchAttention(
            number, hidden, branch_scale="unit", **options
        )
        np.testing.assert_allclose(unit(inputs), outputs * number**2, atol=1e-8)
    assert np.mean(ratios) == pytest.approx(number**-2.5, rel=0.2)


def ordinary_block(kind, use_bias, activation, seed=0):
    """A built attention, a feed-forward, and what the two compute."""
    options = {"use_bias": use_bias, "dtype": "float64", "value_dim": 3}
    if kind == "keras":
        attention = keras.layers.MultiHeadAttention(BRANCHES, 4, **options)
        attention.build((None, None, DIM), (None, None, DIM))
    else:
        attention = getattr(keras_xf.layers, kind)(BRANCHES, 4, **options)
        attention.build((None, None, DIM))
    dense = {"use_bias": use_bias, "dtype": "float64"}
    widen = keras.layers.Dense(HIDDEN, activation, **dense)
    feed_forward = [widen, keras.layers.Dense(DIM, **dense)]
    feed_forward[0].build((None, DIM))
    feed_forward[1].build((None, HIDDEN))
    if kind == "SelfAttention":
        feed_forward = keras_xf.layers.FeedForward(
            HIDDEN, activation, use_bias=use_bias, dtype="float64"
        )
        feed_forward.build((None, None, DIM))
    generator = np.random.default_rng(seed)
    layers = [attention]
    layers += feed_forward if isinstance(feed_forward, list) else [feed_forward]
    for layer in layers:
        for weight in layer.weights:
            weight.assign(generator.normal(size=weight.shape) * 0.5)

    def compute(query, value):
        source = () if kind == "SelfAttention" else (value,)
        outputs = attention(query, *source)
        for layer in layers[1:]:
            outputs = layer(outputs)
        return outputs

    return attention, feed_forward, compute


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("kind", ["SelfAttention", "CrossAttention", "keras"])
def test_begins_with_an_ordinary_block(kind, use_bias):
    query, value, _ = arrays()
    value = query if kind == "SelfAttention" else value
    attention, feed_forward, compute = ordinary_block(kind, use_bias, "linear")
    layer = MultiBranchAttention.from_standard_block(
        attention, feed_forward, ffn_mode="shared"
    )
    expected = np.asarray(compute(query, value))
    if use_bias:
        # All branches have them, where the block has them once.
        (part, *_) = parts(layer)
        bias = part["output_bias"] @ part["widen"] + part["widen_bias"]
        bias = bias @ part["narrow"]
        expected = expected + (BRANCHES - 1) * bias
    np.testing.assert_allclose(layer(query, value), expected, atol=1e-10)
    attention, feed_forward, _ = ordinary_block(kind, use_bias, "relu")
    layer = MultiBranchAttention.from_standard_block(
        attention, feed_forward, branch_scale="paper", dropout=0.2
    )
    config = layer.get_config()
    assert config["activation"] == "relu"
    assert config["branch_scale"] == "paper"
    assert (config["dropout"], config["hidden_dropout"]) == (0.2, 0.0)
    assert (config["key_dim"], config["value_dim"]) == (4, 3)
    assert layer.compute_dtype == "float64"
    expected = oracle.attend(
        query, value, value, parts(layer), *[np.full(BRANCHES, 1 / 3)] * 2
    )
    np.testing.assert_allclose(layer(query, value), expected, atol=1e-10)


def test_ordinary_blocks_that_do_not_fit():
    attention, feed_forward, _ = ordinary_block("CrossAttention", True, "relu")
    rotating = keras_xf.layers.SelfAttention(3, 4, causal=True, rotary=True)
    rotating.build((None, None, DIM))
    unbuilt = keras.layers.Dense(4)

    def gated(**options):
        layer = keras.layers.MultiHeadAttention(3, 4, **options)
        layer.built = True
        return layer

    for changed, options, message in (
        (
            {"attention": rotating},
            {},
            "`attention` must not rotate, as branches do not. Received: "
            f"name={rotating.name!r}.",
        ),
        *(
            (
                {"attention": gated(**{name: value})},
                {},
                f"`attention` must have no `{name}`, as branches have none. "
                f"Received: {name}={value!r}.",
            )
            for name, value in (
                ("use_gate", True),
                ("sliding_window", 1),
                ("attention_axes", (1, 2)),
            )
        ),
        (
            {"attention": unbuilt},
            {},
            "`attention` must be one of ['SelfAttention', 'CrossAttention', "
            "'MultiHeadAttention']. Received: attention='Dense'.",
        ),
        (
            {"feed_forward": [unbuilt, unbuilt]},
            {},
            "`feed_forward` must be a built FeedForward or two built Dense. "
            "Received: feed_forward=['Dense', 'Dense'].",
        ),
        (
            {},
            {"intermediate_dim": 36},
            "The block's layers, and `options`, must fit together. Received: "
            "projection='widen', kernel=(12, 18), bias=(18,), fits=(12, 36).",
        ),
        (
            {},
            {"factorized": False},
            "`factorized` must be True: a block has two matrices. Received: "
            "factorized=False.",
        ),
    ):
        block = {"attention": attention, "feed_forward": feed_forward} | changed
        with pytest.raises(ValueError) as error:
            MultiBranchAttention.from_standard_block(**block, **options)
        assert str(error.value) == message


def test_folded_layers_are_the_same():
    query, value, _ = arrays()
    for options in (
        {"use_bias": True},
        {"weighting": "softmax", "branch_scale": "unit"},
        {"factorized": False, "key_dim": 3, "value_dim": 5},
    ):
        layer = make(**options)
        folded = layer.folded()
        np.testing.assert_allclose(
            folded(query, value), layer(query, value), atol=1e-6
        )
        assert folded.count_params() <= layer.count_params()
    with pytest.raises(ValueError, match="`ffn_mode` must be per_branch"):
        make(ffn_mode="shared").folded()


def test_dropout_is_seeded():
    query, value, _ = arrays(dtype="float32")

    def outputs(seed, **options):
        layer = make(dtype="float32", **options)
        layer.seed_generator.state.assign([seed, 0])
        return np.asarray(layer(query, value, training=True))

    for options in ({"dropout": 0.5}, {"hidden_dropout": 0.5}):
        first = outputs(1, **options)
        np.testing.assert_array_equal(first, outputs(1, **options))
        assert np.abs(first - outputs(2, **options)).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"intermediate_dim": 20},
            "`intermediate_dim` must be divisible by `num_branches`. "
            "Received: intermediate_dim=20, num_branches=3.",
        ),
        (
            {"num_branches": 2, "dim": 13},
            "`dim` must be divisible by `num_branches` where there is no "
            "`key_dim`. Received: dim=13, num_branches=2.",
        ),
        (
            {"min_weight": 0.4},
            "`min_weight` must not be negative, and times the number of "
            "weights be less than one. Received: min_weight=0.4, number=3.",
        ),
        (
            {"weighting": "gated"},
            "`weighting` must be one of ('projection', 'softmax', 'fixed', "
            "'none'). Received: weighting='gated'.",
        ),
        (
            {"fold": "never"},
            "`fold` must be one of ('auto', True, False). "
            "Received: fold='never'.",
        ),
        (
            {"weighting": "softmax", "min_weight": 0.1},
            '`min_weight` must be 0 unless `weighting` is "projection". '
            "Received: min_weight=0.1, weighting='softmax'.",
        ),
        (
            {"weighting": "softmax", "branch_initializer": "random"},
            "`branch_initializer` must be left out unless `weighting` is one "
            "of ('projection', 'fixed'). "
            "Received: branch_initializer='random', weighting='softmax'.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        make(**arguments)
    assert str(error.value) == message
