"""Compiled programs that run without TensorFlow, on a CPU or a GPU.

TensorFlow lowers a function to StableHLO for a platform, which need not be
there; `workers/run_lowered.py` compiles and runs that with JAX alone.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.workers import program_arrays
from keras_xf.checks import check
from keras_xf.files import sync
from keras_xf.ops.target_platform import PLATFORMS
from keras_xf.ops.target_platform import lowering_for
from keras_xf.version import __version__

BYTES = "program.mlirbc"
TEXT = "program.mlir"
ARGUMENTS = "arguments.npz"
DESCRIPTION = "description.json"
# Arguments' own names begin with their place.
_CONSTANT = "constant/"


@dataclasses.dataclass(frozen=True)
class LoweredProgram:
    """A function, lowered.

    Attributes:
        name: What it is called.
        platform: "CPU" or "GPU".
        stablehlo: The program as bytes, which readers somewhat older than
            TensorFlow's own do not take.
        text: The same as text, where some newer ones stumble over boolean
            constants.
        function: The same function, compiled for this machine: flat tensors
            in, a flat list out.
        arguments: Example values, NumPy arrays, in flat order.
        argument_names: A name for each.
        result_names: A name for each result.
        result_specs: A `tf.TensorSpec` for each result.
        feedback: Pairs of a result and the argument whose place it takes when
            the program is called again.
        notes: What else to tell those who run it, ready for JSON.
    """

    name: str
    platform: str
    stablehlo: bytes
    text: str
    function: Callable
    arguments: tuple[np.ndarray, ...]
    argument_names: tuple[str, ...]
    result_names: tuple[str, ...]
    result_specs: tuple[tf.TensorSpec, ...]
    feedback: tuple[tuple[int, int], ...]
    notes: Mapping

    def __call__(self, arguments: Sequence) -> list[np.ndarray]:
        """Runs the function here, with TensorFlow.

        Args:
            arguments: Values in the order of `argument_names`; those of
                constants are dropped, since the function holds its own.

        Returns:
            The results.
        """
        given = [
            value
            for name, value in zip(self.argument_names, arguments, strict=True)
            if not name.startswith(_CONSTANT)
        ]
        return [np.asarray(result) for result in self.function(*given)]


def lower(
    function: Callable,
    arguments: Sequence,
    *,
    platform: str = "CPU",
    name: str = "program",
    feedback: Mapping[int, int] | None = None,
    notes: Mapping | None = None,
) -> LoweredProgram:
    """Lowers a function of arrays.

    Args:
        function: A function of nests of tensors that returns a nest of
            tensors. Keras's variables must be among its arguments, see
            `pure_steps`.
        arguments: A nest of arrays, or of tensors, for each argument. Their
            shapes and dtypes are the program's.
        platform: What to lower for, "CPU" or "GPU".
        name: What to call the program.
        feedback: Which part of the results, by its place, becomes which
            argument when the program is called again: {1: 0} for a step from
            `(state, batch)` to `(loss, state)`.
        notes: What else to write into the description.

    Returns:
        The program.

    Raises:
        ValueError: If the platform is unknown, if the function uses variables
            that are not among its arguments, or if fed back parts differ in
            shape or dtype from the argument.
    """
    check(
        platform in PLATFORMS,
        f"`platform` must be one of {PLATFORMS}.",
        platform=platform,
    )
    arguments = keras.tree.map_structure(np.asarray, list(arguments))
    named = _flatten(arguments)
    structure = []

    def flat_function(*flat):
        results = function(*keras.tree.pack_sequence_as(arguments, flat))
        results = keras.tree.map_structure(tf.convert_to_tensor, results)
        structure[:] = _flatten(results)
        return [tensor for _, tensor in structure]

    specs = [tf.TensorSpec(array.shape, array.dtype) for _, array in named]
    compiled = tf.function(flat_function, jit_compile=True, autograph=False)
    with lowering_for(platform):
        concrete = compiled.get_concrete_function(*specs)
        compiler_ir = compiled.experimental_get_compiler_ir(*specs)
    captured = concrete.captured_inputs
    check(
        all(tensor.dtype != tf.resource for tensor in captured),
        "`function` must take its variables as arguments.",
        variables=[v.name for v in concrete.variables],
    )
    results = [
        (path, tf.TensorSpec(tensor.shape, tensor.dtype))
        for path, tensor in structure
    ]
    return LoweredProgram(
        name=name,
        platform=platform,
        stablehlo=compiler_ir(
            stage="stablehlo_serialized", platform_name=platform
        ),
        text=compiler_ir(stage="stablehlo", platform_name=platform),
        function=compiled,
        # Constants from outside are the last arguments of the program.
        arguments=(*(array for _, array in named), *map(np.asarray, captured)),
        argument_names=(
            *(_name(path) for path, _ in named),
            *(f"{_CONSTANT}{index}" for index in range(len(captured))),
        ),
        result_names=tuple(_name(path) for path, _ in results),
        result_specs=tuple(spec for _, spec in results),
        feedback=_pair(feedback or {}, named, results),
        notes=dict(notes or {}),
    )


def save(
    program: LoweredProgram,
    folder: str | Path,
    *,
    store_arguments: bool = True,
    with_expected: bool = True,
) -> Path:
    """Writes a program into a folder that replaces an earlier one.

    Args:
        program: The program.
        folder: Where; what stands there must be an earlier program.
        store_arguments: Whether to store the arguments. If not, small ones
            are stored all the same, and others drawn where the program runs,
            the same ones each time.
        with_expected: Whether to run the function here and write down what
            comes out, so that other machines can compare.

    Returns:
        The folder: the program, its arguments, and a description.

    Raises:
        ValueError: If something else stands at `folder`.
    """
    folder = Path(folder)
    check(
        not folder.exists() or (folder / DESCRIPTION).is_file(),
        "`folder` must be new or an earlier program's.",
        folder=str(folder),
    )
    descriptions = [
        program_arrays.describe_argument(name, array, store_arguments)
        for name, array in zip(
            program.argument_names, program.arguments, strict=True
        )
    ]
    stored = {
        program_arrays.stored_name(index): _as_bytes(array)
        for index, (array, description) in enumerate(
            zip(program.arguments, descriptions, strict=True)
        )
        if description["source"] == "file"
    }
    description = {
        "name": program.name,
        "platform": program.platform,
        "arguments": descriptions,
        "results": _describe_results(program, descriptions, with_expected),
        "feedback": [list(pair) for pair in program.feedback],
        "versions": {
            "keras_xf": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
        **program.notes,
    }
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    (aside / BYTES).write_bytes(program.stablehlo)
    (aside / TEXT).write_text(program.text, encoding="utf-8")
    np.savez(aside / ARGUMENTS, **stored)
    (aside / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
    for path in aside.iterdir():
        sync(path)
    shutil.rmtree(folder, ignore_errors=True)
    aside.replace(folder)
    sync(folder.parent)
    return folder


def _flatten(nest):
    return keras.tree.flatten_with_path(nest)


def _name(path):
    return "/".join(map(str, path))


def _pair(feedback, arguments, results):
    """Flat results and arguments that belong together, checked."""
    pairs = []
    for result_place, argument_place in feedback.items():
        taken, given = (
            [
                (index, path[1:], tuple(x.shape), tf.as_dtype(x.dtype))
                for index, (path, x) in enumerate(flat)
                if path[:1] == (place,)
            ]
            for flat, place in (
                (arguments, argument_place),
                (results, result_place),
            )
        )
        check(
            taken and [t[1:] for t in taken] == [g[1:] for g in given],
            "`feedback` must pair results and arguments that are alike.",
            feedback=feedback,
        )
        pairs += [(g[0], t[0]) for g, t in zip(given, taken, strict=True)]
    return tuple(pairs)


def _as_bytes(array):
    # What NumPy's files do not know as a number.
    is_known = array.dtype.kind in "biufc"
    return array if is_known else array.view(f"u{array.dtype.itemsize}")


def _describe_results(program, descriptions, with_expected):
    results = [
        {"name": name, "shape": list(spec.shape), "dtype": spec.dtype.name}
        for name, spec in zip(
            program.result_names, program.result_specs, strict=True
        )
    ]
    if with_expected:
        # With what will be drawn, not with what was given.
        stored = {
            program_arrays.stored_name(index): array
            for index, array in enumerate(program.arguments)
        }
        arrays = [
            program_arrays.make_argument(description, index, stored)
            for index, description in enumerate(descriptions)
        ]
        for result, array in zip(results, program(arrays), strict=True):
            result.update(program_arrays.summarize(array))
    return results
