"""Tests of the cases of vector quantization, and of our worker."""

import importlib
import sys

import numpy as np
import pytest

from benchmarks import contestant
from benchmarks.cases import CASES
from benchmarks.cases import WORKERS

TINY = {"num_vectors": 12, "dim": 4, "num_codes": 3}


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.syspath_prepend(str(contestant.WORKERS))
    yield importlib.import_module("keras_quantizer")
    sys.modules.pop("keras_quantizer")


@pytest.mark.parametrize("name", ["VQEMA", "VQEMA XLA"])
def test_a_step_is_that_of_the_definition(worker, name):
    vectors = importlib.import_module("vectors")
    inputs, codes, upstream = vectors.vectors(TINY)
    call, versions = worker.prepare(
        "quantization", {**TINY, **WORKERS[name].settings}
    )
    loss, gradient = call()
    distances = ((inputs[:, None] - codes) ** 2).sum(-1)
    nearest = codes[distances.argmin(1)]
    assert loss == pytest.approx(
        0.25 * ((inputs - nearest) ** 2).mean(), rel=1e-5
    )
    # Straight through, and the commitment's.
    expected = upstream + 0.25 * 2 * (inputs - nearest) / inputs.size
    assert gradient == pytest.approx(expected[0, 0], rel=1e-5)
    # The codebook moves: the same batch costs less.
    assert call()[0] < loss
    assert set(versions) == {"tensorflow", "keras"}


def test_operations_are_those_of_the_distances():
    case = CASES["quantization_8192"]
    assert case.flops == 2 * 16384 * 8192 * 64
    assert np.isin(["Sonnet", "VQEMA XLA"], case.contestants).all()
