"""From what a fleet's simulation noted to what a person wants to know. Pure.

Seconds come in; milliseconds and rounded numbers go out. Refused, with
`ValueError`: a percentile of nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

BINS = 60
"""Columns of a histogram at the most."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of ``ordered`` lies.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    3.0
    """
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return count, median, 99th percentile and most of ``seconds``; only the count of none."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50_ms": round(percentile(ordered, 0.5) * 1000, 2),
        "p99_ms": round(percentile(ordered, 0.99) * 1000, 2),
        "max_ms": round(ordered[-1] * 1000, 2),
    }


def histogram(seconds: Sequence[float], width: float) -> list[int]:
    """Return how many fall into each ``width`` s from 0 on; what lies before 0 into the first.

    >>> histogram([0.1, 0.2, 1.7], width=0.5)
    [2, 0, 0, 1]
    """
    counts = Counter(max(0, int(each / width)) for each in seconds)
    return [counts[number] for number in range(max(counts, default=-1) + 1)]


def width_for(longest: float) -> float:
    """Return a width of 0.1, 0.25, 0.5 s and so on, of which `BINS` reach ``longest`` s.

    >>> width_for(11.0)
    0.25
    """
    scale = 0.1
    while True:
        for factor in (1.0, 2.5, 5.0):
            if longest / (scale * factor) <= BINS:
                return round(scale * factor, 6)
        scale *= 10


def most_within(moments: Sequence[float], span: float) -> int:
    """Return how many of ``moments`` fall into the ``span`` s that has most of them.

    >>> most_within([0.0, 0.9, 1.0, 1.05, 5.0], span=0.2)
    3
    """
    ordered, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > span:
            first += 1
        most = max(most, last - first + 1)
    return most


def connecting(moments: Sequence[float], expected: int) -> dict[str, Any]:
    """Return how connections spread over the seconds since they were possible."""
    ordered = sorted(moments)
    if not ordered:
        return {"connected": 0, "expected": expected}
    width = width_for(ordered[-1])
    return {
        "connected": len(ordered),
        "expected": expected,
        "first_s": round(ordered[0], 3),
        "half_s": round(percentile(ordered, 0.5), 3),
        "all_s": round(ordered[-1], 3),
        "most_in_100_ms": most_within(ordered, 0.1),
        "most_in_1_s": most_within(ordered, 1.0),
        "bin_s": width,
        "histogram": histogram(ordered, width),
    }
