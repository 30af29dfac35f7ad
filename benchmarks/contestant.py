"""A worker process that is asked for times."""

import dataclasses
import json
import math
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments
from benchmarks.workers import resident_memory
from keras_xf.launch import ProgramError

WORKERS = Path(__file__).parent / "workers"
# Beside two calls, to start and to compile.
PREPARING_SECONDS = 120.0
# Some 100 MiB are written in the meantime.
WATCH_SECONDS = 0.05


class ContestantError(ProgramError):
    """A worker that could not do what it was asked."""


class LimitError(ContestantError):
    """A worker that took more than it may.

    Args:
        message: What it took.
        peak_resident_bytes: The most memory that it was seen to have; 0 if it
            was not started.
    """

    def __init__(self, message: str, peak_resident_bytes: int = 0):
        super().__init__(message)
        self.peak_resident_bytes = peak_resident_bytes


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a contestant may take; one that takes more is ended.

    Attributes:
        call_seconds: Seconds of a call.
        resident_bytes: Bytes in memory, where the system tells them.
    """

    call_seconds: float = math.inf
    resident_bytes: float = math.inf


class Contestant:
    """One implementation of a case, in a process of its own.

    Args:
        name: What results call it.
        environment: Where it runs, see `environments.find_python`.
        script: File in `benchmarks/workers`.
        case: The case, as the script names it.
        sizes: The case's sizes and the contestant's own settings.
        variables: Environment variables beside those of this process.
        limits: What it may take.

    Raises:
        ContestantError: If it fails.
        LimitError: If it takes more than it may.
    """

    def __init__(
        self,
        name: str,
        environment: str,
        script: str,
        case: str,
        sizes: dict,
        variables: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ):
        limits = limits or Limits()
        self.name = name
        python = environments.find_python(environment)
        # Not a pipe, which would block the worker once it is full.
        self._told = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, WORKERS / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            encoding="utf-8",
            env={
                # TensorFlow tells which GPU it did not find.
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **os.environ,
                "PYTHONPATH": str(environments.ROOT),
                **(variables or {}),
            },
        )
        self._watch = _Watch(self._process, limits)
        self._watch.allow(2 * limits.call_seconds + PREPARING_SECONDS)
        self.facts = self._ask(do="prepare", case=case, sizes=sizes)
        self._watch.allow(math.inf)
        if self.facts["seconds"] > limits.call_seconds:
            self.close()
            raise LimitError(self._watch.over_seconds, self._watch.peak)

    def time(self, calls: int) -> list[float]:
        """Seconds of each of some calls, after one that is not counted."""
        return self._ask(do="time", calls=calls)["seconds"]

    def memory(self) -> dict:
        """Resident bytes now, and their peak so far."""
        return self._ask(do="memory")

    def close(self) -> None:
        """Ends the process."""
        self._watch.end()
        self._process.kill()
        self._process.communicate()
        self._told.close()

    def _ask(self, **request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            self._told.seek(0)
            told = self._told.read().decode(errors="replace").splitlines()
            self.close()
            if self._watch.reason is not None:
                raise LimitError(self._watch.reason, self._watch.peak)
            raise ContestantError("\n".join([*told[-40:], answer["error"]]))
        return answer


class _Watch:
    """Ends a process that takes more than it may."""

    def __init__(self, process, limits):
        self.reason = None
        self.peak = 0
        self.over_seconds = f"over {limits.call_seconds:g} s"
        self._process = process
        self._max_bytes = limits.resident_bytes
        self._deadline = math.inf
        self._ended = threading.Event()
        if limits != Limits():
            threading.Thread(target=self._run, daemon=True).start()

    def allow(self, seconds):
        """From now on."""
        self._deadline = time.monotonic() + seconds

    def end(self):
        self._ended.set()

    def _run(self):
        while self._process.poll() is None:
            if self._ended.wait(WATCH_SECONDS):
                return
            if time.monotonic() > self._deadline:
                self.reason = self.over_seconds
            resident = resident_memory.resident_bytes(self._process.pid) or 0
            self.peak = max(self.peak, resident)
            if resident > self._max_bytes:
                gib = self._max_bytes / 2**30
                self.reason = f"out of memory: more than {gib:g} GiB"
            if self.reason is not None:
                self._process.kill()
                return
