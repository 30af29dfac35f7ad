"""Tests of keras_xf.convert.reformer_from_huggingface.

What it computes is compared in test_recorded_reformer.py.
"""

import json

import keras
import numpy as np
import pytest

from keras_xf.convert import reformer_config
from keras_xf.convert import reformer_from_huggingface
from tests import recorded_arrays
from tests.convert.reformers import config_of
from tests.convert.reformers import lsh_layers
from tests.convert.reformers import rotations_of
from tests.recorded_arrays import under

SHAPE = (2, 6, 2, 3)
CRIME_AND_PUNISHMENT = {
    "attention_head_size": 64,
    "attn_layers": ["local", "lsh"] * 3,
    "axial_pos_embds": True,
    "axial_pos_embds_dim": [64, 192],
    "axial_pos_shape": [512, 1024],
    "feed_forward_size": 512,
    "hidden_act": "relu",
    "hidden_size": 256,
    "is_decoder": True,
    "local_attn_chunk_length": 64,
    "lsh_attn_chunk_length": 64,
    "max_position_embeddings": 524288,
    "num_attention_heads": 2,
    "num_buckets": [64, 128],
    "num_hashes": 1,
    "vocab_size": 320,
}
ENWIK8 = {
    "attention_head_size": 128,
    "attn_layers": ["local", "local", "lsh", "local"] * 3,
    "axial_pos_embds": True,
    "axial_pos_embds_dim": [256, 768],
    "axial_pos_shape": [128, 512],
    "feed_forward_size": 4096,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.2,
    "hidden_size": 1024,
    "is_decoder": True,
    "local_attention_probs_dropout_prob": 0.2,
    "local_attn_chunk_length": 128,
    "lsh_attention_probs_dropout_prob": 0.1,
    "lsh_attn_chunk_length": 256,
    "max_position_embeddings": 65536,
    "num_attention_heads": 8,
    "num_buckets": 512,
    "num_hashes": 4,
    "vocab_size": 258,
}


@pytest.fixture(scope="module")
def recorded():
    return under(recorded_arrays.load("huggingface_reformer"), "causal")


@pytest.fixture
def causal(recorded):
    """Configuration and arrays of a model, to be changed."""
    return config_of(recorded), under(recorded, "weights")


def test_one_array_of_rotations_serves_all_layers(recorded, causal):
    config, arrays = causal
    each = rotations_of(under(recorded, "24"))
    # The peer's `hash_seed` makes all layers draw alike.
    np.testing.assert_array_equal(each[0], each[1])
    for rotations in (each[0], each):
        layers = lsh_layers(
            reformer_from_huggingface(config, arrays, rotations)
        )
        assert len(layers) == 2
        for layer, array in zip(layers, each, strict=True):
            np.testing.assert_array_equal(layer.rotations, array)


def test_without_rotations_the_layers_draw(causal, tmp_path):
    config, arrays = causal
    model = reformer_from_huggingface(config, arrays)
    assert lsh_layers(model) == []
    inputs = {
        "token_ids": np.arange(40, dtype="int32").reshape(2, 20) % 13,
        "length": np.array([20, 9], "int32"),
    }
    logits = model(inputs)["logits"]
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(revived(inputs)["logits"], logits)


def test_all_that_a_configuration_says_is_heard(causal):
    config, _ = causal
    config |= {
        "local_attention_probs_dropout_prob": 0.1,
        "lsh_attention_probs_dropout_prob": 0.2,
        "hidden_dropout_prob": 0.3,
        "chunk_size_feed_forward": 5,
        "hidden_act": "silu",
        "layer_norm_eps": 1e-7,
    }
    arguments = reformer_config.builder_arguments(
        reformer_config.complete(config), injected_rotations=True
    )
    assert arguments == {
        "vocabulary_size": 13,
        "hidden_dim": 16,
        "num_heads": 2,
        "key_dim": 6,
        "attention": ["chunked", "lsh", "lsh", "chunked"],
        "lsh": {
            "chunk_length": 4,
            "chunks_before": 1,
            "chunks_after": 0,
            "dropout": 0.2,
            "num_hashes": 2,
            "num_buckets": [2, 4],
            "injected_rotations": True,
        },
        "chunked": {
            "chunk_length": 6,
            "chunks_before": 1,
            "chunks_after": 0,
            "dropout": 0.1,
        },
        "causal": True,
        "intermediate_dim": 20,
        "activation": "silu",
        "feed_forward_chunk_length": 5,
        "dropout": 0.3,
        "epsilon": 1e-7,
        "positions": "axial",
        "max_length": 48,
        "axial_shape": [6, 8],
        "axial_dims": [10, 6],
        "reference_compatible": True,
        "length_multiple": 12,
        "longer_than": 4,
    }
    json.dumps(arguments)


@pytest.mark.parametrize(
    ("config", "num_weights", "num_names"),
    [(CRIME_AND_PUNISHMENT, 2748224, 76), (ENWIK8, 149182722, 148)],
    ids=["crime and punishment", "enwik8"],
)
def test_published_models_have_these_shapes(config, num_weights, num_names):
    # Counted in the peer's own models; one bias has two names there.
    shapes = reformer_config.array_shapes(reformer_config.complete(config))
    assert sum(map(np.prod, shapes.values())) == num_weights
    assert len(shapes) == num_names


@pytest.mark.parametrize(
    ("config", "num_weights", "rotations"),
    [
        (CRIME_AND_PUNISHMENT, 2748224, (2, 64, 1, 96)),
        # Of its twelve layers two, one of each kind.
        (ENWIK8 | {"attn_layers": ["local", "lsh"]}, None, (8, 128, 4, 256)),
    ],
    ids=["crime and punishment", "enwik8"],
)
def test_a_published_configuration_is_converted(config, num_weights, rotations):
    shapes = reformer_config.array_shapes(reformer_config.complete(config))
    model = reformer_from_huggingface(
        config,
        {
            name: np.broadcast_to(np.float32(0.01), shape)
            for name, shape in shapes.items()
        },
        np.zeros(rotations),
    )
    number = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert num_weights in (None, number)
    scale = config["hidden_size"] ** -0.5
    for variable in model.trainable_variables:
        is_table = variable is model.get_layer("embedding").embeddings
        expected = np.float32(0.01 * scale if is_table else 0.01)
        assert np.max(np.abs(variable - expected)) < 1e-9


def test_names_may_lack_the_prefix_and_the_second_bias(recorded, causal):
    config, arrays = causal
    whole = reformer_from_huggingface(config, arrays).get_weights()
    bare = {
        name.removeprefix("reformer."): array for name, array in arrays.items()
    }
    del bare["lm_head.bias"]
    bare[
        "encoder.layers.1.attention.self_attention.self_mask_value_float16"
    ] = np.float32(-1e3)
    for a, b in zip(
        reformer_from_huggingface(config, bare).get_weights(),
        whole,
        strict=True,
    ):
        if a.dtype == np.float32:
            np.testing.assert_array_equal(a, b)


def test_names_and_shapes_that_do_not_fit(causal):
    config, arrays = causal
    first, last = "lm_head.decoder.weight", "encoder.layer_norm.bias"
    cases = [
        (
            {f"reformer.{last}": None, first: None},
            "`state_dict` must have 2 arrays that it lacks. "
            f"Received: missing=['{last}', '{first}'].",
        ),
        (
            {f"odd.{i}": np.zeros(1) for i in range(7)},
            "`state_dict` must not have 7 arrays that the model has no place "
            "for. Received: left_over=['odd.0', 'odd.1', 'odd.2', 'odd.3', "
            "'odd.4', '…'].",
        ),
        (
            {first: np.zeros((13, 16))},
            "`state_dict` must have 'lm_head.decoder.weight' in the shape "
            "(13, 32). Received: shape=(13, 16).",
        ),
        (
            {last: np.zeros(32)},
            "`state_dict` must have no name both with and without "
            f"\"reformer.\". Received: names=['{last}'].",
        ),
        (
            {"lm_head.decoder.bias": arrays["lm_head.bias"] + 1},
            "`state_dict` must have one bias under the names 'lm_head.bias' "
            "and 'lm_head.decoder.bias'. Received: difference=1.0.",
        ),
    ]
    for changes, message in cases:
        changed = {
            name: array
            for name, array in {**arrays, **changes}.items()
            if array is not None
        }
        with pytest.raises(ValueError) as error:
            reformer_from_huggingface(config, changed)
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "bert"},
            "`model_type` must be \"reformer\". Received: model_type='bert'.",
        ),
        (
            {"attn_layers": ["lsh", "dense"], "num_hidden_layers": 2},
            '`attn_layers` must be of "local" and "lsh". '
            "Received: attn_layers=['lsh', 'dense'].",
        ),
        (
            {"num_hidden_layers": 3},
            "`num_hidden_layers` must be the number of `attn_layers`. "
            "Received: num_hidden_layers=3, attn_layers=['local', 'lsh', "
            "'lsh', 'local'].",
        ),
        (
            {"hidden_act": "laplace"},
            f"`hidden_act` must be one of {sorted(reformer_config.ACTIVATIONS)}"
            ". Received: hidden_act='laplace'.",
        ),
        (
            {"tie_word_embeddings": True},
            "`tie_word_embeddings` must be False: the logits are of two "
            "streams. Received: tie_word_embeddings=True.",
        ),
        (
            {"pruned_heads": {"0": [1]}},
            "`pruned_heads` must be empty. Received: pruned_heads={'0': [1]}.",
        ),
        (
            {"lsh_num_chunks_after": 1},
            "`lsh_num_chunks_after` must be 0 if `is_decoder`. "
            "Received: lsh_num_chunks_after=1.",
        ),
        (
            {"axial_pos_embds_dim": [10, 7]},
            "`axial_pos_embds_dim` must add up to `hidden_size`, one for each "
            "axis of `axial_pos_shape`. Received: axial_pos_embds_dim=[10, "
            "7], axial_pos_shape=[6, 8], hidden_size=16.",
        ),
        (
            {"num_buckets": 5},
            "`num_buckets` must be even and positive, or a tuple of such. "
            "Received: num_buckets=5.",
        ),
    ],
)
def test_configurations_that_cannot_be_converted(causal, changes, message):
    config, arrays = causal
    with pytest.raises(ValueError) as error:
        reformer_from_huggingface({**config, **changes}, arrays)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("rotations", "changes", "message"),
    [
        (
            np.zeros((2, 6, 2, 4)),
            {},
            "`rotations` must be an array (2, 6, 2, 3), or one for each of 2 "
            "LSH layers. Received: shapes=[(2, 6, 2, 4), (2, 6, 2, 4)].",
        ),
        (
            [np.zeros(SHAPE)] * 3,
            {},
            "`rotations` must be an array (2, 6, 2, 3), or one for each of 2 "
            f"LSH layers. Received: shapes={[SHAPE] * 3}.",
        ),
    ],
)
def test_rotations_that_do_not_fit(causal, rotations, changes, message):
    config, arrays = causal
    with pytest.raises(ValueError) as error:
        reformer_from_huggingface({**config, **changes}, arrays, rotations)
    assert str(error.value) == message


def test_rotations_need_a_layer_that_hashes():
    config = reformer_config.complete(
        {
            "attn_layers": ["local"],
            "axial_pos_shape": (2, 4),
            "axial_pos_embds_dim": (1, 3),
            "hidden_size": 4,
        }
    )
    arrays = {
        name: np.zeros(shape)
        for name, shape in reformer_config.array_shapes(config).items()
    }
    with pytest.raises(ValueError) as error:
        reformer_from_huggingface(config, arrays, [np.zeros((1, 1, 1, 1))])
    assert str(error.value) == (
        "`rotations` must be None where `attn_layers` has no LSH layer. "
        "Received: attn_layers=['local']."
    )


@pytest.mark.parametrize(
    ("length", "chunk_length", "most", "expected"),
    # Of ReformerConfig's own `_set_num_buckets`, transformers 4.37.2.
    [
        (4096, 64, 4096, 128),
        (12288, 128, 12288, 128),
        (16384, 64, 16384, [16, 32]),
        (524288, 64, 524288, [128, 128]),
        (32, 64, 32, 2),
    ],
)
def test_buckets_not_given_are_those_of_the_peer(
    length, chunk_length, most, expected
):
    config = reformer_config.complete(
        {
            "axial_pos_shape": (1, length),
            "max_position_embeddings": most,
            "lsh_attn_chunk_length": chunk_length,
        }
    )
    assert config["num_buckets"] == expected
