"""What all trainings of Sonnet's example have in common.

Batches, first weights and the loop, so that nothing but the implementation
differs. It needs NumPy alone.
"""

import json
import math
import os
import pathlib
import sys
import time

import numpy as np

# Convolutions of the example: size, inputs, outputs, transposed or not.
CONVOLUTIONS = {
    "encoder/halving_0": (4, 3, 64, False),
    "encoder/halving_1": (4, 64, 128, False),
    "encoder/middle": (3, 128, 128, False),
    "encoder/block_0_inner": (3, 128, 32, False),
    "encoder/block_0_outer": (1, 32, 128, False),
    "encoder/block_1_inner": (3, 128, 32, False),
    "encoder/block_1_outer": (1, 32, 128, False),
    "encoder/vectors": (1, 128, 64, False),
    "decoder/middle": (3, 64, 128, False),
    "decoder/block_0_inner": (3, 128, 32, False),
    "decoder/block_0_outer": (1, 32, 128, False),
    "decoder/block_1_inner": (3, 128, 32, False),
    "decoder/block_1_outer": (1, 32, 128, False),
    "decoder/doubling_1": (4, 128, 64, True),
    "decoder/doubling_0": (4, 64, 3, True),
}
NUM_CODES, CODE_DIM = 512, 64
# Steps of which the mean is told.
TOLD = 100


def initial_weights(seed: int) -> dict[str, np.ndarray]:
    """First weights, drawn as Sonnet draws them.

    Args:
        seed: Their seed.

    Returns:
        Kernels `(size, size, inputs, outputs)` by the names of
        `CONVOLUTIONS`, of transposed ones `(size, size, outputs, inputs)`, and
        `codes`, `(NUM_CODES, CODE_DIM)`. Biases are zeros.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name, (size, inputs, outputs, transposed) in CONVOLUTIONS.items():
        channels = (outputs, inputs) if transposed else (inputs, outputs)
        kernel = generator.standard_normal((size, size, *channels))
        while np.any(far := np.abs(kernel) > 2):
            kernel[far] = generator.standard_normal(far.sum())
        kernel /= math.sqrt(size**2 * inputs)
        weights[name] = kernel.astype("float32")
    limit = math.sqrt(3 / CODE_DIM)
    codes = generator.uniform(-limit, limit, (NUM_CODES, CODE_DIM))
    return weights | {"codes": codes.astype("float32")}


def batch(images: np.ndarray, step: int, size: int, seed: int) -> np.ndarray:
    """The images of a training step, whatever came before.

    Args:
        images: uint8 `(number, height, width, channels)`.
        step: The step, from 0 on.
        size: Images of a step.
        seed: Seed of the order, another one in each pass.

    Returns:
        Float32 `(size, height, width, channels)` in `[0, 1]`.
    """
    steps = len(images) // size
    order = np.random.default_rng([seed, step // steps])
    rows = order.permutation(len(images))[step % steps * size :][:size]
    return images[rows].astype("float32") / 255


def train(make) -> None:
    """Trains as the JSON file says that is named on the command line.

    It goes on where it was, if it has been cut off. Each `TOLD` steps a line
    of `curve.jsonl` tells the means since the last one.

    Args:
        make: Function of settings, first weights and the variance of the data.
            It returns a function of a batch, which makes a step and returns
            reconstruction error and perplexity; one that returns all
            variables, all of them after a step; and a dict of versions.
    """
    settings = json.loads(pathlib.Path(sys.argv[1]).read_text())
    run_dir = pathlib.Path(settings["run_dir"])
    images = np.load(settings["images"], mmap_mode="r")
    weights = initial_weights(settings["seed"])
    step, variables, versions = make(settings, weights, settings["variance"])
    (run_dir / "versions.json").write_text(json.dumps(versions))

    def batch_of(number):
        return batch(images, number, settings["batch_size"], settings["seed"])

    done, spent = _resume(run_dir, lambda: step(batch_of(0)), variables)
    found, begin = [], _clocks()
    while done < settings["steps"]:
        found.append([float(value) for value in step(batch_of(done))])
        done += 1
        if done % TOLD == 0:
            end = _clocks()
            spent += end - begin
            begin = end
            error, perplexity = np.mean(found, axis=0)
            found = []
            line = {
                "step": done,
                "reconstruction_error": error,
                "perplexity": perplexity,
                "seconds": spent[0],
                "processor_seconds": spent[1],
            }
            _save(run_dir, line, variables())


def _clocks():
    # The second does not count other work of the machine.
    return np.array([time.perf_counter(), time.process_time()])


def _save(run_dir, line, variables):
    # First the line: one whose state was lost is dropped by `_resume`, but a
    # state without its line would leave a gap.
    with (run_dir / "curve.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    values = {str(i): np.asarray(v) for i, v in enumerate(variables)}
    aside = run_dir / ".state.npz"
    spent = [line["seconds"], line["processor_seconds"]]
    np.savez(aside, done=line["step"], spent=spent, **values)
    aside.replace(run_dir / "state.npz")


def _resume(run_dir, first_step, variables):
    """Steps that are done, and their times; the state is what it was."""
    done, spent = _restore(run_dir, first_step, variables)
    curve = run_dir / "curve.jsonl"
    if curve.exists():
        aside = run_dir / ".curve.jsonl"
        aside.write_text("".join(_whole_lines(curve, done)))
        aside.replace(curve)
    return done, spent


def _whole_lines(curve, done):
    """Lines up to a step, but for one that was cut off."""
    for line in curve.read_text().splitlines(keepends=True):
        if line.endswith("\n") and json.loads(line)["step"] <= done:
            yield line


def _restore(run_dir, first_step, variables):
    if not (run_dir / "state.npz").exists():
        return 0, np.zeros(2)
    # Optimizers make their variables in the first step.
    first_step()
    with np.load(run_dir / "state.npz") as state:
        for index, variable in enumerate(variables()):
            variable.assign(state[str(index)])
        return int(state["done"]), state["spent"]
