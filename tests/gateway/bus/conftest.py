"""Mailboxes, offices and letters that end with the test."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.directory import Book
from gateway.bus.lanes import Order
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.pump import Pump
from gateway.bus.wire import Folder, Outlet, socket_name
from gateway.clock import RealClock
from gateway.mail.message import Message

PATIENCE = 10.0
"""Seconds after which what should have happened has not."""


class FakeClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Thread:
    """A function on a thread of its own; `result` waits, and raises what it raised."""

    def __init__(self, target: Callable[[], Any]) -> None:
        self._target = target
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._target()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def result(self, timeout: float = PATIENCE) -> Any:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the thread still runs"
        # Kept, the error would hold this thread, and with it every socket it used.
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._value

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()


@pytest.fixture
def pump() -> Iterator[Pump]:
    """A pump, which drops what still waits there at the end."""
    made = Pump()
    yield made
    made.stop()


@pytest.fixture
def letter() -> Callable[..., Message]:
    """Return a maker of letters, each with an id of its own."""
    count = itertools.count(1)

    def make(subject: str = "hello", **fields: Any) -> Message:
        id = fields.pop("id", f"id-{next(count)}")
        known: dict[str, Any] = {"sender": "main", "recipient": "worker", **fields}
        return Message(id, id, 1, 0.0, subject=subject, **known)

    return make


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folder(tmp_path: Path, stack: ExitStack) -> Folder:
    folder = Folder(tmp_path / "bus")
    stack.callback(folder.close)
    stack.callback(folder.clean)
    return folder


@pytest.fixture
def box(folder: Folder, stack: ExitStack) -> Callable[..., Mailbox]:
    """Return a maker of mailboxes with sockets, which are closed with the test."""

    def make(name: str = "worker", incarnation: int = 1, **options: Any) -> Mailbox:
        names = [socket_name(name, incarnation, lane) for lane in ("mail", "urgent")]
        mail, urgent = (folder.bind(each) for each in names)
        made = Mailbox(name, incarnation, clock=RealClock(), sockets=(mail, urgent), **options)
        for each in names:
            stack.callback(folder.unlink, each)
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def outlet(folder: Folder) -> Callable[..., Outlet]:
    """Return a maker of what another OS process would write through."""

    def make(name: str = "worker", incarnation: int = 1) -> Outlet:
        return Outlet(folder, name, incarnation)

    return make


@pytest.fixture
def run() -> Callable[[Callable[[], Any]], Thread]:
    """Return a starter of threads."""
    return Thread


@pytest.fixture
def until() -> Callable[..., None]:
    """Return a way to wait for what no event tells: it looks again and again, with a deadline."""

    def wait(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        pause = threading.Event()
        for _ in range(int(seconds * 1000)):
            if condition():
                return
            pause.wait(0.001)
        pytest.fail(f"not within {seconds} s")

    return wait


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def offices(tmp_path: Path, stack: ExitStack) -> Callable[..., tuple[Office, Office]]:
    """Return a maker of two offices on one folder, as two OS processes would have them.

    Both have the same book; each name gets its mailbox in the office that is
    named for it, 0 or 1, in its first life.
    """

    def make(*, order: Order = "fifo", **homes: int) -> tuple[Office, Office]:
        pair = tuple(Office(tmp_path / "bus", clock=RealClock()) for _ in range(2))
        book = Book(1, dict.fromkeys(homes, 1))
        for office in pair:
            stack.callback(office.shut)
            office.update(book)
        for name, home in homes.items():
            pair[home].open(name, 1, pair[home].bind(name, 1), order=order)
        return pair[0], pair[1]

    return make
