"""Whether somebody can be called at an address, told as it changes.

Somebody inside is there while its process lives; what is behind a router, or on
another gateway, while that router lives and says that its medium is connected.
Neither says that a call will be answered: that is what a call is for.

Refused: addresses that are none (`AddressError`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.errors import AddressError, RecipientGoneError
from gateway.mail.address import Address
from gateway.mail.message import Message
from gateway.process.process import Process


class Connection(NamedTuple):
    """How an address stands; ``incarnation`` is the life that is there, 0 for none."""

    address: str
    is_up: bool
    cause: str
    incarnation: int


class Watch:
    """Tells a callback of each change, on the process's own thread, until it is closed."""

    def __init__(
        self, process: Process, address: str, callback: Callable[[Connection], object]
    ) -> None:
        Address.parse(address)
        self._process = process
        self._callback = callback
        self._route: dict[str, Any] = {}
        self._router = ""
        self._is_closed = False
        self.connection = Connection(address, False, "it was not looked for yet", 0)
        """How it stands now."""
        process.office.on_change(self._soon)
        self._look()

    def close(self) -> None:
        """Tell of nothing any more; twice is fine."""
        self._is_closed = True
        self._process.office.forget(self._soon)
        if self._router:
            self._process.unsubscribe(f"routes/{self._router}/state", self._on_route)
            self._router = ""

    def _soon(self) -> None:
        if self._process.run_level == "dead":
            # Nobody closed it, and the office outlives its processes.
            self._process.office.forget(self._soon)
            return
        self._process.call_soon(self._look)

    def _look(self) -> None:
        if self._is_closed:
            # It was to be looked at already.
            return
        address = self.connection.address
        try:
            name, incarnation = self._process.office.book.look_up(address)
        except (AddressError, RecipientGoneError) as error:
            self._tell(Connection(address, False, str(error), 0))
            return
        if name != address and not self._router:
            self._router = name
            self._process.follow(f"routes/{name}/state", self._on_route)
        if name != address and self._route.get("state") != "connected":
            cause = str(self._route.get("cause", f"{name} has not said how it stands"))
            self._tell(Connection(address, False, cause, 0))
            return
        self._tell(Connection(address, True, f"{name} is there", incarnation))

    def _on_route(self, message: Message) -> None:
        self._route = message.body if isinstance(message.body, dict) else {}
        self._look()

    def _tell(self, found: Connection) -> None:
        if self._is_closed:
            return
        before, self.connection = self.connection, found
        if (found.is_up, found.incarnation) != (before.is_up, before.incarnation):
            self._callback(found)


def watch_connection(
    process: Process, address: str, callback: Callable[[Connection], object]
) -> Watch:
    """Call ``callback(connection)`` now if ``address`` is there, and at every change.

    >>> from gateway.testing.stage import Echo, play
    >>> def scene(main):
    ...     seen = []
    ...     watch_connection(main, "echo", lambda found: seen.append(found.is_up))
    ...     main.stop_process("echo")
    ...     while len(seen) < 2:
    ...         main.mailman(timeout=1.0)
    ...     return seen
    >>> play(scene, echo=Echo)
    [True, False]
    """
    return Watch(process, address, callback)
