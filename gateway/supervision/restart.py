"""Whether and when a process that ended is started again. Pure: time is handed in.

As in OTP: a *permanent* process is always restarted, a *transient* one only
after it failed, a *temporary* one never. More than ``most`` restarts within
``within`` seconds make it *degraded*: it is then tried once every ``slowly``
seconds, and everybody can see it. It is never silently gone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from gateway.backoff import Backoff

Kind = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True)
class RestartPolicy:
    """How often a process may fail; seconds throughout."""

    kind: Kind = "permanent"
    most: int = 5
    within: float = 60.0
    first: float = 0.1
    ceiling: float = 5.0
    slowly: float = 60.0


class Verdict(NamedTuple):
    """What follows from an end: restart after ``delay`` seconds, or (None) not at all."""

    delay: float | None
    degraded: bool = False


class Restarts:
    """The ends of one process so far, judged by its policy."""

    def __init__(self, policy: RestartPolicy, random: Random) -> None:
        self._policy = policy
        self._backoff = Backoff(policy.first, policy.ceiling, random)
        self._ends: deque[float] = deque()
        self.count = 0

    def ended(self, now: float, *, failed: bool) -> Verdict:
        """Judge an end at ``now`` (seconds, monotonic)."""
        policy = self._policy
        if policy.kind == "temporary" or (policy.kind == "transient" and not failed):
            return Verdict(None)
        while self._ends and now - self._ends[0] > policy.within:
            self._ends.popleft()
        if not self._ends:
            self._backoff.reset()
        self._ends.append(now)
        self.count += 1
        if len(self._ends) > policy.most:
            return Verdict(policy.slowly, degraded=True)
        return Verdict(self._backoff.next())
