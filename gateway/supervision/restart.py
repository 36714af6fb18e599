"""Whether and when a process that ended is started again. Pure: time is handed in.

As in OTP: a *permanent* process is always restarted, a *transient* one only
after it failed, a *temporary* one never. More than ``most`` restarts within
``within`` seconds make it *degraded*: it is then tried about once every
``slowly`` seconds, and everybody can see it, until a life of it has lasted for
``within`` seconds, or has ended in order. It is never silently gone.

An end in order (`life` is over, `die`, a ``limit``; `death` did not raise) is no
failure, and counts for nothing towards ``most``: a permanent process begins again ``first``
seconds later, however often. Only after lives shorter than ``ceiling`` that follow each other
is the wait doubled, up to ``ceiling``, so that nothing spins.

Every wait after a failure is drawn between half of its span and the whole, so that
what failed together does not come back together. Refused: a policy that makes no
sense (`ConfigError`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, get_args

from gateway.backoff import Backoff
from gateway.errors import ConfigError
from gateway.timeout import MOST

Kind = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True)
class RestartPolicy:
    """How often a process may fail, and when it begins again; seconds throughout.

    >>> RestartPolicy("forever")
    Traceback (most recent call last):
    gateway.errors.ConfigError: a restart policy is permanent, transient or temporary, not 'forever'
    """

    kind: Kind = "permanent"
    most: int = 5
    within: float = 60.0
    first: float = 0.1
    ceiling: float = 5.0
    slowly: float = 60.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(
                f"a restart policy is permanent, transient or temporary, not {self.kind!r}"
            )
        if not (self.most >= 0 and self.within > 0 and 0 < self.slowly <= MOST):
            raise ConfigError(
                f"a restart policy needs most >= 0, within > 0 and 0 < slowly <= {MOST:,.0f},"
                f" not {self.most}, {self.within} and {self.slowly}"
            )
        if not 0 < self.first <= self.ceiling <= MOST:
            raise ConfigError(
                f"a restart policy needs 0 < first <= ceiling <= {MOST:,.0f},"
                f" not {self.first} and {self.ceiling}"
            )


class Verdict(NamedTuple):
    """What follows from an end: restart after ``delay`` seconds, or (None) not at all."""

    delay: float | None
    degraded: bool = False


class Restarts:
    """The ends of one process so far, judged by its policy."""

    def __init__(self, policy: RestartPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._backoff = Backoff(policy.first, policy.ceiling, random)
        self._ends: deque[float] = deque()
        self._began: float | None = None
        self._brief = 0
        """How many lives have ended in order one after another, each after a short while."""
        self.degraded = False
        """Whether it failed too often, and has not held out since."""
        self.count = 0

    def began(self, now: float) -> None:
        """Note that a life begins at ``now`` (seconds, monotonic)."""
        self._began = now

    def ended(self, now: float, *, failed: bool) -> Verdict:
        """Judge an end at ``now`` (seconds, monotonic), in order unless it ``failed``."""
        policy = self._policy
        if policy.kind == "temporary" or (policy.kind == "transient" and not failed):
            return Verdict(None)
        if self._began is not None and now - self._began > policy.within:
            # Its last life was a good one: what was before is forgiven.
            self._ends.clear()
            self.degraded = False
        lived = now - self._began if self._began is not None else 0.0
        self._began = None
        if not failed:
            # It did what it is for. What failed within the window is not forgotten by that.
            self.degraded = False
            self.count += 1
            self._brief = 0 if lived >= policy.ceiling else min(self._brief + 1, 64)
            return Verdict(min(policy.first * 2.0 ** max(0, self._brief - 1), policy.ceiling))
        self._brief = 0
        while self._ends and now - self._ends[0] > policy.within:
            self._ends.popleft()
        if not self._ends:
            self._backoff.reset()
        self._ends.append(now)
        self.count += 1
        # Slow retries alone would empty the window, and begin a new burst each time.
        self.degraded = self.degraded or len(self._ends) > policy.most
        if self.degraded:
            # No more of them than matter, however long it goes on.
            while len(self._ends) > policy.most + 1:
                self._ends.popleft()
            slowly = max(policy.slowly, policy.first)
            return Verdict(self._random.uniform(slowly / 2, slowly), degraded=True)
        return Verdict(self._backoff.next())
