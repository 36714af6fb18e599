"""Several threads wait on one mailbox: one leads, the others follow.

The leader sleeps in epoll over the sockets, an edge-triggered eventfd and
whatever descriptors the process watches. The others sleep on a lock each, and
are woken when something is theirs or when the lead is free. A leader that
wants no more than its reply watches the urgent socket alone, so that mail
stays where it holds up its own writers; as soon as somebody waits for mail it
is struck and watches everything.

The mailbox's lock guards all of this. Nothing is read here: what is ready is
handed back to the mailbox.
"""

from __future__ import annotations

import contextlib
import os
import select
from _thread import LockType, allocate_lock
from collections.abc import Callable
from os import eventfd_write

from gateway.bus.lanes import Turn

WatchCallback = Callable[[int], None]


class Lead:
    """Who sleeps, who leads, and what wakes them."""

    def __init__(self, mail_fd: int, urgent_fd: int) -> None:
        self.held = False
        """Whether a thread leads."""
        self.asleep = False
        """Whether the leader sleeps, or is about to: strike it."""
        self.readers = 0
        """Threads that wait for mail and not for a reply alone."""
        self.followers: list[LockType] = []
        """What those who wait behind the leader sleep on, first come first."""
        self._watched: dict[int, tuple[WatchCallback, int]] = {}
        self.everything = select.epoll()
        """What a leader sleeps in while somebody waits for mail."""
        self.replies = select.epoll()
        """What it sleeps in while everybody waits for a reply: mail stays where it lies."""
        # Last: nobody would close it where one of those cannot be had.
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for poller in (self.everything, self.replies):
            poller.register(self.event, select.EPOLLIN | select.EPOLLET)
            if urgent_fd >= 0:
                poller.register(urgent_fd, select.EPOLLIN)
        if mail_fd >= 0:
            self.everything.register(mail_fd, select.EPOLLIN)

    def strike(self) -> None:
        """Wake the leader; also what a signal handler may call."""
        self.asleep = False
        try:
            if self.event >= 0:
                eventfd_write(self.event, 1)
        except OSError:
            # It was closed this very moment: nobody sleeps there any more.
            return

    def enter(self, *, reader: bool) -> LockType | None:
        """Line up, lock held: return None to the leader, a lock to sleep on to a follower."""
        if self.held:
            return self.follow(reader=reader)
        self.held = self.asleep = True
        if reader:
            self.readers += 1
        return None

    def follow(self, *, reader: bool) -> LockType:
        """Line up behind the leader, lock held; return the lock to sleep on."""
        turn = allocate_lock()
        turn.acquire()
        self.followers.append(turn)
        if reader:
            self.readers += 1
            if self.asleep:
                self.strike()
        return turn

    def leave(self, turn: LockType | None, *, reader: bool) -> None:
        """Line out, lock held; hand the lead on where it is free."""
        if reader:
            self.readers -= 1
        if turn is None:
            self.held = self.asleep = False
        else:
            self.followers.remove(turn)
        if self.followers and not self.held:
            release(self.followers[0])

    def wake_all(self) -> None:
        """Wake every thread that waits; needs no lock, and may run in a signal handler."""
        for turn in list(self.followers):
            release(turn)
        self.strike()

    # Foreign descriptors

    def watch(self, fd: int, callback: WatchCallback, events: int) -> None:
        """Watch ``fd`` from now on, or for other ``events``; lock held."""
        known = fd in self._watched
        self._watched[fd] = (callback, events)
        if known:
            self.everything.modify(fd, events | select.EPOLLONESHOT)
        else:
            self.everything.register(fd, events | select.EPOLLONESHOT)

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer, lock held; one that is not watched is fine."""
        if self._watched.pop(fd, None) is not None:
            self.everything.unregister(fd)

    def watching(self, fd: int) -> WatchCallback | None:
        """Return the callback of ``fd``, None where it is watched no more."""
        found = self._watched.get(fd)
        return found[0] if found else None

    def rearm(self, fd: int) -> None:
        """Watch ``fd`` again after its callback has run, lock held.

        One shot at a time: a descriptor that stays ready would keep a leader
        that may not serve it from sleeping.
        """
        found = self._watched.get(fd)
        if found is not None:
            self.everything.modify(fd, found[1] | select.EPOLLONESHOT)

    def close(self) -> None:
        """Give the descriptors back, lock held; twice is fine."""
        if self.event < 0:
            return
        event, self.event = self.event, -1
        self.everything.close()
        self.replies.close()
        os.close(event)


def release(turn: Turn) -> None:
    """Wake the thread that sleeps on ``turn``; one that was woken already is fine."""
    with contextlib.suppress(RuntimeError):
        turn.release()
