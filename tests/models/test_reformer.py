"""Tests of keras_xf.models.reformer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.models import reversible_stack

SIZES = {
    "vocabulary_size": 13,
    "max_length": 32,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 32,
    "attention": ("chunked", "lsh"),
    "chunk_length": 4,
    "num_hashes": 2,
    "seed": 1,
}
# What a step computes is the whole model's there.
EXACT = {"attention": ("chunked", "dense")}


@pytest.fixture
def token_ids():
    generator = np.random.default_rng(0)
    return generator.integers(0, 13, (3, 21), dtype="int32")


def logits_of(model, token_ids, length=None):
    if length is None:
        length = [token_ids.shape[1]] * len(token_ids)
    length = np.array(length, "int32")
    return np.asarray(
        model({"token_ids": token_ids, "length": length})["logits"]
    )


def layers_of(model):
    return {layer.name: layer for layer in model.layers}


def test_it_computes_the_equations_of_the_paper(token_ids):
    model = models.build_reformer_language_model(**SIZES)
    layers = layers_of(model)
    x = layers["positions"](layers["embedding"](token_ids))
    x1 = x2 = x
    for f, g in layers["stack"].blocks:
        x1 = x1 + f(x2)
        x2 = x2 + g(x1)
    x = np.concatenate([x1, x2], axis=-1)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5
    )
    expected = x @ layers["logits"].kernel.numpy()
    np.testing.assert_allclose(logits_of(model, token_ids), expected, atol=1e-5)


def test_numbers_of_numpy_are_as_good_as_pythons(token_ids):
    of_numpy = {
        name: np.int64(SIZES[name])
        for name in ("max_length", "hidden_dim", "num_heads", "chunk_length")
    }
    models_of_both = [
        models.build_reformer_language_model(**{**SIZES, **given})
        for given in ({}, of_numpy)
    ]
    logits = [logits_of(model, token_ids) for model in models_of_both]
    np.testing.assert_array_equal(*logits)


def test_kinds_of_attention_repeat():
    model = models.build_reformer_language_model(
        **{**SIZES, "num_layers": 5, "attention": ("lsh", "chunked", "dense")}
    )
    kinds = [
        type(f.layer).__name__ for f, _ in layers_of(model)["stack"].blocks
    ]
    assert kinds == [
        *("LSHSelfAttention", "ChunkedSelfAttention", "SelfAttention"),
        *("LSHSelfAttention", "ChunkedSelfAttention"),
    ]


def test_options_reach_the_layers():
    model = models.build_reformer_language_model(
        **{
            **SIZES,
            "key_dim": 3,
            "lsh": {"num_buckets": 6, "dropout": 0.25, "value_dim": 5},
            "chunked": {"chunk_length": 7, "chunks_before": 2},
            "feed_forward_chunk_length": 9,
            "epsilon": 1e-12,
            "dropout": 0.5,
            "reversible": False,
        }
    )
    layers = layers_of(model)
    assert not layers["stack"].reversible
    assert layers["norm"].epsilon == 1e-12
    (chunked, feed_forward), (lsh, _) = layers["stack"].blocks
    assert chunked.layer.chunk_length == 7
    assert chunked.layer.chunks_before == 2
    assert chunked.layer.key_dim == lsh.layer.key_dim == 3
    assert lsh.layer.num_buckets == 6
    assert lsh.layer.value_dim == 5
    assert lsh.layer.dropout == 0.25
    assert lsh.dropout == feed_forward.dropout == 0.5
    assert lsh.epsilon == 1e-12
    assert feed_forward.layer.chunk_length == 9
    assert feed_forward.layer.dropout == 0.5


@pytest.mark.parametrize("attention", [SIZES["attention"], ("lsh",)])
def test_padding_does_not_change_logits(token_ids, attention):
    model = models.build_reformer_language_model(
        **{**SIZES, "attention": attention}
    )
    lengths = [21, 5, 10]
    together = logits_of(model, token_ids, lengths)
    for row, length in enumerate(lengths):
        alone = logits_of(model, token_ids[row : row + 1, :length])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


def test_reversibility_changes_nothing_but_memory(token_ids):
    losses = []
    for reversible in (True, False):
        model = models.build_reformer_language_model(
            **{**SIZES, "reversible": reversible, "dropout": 0.2}
        )
        model.compile(
            keras.optimizers.SGD(0.1),
            loss={
                "logits": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True
                )
            },
            run_eagerly=True,
        )
        inputs = {"token_ids": token_ids, "length": np.full(3, 21, "int32")}
        losses.append(
            [
                model.train_on_batch(inputs, {"logits": token_ids})
                for _ in range(2)
            ]
        )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][1] < losses[0][0]


def test_more_hashes_take_the_same_weights(token_ids):
    model = models.build_reformer_language_model(**SIZES)
    other = models.build_reformer_language_model(**{**SIZES, "num_hashes": 4})
    other.set_weights(model.get_weights())
    for one, many in zip(model.weights, other.weights, strict=True):
        assert one.shape == many.shape
    # Dense attention is what both would be in the end; they are not yet.
    assert np.any(logits_of(model, token_ids) != logits_of(other, token_ids))


def test_a_seed_gives_the_same_model_and_others_differ(token_ids):
    same = [models.build_reformer_language_model(**SIZES) for _ in range(2)]
    for a, b in zip(same[0].weights, same[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    matrices = [w for w in same[0].trainable_weights if len(w.shape) == 2]
    firsts = [w.numpy().ravel()[:4].tolist() for w in matrices]
    scaled = [
        np.array(first) / np.std(w)
        for first, w in zip(firsts, matrices, strict=True)
    ]
    for index, first in enumerate(scaled):
        for second in scaled[:index]:
            assert not np.allclose(first, second, rtol=1e-3)


def test_a_saved_model_predicts_the_same(token_ids, tmp_path):
    model = models.build_reformer_language_model(
        **{**SIZES, "length_multiple": 8}
    )
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        logits_of(revived, token_ids), logits_of(model, token_ids)
    )
    assert models.build_reformer_language_model_step(revived).max_length == 32


@pytest.mark.parametrize("positions", ["axial", "learned"])
def test_an_open_length_past_the_last_position_is_refused(positions):
    model = models.build_reformer_language_model(
        **{**SIZES, **EXACT, "positions": positions}
    )
    function = tf.function(
        lambda token_ids, length: model(
            {"token_ids": token_ids, "length": length}
        ),
        input_signature=[
            tf.TensorSpec((None, None), "int32"),
            tf.TensorSpec((None,), "int32"),
        ],
    )
    function(np.ones((1, 32), "int32"), [32])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="not be longer than 32"
    ):
        function(np.ones((1, 33), "int32"), [33])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"positions": "learned"},
        {"attention": ("chunked",), "chunked": {"chunks_before": 2}},
        {"attention": ("chunked",), "chunked": {"chunks_before": 0}},
    ],
)
def test_steps_equal_the_full_pass_where_nothing_hides(token_ids, arguments):
    model = models.build_reformer_language_model(
        **{**SIZES, **EXACT, **arguments}
    )
    expected = logits_of(model, token_ids)
    step_model = models.build_reformer_language_model_step(model)
    state = step_model.initial_state(batch_size=3, max_length=24)
    seen = np.array([7, 1, 4])
    prompt = np.where(np.arange(7) < seen[:, None], token_ids[:, :7], 0)
    logits, state = step_model(prompt, state, length=seen)
    for row, length in enumerate(seen):
        np.testing.assert_allclose(
            logits[row, :length], expected[row, :length], atol=1e-5
        )
    step = tf.function(step_model, reduce_retracing=True)
    for _ in range(13):
        new = token_ids[np.arange(3), seen][:, None]
        logits, state = step(new, state)
        np.testing.assert_allclose(
            logits[:, 0], expected[np.arange(3), seen], atol=1e-5
        )
        seen += 1


def test_a_step_is_the_last_position_of_a_prompt(token_ids):
    # One LSH layer with a window that does not see all: a new position among
    # those before it is the last position of a pass over them.
    model = models.build_reformer_language_model(
        **{**SIZES, "attention": ("lsh",), "lsh": {"num_buckets": 4}}
    )
    step_model = models.build_reformer_language_model_step(model)
    state = step_model.initial_state(batch_size=3, max_length=14)
    logits, state = step_model(token_ids[:, :9], state)
    np.testing.assert_allclose(
        logits, logits_of(model, token_ids[:, :9]), atol=1e-5
    )
    for length in range(10, 15):
        logits, state = step_model(token_ids[:, length - 1 : length], state)
        # Chunks are of 4.
        if length in (10, 12, 13):
            expected = logits_of(model, token_ids[:, :length])[:, -1]
            np.testing.assert_allclose(logits[:, 0], expected, atol=1e-5)


def test_an_encoder_classifies_what_is_real(token_ids):
    for pooling in ("mean", "first"):
        model = models.build_reformer_encoder(
            num_classes=5, pooling=pooling, **SIZES
        )
        lengths = [21, 5, 10]
        together = logits_of(model, token_ids, lengths)
        assert together.shape == (3, 5)
        for row, length in enumerate(lengths):
            alone = logits_of(model, token_ids[row : row + 1, :length])
            np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


def test_an_encoder_makes_numbers_of_nothing(token_ids):
    model = models.build_reformer_encoder(num_classes=5, **SIZES)
    logits = logits_of(model, token_ids, [21, 0, 0])
    assert np.all(np.isfinite(logits))
    np.testing.assert_array_equal(logits[1], logits[2])


def test_a_description_builds_the_same_model():
    for builder, more in (
        ("build_reformer_language_model", {}),
        ("build_reformer_encoder", {"num_classes": 3}),
    ):
        description = json.loads(
            json.dumps({"builder": builder, "arguments": {**SIZES, **more}})
        )
        model = models.build(description)
        direct = models.BUILDERS[builder](**SIZES, **more)
        for a, b in zip(model.weights, direct.weights, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("length_multiple", [None, 8])
def test_streams_are_wide_in_mixed_precision(token_ids, length_multiple):
    model = models.build_reformer_language_model(
        **SIZES, length_multiple=length_multiple, dtype="mixed_bfloat16"
    )
    layers = layers_of(model)
    assert layers["embedding"].compute_dtype == "bfloat16"
    assert [x.dtype for x in layers["stack"].output] == ["float32"] * 2
    assert model.output["logits"].dtype == "float32"
    assert np.all(np.isfinite(logits_of(model, token_ids)))


@pytest.mark.parametrize("length_multiple", [None, 8])
def test_streams_of_a_step_are_as_wide(token_ids, length_multiple):
    model = models.build_reformer_language_model(
        **{**SIZES, **EXACT, "attention": ("chunked", "dense") * 4},
        length_multiple=length_multiple,
        dtype="mixed_bfloat16",
    )
    step_model = models.build_reformer_language_model_step(model)
    state = step_model.initial_state(batch_size=3, max_length=21)
    logits, _ = step_model(token_ids, state)
    # Narrow streams would be off by 0.03.
    np.testing.assert_allclose(logits, logits_of(model, token_ids), atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_layers": 0},
            "`num_layers` must be positive. Received: num_layers=0.",
        ),
        (
            {"hidden_dim": 0},
            "`hidden_dim` must be positive. Received: hidden_dim=0.",
        ),
        (
            {"num_heads": 3},
            "`hidden_dim` must be divisible by `num_heads` if `key_dim` is "
            "not given. Received: hidden_dim=16, num_heads=3.",
        ),
        (
            {"attention": ("sparse",)},
            "`attention` must be of ('lsh', 'chunked', 'dense'), one or more. "
            "Received: attention=('sparse',).",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
        (
            {"positions": "rotary"},
            "`positions` must be one of ('axial', 'learned'). "
            "Received: positions='rotary'.",
        ),
        (
            {"max_length": 0},
            "`max_length` must be positive. Received: max_length=0.",
        ),
        (
            {"axial_shape": (4, 7)},
            "`axial_shape` must have at least `max_length` places. "
            "Received: axial_shape=(4, 7), max_length=32.",
        ),
        (
            {"axial_shape": (4, 8), "positions": "learned"},
            "`axial_shape` and `axial_dims` must be None unless `positions` "
            "are axial. Received: axial_shape=(4, 8), axial_dims=None, "
            "positions='learned'.",
        ),
        (
            {"attention": ("lsh",), "chunk_length": 0},
            "`chunk_length` must be positive. Received: chunk_length=0.",
        ),
        (
            {"attention": ("lsh",), "lsh": {"chunk_length": 0}},
            "`chunk_length` must be positive. Received: chunk_length=0.",
        ),
        (
            {"key_dim": 0},
            "`key_dim` must be positive. Received: key_dim=0.",
        ),
        (
            {"chunk_length": 2.5},
            "`chunk_length` must be an integer. Received: chunk_length=2.5.",
        ),
        (
            {"lsh": {"causal": False}},
            "`lsh` must not have what the builder's own arguments say. "
            "Received: lsh={'causal': False}.",
        ),
        (
            {"length_multiple": 0},
            "`length_multiple` must be positive. Received: length_multiple=0.",
        ),
        (
            {"num_layers": 2.5},
            "`num_layers` must be an integer. Received: num_layers=2.5.",
        ),
        (
            {"axial_dims": (3, 4)},
            "`axial_dims` must be a width for each axis of `axial_shape`, and "
            "add up to `hidden_dim`. Received: axial_dims=(3, 4), "
            "axial_shape=(8, 4), hidden_dim=16.",
        ),
        (
            {"axial_shape": (4, 4, 4)},
            "`axial_dims` must be a width for each axis of `axial_shape`, and "
            "add up to `hidden_dim`. Received: axial_dims=(4, 12), "
            "axial_shape=(4, 4, 4), hidden_dim=16.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_reformer_language_model(**{**SIZES, **arguments})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_classes": 0},
            "`num_classes` must be positive. Received: num_classes=0.",
        ),
        (
            {"pooling": "last"},
            "`pooling` must be one of ('mean', 'first'). "
            "Received: pooling='last'.",
        ),
    ],
)
def test_an_encoder_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_reformer_encoder(
            **{**SIZES, "num_classes": 2, **arguments}
        )
    assert str(error.value) == message


def test_the_step_twin_refuses_other_models():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError) as error:
        models.build_reformer_language_model_step(model)
    assert str(error.value) == (
        "`model` must come from `build_reformer_language_model`. "
        "Received: model='other'."
    )
    model = models.build_reformer_language_model(**{**SIZES, "causal": False})
    with pytest.raises(ValueError) as error:
        models.build_reformer_language_model_step(model)
    assert str(error.value) == (
        "`model` must be causal. Received: "
        "model='reformer_language_model', causal=[False, False]."
    )


@pytest.mark.parametrize("length", [1, 48, 64, 100, 65_536])
def test_positions_make_a_grid_with_room_for_all(length):
    num_rows, num_columns = reversible_stack.axial_shape(length)
    assert num_rows * num_columns >= length
    assert num_rows * (num_columns - 1) < length
    assert num_rows**2 >= length > (num_rows / 2) ** 2
