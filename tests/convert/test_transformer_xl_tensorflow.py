"""Tests of keras_xf.convert.transformer_xl_from_tensorflow.

Its arrays are written here from those of Hugging Face's port, by the names and
layouts of the release.
"""

import numpy as np
import pytest

from keras_xf.convert import transformer_xl_from_huggingface
from keras_xf.convert import transformer_xl_from_tensorflow
from tests import recorded_arrays
from tests.convert.transformer_xls import config_of
from tests.convert.transformer_xls import inputs_of
from tests.convert.transformer_xls import oracle_weights
from tests.convert.transformer_xls import zeros
from tests.oracles import transformer_xl
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

# What the release has no word for, by case.
CHANGES = {
    # One table as wide as the model: nothing is projected.
    "norm_first": {"pre_lnorm": False, "tie_projs": [False, True, True]},
    # Each bin's table is projected, but for the first as the embedding is.
    "window": {"tie_projs": [False, True, True]},
    # Without cutoffs the projection is shared.
    "one_bin": {"tie_projs": [True]},
    "one_table": {"tie_projs": [False, True, True]},
    # Tables are shared, projections not.
    "untied": {"tie_word_embeddings": True, "tie_projs": [False, False]},
}


@pytest.fixture(scope="module")
def recorded():
    return recorded_arrays.load("huggingface_transformer_xl")


def read(recorded, case):
    """Configuration and arrays of Hugging Face's, as the release could."""
    arrays = under(recorded, case)
    config, arrays = config_of(arrays), under(arrays, "weights")
    config |= CHANGES[case]
    for index, tied in enumerate(config["tie_projs"]):
        if tied:
            arrays.pop(f"crit.out_projs.{index}", None)
    if case == "untied":
        for index in range(2):
            del arrays[f"crit.out_layers.{index}.weight"]
    return config, arrays


def flags_of(config):
    """The release's flags."""
    names = ("clamp_len", "d_embed", "d_head", "d_inner", "d_model", "div_val")
    names += ("dropatt", "dropout", "mem_len", "n_head", "n_layer")
    names += ("same_length", "untie_r", "vocab_size")
    cutoffs = config["cutoffs"]
    return {
        **{name: config[name] for name in names},
        "cutoffs": [0, *cutoffs, config["vocab_size"]] if cutoffs else [],
        "proj_share_all_but_first": config["tie_projs"][-1],
    }


def variables_of(config, arrays):
    """Arrays by the release's names."""
    edges = [0, *config["cutoffs"], config["vocab_size"]]
    num_bins = len(edges) - 1
    variables = {}
    for index in range(num_bins):
        embed = "transformer/adaptive_embed"
        if config["div_val"] != 1:
            embed += f"/cutoff_{index}"
        table = arrays.get(f"transformer.word_emb.emb_layers.{index}.weight")
        if table is not None:
            variables[f"{embed}/lookup_table"] = table
        projection = arrays.get(f"transformer.word_emb.emb_projs.{index}")
        if projection is not None:
            variables[f"{embed}/proj_W"] = projection.T
        softmax = f"transformer/adaptive_softmax/cutoff_{index}"
        if config["div_val"] == 1:
            bias = arrays["crit.out_layers.0.bias"][
                edges[index] : edges[index + 1]
            ]
        else:
            bias = arrays[f"crit.out_layers.{index}.bias"]
        variables[f"{softmax}/b"] = bias
        projection = arrays.get(f"crit.out_projs.{index}")
        if projection is not None:
            variables[f"{softmax}/proj"] = projection.T
    if num_bins == 1:
        variables["transformer/adaptive_softmax/bias"] = variables.pop(
            "transformer/adaptive_softmax/cutoff_0/b"
        )
    else:
        head = "transformer/adaptive_softmax/cutoff_0"
        variables[f"{head}/cluster_W"] = arrays["crit.cluster_weight"]
        variables[f"{head}/cluster_b"] = arrays["crit.cluster_bias"]
    for bias in ("r_w_bias", "r_r_bias"):
        each = [
            arrays[f"transformer.layers.{index}.dec_attn.{bias}"]
            for index in range(config["n_layer"])
        ]
        variables[f"transformer/{bias}"] = (
            np.stack(each) if config["untie_r"] else each[0]
        )
    for index in range(config["n_layer"]):
        ours = f"transformer/layer_{index}"
        attention = f"transformer.layers.{index}.dec_attn"
        feed_forward = f"transformer.layers.{index}.pos_ff"
        for name in ("qkv", "r", "o"):
            variables[f"{ours}/rel_attn/{name}/kernel"] = arrays[
                f"{attention}.{name}_net.weight"
            ].T
        for number, place in ((1, 0), (2, 3)):
            dense = f"{feed_forward}.CoreNet.{place}"
            variables |= {
                f"{ours}/ff/layer_{number}/kernel": arrays[f"{dense}.weight"].T,
                f"{ours}/ff/layer_{number}/bias": arrays[f"{dense}.bias"],
            }
        for scope, part in (("rel_attn", attention), ("ff", feed_forward)):
            variables |= {
                f"{ours}/{scope}/LayerNorm/gamma": arrays[
                    f"{part}.layer_norm.weight"
                ],
                f"{ours}/{scope}/LayerNorm/beta": arrays[
                    f"{part}.layer_norm.bias"
                ],
            }
    return variables


@pytest.mark.parametrize("case", CHANGES)
def test_both_names_give_the_same_weights(recorded, case):
    config, arrays = read(recorded, case)
    variables = variables_of(config, arrays)
    # What else is in a checkpoint.
    variables |= {f"{n}/Adam": np.zeros_like(v) for n, v in variables.items()}
    variables |= {"global_step": np.int64(7), "beta1_power": np.float32(0.9)}
    model = transformer_xl_from_tensorflow(flags_of(config), variables)
    same = transformer_xl_from_huggingface(config, arrays)
    assert [v.path for v in model.weights] == [v.path for v in same.weights]
    for a, b in zip(
        model.trainable_variables, same.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", ["window", "norm_first"])
@pytest.mark.parametrize("memory_length", [None, 3])
def test_two_segments(recorded, case, memory_length):
    config, arrays = read(recorded, case)
    size = memory_length or 8
    flags = flags_of(config)
    model = transformer_xl_from_tensorflow(
        flags, variables_of(config, arrays), memory_length=memory_length
    )
    weights = oracle_weights(config, arrays)
    # The projections that are tied are not in `arrays`.
    if case == "window":
        weights["softmax_projections"][1:] = weights["projections"][1:]
    outputs = zeros({**config, "mem_len": size})
    expected = {"memory": outputs["memory"]}
    random = np.random.default_rng(0)
    for _ in range(2):
        token_ids = random.integers(19, size=(2, 11), dtype="i4")
        outputs = model(inputs_of(token_ids, outputs))
        expected = transformer_xl.model(
            weights,
            token_ids,
            expected["memory"],
            attention_window=size + 1 if case == "window" else None,
            clamp_length=6 if case == "window" else None,
            epsilon=1e-12,
        )
        assert_close(outputs["log_probs"], expected["log_probs"])
        assert_close(outputs["memory"], expected["memory"])


def test_what_is_not_projected_has_the_identity(recorded):
    config, arrays = read(recorded, "untied")
    flags, variables = flags_of(config), variables_of(config, arrays)
    flags["proj_same_dim"] = False
    # The first bin is as wide as the model.
    del variables["transformer/adaptive_embed/cutoff_0/proj_W"]
    del variables["transformer/adaptive_softmax/cutoff_0/proj"]
    model = transformer_xl_from_tensorflow(flags, variables)
    for name in ("embedding", "softmax"):
        first, second = model.get_layer(name).projections
        np.testing.assert_array_equal(first, np.eye(12))
        assert second.shape == (4, 12)


def test_the_defaults_are_those_of_the_flags():
    variables = {
        "transformer/adaptive_embed/lookup_table": np.zeros((30, 500)),
        "transformer/adaptive_softmax/bias": np.zeros(30),
        "transformer/r_w_bias": np.zeros((10, 50)),
        "transformer/r_r_bias": np.zeros((10, 50)),
    }
    for index in range(6):
        layer = f"transformer/layer_{index}"
        variables |= {
            f"{layer}/rel_attn/qkv/kernel": np.zeros((500, 1500)),
            f"{layer}/rel_attn/r/kernel": np.zeros((500, 500)),
            f"{layer}/rel_attn/o/kernel": np.zeros((500, 500)),
            f"{layer}/rel_attn/LayerNorm/gamma": np.ones(500),
            f"{layer}/rel_attn/LayerNorm/beta": np.zeros(500),
            f"{layer}/ff/LayerNorm/gamma": np.ones(500),
            f"{layer}/ff/LayerNorm/beta": np.zeros(500),
            f"{layer}/ff/layer_1/kernel": np.zeros((500, 1000)),
            f"{layer}/ff/layer_1/bias": np.zeros(1000),
            f"{layer}/ff/layer_2/kernel": np.zeros((1000, 500)),
            f"{layer}/ff/layer_2/bias": np.zeros(500),
        }
    model = transformer_xl_from_tensorflow({"vocab_size": 30}, variables)
    assert model.input["memory"].shape == (None, 6, 70, 500)


def test_names_and_shapes_that_do_not_fit(recorded):
    config, arrays = read(recorded, "window")
    flags, variables = flags_of(config), variables_of(config, arrays)
    name = "transformer/layer_1/rel_attn/qkv/kernel"
    cases = [
        (
            {name: None, "transformer/r_w_bias": None},
            "`variables` must have 2 arrays that it lacks. Received: "
            f"missing=['{name}', 'transformer/r_w_bias'].",
        ),
        (
            {"transformer/adaptive_softmax/bias": np.zeros(19)},
            "`variables` must not have 1 arrays that the model has no place "
            "for. Received: left_over=['transformer/adaptive_softmax/bias'].",
        ),
        (
            {name: np.zeros((30, 12))},
            f"`variables` must have '{name}' in the shape (12, 30). "
            "Received: shape=(30, 12).",
        ),
        (
            {"transformer/r_w_bias": np.zeros((2, 5))},
            "`variables` must have 'transformer/r_w_bias' in the shape "
            "(2, 2, 5). Received: shape=(2, 5).",
        ),
    ]
    for changes, message in cases:
        changed = {
            name: array
            for name, array in {**variables, **changes}.items()
            if array is not None
        }
        with pytest.raises(ValueError) as error:
            transformer_xl_from_tensorflow(flags, changed)
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"d_model": 8},
            "`config` must have `vocab_size`. Received: config=['d_model'].",
        ),
        (
            {"vocab_size": 30, "div_val": 2},
            "`div_val` must be 1 if there are no `cutoffs`. Received: "
            "div_val=2.",
        ),
        (
            {"vocab_size": 30, "cutoffs": [0, 20, 10, 30]},
            "`cutoffs` must increase and be less than `vocab_size`. "
            "Received: cutoffs=[20, 10], vocab_size=30.",
        ),
    ],
)
def test_configurations_that_cannot_be_converted(config, message):
    with pytest.raises(ValueError) as error:
        transformer_xl_from_tensorflow(config, {})
    assert str(error.value) == message
