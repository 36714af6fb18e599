"""A link without hardware: what is written is kept, what is read you hand in.

It is a socket pair, so it has a descriptor, turns readable and breaks as a
real port does; a driver thread cannot tell it from one. `FakeOpener` hands out
such links, and is absent or refuses when told so.

Refused: bytes that the reader's side cannot hold (`AssertionError`): a test
that hands in more than 200 kB unread means something else.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping

from gateway.device.link import Link
from gateway.errors import LinkAbsentError, LinkLostError
from gateway.framing.frame import Frame
from gateway.framing.framing import Framing

Board = Callable[[bytes], bytes]
"""Takes what was written to a link, returns what the board says to it."""

PATIENCE = 20.0
"""Seconds that the waiting methods of all fakes allow before they call it a failure."""


def answering(framing: Framing, answers: Mapping[bytes, bytes]) -> Board:
    r"""Return a board that answers each payload by the longest prefix in ``answers``.

    >>> from gateway.framing.line import Line
    >>> board = answering(Line(), {b"ID": b"ID bench 1", b"P": b"P"})
    >>> board(b"ID?\n"), board(b"P\nX\n")
    (b'ID bench 1\n', b'P\n')
    """
    decoder = framing.decoder()
    prefixes = sorted(answers, key=len, reverse=True)

    def board(data: bytes) -> bytes:
        said = b""
        for event in decoder.feed(data):
            if isinstance(event, Frame):
                for prefix in prefixes:
                    if event.payload.startswith(prefix):
                        said += framing.encode(answers[prefix])
                        break
        return said

    return board


class FakeLink(Link):
    """One open link; ``board`` answers what is written, and `hand` says the rest."""

    def __init__(self, board: Board | None = None) -> None:
        self.written: list[bytes] = []
        """What was written, one entry a write."""
        self._board = board
        self._changed = threading.Condition()
        self._broken: str | None = None
        self._closed = False
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)

    # -- the link's side ---------------------------------------------------

    def fileno(self) -> int:
        """Return the near end's descriptor."""
        return self._near.fileno()

    def read(self) -> bytes:
        """Return what was handed in and not read."""
        self._check()
        try:
            data = self._near.recv(4096)
        except BlockingIOError:
            return b""
        if not data:
            raise LinkLostError(self._broken or "the fake link ended")
        return data

    def write(self, data: bytes) -> None:
        """Keep ``data`` in `written` and let the board answer it."""
        self._check()
        with self._changed:
            self.written.append(data)
            self._changed.notify_all()
        if self._board is not None and (said := self._board(data)):
            self.hand(said)

    def close(self) -> None:
        """Give both descriptors back."""
        with self._changed:
            self._closed = True
            self._near.close()
            self._far.close()
            self._changed.notify_all()

    # -- the test's side ---------------------------------------------------

    def hand(self, data: bytes) -> None:
        """Let the board say ``data``; into a pulled or closed cable it is lost."""
        with self._changed:
            if self._closed or self._broken is not None:
                return
            assert self._far.send(data) == len(data), "more than an unread fake link can hold"

    def break_(self, reason: str = "the cable was pulled") -> None:
        """Pull the cable: from now on reads and writes raise `LinkLostError`."""
        with self._changed:
            if self._broken is None:
                self._broken = reason
                if not self._closed:
                    # The near end turns readable and hung up, as a port does.
                    with contextlib.suppress(OSError):
                        self._far.shutdown(socket.SHUT_RDWR)

    def wait_written(self, count: int, seconds: float = PATIENCE) -> list[bytes]:
        """Wait until ``count`` writes have been made; return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.written) >= count, seconds), (
                f"only {len(self.written)} of {count} writes within {seconds} s: {self.written}"
            )
            return list(self.written)

    def wait_closed(self, seconds: float = PATIENCE) -> None:
        """Wait until the link has been closed by its owner."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._closed, seconds), "it was not closed"

    @property
    def closed(self) -> bool:
        """Whether its owner has closed it."""
        return self._closed

    def _check(self) -> None:
        if self._closed:
            raise LinkLostError("the fake link is closed")
        if self._broken is not None:
            raise LinkLostError(self._broken)


class FakeOpener:
    """An `Opener` that hands out fake links, as long as it is told to."""

    def __init__(self, make: Callable[[], FakeLink] = FakeLink) -> None:
        self.links: list[FakeLink] = []
        """Every link opened, the newest last."""
        self.attempts = 0
        """How often it was called."""
        self.absent = False
        """Nothing is plugged in."""
        self.refusal: str | None = None
        """Why it cannot be opened, where something is plugged in."""
        self.make = make
        """Makes the next link; change it for another board behind the same port."""
        self._changed = threading.Condition()

    def __call__(self) -> FakeLink:
        """Open a link, or raise as an opener does."""
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            if self.absent:
                raise LinkAbsentError("nothing is plugged in")
            if self.refusal is not None:
                raise LinkLostError(self.refusal)
            link = self.make()
            self.links.append(link)
            return link

    def pull(self) -> None:
        """Pull the cable: the newest link breaks, and there is none to open."""
        with self._changed:
            self.absent = True
            if self.links:
                self.links[-1].break_()

    def plug_in(self) -> None:
        """Plug it in again."""
        self.absent = False

    def wait_link(self, count: int = 1, seconds: float = PATIENCE) -> FakeLink:
        """Wait until ``count`` links have been opened; return the newest."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.links) >= count, seconds), (
                f"only {len(self.links)} of {count} links were opened within {seconds} s"
            )
            return self.links[-1]

    def wait_attempts(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until it has been called ``count`` times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.attempts >= count, seconds), (
                f"only {self.attempts} of {count} attempts within {seconds} s"
            )
