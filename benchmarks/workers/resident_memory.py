"""Resident memory of this process, by the standard library alone.

Workers load it as a plain file beside them, in environments of others.
"""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def resident_bytes(process_id: int | None = None) -> int | None:
    """Bytes of a process in memory now; None where no one can tell.

    Args:
        process_id: The process; this one if None.
    """
    return _from_status("VmRSS", process_id)


def peak_resident_bytes() -> int | None:
    """The most bytes that this process had in memory at once.

    Since its start, or since `reset_peak`. None where no one can tell.
    """
    # First: `getrusage` goes on from what the parent had at the fork, and
    # knows of no reset.
    peak = _from_status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes everywhere but there.
    return peak if sys.platform == "darwin" else 1024 * peak


def reset_peak() -> bool:
    """Begins the peak anew from what is in memory now.

    Returns:
        Whether it could be done: only Linux can, and containers may forbid
        it. Without, the peak stays that of the whole process.
    """
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    # Sandboxes accept the write and ignore it.
    peak, now = peak_resident_bytes(), resident_bytes()
    return None not in (peak, now) and peak < 1.1 * now + 2**20


def _from_status(field, process_id=None):
    path = _STATUS
    if process_id is not None:
        path = path.parent.with_name(str(process_id)) / path.name
    try:
        lines = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    return None
