"""How a writer sleeps until there is room elsewhere, and reads what is for itself meanwhile.

Were it to wait for nothing else, two who write to each other, and find each other
full, would wait until the deadline. So it also waits for the replies, bounces and
control of every mailbox that lives in its OS process, and reads them.

A place to sleep is an epoll with the urgent sockets of those mailboxes in it, and the
one descriptor by which room was wanted last: mostly it is wanted there again. At rest there
is one.

Refused: nothing. Who finds no descriptor left naps, and looks from time to time.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from time import sleep
from typing import Protocol
from weakref import ref

NAP = 0.0005
"""Seconds until a writer looks again, where another thread reads or no descriptor is left."""


class Box(Protocol):
    """A mailbox, as far as it concerns whoever waits elsewhere."""

    @property
    def urgent_fd(self) -> int:
        """The descriptor that is readable while replies lie unread; -1 for none."""
        ...

    def read_replies(self) -> bool:
        """Read them; False where another thread is at it."""
        ...


class Wanted(Protocol):
    """What a writer waits for: a socket, or whatever else tells of room."""

    def fileno(self) -> int:
        """The descriptor to sleep on; -1 once it is closed."""
        ...


class _Nobody:
    """Stands for what may be watched still, or not."""

    def fileno(self) -> int:
        return -1


_NOBODY = _Nobody()


class _Place:
    """Where one thread sleeps at a time."""

    __slots__ = ("__weakref__", "epoll", "wanted")

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.wanted: Wanted | None = None

    @property
    def is_spent(self) -> bool:
        """Whether what was wanted last is closed: a fork may hold it open, and in here."""
        return self.wanted is not None and self.wanted.fileno() < 0

    def watch(self, wanted: Wanted, events: int) -> None:
        """Have the sleeper woken as soon as ``wanted`` is ready for ``events``, and that alone."""
        # Where a signal's handler raises in here, nobody sleeps in this place again.
        before, self.wanted = self.wanted, _NOBODY
        if before is not None:
            _unless_closed(self.epoll.unregister, before.fileno())
        self.epoll.register(wanted, events)
        self.wanted = wanted


class Patience:
    """The places to sleep of one OS process, and the mailboxes that live there. Thread-safe."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A signal's handler may write while its thread is in here.
        self._lock = threading.RLock()
        self._boxes: dict[int, Box] = {}
        # Weak: one that a signal's handler kept from being left is closed as it is collected. No
        # `WeakSet`, whose methods would cost each OS process pages of its own.
        self._refs: list[ref[_Place]] = []
        self._free: list[_Place] = []

    def _places(self) -> list[_Place]:
        return [place for each in self._refs if (place := each()) is not None]

    def _forget(self, place: _Place) -> None:
        self._refs = [each for each in self._refs if each() not in (None, place)]

    def _own(self) -> None:
        """Begin anew in a child of os.fork(): places and replies are its parent's."""
        if self._pid != os.getpid():
            self._begin()

    def add(self, box: Box) -> None:
        """Have the replies of ``box`` read from now on; one without sockets has none."""
        self._own()
        with self._lock:
            if box.urgent_fd < 0:
                return
            self._boxes[box.urgent_fd] = box
            for place in self._places():
                place.epoll.register(box.urgent_fd, select.EPOLLIN)
            is_first = not self._places()
        if is_first:
            # Now, so that whoever waits for the first time costs no descriptor more. Where
            # there is none left it is made when it is wanted.
            try:
                self._leave(self._made())
            except OSError as error:
                if _is_a_handlers(error):
                    raise

    def remove(self, box: Box) -> None:
        """Leave ``box`` alone, before its descriptors are closed."""
        self._own()
        with self._lock:
            if self._boxes.get(box.urgent_fd) is box:
                del self._boxes[box.urgent_fd]
                for place in self._places():
                    _unless_closed(place.epoll.unregister, box.urgent_fd)

    def sleep(self, wanted: Wanted, timeout: float, events: int = select.EPOLLOUT) -> None:
        """Sleep until ``wanted`` is ready for ``events``, or something was read here.

        A socket that is wanted is connected: of another epoll knows nothing. For ``timeout``
        seconds at the most.
        """
        self._own()
        try:
            place = self._take(wanted)
            try:
                if place.wanted is not wanted:
                    place.watch(wanted, events)
                found = place.epoll.poll(timeout, 2)
            finally:
                self._leave(place)
        except OSError as error:
            if _is_a_handlers(error):
                raise
            # No descriptor is left: it takes more of our time, and goes on.
            sleep(min(NAP, timeout))
            self._read()
            return
        # Mostly there is room, and nothing else.
        told = len(found) > 1 or (found and found[0][0] != wanted.fileno())
        if told and not self._read():
            sleep(NAP)

    def _take(self, wanted: Wanted) -> _Place:
        """Return a place where nobody sleeps, the one that was left last."""
        while self._free:
            try:
                place = self._free.pop()
            except IndexError:
                break
            if place.wanted is wanted or not place.is_spent:
                return place
            with self._lock:
                self._forget(place)
            place.epoll.close()
        return self._made()

    def _leave(self, place: _Place) -> None:
        """Keep one place for whoever comes next, so that at rest there are never more."""
        with self._lock:
            if not self._free:
                self._free.append(place)
                return
            self._forget(place)
        place.epoll.close()

    def _made(self) -> _Place:
        place = _Place()
        with self._lock:
            for fd in list(self._boxes):
                _unless_closed(place.epoll.register, fd, select.EPOLLIN)
            self._refs.append(ref(place))
        return place

    def _read(self) -> bool:
        """Read what lies there; tell whether all of it could be: else another thread does."""
        with self._lock:
            boxes = list(self._boxes.values())
        done = [box.read_replies() for box in boxes]
        return all(done)

    def close(self) -> None:
        """Give the descriptors back that nobody sleeps on."""
        while self._free:
            place = self._free.pop()
            with self._lock:
                self._forget(place)
            place.epoll.close()


def _unless_closed(act: Callable[..., object], fd: int, *events: int) -> None:
    """Do ``act`` with ``fd``, which may be closed this very moment; what a handler raises rises."""
    try:
        if fd >= 0:
            act(fd, *events)
    except OSError as error:
        if _is_a_handlers(error):
            raise


def _is_a_handlers(error: OSError) -> bool:
    """Tell whether a signal's handler has raised it: what the kernel says has a number."""
    return error.errno is None
