"""Tests of benchmarks.lowering, and of the script that runs its programs."""

import json
import subprocess

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import environments
from benchmarks import lowered_programs
from benchmarks.lowering import lower
from benchmarks.lowering import save
from benchmarks.program_cases import CASES
from benchmarks.program_cases import lower_case
from benchmarks.workers import program_arrays

SIZES = {
    "vocabulary_size": 7,
    "num_layers": 1,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 12,
    "dropout": 0.0,
    "batch_size": 3,
    "length": 6,
    "dtype": "float32",
}


def affine(state, batch):
    """A step with a seam on each side: nests, constants, several dtypes."""
    offset = tf.cast(batch["offset"], "float32")
    matrix = state["matrix"] + CONSTANT
    return tf.reduce_sum(matrix), {
        "matrix": 0.5 * matrix @ matrix + offset,
        "count": state["count"] + 1,
    }


# Made before a function that takes it up, so that it is no part of it.
CONSTANT = tf.constant([[1.0, -2.0], [0.5, 1.5]])
ARGUMENTS = (
    {
        "matrix": np.array([[1.0, 2.0], [3.0, 4.0]], "float32"),
        "count": np.int64(2**40),
    },
    {"offset": np.array([1.5, -1.5], ml_dtypes.bfloat16)},
)


@pytest.fixture(scope="module")
def affine_program():
    return lower(
        affine,
        ARGUMENTS,
        platform="GPU",
        name="affine",
        feedback={1: 0},
        notes={"sizes": {"dim": 2}},
    )


@pytest.fixture(scope="module")
def programs(affine_program):
    half = {**SIZES, "dtype": "mixed_bfloat16"}
    return {
        "affine": affine_program,
        "step": lower_case("training_step", SIZES, "GPU"),
        "decoding": lower_case("decode_step", SIZES, "CPU"),
        "half": lower_case("attention", half, "GPU"),
    }


def description_of(folder):
    return json.loads((folder / "description.json").read_text())


def test_flat_order_and_names(affine_program):
    assert affine_program.argument_names == (
        "0/count",
        "0/matrix",
        "1/offset",
        "constant/0",
    )
    assert affine_program.result_names == ("0", "1/count", "1/matrix")
    assert affine_program.feedback == ((1, 0), (2, 1))
    assert [array.dtype.name for array in affine_program.arguments] == [
        "int64",
        "float32",
        "bfloat16",
        "float32",
    ]
    # The compiler's own opinion of the same.
    main = next(
        line for line in affine_program.text.splitlines() if "@main" in line
    )
    types = [part.split(">")[0] for part in main.split("tensor<")[1:]]
    assert types == [
        *("i64", "2x2xf32", "2xbf16", "2x2xf32"),
        *("f32", "i64", "2x2xf32"),
    ]
    assert affine_program.stablehlo.startswith(b"ML\xefR")


def test_saved_description_matches_the_program(affine_program, tmp_path):
    folder = save(affine_program, tmp_path / "affine")
    assert [path.name for path in tmp_path.iterdir()] == ["affine"]
    description = description_of(folder)
    assert description["name"] == "affine"
    assert description["platform"] == "GPU"
    assert description["sizes"] == {"dim": 2}
    assert description["feedback"] == [[1, 0], [2, 1]]
    assert description["versions"]["tensorflow"] == tf.__version__
    with np.load(folder / "arguments.npz") as stored:
        arrays = [
            program_arrays.make_argument(argument, index, stored)
            for index, argument in enumerate(description["arguments"])
        ]
    for array, argument in zip(arrays, affine_program.arguments, strict=True):
        assert array.dtype == argument.dtype
        np.testing.assert_array_equal(array, argument)
    # What came out here when it was saved.
    results = keras.tree.flatten(affine(*ARGUMENTS))
    comparison = program_arrays.compare_results(
        description["results"], [np.asarray(result) for result in results]
    )
    assert comparison["deviation"]["largest"] < 1e-6
    assert (folder / "program.mlirbc").read_bytes() == affine_program.stablehlo
    assert (folder / "program.mlir").read_text() == affine_program.text


def test_arguments_may_be_drawn_instead_of_stored(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(80, 80)).astype("float32")
    program = lower(lambda x, y: tf.linalg.trace(x) + y, [matrix, matrix[0]])
    save(program, tmp_path / "stored")
    assert len(np.load(tmp_path / "stored" / "arguments.npz")) == 2
    folder = save(program, tmp_path / "drawn", store_arguments=False)
    description = description_of(folder)
    with np.load(folder / "arguments.npz") as stored:
        assert list(stored) == ["argument_0001"]
        drawn = program_arrays.make_argument(
            description["arguments"][0], 0, stored
        )
    # What is expected is of the numbers that will be drawn.
    expected = program_arrays.summarize(np.trace(drawn) + matrix[0])
    (result,) = description["results"]
    assert result["norm"] == pytest.approx(expected["norm"], rel=1e-5)
    original = program_arrays.summarize(np.trace(matrix) + matrix[0])
    assert result["norm"] != pytest.approx(original["norm"], rel=1e-3)
    folder = save(program, tmp_path / "drawn", with_expected=False)
    assert "norm" not in description_of(folder)["results"][0]


def test_nothing_but_a_program_is_replaced(affine_program, tmp_path):
    (tmp_path / "precious").write_text("text")
    with pytest.raises(ValueError) as error:
        save(affine_program, tmp_path)
    assert str(error.value) == (
        "`folder` must be new or an earlier program's. "
        f"Received: folder={str(tmp_path)!r}."
    )
    assert (tmp_path / "precious").read_text() == "text"


def test_errors_of_lowering():
    x = np.ones(3, "float32")
    with pytest.raises(ValueError) as error:
        lower(tf.identity, [x], platform="TPU")
    assert str(error.value) == (
        "`platform` must be one of ('CPU', 'GPU'). Received: platform='TPU'."
    )
    variable = tf.Variable(x, name="weights")
    with pytest.raises(ValueError) as error:
        lower(lambda x: x + variable, [x])
    assert str(error.value) == (
        "`function` must take its variables as arguments. "
        "Received: variables=['weights:0']."
    )
    for function, feedback in (
        (lambda x: (x, x[:2]), {1: 0}),
        (lambda x: (x, tf.cast(x, "int32")), {1: 0}),
        (lambda x: (x, {"other": x}), {1: 0}),
        (lambda x: (x, x), {2: 0}),
        (lambda x: (x, x), {0: 1}),
    ):
        with pytest.raises(ValueError) as error:
            lower(function, [x], feedback=feedback)
        assert str(error.value) == (
            "`feedback` must pair results and arguments that are alike. "
            f"Received: feedback={feedback!r}."
        )


def test_cases_count_their_operations():
    # 4 d^2 + 2 d w weights a block, and the logits', of 3 * 6 tokens; queries
    # and keys of 3 * 6 * 7 / 2 pairs; thrice, for the gradients.
    weights = 4 * 8**2 + 2 * 8 * 12 + 7 * 8
    step = 3 * (2 * weights * 18 + 4 * 63 * 8)
    expected = {
        "training_step": step,
        "stock_training_step": step,
        "decode_step": 2 * weights * 3 + 4 * 3 * 6 * 8,
        "attention": 3 * 4 * 63 * 8,
    }
    assert {
        name: CASES[name](SIZES)["notes"]["flops"] for name in expected
    } == expected


def test_program_of_a_case_has_its_sizes(programs):
    program = programs["decoding"]
    assert program.name == "decode_step_cpu_6"
    assert program.notes["case"] == "decode_step"
    assert program.notes["sizes"] == SIZES
    assert program.feedback == ()
    assert programs["step"].notes["torch_peer"] == "training_step"
    # Loss and variables; the batch is not fed back.
    num_results = len(programs["step"].result_names)
    assert len(programs["step"].feedback) == num_results - 1


@pytest.fixture(scope="module")
def jax_python():
    try:
        return environments.find_python("jax")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def run_under_jax(jax_python, programs, tmp_path_factory):
    """Records and the folder of results of all programs, of one process."""
    root = tmp_path_factory.mktemp("programs")
    folders = [save(program, root / name) for name, program in programs.items()]
    done = subprocess.run(
        [
            jax_python,
            lowered_programs.RUNNER,
            *folders,
            "--repeats=2",
            "--min_seconds=0",
            "--rates=false",
            f"--results={root / 'results.jsonl'}",
            f"--save_results={root / 'results'}",
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (root / "results.jsonl").read_text() == done.stdout
    records = map(json.loads, done.stdout.splitlines())
    return dict(zip(programs, records, strict=True)), root / "results"


def test_lowered_programs_run_under_jax_as_here(programs, run_under_jax):
    records, results = run_under_jax
    for name, program in programs.items():
        record = records[name]
        assert record["program"] == program.name
        assert record["lowered_for"] == program.platform
        assert record["is_finite"], name
        half = 0.02 if name == "half" else 0.0
        assert record["deviation"]["median"] <= 1e-5 + half, name
        expected = program(program.arguments)
        with np.load(results / f"{name}.npz") as arrays:
            assert len(arrays) == len(expected)
            for result, one in zip(program.result_names, expected, strict=True):
                array = arrays[result].view(one.dtype).astype("float64")
                # Adam makes steps of 0.001 even where the gradient, of the
                # bias of the keys, is nothing but rounding errors.
                noise = 2.5e-3 if "/trainable/" in result else 1e-5
                np.testing.assert_allclose(
                    array,
                    one.astype("float64"),
                    rtol=1e-4 + half,
                    atol=noise + half,
                    err_msg=f"{name} {result}",
                )


def test_compiled_memory_is_told(programs, run_under_jax):
    records, _ = run_under_jax
    for name, program in programs.items():
        memory = records[name]["memory"]
        arguments = sum(array.nbytes for array in program.arguments)
        assert memory["argument"] == arguments, name
    # Attention keeps its weights, of all heads, for the gradients at least.
    assert records["half"]["memory"]["temp"] >= 2 * 3 * 2 * 6 * 6


def test_step_goes_on_with_its_own_results(programs, run_under_jax):
    records, _ = run_under_jax
    for name in ("step", "affine"):
        program, record = programs[name], records[name]
        arguments = list(program.arguments)
        # One to compare, one for the peak, two to warm up, two samples.
        assert record["calls"] == 6
        for _ in range(record["calls"]):
            results = program(arguments)
            for given, taken in program.feedback:
                arguments[taken] = results[given]
        assert record["last_loss"] == pytest.approx(results[0], rel=1e-4)
    assert "last_loss" not in records["decoding"]


def test_time_is_told(run_under_jax):
    records, _ = run_under_jax
    for record in records.values():
        seconds = record["seconds"]
        assert seconds["samples"] == 2
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]


def test_rates_of_the_device(jax_python):
    sizes = {"float32": [64], "bfloat16": [32], "copy": [2**16]}
    done = subprocess.run(
        [
            jax_python,
            "-c",
            "import device_rates, json, sys;"
            "sizes = json.loads(sys.argv[1]);"
            "rates = device_rates.measure('cpu', sizes, repeats=1);"
            "print(json.dumps(rates))",
            json.dumps(sizes),
        ],
        cwd=lowered_programs.RUNNER.parent,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rates = json.loads(done.stdout)
    products = rates["product_flops_per_second"]
    assert set(products) == {"float32", "float32 highest", "bfloat16"}
    assert min(*products.values(), rates["copy_bytes_per_second"]) > 0
    assert rates["by_size"]["float32 64"] == products["float32"]
