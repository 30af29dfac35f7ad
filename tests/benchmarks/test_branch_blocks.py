"""Tests of benchmarks.branch_blocks."""

import keras
import numpy as np
import pytest

from benchmarks import branch_blocks
from benchmarks.branch_blocks import BranchLoop
from keras_xf.layers import MultiBranchAttention

SIZES = {
    "batch_size": 2,
    "length": 5,
    "hidden_dim": 12,
    "num_heads": 3,
    "intermediate_dim": 18,
    "dtype": "float32",
}


@pytest.mark.parametrize("separate_heads", [False, True])
def test_the_loop_computes_what_branches_do(separate_heads):
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    ours = MultiBranchAttention(3, 18)
    loop = BranchLoop(3, 18, separate_heads)
    for layer in (ours, loop):
        layer.build(x.shape)
    generator = np.random.default_rng(1)
    for weight in ours.weights:
        if weight.name in ("kappa", "alpha"):
            weight.assign(generator.dirichlet(np.ones(3)))
        else:
            weight.assign(generator.normal(size=weight.shape))
    loop.kappa.assign(ours.kappa)
    loop.alpha.assign(ours.alpha)

    def parts(projection, axis):
        return np.split(np.asarray(projection.kernel), 3, axis)

    for name, layers in zip(
        ("query", "key", "value"), loop.projections, strict=True
    ):
        kernels = [np.asarray(getattr(ours, name).kernel)]
        if separate_heads:
            kernels = parts(getattr(ours, name), 1)
        for layer, kernel in zip(layers, kernels, strict=True):
            layer.kernel.assign(kernel)
    for i in range(3):
        loop.output_projections[i].kernel.assign(
            parts(ours.output_projection, 0)[i]
        )
        loop.widen[i].kernel.assign(parts(ours.widen, 1)[i])
        loop.widen[i].bias.assign(np.split(np.asarray(ours.widen.bias), 3)[i])
        loop.narrow[i].kernel.assign(parts(ours.narrow, 0)[i])
        # Theirs are weighted, too; the sum of weights is one.
        loop.narrow[i].bias.assign(ours.narrow.bias)
    np.testing.assert_allclose(loop(x), ours(x), atol=2e-5)


def test_blocks_are_as_large_as_each_other():
    counts = {}
    for name in ("folded", "unfolded", "standard", "stock", "loop"):
        model = branch_blocks.build_block(name, SIZES)
        assert model.output["outputs"].shape == (2, 5, 12)
        counts[name] = model.count_params()
    assert counts["folded"] == counts["unfolded"]
    assert counts["standard"] == counts["stock"]
    # Two weights a branch, and a normalization less.
    assert counts["folded"] - counts["standard"] == 2 * 3 - 2 * 12
    # A last bias for each network.
    assert counts["loop"] - counts["folded"] == 2 * 12


def test_operations_are_those_of_its_products():
    rows, dim, wide, length = 10, 12, 18, 5
    forward = rows * (4 * dim**2 + 2 * dim * wide) + 2 * rows * length * dim
    assert branch_blocks.block_flops(SIZES) == 3 * 2 * forward


def test_blocks_train():
    model = branch_blocks.build_block("loop of heads", SIZES)
    branch_blocks.compile_block(model)
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    before = keras.ops.convert_to_numpy(model.trainable_weights[0])
    model.train_on_batch({"inputs": x}, {"outputs": x})
    assert np.abs(before - model.trainable_weights[0]).max() > 0
