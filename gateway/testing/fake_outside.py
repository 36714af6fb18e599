"""A house that only writes down what a device tells it.

It stands in for the router's side of a driver thread (`hosting.Outside`).
Refused: nothing, unless `refusal` says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.testing.fake_link import PATIENCE


class Published(NamedTuple):
    """One publication."""

    topic: str
    body: Any
    retain: bool


class FakeOutside:
    """An `Outside` that records; its waiting methods fail the test after a while."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        """Everything published, in order."""
        self.retained: dict[str, Any] = {}
        """The last retained body by topic."""
        self.replies: list[tuple[Message, Any]] = []
        self.bounces: list[tuple[Message, GatewayError]] = []
        self.refusal: GatewayError | None = None
        """What every method raises, where it is set."""
        self._changed = threading.Condition()

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Write the publication down."""
        with self._changed:
            self._refuse()
            self.published.append(Published(topic, body, retain))
            if retain:
                self.retained[topic] = body
            self._changed.notify_all()

    def reply(self, message: Message, body: object) -> None:
        """Write the answer down."""
        with self._changed:
            self._refuse()
            self.replies.append((message, body))
            self._changed.notify_all()

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Write the bounce down."""
        with self._changed:
            self._refuse()
            self.bounces.append((message, error))
            self._changed.notify_all()

    def bodies(self, topic: str) -> list[Any]:
        """Return what was published on ``topic``, in order."""
        with self._changed:
            return [each.body for each in self.published if each.topic == topic]

    def events(self, device: str) -> list[str]:
        """Return the names of the callbacks that ``device`` has fired, in order."""
        prefix = f"devices/{device}/events/"
        with self._changed:
            topics = [each.topic for each in self.published]
        return [topic.removeprefix(prefix) for topic in topics if topic.startswith(prefix)]

    def states(self, device: str) -> list[str]:
        """Return the states that ``device`` has told, in order."""
        return [body["state"] for body in self.bodies(f"devices/{device}/state")]

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until ``condition`` holds; it is asked after everything recorded."""
        # The methods above take the lock again: a Condition's is re-entrant.
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (
                f"not within {seconds} s; last heard: {self.published[-8:]}, "
                f"{self.replies[-3:]}, {self.bounces[-3:]}"
            )

    def wait_state(self, device: str, state: str, seconds: float = PATIENCE) -> None:
        """Wait until the retained state of ``device`` is ``state``."""
        topic = f"devices/{device}/state"
        self.wait_for(lambda: self.retained.get(topic, {}).get("state") == state, seconds)

    def wait_event(self, device: str, event: str, count: int = 1, seconds: float = PATIENCE) -> Any:
        """Wait until ``device`` has fired ``event`` ``count`` times; return that body."""
        topic = f"devices/{device}/events/{event}"
        self.wait_for(lambda: len(self.bodies(topic)) >= count, seconds)
        return self.bodies(topic)[count - 1]

    def wait_answers(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until ``count`` commands have been answered, by replies and bounces together."""
        self.wait_for(lambda: len(self.replies) + len(self.bounces) >= count, seconds)

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal
