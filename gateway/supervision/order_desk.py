"""Where an application asks its boss, in whatever OS process of it somebody calls.

In the main OS process it writes in the name of the main process, in a forked
one in that of the process there. Refused: to ask while nothing runs
(`ConfigError`), and on the thread of an event loop, which must never wait
(`RuntimeError`).
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import ConfigError
from gateway.timeout import in_seconds


class OrderDesk:
    """Asks the boss and waits for its answer; any thread may."""

    def __init__(self) -> None:
        self.is_forked = False
        """Whether this is the desk of a forked process."""
        self._open: tuple[Office, Mailbox] | None = None
        self._decided = threading.Event()
        self._decided.set()

    def await_opening(self) -> None:
        """Have who asks wait: the application starts, and others live before the main process."""
        self._decided.clear()

    def open(self, office: Office, box: Mailbox, *, is_forked: bool = False) -> None:
        """From now on ask in the name of ``box``."""
        self.is_forked = is_forked
        self._open = office, box
        self._decided.set()

    def close(self) -> None:
        """Ask nobody any more."""
        self._open = None
        self._decided.set()

    def tell(self, subject: str) -> None:
        """Tell the boss, and wait for nothing."""
        office, box = self._opened(0.0)
        office.tell_boss(box, subject, None)

    def ask(self, subject: str, body: Any, timeout: float) -> Any:
        """Return what the boss answers within ``timeout`` seconds; raise what it bounces."""
        _refuse_on_a_loop()
        timeout = in_seconds(timeout)
        office, box = self._opened(timeout)
        with office.ordering(box, subject, body) as ordered:
            return box.wait_for(ordered, timeout).body

    def _opened(self, timeout: float) -> tuple[Office, Mailbox]:
        self._decided.wait(timeout)
        if self._open is None:
            raise ConfigError("the application does not run: order this while it does")
        return self._open


def _refuse_on_a_loop() -> None:
    # Who has no loop has not loaded it, and need not pay for that.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "an order to the application waits, and would hold up everybody on this event loop:"
            " in an asyncio process write `await self.start_process(...)` and the like,"
            " elsewhere `await asyncio.to_thread(application.start_process, ...)`"
        )
