"""Tests of the cases of translation, and of their worker."""

import importlib
import sys

import numpy as np
import pytest

from benchmarks import contestant
from benchmarks.cases import CASES
from benchmarks.cases import WORKERS
from benchmarks.translation_work import translation_bytes
from benchmarks.translation_work import translation_flops

TINY = {
    "vocabulary_size": 11,
    "num_layers": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 16,
    "batch_size": 3,
    "source_length": 4,
    "length": 5,
    "num_beams": 2,
}


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.syspath_prepend(str(contestant.WORKERS))
    yield importlib.import_module("keras_translation")
    sys.modules.pop("keras_translation")


OURS = [
    name
    for name, worker in WORKERS.items()
    if worker.script == "keras_translation.py"
]


@pytest.mark.parametrize("name", OURS)
def test_ours_write_as_many_tokens_as_they_may(worker, name):
    # With fewer kinds of tokens an end would come.
    sizes = {**TINY, "vocabulary_size": 2000, **WORKERS[name].settings}
    call, versions = worker.prepare("translation", sizes)
    np.testing.assert_array_equal(call(), np.full((3, 1), 5))
    assert set(versions) == {"tensorflow", "keras"}


def test_an_end_is_no_measurement(worker):
    sizes = {**TINY, "length": 60, **WORKERS[OURS[0]].settings}
    with pytest.raises(ValueError, match="an end came"):
        worker.prepare("translation", sizes)


def test_operations_are_those_of_its_products():
    dim, wide, source, target = 8, 16, 5, 5
    encoder = 4 * dim**2 + 2 * dim * wide
    row = 2 * (source * encoder + 2 * source**2 * dim)
    # Of the decoder, what is said of a source once for all beams.
    row += 2 * source * 2 * dim**2
    for place in range(1, target + 1):
        step = 2 * (6 * dim**2 + 2 * dim * wide) + 11 * dim
        step += 2 * 2 * dim * (place + source)
        row += 2 * step
    assert translation_flops(TINY) == 2 * 3 * row
    weights = 2 * (8 * dim**2 + 2 * dim * wide) + 11 * dim
    assert translation_bytes(TINY) == 4 * target * weights


def test_cases_have_ours_and_the_peer():
    cases = [name for name in CASES if name.startswith("translation")]
    assert len(cases) == 8
    for name in cases:
        assert CASES[name].contestants[0] == "keras_xf translation"
        assert "Marian" in CASES[name].contestants
