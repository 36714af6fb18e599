"""How the benchmarks measure: pinned to one core, medians, a baseline in the same run."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any


@contextmanager
def pinned() -> Iterator[None]:
    """Run on one core: an idle core's wake-up alone costs ten times the work."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


WORKERS = Path("/sys/devices/virtual/workqueue/cpumask")
"""On which cores the kernel does what it has put off; a hexadecimal mask, which root may change."""


@contextmanager
def workers_pinned() -> Iterator[bool]:
    """Have the kernel's workers on the cores that this process has; tell whether they are.

    What is written to a pty is carried by one of them. On another core, which is idle, it
    takes longer to wake than everything that is measured here. Nobody but root may say so;
    it is taken back in the end, unless that is a SIGKILL.
    """
    mask = sum(1 << core for core in os.sched_getaffinity(0))
    before = WORKERS.read_text() if WORKERS.exists() else ""
    # Before anything is changed, so that no signal finds it changed for good.
    with ended_by_terminate():
        try:
            yield _has_written(cpu_mask(mask))
        finally:
            _has_written(before)


def _has_written(mask: str) -> bool:
    """Have the kernel's workers on the cores of ``mask``; tell whether that was allowed."""
    if not WORKERS.exists():
        return False
    try:
        WORKERS.write_text(mask)
    except OSError:
        return False
    return True


def cpu_mask(mask: int) -> str:
    """Return ``mask`` as the kernel reads it: hexadecimal, a comma every 32 bits.

    >>> cpu_mask(0b10), cpu_mask(1 << 35)
    ('00000002', '00000008,00000000')
    """
    words = f"{mask:x}"
    words = words.zfill(-(-len(words) // 8) * 8)
    return ",".join(words[begin : begin + 8] for begin in range(0, len(words), 8))


@contextmanager
def ended_by_terminate() -> Iterator[None]:
    """Have SIGTERM end this process as Ctrl-C does, so that what is to be taken back is."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, in microseconds."""
    ordered = sorted(seconds)
    return {
        "median_us": round(median(ordered) * 1e6, 2),
        "p99_us": round(ordered[int(len(ordered) * 0.99)] * 1e6, 2),
    }


def ratio(job: list[list[float]], baseline: list[list[float]]) -> float:
    """Return the median, over all turns, of a job's median over its baseline's."""
    turns = zip(job, baseline, strict=True)
    return round(median(median(turn) / median(base) for turn, base in turns), 2)


def arguments(description: str, *, rounds: int = 5000) -> argparse.Namespace:
    """Parse what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"exchanges of each kind ({rounds})"
    )
    return parser.parse_args()


def show(result: dict[str, Any], *, as_json: bool) -> None:
    """Print a result for programs, or for people."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for inner, figure in value.items():
                print(f"  {inner:34} {figure}")
        else:
            print(f"{name:36} {value}")
