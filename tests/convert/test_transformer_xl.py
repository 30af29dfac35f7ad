"""Tests of keras_xf.convert.transformer_xl_from_huggingface.

What it computes is compared in test_recorded_transformer_xl.py.
"""

import json

import keras
import numpy as np
import pytest

from keras_xf.convert import transformer_xl_config
from keras_xf.convert import transformer_xl_from_huggingface
from tests import recorded_arrays
from tests.convert.transformer_xls import config_of
from tests.convert.transformer_xls import inputs_of
from tests.convert.transformer_xls import oracle_options
from tests.convert.transformer_xls import oracle_weights
from tests.convert.transformer_xls import zeros
from tests.oracles import transformer_xl
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

# Arguments of the peer's configuration for what the authors published, beside
# its defaults, which are the large model of WikiText-103.
ENWIK8 = {
    "vocab_size": 204,
    "cutoffs": [],
    "n_layer": 12,
    "d_model": 512,
    "d_embed": 512,
    "n_head": 8,
    "d_head": 64,
    "d_inner": 2048,
    "div_val": 1,
    "untie_r": False,
}
WIKITEXT_STANDARD = {
    "n_layer": 16,
    "d_model": 410,
    "d_embed": 410,
    "n_head": 10,
    "d_head": 41,
    "d_inner": 2100,
    "div_val": 1,
    "untie_r": False,
}


@pytest.fixture(scope="module")
def recorded():
    return recorded_arrays.load("huggingface_transformer_xl")


def read(recorded, case):
    """Configuration and arrays of a model, to be changed."""
    arrays = under(recorded, case)
    return config_of(arrays), under(arrays, "weights")


@pytest.fixture
def window(recorded):
    return read(recorded, "window")


def test_all_that_a_configuration_says_is_heard(window):
    config, _ = window
    config |= {"dropout": 0.1, "dropatt": 0.2}
    arguments = transformer_xl_config.builder_arguments(
        transformer_xl_config.complete(config)
    )
    assert arguments == {
        "vocabulary_size": 19,
        "num_layers": 2,
        "hidden_dim": 12,
        "num_heads": 2,
        "key_dim": 5,
        "intermediate_dim": 14,
        "activation": "relu",
        "dropout": 0.1,
        "attention_dropout": 0.2,
        "memory_length": 8,
        "attention_window": 8,
        "clamp_length": 6,
        "norm_first": False,
        "untied_biases": True,
        "cutoffs": [5, 11],
        "embedding_dim": 8,
        "divisor": 2,
        "tied_embeddings": True,
        "tied_projections": [False, True, True],
        "epsilon": 1e-5,
    }
    json.dumps(arguments)


@pytest.mark.parametrize(
    ("config", "num_weights", "num_names"),
    [
        ({}, 285205322, 249),
        (ENWIK8, 41055436, 136),
        (WIKITEXT_STANDARD, 151107538, 182),
    ],
    ids=["wikitext large", "enwik8", "wikitext standard"],
)
def test_published_models_have_these_shapes(config, num_weights, num_names):
    # Counted in the peer's own models, each parameter once.
    shapes = transformer_xl_config.array_shapes(
        transformer_xl_config.complete(config)
    )
    assert sum(map(np.prod, shapes.values())) == num_weights
    assert len(shapes) == num_names


def test_a_published_configuration_is_converted():
    # All of it but the layers, of which it takes one, and a smaller vocabulary.
    config = transformer_xl_config.complete(
        {"n_layer": 1, "vocab_size": 3000, "cutoffs": [200, 400, 2000]}
    )
    shapes = transformer_xl_config.array_shapes(config)
    model = transformer_xl_from_huggingface(
        config,
        {
            name: np.broadcast_to(np.float32(0.01), shape)
            for name, shape in shapes.items()
        },
    )
    number = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert number == sum(map(np.prod, shapes.values()))
    assert model.input["memory"].shape == (None, 1, 1600, 1024)
    for variable in model.trainable_variables:
        assert np.max(np.abs(variable - np.float32(0.01))) == 0.0


@pytest.mark.parametrize("case", ["window", "norm_first"])
def test_names_may_lack_the_prefix_and_what_is_told_twice(recorded, case):
    config, arrays = read(recorded, case)
    whole = transformer_xl_from_huggingface(config, arrays).get_weights()
    bare = {
        name.removeprefix("transformer."): array
        for name, array in arrays.items()
    }
    del bare["pos_emb.inv_freq"]
    pairs = transformer_xl_config.second_names(
        transformer_xl_config.complete(config)
    )
    # The one name or the other.
    for dropped in (0, 1):
        once = dict(bare)
        for pair in pairs:
            once.pop(pair[dropped], None)
        assert len(once) < len(bare)
        for a, b in zip(
            transformer_xl_from_huggingface(config, once).get_weights(),
            whole,
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_sizes_may_have_their_general_names(window):
    config, arrays = window
    for general, name in {
        "hidden_size": "d_model",
        "n_token": "vocab_size",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }.items():
        config[general] = config.pop(name)
    transformer_xl_from_huggingface(config, arrays)


def test_the_model_is_saved_and_loaded(window, tmp_path):
    config, arrays = window
    model = transformer_xl_from_huggingface(config, arrays)
    inputs = inputs_of(
        np.arange(10, dtype="int32").reshape(2, 5), zeros(config)
    )
    outputs = model(inputs)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")(inputs)
    for name in ("log_probs", "memory"):
        np.testing.assert_array_equal(revived[name], outputs[name])


def test_another_memory_length_is_another_window(window):
    config, arrays = window
    token_ids = np.arange(38, dtype="int32").reshape(2, 19) % 19
    for changes, options in (
        ({}, {"attention_window": 3}),
        ({"same_length": False}, {"attention_window": None}),
    ):
        model = transformer_xl_from_huggingface(
            {**config, **changes}, arrays, memory_length=3
        )
        outputs = model(inputs_of(token_ids, zeros({**config, "mem_len": 3})))
        expected = transformer_xl.model(
            oracle_weights(config, arrays),
            token_ids,
            np.zeros((2, 2, 3, 12)),
            **{**oracle_options(config), **options},
        )
        assert_close(outputs["log_probs"], expected["log_probs"])
        assert_close(outputs["memory"], expected["memory"])


def test_a_model_without_memory(recorded):
    config, arrays = read(recorded, "norm_first")
    token_ids = np.arange(10, dtype="int32").reshape(2, 5)
    config["mem_len"] = 0
    outputs = transformer_xl_from_huggingface(config, arrays)(
        inputs_of(token_ids, zeros(config))
    )
    expected = transformer_xl.model(
        oracle_weights(config, arrays),
        token_ids,
        np.zeros((2, 2, 0, 12)),
        **oracle_options(config),
    )
    assert_close(outputs["log_probs"], expected["log_probs"])
    assert outputs["memory"].shape == (2, 2, 0, 12)


@pytest.mark.parametrize("case", ["window", "norm_first", "one_bin"])
def test_clusters_may_be_counted_from_the_last(recorded, case):
    config, arrays = read(recorded, case)
    inputs = inputs_of(
        np.arange(10, dtype="int32").reshape(2, 5), zeros(config)
    )
    expected = transformer_xl_from_huggingface(config, arrays)(inputs)
    # As the authors' PyTorch release has them: the bin i is the column -i.
    for name in ("crit.cluster_weight", "crit.cluster_bias"):
        if name in arrays:
            arrays[name] = np.flip(arrays[name], axis=0)
    outputs = transformer_xl_from_huggingface(
        config, arrays, reversed_clusters=True
    )(inputs)
    np.testing.assert_array_equal(outputs["log_probs"], expected["log_probs"])


def test_names_and_shapes_that_do_not_fit(window):
    config, arrays = window
    layer = "layers.1.dec_attn"
    shared = arrays["crit.out_projs.1"]
    cases = [
        (
            {f"transformer.{layer}.r_w_bias": None, "crit.out_projs.0": None},
            "`state_dict` must have 2 arrays that it lacks. Received: "
            f"missing=['crit.out_projs.0', '{layer}.r_w_bias'].",
        ),
        (
            {"transformer.r_w_bias": np.zeros((2, 5))},
            "`state_dict` must not have 1 arrays that the model has no place "
            "for. Received: left_over=['r_w_bias'].",
        ),
        (
            {f"transformer.{layer}.qkv_net.weight": np.zeros((20, 12))},
            f"`state_dict` must have '{layer}.qkv_net.weight' in the shape "
            "(30, 12). Received: shape=(20, 12).",
        ),
        (
            {"crit.out_layers.2.bias": np.zeros(9)},
            "`state_dict` must have 'crit.out_layers.2.bias' in the shape "
            "(8,). Received: shape=(9,).",
        ),
        (
            {"crit.out_projs.1": 2 * shared},
            "`state_dict` must have one array under the names "
            "'word_emb.emb_projs.1' and 'crit.out_projs.1'. Received: "
            f"difference={np.max(np.abs(shared)).item()}.",
        ),
        (
            {"crit.out_layers.0.weight": np.zeros((4, 8))},
            "`state_dict` must have one array under the names "
            "'word_emb.emb_layers.0.weight' and 'crit.out_layers.0.weight'. "
            "Received: shapes=[(5, 8), (4, 8)].",
        ),
        (
            {f"{layer}.r_w_bias": np.zeros((2, 5))},
            "`state_dict` must have no name both with and without "
            f"\"transformer.\". Received: names=['{layer}.r_w_bias'].",
        ),
    ]
    for changes, message in cases:
        changed = {
            name: array
            for name, array in {**arrays, **changes}.items()
            if array is not None
        }
        with pytest.raises(ValueError) as error:
            transformer_xl_from_huggingface(config, changed)
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "xlnet"},
            '`model_type` must be "transfo-xl". '
            "Received: model_type='xlnet'.",
        ),
        (
            {"attn_type": 2},
            "`attn_type` must be 0, attention by relative positions. "
            "Received: attn_type=2.",
        ),
        (
            {"sample_softmax": 100},
            "`sample_softmax` must not be positive: the softmax is whole. "
            "Received: sample_softmax=100.",
        ),
        (
            {"mem_len": 0},
            "`mem_len` must be positive if `same_length`. Received: mem_len=0.",
        ),
        (
            {"mem_len": -1},
            "`mem_len` must not be negative. Received: mem_len=-1.",
        ),
        ({"n_layer": 0}, "`n_layer` must be positive. Received: n_layer=0."),
        (
            {"d_inner": 1.5},
            "`d_inner` must be an integer. Received: d_inner=1.5.",
        ),
        ({"d_model": 13}, "`d_model` must be even. Received: d_model=13."),
        (
            {"tie_projs": [False, True]},
            "`tie_projs` must have one entry for each bin. Received: "
            "tie_projs=[False, True], cutoffs=[5, 11].",
        ),
        (
            {"cutoffs": [11, 5]},
            "`cutoffs` must increase and be less than `vocab_size`. Received: "
            "cutoffs=[11, 5], vocab_size=19.",
        ),
        (
            {"cutoffs": [5, 19]},
            "`cutoffs` must increase and be less than `vocab_size`. Received: "
            "cutoffs=[5, 19], vocab_size=19.",
        ),
        (
            {"div_val": 3},
            "`d_embed` must be wide enough to be divided by `div_val` once "
            "for each of the `cutoffs`. Received: d_embed=8, div_val=3, "
            "cutoffs=[5, 11].",
        ),
        (
            {"cutoffs": [], "d_embed": 12},
            "`div_val` must be 1 if there are no `cutoffs` and `d_embed` is "
            "`d_model`. Received: div_val=2, d_embed=12.",
        ),
    ],
)
def test_configurations_that_cannot_be_converted(window, changes, message):
    config, arrays = window
    with pytest.raises(ValueError) as error:
        transformer_xl_from_huggingface({**config, **changes}, arrays)
    assert str(error.value) == message


def test_projections_not_told_of_are_shared_but_the_first(recorded):
    # Files of before `tie_projs` was one of the arguments.
    for shared in (True, False):
        completed = transformer_xl_config.complete(
            {"proj_share_all_but_first": shared}
        )
        assert completed["tie_projs"] == [False, shared, shared, shared]
