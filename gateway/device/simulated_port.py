"""A simulated board on a pseudo-terminal, behind a symbolic link that stays the same.

A driver ships its board in Python: an object with `receive`, `poll`, `wake` and
`reset` that moves no bytes itself (`Board`). `SimulatedPort` puts it on a
wire: to whoever opens the link it is a board on a serial port. `SimulatedPort.plug`
puts it there, `SimulatedPort.unplug` makes the terminal vanish as a pulled cable
does (the next one may have any number, hence the link). One thread owns the board
and its descriptors, and sleeps in epoll until a byte comes, something is due or
somebody calls.

As on a wire, nobody is waited for: what a host does not read is dropped once its
terminal is full, whole writes at a time, and counted. Refused: a link path where
something other than a symbolic link lies.
"""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from gateway.clock import Clock, RealClock

_PENDING_LIMIT = 4096
"""Bytes that wait here for a full terminal, before whole writes are dropped."""

PATIENCE = 20.0
"""Seconds that a caller waits for the board's thread to do as told."""


class Board(Protocol):
    """A board in Python: bytes in, bytes out, the clock handed in when it was made."""

    def reset(self) -> None:
        """Do what power off and on does."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take what came over the wire; return what the board says to it."""
        ...

    def poll(self) -> bytes:
        """Return what is due by now without being asked."""
        ...

    @property
    def wake(self) -> float | None:
        """When `poll` has something next, in the clock's monotonic seconds; None for never."""
        ...


B = TypeVar("B", bound=Board)


class SimulatedPort(Generic[B]):
    """A port whose board can be plugged in, unplugged and plugged in again.

    ``path`` is the symbolic link; it exists while the board is plugged in.
    `start` and `stop` bracket the thread; ``with`` does both. A driver's own
    says which board it is that is made where none is handed in::

        class SimulatedLamp(SimulatedPort[Lamp]):
            make_board = Lamp
    """

    make_board: ClassVar[Callable[..., Any] | None] = None
    """Makes the board, given its ``clock``."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        board: B | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made, and without any board."""
        self.path = Path(link)
        if not self.path.parent.is_dir():
            raise ValueError(f"there is no folder {self.path.parent} to put the link in")
        if self.path.exists() and not self.path.is_symlink():
            raise ValueError(f"{self.path} exists and is no symbolic link; choose another path")
        self._clock = clock or RealClock()
        # Asked of the class: a function there is no method of ours.
        make_board = type(self).make_board
        if board is None:
            if make_board is None:
                raise ValueError(f"{self.path} needs a board behind it")
            board = make_board(clock=self._clock)
        self.board: B = board
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._wanted = self._reached = "stopped"
        self._ended = False
        self._failure: OSError | None = None
        self._wake = -1
        self._master = self._slave = -1
        self._pending = b""
        self._received = self._sent = self._dropped = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def statistics(self) -> dict[str, int]:
        """Return bytes received and sent, and bytes dropped because nobody read."""
        return {"received": self._received, "sent": self._sent, "dropped": self._dropped}

    def start(self) -> None:
        """Start the thread and plug the board in."""
        if self._thread:
            raise ValueError(f"the simulated board at {self.path} runs already")
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ended = False
        self._wanted = "plugged"  # before the thread looks, which ends it otherwise
        self._thread = threading.Thread(target=self._run, name=f"board {self.path.name}")
        self._thread.start()
        try:
            self._want("plugged")
        except RuntimeError:
            self.stop()
            raise

    def plug(self) -> None:
        """Plug it in: power up, a new terminal, the same link. Plugged in already: nothing."""
        self._want("plugged")

    def unplug(self) -> None:
        """Pull the cable: the link goes, and whoever has it open gets a dead port."""
        self._want("unplugged")

    def nudge(self) -> None:
        """Have its thread ask the board what is due: something has been done to it by hand."""
        if self._thread:
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Unplug and end the thread; a second time does nothing."""
        if not self._thread:
            return
        self._want("stopped")
        self._thread.join(PATIENCE)
        self._thread = None
        os.close(self._wake)

    def _want(self, state: str) -> None:
        if not self._thread:
            raise ValueError(f"the simulated board at {self.path} has not been started")
        with self._changed:
            self._wanted = state
            self._failure = None
            os.eventfd_write(self._wake, 1)
            self._changed.wait_for(
                lambda: self._reached == state or self._failure or self._ended, PATIENCE
            )
            if self._reached != state:
                raise RuntimeError(
                    f"the simulated board at {self.path} is not {state}: "
                    f"{self._failure or 'its thread does not answer'}"
                ) from self._failure

    # The rest runs in the board's own thread.

    def _run(self) -> None:
        with select.epoll() as epoll:
            epoll.register(self._wake, select.EPOLLIN)
            try:
                while self._obey(epoll):
                    while not self._serve(epoll):
                        pass
            finally:
                # However this ends, a caller is not left waiting and no port is left lying.
                self._disappear(epoll)
                self._ended = True
                self._reach("stopped")

    def _obey(self, epoll: select.epoll) -> bool:
        """Become what is wanted; return False when that is the end."""
        with self._changed:
            wanted = self._wanted
        if wanted == "plugged" and self._master < 0:
            try:
                self._appear(epoll)
            except OSError as error:
                self._disappear(epoll)
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return True
        elif wanted != "plugged" and self._master >= 0:
            self._disappear(epoll)
        if wanted == "stopped":
            return False
        self._reach(wanted)
        return True

    def _reach(self, state: str) -> None:
        with self._changed:
            self._reached = state
            self._changed.notify_all()

    def _appear(self, epoll: select.epoll) -> None:
        # The slave stays open here: with none open the master reads as hung up.
        self._master, self._slave = os.openpty()
        epoll.register(self._master, select.EPOLLIN)
        tty.setraw(self._slave)  # a wire has no echo
        os.set_blocking(self._master, False)
        self.board.reset()
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self.path)

    def _disappear(self, epoll: select.epoll) -> None:
        if self._master < 0:
            return
        # The link first: once the terminal is gone, its number may be another's.
        if self.path.is_symlink():
            self.path.unlink()
        epoll.unregister(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1
        self._pending = b""

    def _serve(self, epoll: select.epoll) -> bool:
        """Wait for what comes first and move bytes; return True when somebody calls."""
        called = False
        plugged = self._master >= 0
        for descriptor, events in epoll.poll(self._seconds_to_wait() if plugged else None):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
                called = True
            elif events & select.EPOLLIN:
                data = os.read(self._master, 4096)
                self._send(epoll, self.board.receive(data))
                # Last: who reads the count finds what the board has made of it.
                self._received += len(data)
        if plugged:
            self._send(epoll, self.board.poll())
        return called

    def _seconds_to_wait(self) -> float | None:
        wake = self.board.wake
        return None if wake is None else max(0.0, wake - self._clock.monotonic())

    def _send(self, epoll: select.epoll, data: bytes) -> None:
        if len(self._pending) + len(data) > _PENDING_LIMIT:
            self._dropped += len(data)
            data = b""
        waiting = self._pending + data
        if not waiting:
            return
        try:
            count = os.write(self._master, waiting)
        except BlockingIOError:
            count = 0
        self._sent += count
        was_pending, self._pending = bool(self._pending), waiting[count:]
        if bool(self._pending) != was_pending:
            events = select.EPOLLIN | (select.EPOLLOUT if self._pending else 0)
            epoll.modify(self._master, events)
