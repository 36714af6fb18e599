"""How the benchmarks measure: pinned to one core, medians, a baseline in the same run."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
