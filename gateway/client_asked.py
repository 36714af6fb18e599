"""What is asked over one connection: each request, and who waits for which answer.

Plain data: `gateway.client_exchange` guards it with its lock.

Refused: nothing; an answer that is an error is raised where its body is asked for.
"""

from __future__ import annotations

from _thread import LockType
from collections.abc import Callable
from typing import Any

from gateway.client_line import Line
from gateway.errors import GatewayError, error_from


class Asked:
    """One request under way; ``on_end`` is called when it has ended, by whoever reads."""

    __slots__ = ("deadline", "error", "id", "is_done", "on_end", "said", "session")

    def __init__(
        self, id: int, deadline: float, on_end: Callable[[], object] | None = None
    ) -> None:
        self.id = id
        self.deadline = deadline
        self.on_end = on_end
        self.said: dict[str, Any] = {}
        """The answer, good or bad."""
        self.error: GatewayError | None = None
        """Why there is no answer, and will be none."""
        self.is_done = False
        self.session: Session | None = None

    def body(self) -> Any:
        """Return the body of the answer, or raise the error that came instead."""
        if self.error is not None:
            raise self.error
        if self.said.get("ok") is True:
            return self.said.get("body")
        raise error_from(self.said.get("error"))


class Session:
    """One connection, and what is asked over it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.asked: dict[int, Asked] = {}
        self.is_led = False
        self.sleepers: list[tuple[LockType, Asked]] = []
        self.farewell: GatewayError | None = None
        """What the gateway said that is the answer to nothing in particular."""
        self.is_over = False
