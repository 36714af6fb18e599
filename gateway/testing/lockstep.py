"""Virtual time that a test hands out and one thread lives in.

The thread under test sleeps in `Lockstep.sleep`: time jumps to the end of its
sleep, so that an hour costs nothing, until what the test has granted is used
up. There it is parked, and the test looks about and grants more. One of the
two runs while the other waits: what happens is the same each time, however
busy the machine is.

Refused (`AssertionError`): a thread that is not parked within `PATIENCE` real
seconds, as it died, spins, or waits by itself.
"""

from __future__ import annotations

import threading
from math import inf

from gateway.clock import VirtualClock

PATIENCE = 20.0
"""Real seconds that a thread has to use up what it was granted."""

FORGOTTEN = 120.0
"""Real seconds after which a parked thread believes that its test is over."""


class Lockstep:
    """Time between one test and one thread; `clock` is what both read."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._limit = -1.0  # not even this moment, before the first grant
        self._parked = False
        self._nudged = False
        self._changed = threading.Condition()

    # -- for the thread under test -----------------------------------------

    def sleep(self, until: float) -> None:
        """Let time pass until ``until`` (monotonic seconds), or until a `nudge`."""
        with self._changed:
            while not self._nudged:
                if until <= self._limit:
                    self.clock.now = max(self.clock.now, until)
                    return
                self.clock.now = max(self.clock.now, self._limit)
                self._parked = True
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: not self._parked, FORGOTTEN):
                    raise RuntimeError("the test has forgotten its device")
            self._nudged = False

    # -- for the test ------------------------------------------------------

    def wait_parked(self) -> None:
        """Wait until the thread sleeps, however much it has been granted."""
        with self._changed:
            self._wait_parked()

    def grant(self, seconds: float) -> None:
        """Let ``seconds`` pass; return when the thread has used them up."""
        with self._changed:
            self._limit = self.clock.now + seconds
            # Whatever it waits for may have come nearer since it went to sleep.
            self._nudged = True
            self._let_run()

    def nudge(self, *, and_wait: bool = True) -> None:
        """Have the sleeper look up, at this very moment, and wait until it sleeps again."""
        with self._changed:
            self._nudged = True
            if and_wait:
                self._let_run()
            else:
                self._parked = False
                self._changed.notify_all()

    def set_free(self) -> None:
        """Grant all the time there is and wait for nothing: the thread is about to end."""
        with self._changed:
            self._limit = inf
            self._nudged = True
            self._parked = False
            self._changed.notify_all()

    def _let_run(self) -> None:
        self._parked = False
        self._changed.notify_all()
        self._wait_parked()

    def _wait_parked(self) -> None:
        assert self._changed.wait_for(lambda: self._parked, PATIENCE), (
            f"the device's thread did not rest within {PATIENCE:g} s: it has died, it spins, "
            "or its driver waits by itself (time.sleep) instead of in `ask`"
        )
