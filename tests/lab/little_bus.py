"""The least of a gateway that a router needs: a post office and a boss who keeps the book.

Real mailboxes and real delivery, within one OS process; no supervision. What
the boss does here by a callback, the application's does with a crew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import convert
from msgspec.structs import replace

from gateway.bus.directory import BOSS, Subscription
from gateway.bus.office import Office
from gateway.bus.spool_terms import SpoolTerms
from gateway.clock import RealClock
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message, reply_to
from gateway.mail.topic import matches
from gateway.process.context import Context
from gateway.process.correspondent import STATISTICS
from gateway.process.process import Process
from gateway.process.runner import run
from gateway.supervision.order_bodies import Subscribing

DEADLINE = 10.0


def statistics(process: Process) -> dict[str, Any]:
    """Ask a living process for its counts, as `gateway ps` does: they are its own thread's."""
    asked = process.send(process.name, STATISTICS)
    counts: dict[str, Any] = process.wait_for_reply(asked, DEADLINE).body
    return counts


class LittleBus:
    """Runs processes on threads until the block ends."""

    def __init__(self, folder: Path) -> None:
        self.office = Office(folder, clock=RealClock())
        self.errors: list[BaseException] = []
        self._retained: dict[str, Message] = {}
        # Whoever writes to the boss has it told on his own thread.
        self._lock = threading.RLock()
        self._threads: list[tuple[Process, threading.Thread]] = []
        self.office.open(BOSS, 1, self.office.bind(BOSS, 1), control=self._on_control)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process, thread in reversed(self._threads):
            process.die()
            thread.join(DEADLINE)
        self.office.shut()
        if self.errors and error is None:
            raise self.errors[0]

    def run(self, kind: type[Process], name: str, **parameters: Any) -> Process:
        """Start a process and return it once it lives, or has died."""
        lives = threading.Event()
        with self._lock:
            self._tell(incarnations={**self.office.book.incarnations, name: 1})
        box = self.office.open(name, 1, self.office.bind(name, 1))

        def report(level: str) -> None:
            if level in ("living", "dead"):
                lives.set()

        process = kind(Context(name, self.office, box, parameters=parameters, report=report))

        def live() -> None:
            try:
                run(process)
            except Exception as error:  # noqa: BLE001 - raised where the block ends
                self.errors.append(error)
            finally:
                self.office.close(box)
                process._ending.close()

        thread = threading.Thread(target=live, name=name)
        self._threads.append((process, thread))
        thread.start()
        assert lives.wait(DEADLINE)
        return process

    def end(self, process: Process) -> None:
        """Have ``process`` die, and wait for it."""
        process.die()
        for known, thread in self._threads:
            if known is process:
                thread.join(DEADLINE)
                assert not thread.is_alive()

    def _on_control(self, message: Message) -> bool:
        answers: dict[str, Callable[[Any], Any]] = {
            "subscribe": lambda body: self._subscribe(message.sender, **convert(body, Subscribing)),
            "retain": lambda body: self._retain(decode(body["message"])),
            "carry": lambda body: self._tell(carrier=message.sender),
        }
        with self._lock:
            result = answers.get(message.subject, lambda body: None)(message.body)
        if message.subject in ("subscribe", "carry"):
            self.office.answer(reply_to(message, self.office.new_id(), 0.0, result))
        return True

    def _subscribe(self, name: str, pattern: str, spool: SpoolTerms | None) -> list[bytes]:
        book = self.office.book
        version = book.version + 1
        subscriptions = (*book.subscriptions, Subscription(name, pattern, version, spool))
        self._tell(subscriptions=subscriptions)
        return [
            encode(message) for topic, message in self._retained.items() if matches(pattern, topic)
        ]

    def _tell(self, **changes: Any) -> None:
        book = self.office.book
        self.office.update(replace(book, version=book.version + 1, **changes))

    def _retain(self, message: Message) -> None:
        self._retained[message.subject] = message
