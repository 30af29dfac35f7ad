"""Runs of programs in processes that need no start of TensorFlow."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def program_server(module):
    """Starts a module that calls `training_program.serve`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        # A GPU would be taken by the process of the tests.
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "-1",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.stdin.close()


def run_program(server, log, argv):
    """Runs a command line, and returns its exit code and what it said.

    Args:
        server: What `program_server` gave.
        log: The file for what it says.
        argv: The command line, without the program's name.
    """
    command = {"argv": argv, "log": str(log)}
    server.stdin.write(json.dumps(command) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline()), log.read_text()
