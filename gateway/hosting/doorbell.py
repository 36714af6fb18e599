"""How one thread waits for bytes and mail at once, and is woken by others.

An epoll over the link's descriptor and an edge-triggered eventfd. Edges need
no read to be cleared, so a wake-up costs one system call on either side; and
whoever rings while nobody sleeps costs none (see `Doorbell.ring_if_asleep`).

Refused: more than one sleeper, and watching two links at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import Protocol


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


_READABLE, _BROKEN = select.EPOLLIN, select.EPOLLERR | select.EPOLLHUP


class Doorbell:
    """Owns an epoll and an eventfd; `close` gives both back.

    `ring` and `ring_if_asleep` may be called from any thread, but not during
    or after `close`: `gateway.hosting.inbox` holds a lock around both.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN | select.EPOLLET)
        self._watched = -1
        self.asleep = False

    def watch(self, link: _HasDescriptor) -> None:
        """Wake for ``link`` as well, until `unwatch`."""
        if self._watched >= 0:
            raise ValueError("a doorbell watches one link at a time")
        self._watched = link.fileno()
        self._epoll.register(self._watched, _READABLE)

    def unwatch(self) -> None:
        """Forget the link; call it before the link is closed."""
        if self._watched >= 0:
            # A descriptor that died under us has left the epoll by itself.
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._watched)
            self._watched = -1

    def wait(self, seconds: float | None) -> tuple[bool, bool]:
        """Sleep until the link or the bell, for ``seconds`` at most (None: for ever).

        Returns whether the link has something to be read, and whether it has
        hung up. The clock may be up to a millisecond over, never under.
        """
        readable = broken = False
        for descriptor, mask in self._epoll.poll(seconds, 2):
            if descriptor == self._watched:
                readable, broken = True, bool(mask & _BROKEN)
        return readable, broken

    def ring(self) -> None:
        """Wake the sleeper, or see to it that its next sleep ends at once."""
        os.eventfd_write(self._bell, 1)

    def ring_if_asleep(self) -> None:
        """Wake the sleeper where it has said that it sleeps.

        Lose no wake-up: the caller first puts down what it brings; the sleeper
        first sets `asleep`, and then looks whether anything has been put down.
        """
        if self.asleep:
            self.asleep = False
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Give both descriptors back."""
        self.unwatch()
        self._epoll.close()
        os.close(self._bell)
