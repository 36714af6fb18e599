"""The boss's hand on the further mailboxes of forked processes: copies of their sockets.

A forked process that opens a further mailbox hands copies of its two bound
sockets over, by a datagram to a socket of the boss's own, before it asks for
the mailbox. So what lies there unread when it is killed is found and counted
(docs/decisions/0002). The boss's thread is the only user of this end.

Refused, by closing it: what is no pair of sockets, and more than `WAITING`
pairs that nobody asks for.
"""

from __future__ import annotations

import logging
import os
import socket

from gateway.bus.office import Office

log = logging.getLogger(__name__)

WAITING = 64
"""Pairs at the most whose mailbox has not been asked for yet."""

_LONGEST = 4096

Pair = tuple[socket.socket, socket.socket]


class Hands:
    """What was handed over and not fetched yet."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._source = office.bind_hands()
        self._waiting: dict[str, Pair] = {}

    def fetch(self, mailbox: str) -> Pair | None:
        """Return the copies for ``mailbox``, which are the caller's from here on; None for none."""
        while self._receive():
            pass
        return self._waiting.pop(mailbox, None)

    def _receive(self) -> bool:
        try:
            name, descriptors, _, _ = socket.recv_fds(
                self._source, _LONGEST, 2, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        if len(descriptors) != 2:
            # As where this OS process has no descriptor left.
            log.warning("the sockets of a further mailbox did not arrive")
            for descriptor in descriptors:
                os.close(descriptor)
            return True
        first, second = (_socket(descriptor) for descriptor in descriptors)
        if first is None or second is None:
            _close(first, second)
            return True
        mailbox = name.decode(errors="replace")
        _close(*self._waiting.pop(mailbox, ()))
        self._waiting[mailbox] = first, second
        if len(self._waiting) > WAITING:
            _close(*self._waiting.pop(next(iter(self._waiting))))
        return True

    def close(self) -> None:
        """Give back what nobody fetched, and the socket itself; twice is fine."""
        for pair in self._waiting.values():
            _close(*pair)
        self._waiting.clear()
        if self._source.fileno() >= 0:
            self._source.close()
            self._office.unlink_hands()


def _socket(descriptor: int) -> socket.socket | None:
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None


def _close(*sockets: socket.socket | None) -> None:
    for used in sockets:
        if used is not None:
            used.close()
