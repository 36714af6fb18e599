"""Several threads wait on one mailbox: one leads, the others follow.

The leader sleeps in epoll over the sockets, an edge-triggered eventfd and
whatever descriptors the process watches. The others sleep on a lock each, and
are woken when something is theirs or when the lead is free. A leader that
wants no more than its reply watches the urgent socket alone, so that mail
stays where it holds up its own writers; as soon as somebody waits for mail it
is struck and watches everything. A signal wakes the leader, and through it the
main thread, should that follow.

The mailbox's lock guards all of this, but for a leader that is alone. Nothing is read
here: what is ready is handed back to the mailbox.
"""

from __future__ import annotations

import contextlib
import os
import select
from _thread import LockType, allocate_lock
from collections.abc import Callable
from os import eventfd_write
from typing import Protocol

from gateway.bus.lanes import Turn
from gateway.bus.self_pipe import SelfPipe

WatchCallback = Callable[[int], None]


class Place(Protocol):
    """Where a thread stands in line: its call, where it waits for a reply."""

    lock: LockType | None
    """What it sleeps on as it follows."""

    @property
    def reads(self) -> bool:
        """Whether it waits for mail and not for a reply alone."""
        ...


class Standing:
    """A place that is kept, of one thread at a time."""

    __slots__ = ("lock", "reads")

    def __init__(self, *, reads: bool) -> None:
        self.lock: LockType | None = None
        self.reads = reads


class Lead:
    """Who sleeps, who leads, and what wakes them."""

    signals = -1
    """The descriptor that tells of signals; see `hear_signals`."""
    _self_pipe: SelfPipe | None = None

    def __init__(self, mail_fd: int, urgent_fd: int) -> None:
        self.leader: Place | None = None
        """Who leads."""
        self.asleep = False
        """Whether the leader sleeps, or is about to: strike it."""
        self.readers = 0
        """Threads that wait for mail and not for a reply alone."""
        self.followers: list[Place] = []
        """Who waits behind the leader, first come first."""
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

    def hear_signals(self, self_pipe: SelfPipe) -> None:
        """Have every leader woken by signals as well; for who makes the mailbox."""
        self._self_pipe, self.signals = self_pipe, self_pipe.fileno()
        if self.signals >= 0:
            for poller in (self.everything, self.replies):
                poller.register(self.signals, select.EPOLLIN | select.EPOLLET)

    def note_signal(self) -> None:
        """Make sure that the main thread wakes: it may wait behind this leader."""
        assert self._self_pipe is not None
        if self._self_pipe.is_mine:
            self._self_pipe.empty()
        else:
            self._self_pipe.thin_out()
            self.wake_followers()

    # What a thread does here it undoes with `leave`, whatever has interrupted it: nothing is
    # called between what belongs together.

    def enter(self, place: Place) -> None:
        """Lead, or line up behind the leader; lock held."""
        if self.leader is not None:
            self.follow(place)
            return
        self.leader = place
        self.asleep = True
        if place.reads:
            self.readers += 1

    def follow(self, place: Place) -> None:
        """Line up behind the leader, lock held, with a lock to sleep on."""
        place.lock = self.new_turn()
        place.lock.acquire()
        if place.reads:
            self.readers += 1
        self.followers.append(place)
        if self.leader is None:
            # Whoever led left just now, without the lock.
            release(place.lock)
        elif place.reads and self.asleep:
            self.strike()

    def new_turn(self) -> LockType:
        """Return what a follower sleeps on."""
        return allocate_lock()

    def leave(self, place: Place) -> None:
        """Line out, lock held, and hand the lead on where it is free; twice is fine."""
        if self.leader is place:
            self.leader = None
            self.asleep = False
            if place.reads:
                self.readers -= 1
        elif place in self.followers:
            at = self.followers.index(place)
            if place.reads:
                self.readers -= 1
            del self.followers[at]
        if self.followers and self.leader is None:
            release(self.followers[0].lock)

    def wake_followers(self) -> None:
        """Wake every thread that waits behind the leader."""
        for place in list(self.followers):
            release(place.lock)

    def wake_all(self) -> None:
        """Wake every thread that waits; needs no lock, and may run in a signal handler."""
        self.wake_followers()
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

    def rearm_all(self, besides: set[int]) -> None:
        """Watch all again but those ``besides``, which are still to be rearmed, lock held."""
        for fd in set(self._watched).difference(besides):
            # One that was closed and is watched still is its owner's mistake, and told elsewhere.
            with contextlib.suppress(OSError):
                self.rearm(fd)

    def close(self) -> None:
        """Give the descriptors back, lock held; twice is fine."""
        if self.event < 0:
            return
        self.everything.close()
        self.replies.close()
        # Last, and no handler gets in between: it may be called again after one.
        event, self.event = self.event, -1
        os.close(event)


def release(turn: Turn | None) -> None:
    """Wake the thread that sleeps on ``turn``; one that was woken already is fine."""
    if turn is not None:
        with contextlib.suppress(RuntimeError):
            turn.release()
