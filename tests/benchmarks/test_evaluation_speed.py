"""Tests of benchmarks.evaluation_speed, its workers and its tables."""

import concurrent.futures
import importlib

import numpy as np
import pytest

from benchmarks import contestant
from benchmarks import environments
from benchmarks import evaluation_models
from benchmarks import evaluation_speed
from benchmarks import evaluation_work
from benchmarks.contestant import Contestant
from benchmarks.evaluation_cases import MEMORY_WORKERS
from benchmarks.evaluation_cases import SIZES
from benchmarks.evaluation_cases import WINDOW_WORKERS
from benchmarks.evaluation_cases import WORKERS
from benchmarks.evaluation_cases import contestant_work
from benchmarks.evaluation_cases import evaluation_case
from benchmarks.evaluation_tables import evaluation_tables
from benchmarks.results import read_results
from benchmarks.workers import evaluation_inputs

TINY = {
    "vocabulary_size": 11,
    "num_layers": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 16,
    "clamp_length": 6,
    "length": 12,
    "segment_length": 4,
    "memory_length": 8,
    "pieces": 3,
}
# Takes longer for a window, and the longer the more.
WORKER = """
import sys, time
sys.path.insert(0, {workers!r})
import answering

def prepare(case, sizes):
    pace = 1e-4 if sizes["method"] == "window" else 1e-5
    def call():
        time.sleep(pace * sizes["length"])
    return call, {{"fake": case}}

answering.answer(prepare)
"""
MACHINE = """
import sys
sys.path.insert(0, {workers!r})
import machine, answering
machine.PRODUCT_SIZE, machine.COPY_BYTES = 8, 1024
answering.answer(machine.prepare)
"""


@pytest.fixture
def fake_workers(tmp_path, monkeypatch):
    """All contestants are one worker."""
    workers = str(contestant.WORKERS)
    for name, worker in list(WORKERS.items()):
        (tmp_path / worker.script).write_text(WORKER.format(workers=workers))
        fake = type(worker)("keras_xf", worker.script, worker.settings)
        monkeypatch.setitem(WORKERS, name, fake)
    (tmp_path / "machine.py").write_text(MACHINE.format(workers=workers))
    monkeypatch.setattr(contestant, "WORKERS", tmp_path)
    return tmp_path


@pytest.fixture
def workers_beside(monkeypatch):
    """Workers import each other as plain files."""
    monkeypatch.syspath_prepend(str(contestant.WORKERS))


def test_it_measures_what_is_missing(fake_workers, capsys):
    path = fake_workers / "evaluation.jsonl"
    options = evaluation_speed.Options(
        lengths=(800, 200),
        segments=(20, 40),
        contestants=("keras_xf window",),
        rounds=1,
        seconds=0.01,
        max_seconds=0.05,
        results=str(path),
    )
    evaluation_speed.run(options)
    records = {
        (
            record["sizes"]["length"],
            record["sizes"]["segment_length"],
            record["contestant"],
        ): record
        for record in read_results(path)
    }
    window = "keras_xf window"
    # Windows take part once, and not where they take too long.
    assert list(records) == [
        (200, 20, "keras_xf"),
        (200, 20, window),
        (800, 20, "keras_xf"),
        (800, 20, window),
        (200, 40, "keras_xf"),
        (800, 40, "keras_xf"),
    ]
    assert records[800, 20, window]["error"] == "over 0.05 s"
    memory = records[200, 20, "keras_xf"]
    assert memory["case"] == "evaluation_12x256_200_20"
    assert memory["tokens"] == 20
    assert memory["seconds_per_token"] == memory["median_seconds"] / 20
    whole = records[200, 20, window]
    assert whole["tokens"] == 1
    assert whole["seconds_per_token"] == whole["median_seconds"]
    assert whole["flops"] > 5 * memory["flops"]
    assert whole["limit_seconds"] > memory["limit_seconds"]
    assert "### Evaluation, 12 layers of 256" in capsys.readouterr().out

    # All is there: nothing is measured again.
    options = {**vars(options), "missing": True}
    evaluation_speed.run(evaluation_speed.Options(**options))
    assert len(read_results(path)) == 6
    # Of another width nothing is.
    options = {**options, "hidden_dim": 512, "lengths": (200,)}
    evaluation_speed.run(evaluation_speed.Options(**options))
    assert len(read_results(path)) == 9


def test_options_are_checked():
    for arguments, message in (
        (
            {"segments": (4, 0)},
            "`segments` must be positive. Received: segments=(4, 0).",
        ),
        (
            {"lengths": (8, 4), "segments": (4,)},
            "`lengths` must be greater than `segments`. Received: "
            "lengths=(8, 4), segments=(4,).",
        ),
        (
            {"lengths": ()},
            "`lengths` must be greater than `segments`. Received: "
            "lengths=(), segments=(128, 32, 64, 256, 512).",
        ),
        *(
            ({name: 0}, f"`{name}` must be positive. Received: {name}=0.")
            for name in ("rounds", "seconds", "max_seconds", "max_gib")
        ),
    ):
        with pytest.raises(ValueError) as error:
            evaluation_speed.Options(**arguments)
        assert str(error.value) == message


def test_work_is_that_of_the_papers_formulas():
    case = evaluation_case(800, 128, windows=True)
    assert case.contestants == tuple(WORKERS)
    assert evaluation_case(800, 128, windows=False).contestants == tuple(
        MEMORY_WORKERS
    )
    dim, wide, layers, tokens = 256, 1024, 12, 256
    assert (dim, wide) == (SIZES["hidden_dim"], SIZES["intermediate_dim"])
    segment, memory, length = 128, 672, 800
    block = 4 * dim**2 + 2 * dim * wide
    kept = layers * (block + 3 * memory * dim) * segment
    work = contestant_work("keras_xf", case.sizes)
    assert work["flops"] == 2 * (kept + segment * tokens * dim) == case.flops
    assert work["read_bytes"] == case.read_bytes
    again = contestant_work("Hugging Face", case.sizes)
    # Keys and values of the memory, and distances of all keys.
    assert again["flops"] - work["flops"] == (
        2 * layers * (2 * memory + length) * dim**2
    )
    window = contestant_work("Model Garden window XLA", case.sizes)
    pairs = length * (length + 1) / 2
    assert window["flops"] == 2 * (
        layers * (length * (block + dim**2) + 3 * pairs * dim) + tokens * dim
    )
    absolute = contestant_work("keras_xf Transformer window", case.sizes)
    assert window["flops"] - absolute["flops"] == pytest.approx(
        2 * layers * (length * dim**2 + pairs * dim)
    )
    # The weights, and keys, values and distances, once.
    weights = layers * block + tokens * dim
    assert work["read_bytes"] == 4 * (
        weights + layers * dim * (2 * memory + length)
    )
    assert evaluation_work.evaluation_bytes(case.sizes, "absolute") == (
        4 * weights
    )


def record(name, length, segment, seconds, method="memory", **others):
    return {
        "case": f"evaluation_{length}_{segment}",
        "sizes": {
            "num_layers": 12,
            "hidden_dim": 256,
            "length": length,
            "segment_length": segment,
        },
        "contestant": name,
        "method": method,
        "time": "2026-01-01T00",
        "machine": {"processor": "P", "cores": 2, "clock": "wall"},
        "flops": 1e8,
        "read_bytes": 1e6,
        "product_flops_per_second": 1e11,
        "copy_bytes_per_second": 1e10,
        "median_seconds": 2 * seconds,
        "seconds_per_token": seconds,
        "peak_resident_bytes": 5 * 2**20,
        "resident_bytes_before": 2 * 2**20,
        **others,
    }


def test_tables_tell_ratios_speed_ups_and_segments():
    beyond = record("Theirs window", 1800, 128, 0, "window")
    del beyond["median_seconds"], beyond["seconds_per_token"]
    beyond |= {"error": "over 60 s", "beyond_limits": True}
    sessions = {
        "long": [record("keras_xf", 1800, 128, 0.004), beyond],
        "short": [
            record("keras_xf", 800, 128, 0.002),
            record("keras_xf XLA", 800, 128, 0.001),
            record("Theirs", 800, 128, 0.008),
            record("keras_xf window", 800, 128, 0.4, "window"),
            record("Theirs window", 800, 128, 1.6, "window"),
            record("keras_xf Transformer window", 800, 128, 0.06, "window"),
            record("keras_xf Transformer window XLA", 800, 128, 0.05, "window"),
        ],
        "other": [
            record("keras_xf", 800, 64, 0.004),
            record("Theirs", 800, 64, 0.004),
        ],
        "third": [record("keras_xf XLA", 800, 256, 0.0005)],
    }
    assert evaluation_tables(sessions) == (
        "### Evaluation, 12 layers of 256\n\n"
        "2026-01-01, P, cores: 2, clock: wall. Milliseconds a predicted "
        "token; in brackets how many times that of keras_xf and of keras_xf "
        "XLA, of a window that of keras_xf window and of keras_xf window "
        "XLA.\n\n"
        "| | 800, segment 128 | 1800, segment 128 |\n"
        "|---|---|---|\n"
        "| keras_xf | 2 (2.00) | 4 |\n"
        "| keras_xf XLA | 1 (0.50) |  |\n"
        "| Theirs | 8 (4.00, 8.00) |  |\n"
        "| keras_xf window | 400 |  |\n"
        "| Theirs window | 1600 (4.00) | over 60 s |\n"
        "| keras_xf Transformer window | 60 (0.15) |  |\n"
        "| keras_xf Transformer window XLA | 50 (0.12) |  |\n\n"
        "How many times faster a memory is than the window of the same kind, "
        "and what that is of the attention length; at last the fastest of "
        "keras_xf and keras_xf XLA with any segment beside other windows.\n\n"
        "| | 800, segment 128 | 1800, segment 128 |\n"
        "|---|---|---|\n"
        "| keras_xf | 200 (0.25) |  |\n"
        "| Theirs | 200 (0.25) |  |\n"
        "| beside keras_xf window | 800 (1.00), segment 256 |  |\n"
        "| beside keras_xf Transformer window | 100 (0.12), segment 256 |  |\n"
        "| the paper, one GPU | 363 (0.45) | 773 (0.43) |\n"
        "| 0.43 of the length | 344 | 774 |\n\n"
        "Of what the machine can do, in percent: operations at the rate of a "
        "product of matrices; bytes, of weights and memory, at that of a "
        "copy. And the peak of memory, MiB, less what there was before.\n\n"
        "| | 800, segment 128 | 1800, segment 128 |\n"
        "|---|---|---|\n"
        "| keras_xf | 25, 2.5; 3 | 12, 1.2; 3 |\n"
        "| keras_xf XLA | 50, 5; 3 |  |\n"
        "| Theirs | 6.2, 0.62; 3 |  |\n"
        "| keras_xf window | 0.12, 0.013; 3 |  |\n"
        "| Theirs window | 0.031, 0.0031; 3 |  |\n"
        "| keras_xf Transformer window | 0.83, 0.083; 3 |  |\n"
        "| keras_xf Transformer window XLA | 1, 0.1; 3 |  |\n\n"
        "Tokens a second with a memory, 12 layers of 256; in brackets beside "
        "the faster of keras_xf and keras_xf XLA.\n\n"
        "| attention length | segment | keras_xf | keras_xf XLA | Theirs |\n"
        "|---|---|---|---|---|\n"
        "| 800 | 64 | 250 (1.00) |  | 250 (1.00) |\n"
        "| 800 | 128 | 500 (0.50) | 1000 (1.00) | 125 (0.12) |\n"
        "| 800 | 256 |  | 2000 (1.00) |  |\n"
        "| 1800 | 128 | 250 (1.00) |  |  |"
    )


@pytest.mark.parametrize("method", ["memory", "hidden", "window"])
def test_our_worker_answers(method, workers_beside):
    worker = importlib.import_module("keras_evaluation")
    sizes = {**TINY, "implementation": "transformer_xl", "method": method}
    for xla in (False, True):
        call, facts = worker.prepare("agreement", {**sizes, "xla": xla})
        predicted = 1 if method == "window" else TINY["segment_length"]
        assert np.shape(facts["nll"]) == (TINY["pieces"], predicted)
        assert np.isfinite(call())


def test_the_base_transformer_answers(workers_beside):
    worker = importlib.import_module("keras_evaluation")
    sizes = {**TINY, "implementation": "transformer", "method": "window"}
    call, facts = worker.prepare("evaluation", {**sizes, "xla": False})
    assert np.isfinite(call())
    weights = evaluation_inputs.evaluation_weights(TINY)
    # Projected distances, biases for content and position, and the softmax's.
    more = np.size(weights["position"]) + 2 * 8 + 11
    # Biases of attention's projections, and a last norm.
    fewer = 2 * 4 * 8 + 2 * 8
    ours = evaluation_models.build_evaluated(
        {**sizes, "implementation": "transformer_xl"}, weights
    )
    assert ours.count_params() - facts["parameters"] == more - fewer


def test_a_memory_of_keys_is_one_of_hidden_states():
    weights = evaluation_inputs.evaluation_weights(TINY)
    told = {}
    for method in ("memory", "hidden"):
        sizes = {**TINY, "implementation": "transformer_xl", "method": method}
        model = evaluation_models.build_evaluated(sizes, weights)
        step, state = evaluation_models.evaluation_step(model, sizes)
        if method == "hidden":
            # Keys and values begin with nothing, not with zeros.
            state["memory_length"] = np.zeros(1, np.int32)

        def evaluate(token_ids, target_ids, step=step, keep=[state]):  # noqa: B006
            nll, keep[0] = step(token_ids, target_ids, keep[0])
            return nll

        _, facts = evaluation_inputs.prepare_evaluation(
            evaluate, "agreement", sizes, 0
        )
        told[method] = facts["nll"]
    np.testing.assert_allclose(
        told["memory"], told["hidden"], rtol=1e-4, atol=1e-5
    )


def test_all_evaluate_the_same_function():
    missing = []

    def ask(name):
        worker = WORKERS[name]
        try:
            environments.find_python(worker.environment)
        except ValueError as error:
            missing.append(str(error))
            return None
        process = Contestant(
            name,
            worker.environment,
            worker.script,
            "agreement",
            {**TINY, **worker.settings},
        )
        facts = process.facts["versions"]
        assert len(process.time(1)) == 1
        process.close()
        return facts

    names = ["keras_xf hidden states", "Hugging Face", "Model Garden XLA"]
    names += ["keras_xf window", "Hugging Face window", "Model Garden window"]
    # They take seconds to start.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        facts = dict(zip(names, pool.map(ask, names), strict=True))
    for first, *others in (names[:3], names[3:]):
        assert first in {**MEMORY_WORKERS, **WINDOW_WORKERS}
        for other in others:
            if facts[other] is None:
                continue
            assert facts[other]["parameters"] == facts[first]["parameters"]
            np.testing.assert_allclose(
                facts[other]["nll"],
                facts[first]["nll"],
                # Model Garden's norms add 1e-12 to the variance, not 1e-5.
                atol=1e-3 if "Garden" in other else 1e-5,
            )
    if missing:
        pytest.skip("; ".join(missing))
