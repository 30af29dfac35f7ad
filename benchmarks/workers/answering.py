"""Answers the runner's requests, one JSON object a line.

Workers run in the environments of peers, so this is the standard library alone.

    {"do": "prepare", "case": name, "sizes": {...}}
        -> {"versions": {...}, "seconds": time of the first call,
            "prepare_seconds": time of all preparation,
            "resident_bytes": before it}
    {"do": "time", "calls": number}
        -> {"seconds": [time of each call]}, after one that is not counted
            unless calls are long
    {"do": "memory"} -> {"resident_bytes": now, "peak_resident_bytes": so far}

What goes wrong is answered by {"error": message}. The process ends when its
input does.

With `BENCHMARKS_CLOCK=processor` times are those that the processor worked, not
those that passed: they tell what one thread needs where others take turns.
"""

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable

import resident_memory

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
clock = CLOCKS[os.environ.get("BENCHMARKS_CLOCK", "wall")]
# What takes so long is not done another time only to warm up.
LONG_SECONDS = 2.0


def answer(prepare: Callable) -> None:
    """Answers requests until there are no more.

    Args:
        prepare: A function of a case's name and its dict of sizes. Returns
            `(call, versions)`: a function without arguments that does the work
            once and waits for it, and a dict of versions to record.
    """
    # Whatever the libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    call, seconds = None, 0.0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                call, result = _prepare(prepare, request)
                seconds = result["seconds"]
            elif request["do"] == "time":
                times = _time(call, request["calls"], seconds)
                result = {"seconds": times}
            else:
                result = {
                    "resident_bytes": resident_memory.resident_bytes(),
                    "peak_resident_bytes": (
                        resident_memory.peak_resident_bytes()
                    ),
                }
        except Exception as error:
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


def _prepare(prepare, request):
    resident = resident_memory.resident_bytes()
    start = clock()
    call, versions = prepare(request["case"], request["sizes"])
    # The first call compiles, the second may still allocate.
    call()
    seconds = 0.0
    for _ in range(2):
        if seconds < LONG_SECONDS:
            prepared = clock()
            call()
            seconds = clock() - prepared
    return call, {
        "versions": versions,
        "seconds": seconds,
        "prepare_seconds": prepared - start,
        "resident_bytes": resident,
    }


def _time(call, num_calls, seconds_of_one):
    # The caches hold what another process left there, and garbage would be
    # collected at times of its own.
    gc.collect()
    gc.disable()
    try:
        if seconds_of_one < LONG_SECONDS:
            call()
        seconds = []
        for _ in range(num_calls):
            start = clock()
            call()
            seconds.append(clock() - start)
    finally:
        gc.enable()
    return seconds
