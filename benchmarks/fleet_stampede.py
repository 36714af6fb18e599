"""How a fleet comes back after an outage, as far as the back-off alone decides that.

No broker and no clock: the gateway's own `gateway.backoff.Backoff` for each node, and a
broker that takes so many connections each second and refuses the rest, which then
wait longer. A million nodes are modelled by five thousand at a two-hundredth of the
broker's rate. Not in it: what an attempt itself takes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from gateway.backoff import Backoff

NODES = 5_000


class Return(NamedTuple):
    """When each node was back, in seconds after the broker was; and all attempts since then."""

    moments: list[float]
    attempts: int
    most_attempts_in_1_s: int


def come_back(
    nodes: int,
    *,
    outage: float,
    per_second: int,
    first: float,
    ceiling: float,
    random: Random,
) -> Return:
    """Have ``nodes`` lose their broker at once and find it again ``outage`` s later."""
    backoffs = [Backoff(first, ceiling, random) for _ in range(nodes)]
    due = [(backoff.next(), number) for number, backoff in enumerate(backoffs)]
    heapq.heapify(due)
    moments: list[float] = []
    taken: Counter[int] = Counter()
    tried: Counter[int] = Counter()
    while due:
        now, number = due[0]
        second = int(now - outage)
        if now >= outage:
            tried[second] += 1
            if taken[second] < per_second:
                taken[second] += 1
                moments.append(now - outage)
                heapq.heappop(due)
                continue
        heapq.heapreplace(due, (now + backoffs[number].next(), number))
    return Return(moments, tried.total(), max(tried.values()))


class Longest(Random):
    """Draws the longest wait each time, as a back-off without jitter would."""

    def uniform(self, a: float, b: float) -> float:
        return b


def million(*, outage: float, per_second: int, first: float, ceiling: float) -> dict[str, Any]:
    """Return how a million nodes come back, with jitter and without."""
    scale = 1_000_000 // NODES
    found: dict[str, Any] = {
        "outage_s": outage,
        "broker_takes_per_s": per_second,
        "retry_first_s": first,
        "retry_ceiling_s": ceiling,
    }
    for name, random in (("jitter", Random(1)), ("no_jitter", Longest(1))):
        back = come_back(
            NODES,
            outage=outage,
            per_second=max(1, per_second // scale),
            first=first,
            ceiling=ceiling,
            random=random,
        )
        found[name] = {
            "all_back_s": round(max(back.moments)),
            "attempts_per_node": round(back.attempts / NODES, 2),
            "most_attempts_in_1_s": back.most_attempts_in_1_s * scale,
        }
    return found
