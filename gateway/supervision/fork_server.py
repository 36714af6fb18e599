"""The OS process from which every forked process comes.

It is forked from the main process after ``build()`` and before any thread is
started: single-threaded, everything imported, and frozen out of the collector's
sight by then, so that neither side's collector takes a page of its own for it. So
its children have every class at hand, share its memory, and start in a few
milliseconds. Here is the main process's end; what the server itself does is in
`gateway.supervision.forking`. Nothing else in the gateway forks.

Refused (`GatewayError`): to ask a server that is gone, and to begin on a machine
that forks no more. A child whose pidfd finds no room here is ended, and told of
as one that failed.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

import msgspec

from gateway.errors import GatewayError
from gateway.supervision.forking import (
    PACKET,
    Data,
    flush_streams,
    give_memory_back,
    is_errand,
    let_go,
    serve,
)

log = logging.getLogger(__name__)

ChildMain = Callable[[str, int, tuple[socket.socket, socket.socket], int, Data], int]
"""Runs one child: name, incarnation, sockets, its ledger's row, its data; returns its status."""

ErrandMain = Callable[[str, int, int], int]
"""Runs one errand: its name, what is to be done, where to note that it is; returns the status."""

SHORT = "out of file descriptors"


class Started(NamedTuple):
    """A child runs."""

    name: str
    incarnation: int
    pid: int
    pidfd: int


class Exited(NamedTuple):
    """A child was reaped; ``status`` is negative where a signal ended it."""

    name: str
    incarnation: int
    status: int


class Failed(NamedTuple):
    """A child could not be forked."""

    name: str
    incarnation: int
    reason: str


class ForkServer:
    """The main process's end; `start` it before any thread exists."""

    def __init__(
        self,
        child_main: ChildMain,
        errand_main: ErrandMain,
        *,
        grace: float = 3.0,
        unneeded: Collection[int] = (),
        outlived: Callable[[], None] = lambda: None,
    ) -> None:
        """``unneeded`` are descriptors of the main process's alone.

        ``outlived()`` is called in the server once it has ended its children.
        """
        self._child_main = child_main
        self._errand_main = errand_main
        self._grace = grace
        self._unneeded = unneeded
        self._outlived = outlived
        self._counts = {"asked": 0, "started": 0, "failed": 0, "exited": 0}
        self._channel: socket.socket | None = None
        self.pid = 0

    def start(self) -> None:
        """Fork the server."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        flush_streams()
        give_memory_back()
        try:
            self.pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise GatewayError(f"the fork server: cannot fork: {error.strerror}") from error
        if self.pid == 0:
            # Whatever happens: nothing of the main process's program goes on in here.
            try:
                ours.close()
                let_go(self._unneeded)
                serve(theirs, self._run_child, self._grace, self._outlived)
            except BaseException:
                log.exception("the fork server cannot begin")
            finally:
                os._exit(1)
        theirs.close()
        ours.settimeout(5.0)
        self._channel = ours

    def _run_child(
        self, name: str, incarnation: int, row: int, data: Data, descriptors: list[int]
    ) -> int:
        first, second = descriptors
        if is_errand(name):
            return self._errand_main(name, first, second)
        sockets = socket.socket(fileno=first), socket.socket(fileno=second)
        return self._child_main(name, incarnation, sockets, row, data)

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to `receive`."""
        assert self._channel is not None
        return self._channel.fileno()

    def spawn(
        self,
        name: str,
        incarnation: int,
        sockets: tuple[socket.socket, socket.socket],
        row: int,
        data: Data = None,
    ) -> None:
        """Ask for a child, which gets a copy of ``sockets``; they stay the caller's."""
        self._ask(name, incarnation, row, data, [used.fileno() for used in sockets])

    def spawn_errand(self, name: str, number: int, task: int, done: int) -> None:
        """Ask for a child that runs the errand ``name``; the descriptors stay the caller's."""
        self._ask(name, number, 0, None, [task, done])

    def _ask(self, name: str, number: int, row: int, data: Data, descriptors: list[int]) -> None:
        assert self._channel is not None
        self._counts["asked"] += 1
        try:
            packet = msgspec.msgpack.encode([name, number, row, data])
            socket.send_fds(self._channel, [packet], descriptors)
        except OSError as error:
            raise GatewayError(f"the fork server is gone: {error}") from error

    def receive(self) -> Started | Exited | Failed | None:
        """Return what the server tells; None where it is gone."""
        assert self._channel is not None
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self._channel, PACKET, 1, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return None
        if not packet:
            return None
        kind, name, incarnation, value = msgspec.msgpack.decode(packet)
        self._counts[kind] += 1
        if kind == "started" and descriptors:
            return Started(name, incarnation, value, descriptors[0])
        if kind == "started":
            # Without its pidfd nobody here would see it end. It is the server's
            # child, and cannot be another by now: whose end was told is yet to be read.
            with suppress(ProcessLookupError):
                os.kill(value, signal.SIGKILL)
            return Failed(name, incarnation, SHORT)
        if kind == "exited":
            return Exited(name, incarnation, value)
        return Failed(name, incarnation, value)

    def statistics(self) -> dict[str, int]:
        """Return how many children were asked for, started, refused and reaped."""
        return {"pid": self.pid, **self._counts}

    def stop(self) -> bool:
        """Have the server end its children and itself, and reap it; tell whether it ended in time.

        It has its ``grace`` and two seconds: were it killed before that, a
        child that is deaf to a TERM would outlive it.
        """
        if self._channel is None:
            return True
        self._channel.close()
        self._channel = None
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            ended = bool(poller.poll((self._grace + 2.0) * 1000))
            if not ended:
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return ended
        finally:
            os.close(pidfd)
