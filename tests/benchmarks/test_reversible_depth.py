"""Tests of benchmarks.reversible_depth and the programs that it lowers."""

import keras
import numpy as np
import pytest

from benchmarks import reformer_models
from benchmarks import reversible_depth
from benchmarks.program_cases import CASES
from benchmarks.reversible_depth import Options

SIZES = {
    "vocabulary_size": 16,
    "num_layers": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 12,
    "num_hashes": 2,
    "chunk_length": 8,
    "feed_forward_chunk": 16,
    "dropout": 0.0,
    "batch_size": 2,
    "length": 32,
    "dtype": "float32",
}


def record(kind, depth, temporaries, seconds=None):
    told = {} if seconds is None else {"seconds": {"median": seconds}}
    return {
        "case": reversible_depth.CASES[kind],
        "sizes": {**SIZES, "num_layers": depth},
        "memory": {"temp": temporaries},
        **told,
    }


def test_the_table_tells_what_a_further_block_costs():
    needed = reversible_depth.needed_bytes(SIZES)
    mib = 2**20
    records = [
        record("reversible", 2, 10 * mib, 0.3),
        record("not reversible", 2, 30 * mib, 0.2),
        record("reversible", 12, 20 * mib, 1.5),
        record("not reversible", 12, 130 * mib, 1.0),
    ]
    assert reversible_depth.depth_table(records) == (
        "| MiB of temporaries; ms | 2 blocks | 12 blocks | a further block, "
        f"MiB; its gradients and buckets are {needed / mib:.2f} |\n"
        "|---|---|---|---|\n"
        "| reversible | 10.0; 300 | 20.0; 1500 | 1.00 |\n"
        "| not reversible | 30.0; 200 | 130.0; 1000 | 10.00 |\n"
        "| ratio | 0.33; 1.50 | 0.15; 1.50 | 10.0% |"
    )
    for each in records:
        each.pop("seconds")
    assert "| ratio | 0.33 | 0.15 | 10.0% |" in (
        reversible_depth.depth_table(records)
    )


@pytest.mark.parametrize("num_hashes", [0, 2])
def test_a_block_needs_gradients_and_buckets(num_hashes):
    sizes = {**SIZES, "num_hashes": num_hashes, "reversible": True}
    counts = [
        sum(
            int(np.prod(weight.shape))
            for weight in reformer_models.build_reformer(
                {**sizes, "num_layers": depth}
            ).trainable_weights
        )
        for depth in (1, 2)
    ]
    # An int32 for each position, head and round of each row.
    buckets = 2 * 2 * num_hashes * 32
    needed = 4 * (counts[1] - counts[0] + buckets)
    assert reversible_depth.needed_bytes(sizes) == needed


def test_both_programs_compute_the_same():
    ours, other = (
        CASES[case]({**SIZES, "num_layers": 1})
        for case in reversible_depth.CASES.values()
    )
    paths = [
        keras.tree.flatten_with_path(settings["arguments"])
        for settings in (ours, other)
    ]
    assert [path for path, _ in paths[0]] == [path for path, _ in paths[1]]
    results = [
        keras.tree.flatten(settings["function"](*ours["arguments"]))
        for settings in (ours, other)
    ]
    assert np.isfinite(results[0][0])
    for result, expected in zip(*results, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    # What is computed anew is no gain.
    assert ours["notes"] == other["notes"]


def test_errors():
    with pytest.raises(ValueError) as error:
        Options(depths=(2, 2))
    assert str(error.value) == (
        "`depths` must be two positive numbers or more. Received: "
        "depths=(2, 2)."
    )
