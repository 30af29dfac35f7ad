"""Where contestants run: our own environment, or a peer's."""

import os
import platform
import sys
from pathlib import Path

from keras_xf.checks import check

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers"
OURS = "keras_xf"


def find_python(environment: str) -> Path:
    """Finds an environment's interpreter.

    Args:
        environment: "keras_xf" for the one that runs this, else a name that
            `make peers` makes an environment for.

    Raises:
        ValueError: If it has not been made.
    """
    if environment == OURS:
        return Path(sys.executable)
    python = PEERS / environment / "bin" / "python"
    check(
        python.exists(),
        "`environment` must have been made by `make peers`.",
        environment=environment,
        path=str(python),
    )
    return python


def describe_machine() -> dict:
    """What a figure depends on beside the code, ready for JSON."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
        ),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "clock": os.environ.get("BENCHMARKS_CLOCK", "wall"),
        "load_before": round(os.getloadavg()[0], 2),
        # Whatever is set for the number of threads; none as a rule.
        "thread_settings": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.endswith("_NUM_THREADS")
            or name.startswith("TF_NUM_")
            or name in ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")
        },
    }


def _processor():
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    fields = dict(
        map(str.strip, line.split(":", 1))
        for line in path.read_text().split("\n\n")[0].splitlines()
        if ":" in line
    )
    name = fields.get("model name", platform.processor())
    flags = fields.get("flags", "").split()
    widest = [flag for flag in ("amx_bf16", "avx512f", "avx2") if flag in flags]
    return f"{name}, {widest[0]}" if widest else name
