"""What a running gateway has told of its devices: their states, and what they scanned.

Two threads listen at the front door, one for each kind of topic, and keep what they hear;
whoever waits here has a deadline, and fails with what was heard last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.client import Client, Publication
from gateway.errors import CallTimeoutError, GatewayError

DEADLINE = 40.0
"""Seconds for whatever is waited for."""


class Told:
    """States and scans of all devices, from now on; ``with`` ends the listening."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._states: dict[str, list[dict[str, Any]]] = {}
        self._scans: dict[str, list[str]] = {}
        self._threads = [
            threading.Thread(target=self._listen, args=("devices/+/state", self._note_state)),
            threading.Thread(target=self._listen, args=("devices/+/scan", self._note_scan)),
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for each in self._threads:
            each.join(DEADLINE)

    def connected_as(self, name: str, badge: str) -> float:
        """Wait until the device has identified itself as ``badge``; return since when it has."""

        def found() -> float | None:
            for body in reversed(self._states.get(name, [])):
                if body["state"] == "proven" and body["cause"].endswith(f": {badge}"):
                    return float(body["since"])
            return None

        with self._changed:
            said = self._changed.wait_for(lambda: found() is not None, DEADLINE)
            assert said, f"{name} did not come back: {self._states.get(name, [])[-6:]}"
            since = found()
        assert since is not None
        return since

    def assert_stays(self, name: str, badge: str) -> None:
        """Fail where the device has been lost since it identified itself as ``badge``."""
        since = self.connected_as(name, badge)
        with self._changed:
            lost = [
                body
                for body in self._states[name]
                if body["since"] > since and not body["connected"]
            ]
        assert not lost, f"{name} was lost, and nobody had pulled it: {lost}"

    def wait_absent(self, name: str) -> None:
        """Wait until the device is absent, and says what is looked for."""

        def last() -> dict[str, Any]:
            return self._states.get(name, [{"state": "", "cause": ""}])[-1]

        with self._changed:
            absent = self._changed.wait_for(
                lambda: last()["state"] == "absent" and "matches" in last()["cause"], DEADLINE
            )
            assert absent, f"{name} is not absent: {last()}"

    def wait_scanned(self, name: str, code: str) -> None:
        """Wait until the device has scanned ``code``, and nothing else before; forget it."""
        with self._changed:
            heard = self._changed.wait_for(lambda: self._scans.get(name), DEADLINE)
            assert heard, f"{name} did not scan {code}"
            assert self._scans.pop(name) == [code]

    def failures(self) -> list[tuple[str, dict[str, Any]]]:
        """Return every failure that has been told."""
        with self._changed:
            return [
                (name, body)
                for name, told in self._states.items()
                for body in told
                if body["state"] == "failed"
            ]

    def _listen(self, pattern: str, note: Callable[[str, Any], None]) -> None:
        with Client(self._socket) as client:
            tail = client.tail(pattern, patience=0.2)
            try:
                while not self._closing.is_set():
                    try:
                        self._note(next(tail), note)
                    except CallTimeoutError:
                        continue  # a pause, in which we look whether we are to end
                    except GatewayError:
                        return  # the gateway has ended
            finally:
                tail.close()

    def _note(self, heard: Publication, note: Callable[[str, Any], None]) -> None:
        assert heard.dropped == 0
        with self._changed:
            note(heard.topic.split("/")[1], heard.body)
            self._changed.notify_all()

    def _note_state(self, name: str, body: Any) -> None:
        self._states.setdefault(name, []).append(body)

    def _note_scan(self, name: str, body: Any) -> None:
        self._scans.setdefault(name, []).append(body["text"])
