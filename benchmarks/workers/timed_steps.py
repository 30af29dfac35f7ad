"""Steps that are called again and again, and timed in turns."""

import importlib
import statistics
import time

import jax


class ProgramStep:
    """A program whose results are fed back where told.

    Args:
        program: A `stablehlo_program.StableHloProgram`.
        arguments: Its arguments, on the device.
        feedback: Pairs of a result and the argument whose place it takes.
    """

    def __init__(self, program, arguments: list, feedback: list):
        self.results = None
        self.num_calls = 0
        self._program = program
        self._arguments = list(arguments)
        self._feedback = feedback

    def call(self) -> list:
        """Starts one call and returns its results."""
        self.results = self._program(self._arguments)
        self.num_calls += 1
        for given, taken in self._feedback:
            self._arguments[taken] = self.results[given]
        return self.results

    def sample(self, calls: int) -> float:
        """Seconds of a call, of several in a row, each waited for."""
        start = time.perf_counter()
        for _ in range(calls):
            # As torch's, whose loss is read each time.
            jax.block_until_ready(self.call())
        return (time.perf_counter() - start) / calls


class TorchStep:
    """The peer of a program, from one of the scripts beside this.

    Args:
        peer: A dict of `script`, the file without `.py`, `case`, as that
            names it, and `settings` beside the sizes; or the name of a case
            of `torch_layers.py`.
        sizes: Its sizes.
        device_platform: What JAX calls the device, "cpu" or "gpu".
    """

    def __init__(self, peer: dict | str, sizes: dict, device_platform: str):
        import torch

        if isinstance(peer, str):
            peer = {
                "script": "torch_layers",
                "case": peer,
                "settings": {"compiled": False},
            }
        is_gpu = device_platform == "gpu"
        if is_gpu:
            # What XLA's default precision is there.
            torch.set_float32_matmul_precision("high")
        script = importlib.import_module(peer["script"])
        self._call, self.versions = script.prepare(
            peer["case"],
            {
                **sizes,
                **peer["settings"],
                "device": "cuda" if is_gpu else "cpu",
            },
        )

    def sample(self, calls: int) -> float:
        """Seconds of a call, of several in a row."""
        start = time.perf_counter()
        for _ in range(calls):
            self._call()
        return (time.perf_counter() - start) / calls


def time_in_turns(steps: dict, repeats: int, min_seconds: float) -> dict:
    """Samples all, one after the other in each round.

    Args:
        steps: What to time, by name.
        repeats: Samples of each.
        min_seconds: About how long a sample takes at least.

    Returns:
        For each step a dict of seconds of a call, `median`, `quartiles`, `min`
        and `max`, and of `samples` and `calls_a_sample`.
    """
    samples = {name: [] for name in steps}
    calls = {}
    for name, step in steps.items():
        step.sample(1)
        calls[name] = max(1, round(min_seconds / step.sample(1)))
    for _ in range(repeats):
        for name, step in steps.items():
            samples[name].append(step.sample(calls[name]))
    return {
        name: {**_spread(seconds), "calls_a_sample": calls[name]}
        for name, seconds in samples.items()
    }


def _spread(seconds):
    low, median, high = (
        statistics.quantiles(seconds, n=4, method="inclusive")
        if len(seconds) > 1
        else 3 * seconds
    )
    return {
        "median": median,
        "quartiles": [low, high],
        "min": min(seconds),
        "max": max(seconds),
        "samples": len(seconds),
    }
