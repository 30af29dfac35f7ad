"""Tests of keras_xf.models.transformer_xl and its presets."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from tests.oracles import transformer_xl as oracle

SIZES = {
    "vocabulary_size": 13,
    "num_layers": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 16,
    "dropout": 0.0,
    "memory_length": 6,
    "initializer_stddev": 0.5,
    "seed": 1,
}
SEVERAL_BINS = {"cutoffs": (4, 9), "divisor": 2}
VARIETIES = [
    {},
    {
        "norm_first": True,
        "final_norm": True,
        "untied_biases": True,
        "clamp_length": 3,
    },
    {**SEVERAL_BINS, "attention_window": 4, "untied_biases": True},
    {
        "cutoffs": (5,),
        "embedding_dim": 6,
        "tied_projections": (False, True),
        "attention_window": 7,
        "clamp_length": 5,
    },
    {
        **SEVERAL_BINS,
        "tied_embeddings": False,
        "tied_projections": False,
        "norm_first": True,
        "key_dim": 3,
        "epsilon": 0.1,
    },
    {"memory_length": 0, "attention_window": 1},
]


@functools.cache
def build(**arguments):
    """A model none of whose weights is zero or one, to be left as it is."""
    return build_anew(**arguments)


def build_anew(**arguments):
    model = models.build_transformer_xl(**{**SIZES, **arguments})
    generator = np.random.default_rng(3)
    for weight in model.weights:
        if "seed" not in weight.path:
            noise = 0.3 * generator.normal(size=weight.shape)
            weight.assign(weight.numpy() + noise)
    return model


def layers_of(model):
    return {layer.name: layer for layer in model.layers}


def oracle_weights(model):
    """Weights of a model, for the oracle."""
    layers = layers_of(model)
    embedding, softmax = layers["embedding"], layers["softmax"]
    edges = [0, *softmax.cutoffs, softmax.vocabulary_size]
    num_bins = len(edges) - 1

    def by_bins(tables):
        # One table has all bins where they are of one width.
        tables = [table.numpy() for table in tables]
        if len(tables) == num_bins:
            return tables
        return np.split(tables[0], edges[1:-1])

    projections = [p.numpy() for p in embedding.projections] or [None]
    if len(projections) < num_bins:
        projections *= num_bins
    own = list(softmax.projections) or [None] * num_bins
    weights = {
        "tables": by_bins(embedding.tables),
        "projections": projections,
        "softmax_tables": by_bins(softmax.tables or embedding.tables),
        "softmax_projections": [
            shared if mine is None else mine.numpy()
            for shared, mine in zip(projections, own, strict=True)
        ],
        "softmax_biases": [bias.numpy() for bias in softmax.biases],
        "layers": [],
    }
    if softmax.cutoffs:
        weights["cluster_kernel"] = softmax.bin_table.numpy()
        weights["cluster_bias"] = softmax.bin_bias.numpy()
    if "final_norm" in layers:
        norm = layers["final_norm"]
        weights["final_norm"] = (norm.gamma.numpy(), norm.beta.numpy())
    index = 0
    while f"attention_{index}" in layers:
        attention = layers[f"attention_{index}"]
        feed_forward = layers[f"feed_forward_{index}"]
        weights["layers"].append(
            layer_weights(
                attention, feed_forward, layers.get("biases", attention.layer)
            )
        )
        index += 1
    return weights


def layer_weights(attention, feed_forward, biases):
    layer = attention.layer
    heads = (layer.num_heads, layer.key_dim)

    def pair(layer):
        return [weight.numpy() for weight in layer.weights]

    (query,), (key_value,), (position,), (output,) = (
        pair(part)
        for part in (
            layer.query,
            layer.key_value,
            layer.position,
            layer.output_projection,
        )
    )
    key, value = np.split(key_value.reshape(-1, heads[0], 2 * heads[1]), 2, -1)
    return {
        "query": query.reshape(-1, *heads),
        "key": key,
        "value": value,
        "position": position.reshape(-1, *heads),
        "output": output.reshape(*heads, -1),
        "content_bias": biases.content_bias.numpy(),
        "position_bias": biases.position_bias.numpy(),
        "attention_norm": pair(attention.norm),
        "widen": pair(feed_forward.layer.widen),
        "narrow": pair(feed_forward.layer.narrow),
        "feed_forward_norm": pair(feed_forward.norm),
    }


@pytest.fixture
def token_ids():
    generator = np.random.default_rng(0)
    return generator.integers(0, 13, (3, 12), dtype="int32")


def inputs_of(token_ids, memory, length=None, **more):
    """Inputs after `memory`, a dict that may be what a model returned."""
    if length is None:
        length = [token_ids.shape[1]] * len(token_ids)
    return {
        "token_ids": token_ids,
        "length": np.array(length, "int32"),
        "memory": memory["memory"],
        "memory_length": memory["memory_length"],
        **more,
    }


def run_segments(model, token_ids, widths, memory=None):
    """Log-probabilities of segments one after the other."""
    if memory is None:
        memory = models.initial_memory(model, len(token_ids))
    log_probs = []
    for segment in np.split(token_ids, np.cumsum(widths)[:-1], axis=1):
        memory = model(inputs_of(segment, memory))
        log_probs.append(memory["log_probs"])
    return np.concatenate(log_probs, axis=1)


def one_pass(model, token_ids):
    return run_segments(model, token_ids, [token_ids.shape[1]])


def assert_close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [
        *(("eager", arguments) for arguments in VARIETIES),
        *(("graph", VARIETIES[place]) for place in (0, 3)),
        *(("compiled", VARIETIES[place]) for place in (1, 2, 5)),
    ],
)
def test_it_computes_the_equations_of_the_paper(token_ids, arguments, mode):
    model = build(**arguments)
    function = model
    if mode != "eager":
        function = tf.function(model, jit_compile=mode == "compiled")
    weights = oracle_weights(model)
    options = {
        name: arguments[name]
        for name in (
            "attention_window",
            "clamp_length",
            "norm_first",
            "epsilon",
        )
        if name in arguments
    }
    size = arguments.get("memory_length", 6)
    generator = np.random.default_rng(2)
    memory = {
        "memory": generator.normal(size=(3, 2, size, 8)).astype("float32"),
        "memory_length": np.minimum([6, 2, 0], size).astype("int32"),
    }
    expected = memory
    for segment in (token_ids[:, :5], token_ids[:, 5:10]):
        length = [5, 3, 1]
        expected = oracle.model(
            weights,
            segment,
            expected["memory"],
            expected["memory_length"],
            length,
            **options,
        )
        memory = function(inputs_of(segment, memory, length))
        assert set(memory) == {"log_probs", "memory", "memory_length"}
        for row in range(3):
            real = length[row]
            assert_close(
                memory["log_probs"][row, :real],
                expected["log_probs"][row, :real],
                5e-5,
            )
            remembered = expected["memory_length"][row]
            assert memory["memory_length"][row] == remembered
            assert_close(
                memory["memory"][row, :, size - remembered :],
                expected["memory"][row, :, size - remembered :],
                5e-5,
            )


def test_zeros_that_are_remembered_are_attended_to(token_ids):
    model = build()
    blank = models.initial_memory(model, 3)
    assert blank["memory"].shape == (3, 2, 6, 8)
    assert not np.any(blank["memory"])
    assert not np.any(blank["memory_length"])
    zeros = {**blank, "memory_length": np.full(3, 6, "int32")}
    attended = model(inputs_of(token_ids, zeros))["log_probs"]
    expected = oracle.model(oracle_weights(model), token_ids, blank["memory"])
    assert_close(attended, expected["log_probs"], 5e-5)
    not_attended = model(inputs_of(token_ids, blank))["log_probs"]
    assert np.max(np.abs(attended - not_attended)) > 0.1


WIDTHS = [[3] * 4, [5, 4, 3], [2, 9, 1]]


@pytest.mark.parametrize("norm_first", [False, True])
def test_segments_with_a_memory_of_all_equal_one_pass(token_ids, norm_first):
    model = build(memory_length=12, norm_first=norm_first)
    expected = one_pass(model, token_ids)
    for widths in WIDTHS:
        assert_close(run_segments(model, token_ids, widths), expected)
    small = models.transformer_xl_variant(model, memory_length=2)
    outputs = run_segments(small, token_ids, [5, 4, 3])
    assert np.max(np.abs(outputs - expected)) > 0.01


@pytest.mark.parametrize("memory_length", [3, 7])
def test_with_a_window_the_loss_does_not_depend_on_segments(
    token_ids, memory_length
):
    model = build(memory_length=memory_length, attention_window=4)
    scorer = models.build_transformer_xl_scorer(model)
    targets = np.roll(token_ids, -1, axis=1)
    losses = []
    for width in (12, 4, 3, 2):
        memory = models.initial_memory(model, 3)
        total = 0.0
        for start in range(0, 12, width):
            piece = slice(start, start + width)
            memory = scorer(
                inputs_of(
                    token_ids[:, piece], memory, target_ids=targets[:, piece]
                )
            )
            total += float(tf.reduce_sum(memory["nll"]))
        losses.append(total / token_ids.size)
    np.testing.assert_allclose(losses, losses[0], atol=1e-5, rtol=0)
    # And is that of one pass where each sees no more than four.
    nothing = np.zeros((3, 2, 0, 8))
    log_probs = oracle.model(
        oracle_weights(model), token_ids, nothing, attention_window=4
    )["log_probs"]
    chosen = np.take_along_axis(log_probs, targets[..., None], axis=-1)
    np.testing.assert_allclose(losses[0], -np.mean(chosen), atol=1e-5, rtol=0)


def test_without_a_window_segments_make_other_models(token_ids):
    model = build()
    expected = run_segments(model, token_ids, [4] * 3)
    for widths in ([2] * 6, [12]):
        outputs = run_segments(model, token_ids, widths)
        assert np.max(np.abs(outputs - expected)) > 0.01


def test_a_buffer_with_a_length_equals_a_memory_of_that_length(token_ids):
    model = build()
    memory = np.random.default_rng(2).normal(size=(3, 2, 6, 8))
    memory = memory.astype("float32")
    for length in (0, 1, 4):
        buffer = memory.copy()
        buffer[:, :, : 6 - length] = 1e3
        lengths = {"memory_length": np.full(3, length, "int32")}
        outputs = model(inputs_of(token_ids, {"memory": buffer, **lengths}))
        variant = models.transformer_xl_variant(model, memory_length=length)
        alone = {"memory": memory[:, :, 6 - length :], **lengths}
        assert_close(
            outputs["log_probs"],
            variant(inputs_of(token_ids, alone))["log_probs"],
        )


def test_padding_does_not_poison_the_next_segment(token_ids):
    model = build()
    together = models.initial_memory(model, 3)
    alone = [models.initial_memory(model, 1) for _ in range(3)]
    seen = np.zeros(3, int)
    for lengths in ([4, 2, 1], [1, 4, 3], [3, 0, 4], [4, 4, 4]):
        width = max(lengths)
        segment = np.full((3, width), 5, "int32")
        for row, length in enumerate(lengths):
            piece = token_ids[row, seen[row] :][:length]
            segment[row, :length] = piece
            if length:
                alone[row] = model(inputs_of(piece[None], alone[row]))
        together = model(inputs_of(segment, together, lengths))
        assert np.all(np.isfinite(together["log_probs"]))
        for row, length in enumerate(lengths):
            remembered = int(alone[row]["memory_length"][0])
            assert together["memory_length"][row] == remembered
            assert_close(
                together["memory"][row, :, 6 - remembered :],
                alone[row]["memory"][0, :, 6 - remembered :],
            )
            if length:
                assert_close(
                    together["log_probs"][row, :length],
                    alone[row]["log_probs"][0],
                )
        seen += lengths


def test_rows_and_their_memories_do_not_mix(token_ids):
    model = build()
    memory = np.random.default_rng(2).normal(size=(3, 2, 6, 8))
    memory = memory.astype("float32")
    lengths = {"memory_length": np.full(3, 6, "int32")}
    outputs = model(inputs_of(token_ids, {"memory": memory, **lengths}))
    changed = memory.copy()
    changed[1, 1] += 1
    others = model(inputs_of(token_ids, {"memory": changed, **lengths}))
    for name in ("log_probs", "memory"):
        same, other = outputs[name].numpy(), others[name].numpy()
        np.testing.assert_array_equal(other[::2], same[::2])
    assert np.all(
        np.any(others["log_probs"][1] != outputs["log_probs"][1], axis=-1)
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients_equal_central_differences(token_ids, norm_first):
    model = build(
        **SEVERAL_BINS,
        num_layers=2 if norm_first else 1,
        norm_first=norm_first,
        untied_biases=norm_first,
        attention_window=5,
        dtype="float64",
    )
    scorer = models.build_transformer_xl_scorer(model)
    generator = np.random.default_rng(2)
    num_layers = model.input["memory"].shape[1]
    memory = tf.Variable(generator.normal(size=(3, num_layers, 6, 8)))
    inputs = inputs_of(
        token_ids,
        {
            "memory": memory,
            "memory_length": np.array([6, 3, 0], "int32"),
        },
        length=[12, 5, 7],
        target_ids=np.roll(token_ids, -1, axis=1),
    )
    factors = generator.normal(size=token_ids.shape)

    @tf.function
    def weighted_sum():
        return tf.reduce_sum(scorer(inputs)["nll"] * factors)

    weights = [weight.value for weight in scorer.trainable_variables]
    with tf.GradientTape() as tape:
        loss = weighted_sum()
    *gradients, of_memory = tape.gradient(loss, [*weights, memory])
    # A memory is a constant that weights learn from.
    assert of_memory is None
    for weight, gradient in zip(
        scorer.trainable_variables, gradients, strict=True
    ):
        direction = generator.normal(size=weight.shape)
        values = []
        for step in (1e-6, -1e-6):
            weight.value.assign_add(step * direction)
            values.append(weighted_sum())
            weight.value.assign_sub(step * direction)
        np.testing.assert_allclose(
            tf.reduce_sum(gradient * direction),
            (values[0] - values[1]) / 2e-6,
            rtol=1e-5,
            atol=1e-6,
            err_msg=weight.path,
        )


@pytest.mark.parametrize("arguments", VARIETIES)
def test_a_scorer_gives_minus_the_targets_log_probabilities(
    token_ids, arguments
):
    model = build(**arguments)
    scorer = models.build_transformer_xl_scorer(model)
    assert {id(w) for w in scorer.weights} == {id(w) for w in model.weights}
    size = arguments.get("memory_length", 6)
    memory = {
        "memory": np.ones((3, 2, size, 8), "float32"),
        "memory_length": np.minimum([1, 6, 0], size).astype("int32"),
    }
    targets = np.roll(token_ids, 1, axis=1)
    inputs = inputs_of(token_ids, memory)
    expected = model(inputs)
    outputs = scorer({**inputs, "target_ids": targets})
    assert set(outputs) == {"nll", "memory", "memory_length"}
    log_probs = expected["log_probs"].numpy()
    assert_close(np.exp(log_probs).sum(axis=-1), np.ones((3, 12)))
    chosen = np.take_along_axis(log_probs, targets[..., None], axis=-1)
    assert_close(outputs["nll"], -chosen[..., 0])
    for name in ("memory", "memory_length"):
        np.testing.assert_array_equal(outputs[name], expected[name])


OPTIONS = {"memory_length": 9, "attention_window": 5, "clamp_length": 4}


@pytest.mark.parametrize(
    "changed",
    [
        OPTIONS,
        {"attention_window": 5},
        {"clamp_length": 4},
        {"memory_length": 0},
    ],
)
def test_a_variant_has_the_very_weights_and_other_options(token_ids, changed):
    model = build_anew(clamp_length=2, attention_window=7)
    variant = models.transformer_xl_variant(model, **changed)
    assert {id(w) for w in variant.trainable_variables} == {
        id(w) for w in model.trainable_variables
    }
    expected = build_anew(
        **{"clamp_length": 2, "attention_window": 7, **changed}
    )
    assert variant.input["memory"].shape == expected.input["memory"].shape
    widths = [5, 4, 3]
    for _ in range(2):
        for a, b in zip(
            expected.trainable_variables, model.trainable_variables, strict=True
        ):
            a.assign(b)
        assert_close(
            run_segments(variant, token_ids, widths),
            run_segments(expected, token_ids, widths),
        )
        # It follows.
        for weight in model.trainable_variables:
            weight.assign(1.1 * weight)


def test_options_of_a_variant_may_be_taken_back(token_ids):
    model = build()
    variant = models.transformer_xl_variant(model, **OPTIONS)
    back = models.transformer_xl_variant(
        variant, memory_length=6, attention_window=None, clamp_length=None
    )
    np.testing.assert_array_equal(
        run_segments(back, token_ids, [5, 7]),
        run_segments(model, token_ids, [5, 7]),
    )


@pytest.mark.parametrize("arguments", VARIETIES[1:4])
def test_a_saved_model_predicts_the_same(token_ids, arguments, tmp_path):
    model = build(**arguments)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    expected = run_segments(model, token_ids, [5, 7])
    np.testing.assert_array_equal(
        run_segments(revived, token_ids, [5, 7]), expected
    )
    changed = {"memory_length": 4, "attention_window": 3}
    variant = models.transformer_xl_variant(revived, **changed)
    variant.save(tmp_path / "variant.keras")
    revived = keras.saving.load_model(tmp_path / "variant.keras")
    np.testing.assert_array_equal(
        run_segments(revived, token_ids, [5, 7]),
        run_segments(variant, token_ids, [5, 7]),
    )


def test_an_exported_model_takes_and_gives_the_memory(token_ids, tmp_path):
    model = build(**SEVERAL_BINS)
    model.export(tmp_path, verbose=False)
    artifact = tf.saved_model.load(tmp_path)
    expected = models.initial_memory(model, 3)
    actual = expected
    for segment in (token_ids[:, :7], token_ids[:, 7:]):
        expected = model(inputs_of(segment, expected))
        actual = artifact.serve(inputs_of(segment, actual))
        for name in expected:
            assert_close(actual[name], expected[name])


@pytest.mark.parametrize(
    ("arguments", "max_length", "new_length", "widths"),
    [
        ({}, 12, 1, [1] * 12),
        ({"norm_first": True, "untied_biases": True}, 12, 3, [3, 1, 5, 3]),
        ({**SEVERAL_BINS, "clamp_length": 4}, 20, 5, [5, 5, 2]),
        ({"attention_window": 4}, 12, 1, [4, 1, 5, 2]),
        ({"attention_window": 4, "clamp_length": 2}, 4, 4, [4, 4, 4]),
    ],
)
def test_steps_equal_the_full_pass(
    token_ids, arguments, max_length, new_length, widths
):
    model = build(**arguments)
    expected = one_pass(model, token_ids)
    step_model = models.build_transformer_xl_step(model)
    targets = np.roll(token_ids, 1, axis=1)
    state = step_model.initial_state(3, max_length, new_length=new_length)
    start = 0
    for width in widths:
        piece = slice(start, start + width)
        nll, _ = step_model.nll(token_ids[:, piece], state, targets[:, piece])
        log_probs, state = step_model(token_ids[:, piece], state)
        assert_close(log_probs, expected[:, piece])
        chosen = targets[:, piece, None]
        chosen = np.take_along_axis(expected[:, piece], chosen, axis=-1)
        assert_close(nll, -chosen[..., 0])
        start += width
    np.testing.assert_array_equal(state["position"], [12] * 3)


def test_rows_of_a_step_may_be_of_different_lengths(token_ids):
    model = build(attention_window=5)
    expected = one_pass(model, token_ids)
    step_model = models.build_transformer_xl_step(model)
    state = step_model.initial_state(3, 12)
    step = tf.function(step_model, jit_compile=True)
    nll = tf.function(step_model.nll, jit_compile=True)
    seen = np.zeros(3, int)
    for lengths in ([4, 1, 2], [0, 4, 1], [4, 0, 4]):
        lengths = np.array(lengths, "int32")
        piece = np.full((3, 4), 7, "int32")
        for row, length in enumerate(lengths):
            piece[row, :length] = token_ids[row, seen[row] :][:length]
        nats, other = nll(piece, state, piece, lengths)
        log_probs, state = step(piece, state, lengths)
        keras.tree.map_structure(np.testing.assert_allclose, other, state)
        for row, length in enumerate(lengths):
            rows = expected[row, seen[row] :][:length]
            assert_close(log_probs[row, :length], rows)
            chosen = rows[np.arange(length), piece[row, :length]]
            assert_close(nats[row, :length], -chosen)
        seen += lengths


def test_a_state_with_less_room_forgets(token_ids):
    model = build()
    step_model = models.build_transformer_xl_step(model)
    # Token by token, a state of three sees what a window of four does.
    state = step_model.initial_state(3, 3)
    variant = models.transformer_xl_variant(model, attention_window=4)
    expected = one_pass(variant, token_ids)
    for place in range(12):
        log_probs, state = step_model(token_ids[:, place : place + 1], state)
        assert_close(log_probs[:, 0], expected[:, place])


def test_a_description_builds_the_same_model_and_its_twin(token_ids):
    description = {
        "builder": "build_transformer_xl",
        "arguments": {**SIZES, **SEVERAL_BINS},
    }
    model = models.build(json.loads(json.dumps(description)))
    direct = models.build_transformer_xl(**SIZES, **SEVERAL_BINS)
    for a, b in zip(model.weights, direct.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    step_model = models.build_step(description, model)
    log_probs, _ = step_model(token_ids, step_model.initial_state(3, 12))
    assert_close(log_probs, one_pass(direct, token_ids))


def test_a_seed_gives_the_same_model_and_all_weights_their_own_draws():
    arguments = {**SIZES, "untied_biases": True}
    same = [models.build_transformer_xl(**arguments) for _ in range(2)]
    for a, b in zip(same[0].weights, same[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    firsts = [
        weight.numpy().ravel()[:4] / np.std(weight)
        for weight in same[0].trainable_weights
        if len(weight.shape) == 2
    ]
    for index, first in enumerate(firsts):
        for second in firsts[:index]:
            assert not np.allclose(first, second, rtol=1e-3)


def test_initial_weights_have_the_authors_spread():
    model = models.build_transformer_xl(
        **{
            **SIZES,
            "hidden_dim": 128,
            "initializer_stddev": 0.02,
            "cutoffs": (6,),
            "embedding_dim": 64,
        }
    )
    layers = layers_of(model)
    attention = layers["attention_1"].layer
    for weight in (attention.query.kernel, attention.position.kernel):
        assert abs(np.std(weight) / 0.02 - 1) < 0.05
    for weight in layers["biases"].weights:
        assert abs(np.std(weight) / 0.02 - 1) < 0.3
    assert abs(np.std(layers["embedding"].tables[0]) / 0.02 - 1) < 0.1
    assert abs(np.std(layers["embedding"].projections[0]) / 0.01 - 1) < 0.1


def test_dropout_drops_where_the_authors_do(token_ids):
    model = build(dropout=0.5, attention_dropout=0.25)
    layers = layers_of(model)
    for name in ("positions", "attention_0", "feed_forward_1"):
        assert layers[name].dropout == 0.5
    assert layers["feed_forward_0"].layer.dropout == 0.5
    assert layers["attention_1"].layer.dropout == 0.25
    for name in ("embedding_dropout", "dropout"):
        assert layers[name].rate == 0.5
    inputs = inputs_of(token_ids, models.initial_memory(model, 3))
    first, second = (model(inputs, training=True) for _ in range(2))
    assert np.any(first["log_probs"] != second["log_probs"])
    # What is remembered are embeddings that were dropped from.
    embeddings = first["memory"][:, 0].numpy()
    assert 0.3 < np.mean(embeddings == 0) < 0.7
    plain = layers["embedding"](token_ids[:, -6:]).numpy()
    assert_close(embeddings, np.where(embeddings == 0, 0, 2 * plain))
    np.testing.assert_array_equal(
        one_pass(model, token_ids), one_pass(model, token_ids)
    )


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 0.03), ("mixed_bfloat16", 0.25)]
)
def test_memory_and_log_probabilities_are_wide_in_mixed_precision(
    token_ids, policy, tolerance
):
    model, expected = build(dtype=policy), build()
    assert model.input["memory"].dtype == "float32"
    assert layers_of(model)["attention_0"].compute_dtype != "float32"
    outputs = model(inputs_of(token_ids, models.initial_memory(model, 3)))
    assert outputs["log_probs"].dtype == outputs["memory"].dtype == "float32"
    assert outputs["memory_length"].dtype == "int32"
    assert_close(
        run_segments(model, token_ids, [6, 6]),
        run_segments(expected, token_ids, [6, 6]),
        tolerance,
    )


def test_double_precision_is_kept(token_ids):
    model, single = build_anew(dtype="float64"), build()
    for a, b in zip(model.weights, single.weights, strict=True):
        a.assign(b)
    memory = models.initial_memory(model, 3)
    outputs = model(inputs_of(token_ids, memory))
    for name in ("log_probs", "memory"):
        assert outputs[name].dtype == "float64"
    expected = oracle.model(
        oracle_weights(model), token_ids, memory["memory"], [0] * 3
    )
    assert_close(outputs["log_probs"], expected["log_probs"], 1e-12)


def count_parameters(
    tokens, layers, dim, heads, key_dim, intermediate, pairs, bins, projections
):
    """Of all projections and tables, tied as the authors tie them."""
    attention = dim * heads * key_dim * 5
    feed_forward = dim * intermediate * 2 + intermediate + dim
    norms = 2 * 2 * dim
    biases = 2 * heads * key_dim * pairs
    vocabulary = sum(size * width for size, width in bins) + tokens
    # A row and a bias for each bin but the first.
    vocabulary += (len(bins) - 1) * (bins[0][1] + 1)
    vocabulary += sum(projections)
    return layers * (attention + feed_forward + norms) + biases + vocabulary


# The edges of the authors' bins of WikiText-103.
WT103 = [20_000, 20_000, 160_000, 67_735]


@pytest.mark.parametrize(
    ("name", "sizes", "bins", "projections", "count"),
    [
        (
            "enwik8_12",
            (204, 12, 512, 8, 64, 2048, 1),
            [(204, 512)],
            [],
            41_055_436,
        ),
        (
            "enwik8_24",
            (204, 24, 1024, 8, 128, 3072, 1),
            [(204, 1024)],
            [],
            277_231_820,
        ),
        (
            "wt103_standard",
            (267_735, 16, 410, 10, 41, 2100, 1),
            [(size, 410) for size in WT103],
            [],
            151_107_538,
        ),
        (
            "wt103_large",
            (267_735, 18, 1024, 16, 64, 4096, 18),
            list(zip(WT103, (1024, 256, 64, 16), strict=True)),
            # Each bin's, and the one of the first bin in the softmax.
            [1024 * width for width in (1024, 256, 64, 16, 1024)],
            285_205_322,
        ),
    ],
)
def test_presets_have_the_published_sizes(
    name, sizes, bins, projections, count
):
    assert count_parameters(*sizes, bins, projections) == count
    preset = models.transformer_xl_preset(name)
    # A description goes into a file.
    arguments = json.loads(json.dumps(preset["model"]))
    counts = []
    # Layers are all alike: two tell of as many as there are.
    for num_layers in (1, 2):
        with keras.StatelessScope():  # In which no variable is made.
            model = models.build_transformer_xl(
                **{**arguments, "num_layers": num_layers}
            )
            shapes = [weight.shape for weight in model.trainable_weights]
        counts.append(sum(int(np.prod(shape)) for shape in shapes))
    one, two = counts
    assert one + (arguments["num_layers"] - 1) * (two - one) == count


@pytest.mark.parametrize(
    ("name", "training", "dropout", "evaluation", "stddev"),
    [
        ("enwik8_12", 512, (0.1, 0.0), (80, 2100, 820), 0.02),
        ("enwik8_24", 768, (0.15, 0.15), (128, 3800, 1000), 0.02),
        ("wt103_standard", 150, (0.1, 0.0), (64, 640, 400), 0.02),
        ("wt103_large", 384, (0.2, 0.2), (128, 1600, 1000), 0.005),
    ],
)
def test_presets_have_the_published_lengths(
    name, training, dropout, evaluation, stddev
):
    preset = models.transformer_xl_preset(name)
    assert set(preset) == {"model", "segment_length", "evaluation"}
    assert preset["segment_length"] == training
    assert preset["model"]["memory_length"] == training
    rates = preset["model"]["dropout"], preset["model"]["attention_dropout"]
    assert rates == dropout
    assert preset["model"].get("initializer_stddev", 0.02) == stddev
    assert "attention_window" not in preset["model"]
    assert "clamp_length" not in preset["model"]
    segment, memory, clamp = evaluation
    assert preset["evaluation"] == {
        "segment_length": segment,
        "memory_length": memory,
        "clamp_length": clamp,
        "attention_window": memory,
    }
    preset["model"]["memory_length"] = None
    assert models.transformer_xl_preset(name) != preset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"hidden_dim": 7, "key_dim": 4},
            "`hidden_dim` must be even. Received: hidden_dim=7.",
        ),
        (
            {"hidden_dim": 0},
            "`hidden_dim` must be positive. Received: hidden_dim=0.",
        ),
        (
            {"num_heads": 3},
            "`hidden_dim` must be divisible by `num_heads` if `key_dim` is "
            "not given. Received: hidden_dim=8, num_heads=3.",
        ),
        (
            {"num_heads": 0},
            "`num_heads` must be positive. Received: num_heads=0.",
        ),
        (
            {"num_layers": 0},
            "`num_layers` must be positive. Received: num_layers=0.",
        ),
        (
            {"num_layers": 1.5},
            "`num_layers` must be an integer. Received: num_layers=1.5.",
        ),
        (
            {"key_dim": 0},
            "`key_dim` must be positive. Received: key_dim=0.",
        ),
        (
            {"memory_length": -1},
            "`memory_length` must not be negative. Received: memory_length=-1.",
        ),
        (
            {"attention_window": 0},
            "`attention_window` must be positive. Received: "
            "attention_window=0.",
        ),
        (
            {"clamp_length": 0},
            "`clamp_length` must be positive. Received: clamp_length=0.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
        (
            {"attention_dropout": -0.1},
            "`attention_dropout` must lie in [0, 1). Received: "
            "attention_dropout=-0.1.",
        ),
        (
            {"initializer_stddev": 0},
            "`initializer_stddev` must be positive. Received: "
            "initializer_stddev=0.",
        ),
        (
            {"epsilon": 0},
            "`epsilon` must be positive. Received: epsilon=0.",
        ),
        (
            {"cutoffs": (9, 4)},
            "`cutoffs` must be positive and increase. Received: "
            "cutoffs=(9, 4).",
        ),
        (
            {"cutoffs": (4, 13)},
            "`cutoffs` must be less than `vocabulary_size`. Received: "
            "cutoffs=(4, 13), vocabulary_size=13.",
        ),
        (
            {"cutoffs": (4,), "tied_projections": (True,)},
            "`tied_projections` must be a truth value, or one for each bin. "
            "Received: tied_projections=(True,), cutoffs=(4,).",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_transformer_xl(**{**SIZES, **arguments})
    assert str(error.value) == message


LIKE_MEMORY = (
    "`memory` must have the shape (batch, num_layers, memory_length, "
    "hidden_dim) with batch=3, num_layers=2, memory_length=6, hidden_dim=8. "
    "Received: shape={}."
)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *(
            (
                "memory",
                np.zeros(shape, "float32"),
                LIKE_MEMORY.format(shape),
            )
            for shape in [
                (2, 2, 6, 8),
                (1, 2, 6, 8),
                (3, 3, 6, 8),
                (3, 2, 5, 8),
                (3, 2, 6, 4),
                (3, 6, 8),
            ]
        ),
        *(
            (
                "memory",
                np.zeros((3, 2, 6, 8), dtype),
                f"`memory` must be of the dtype float32. Received: "
                f"dtype={dtype!r}.",
            )
            for dtype in ("float64", "float16", "int32")
        ),
        (
            "memory_length",
            np.zeros(2, "int32"),
            "`memory_length` must have the shape (batch,) with batch=3. "
            "Received: shape=(2,).",
        ),
        (
            "length",
            np.zeros((3, 1), "int32"),
            "`length` must have the shape (batch,) with batch=3. "
            "Received: shape=(3, 1).",
        ),
    ],
)
def test_rejects_what_is_not_of_the_model(token_ids, name, value, message):
    model = build()
    inputs = inputs_of(token_ids, models.initial_memory(model, 3))
    inputs[name] = value
    with pytest.raises(ValueError) as error:
        model(inputs)
    assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        models.build_transformer_xl_scorer(model)(
            {**inputs, "target_ids": token_ids}
        )
    assert str(error.value) == message


@pytest.mark.parametrize("token_id", [-1, 13])
def test_rejects_token_ids_beyond_the_last_bin(token_ids, token_id):
    model = build(**SEVERAL_BINS)
    token_ids[1, 2] = token_id
    inputs = inputs_of(token_ids, models.initial_memory(model, 3))
    with pytest.raises(ValueError) as error:
        model(inputs)
    assert (
        f"`token_ids` must lie in [0, 13). Received: token_ids={token_id}."
        in str(error.value)
    )
    inputs["token_ids"] = np.zeros_like(token_ids)
    with pytest.raises(ValueError) as error:
        models.build_transformer_xl_scorer(model)(
            {**inputs, "target_ids": token_ids}
        )
    assert (
        f"`target_ids` must lie in [0, 13). Received: target_ids={token_id}."
        in str(error.value)
    )


def test_numbers_may_stand_in_lists():
    model = build()
    memory = models.initial_memory(model, 1)
    outputs = model(
        {
            "token_ids": [[1, 2, 3]],
            "length": [3],
            "memory": memory["memory"].numpy(),
            "memory_length": [0],
        }
    )
    expected = one_pass(model, np.array([[1, 2, 3]], "int32"))
    np.testing.assert_array_equal(outputs["log_probs"], expected)


def test_other_models_are_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    for function in (
        models.build_transformer_xl_step,
        models.build_transformer_xl_scorer,
        models.transformer_xl_variant,
        lambda model: models.initial_memory(model, 2),
    ):
        with pytest.raises(ValueError) as error:
            function(model)
        assert str(error.value) == (
            "`model` must come from `build_transformer_xl`. "
            "Received: model='other'."
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"memory_length": -1},
            "`memory_length` must not be negative. Received: memory_length=-1.",
        ),
        (
            {"attention_window": 0},
            "`attention_window` must be positive. Received: "
            "attention_window=0.",
        ),
        (
            {"clamp_length": 0},
            "`clamp_length` must be positive. Received: clamp_length=0.",
        ),
    ],
)
def test_variants_reject(options, message):
    with pytest.raises(ValueError) as error:
        models.transformer_xl_variant(build(), **options)
    assert str(error.value) == message


def test_there_are_only_presets_that_were_published():
    with pytest.raises(ValueError) as error:
        models.transformer_xl_preset("lm1b")
    assert str(error.value) == (
        "`name` must be one of ['enwik8_12', 'enwik8_24', 'wt103_large', "
        "'wt103_standard']. Received: name='lm1b'."
    )
