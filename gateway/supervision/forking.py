"""What the fork server does: forks on request, hands back a pidfd, reaps, tells how each ended.

When the main process's end of the channel closes it ends its children, by TERM
and then by KILL, and itself. What it inherits and does not need would be held
open for as long as it lives: the lock of the sockets' folder, and the pipes that
others had open at that moment, whose readers wait for an end of file. Those
become ``/dev/null`` in it.

The channel is a SEQPACKET socket with one msgpack array a packet::

    → [name, incarnation, row, data]      with the child's two mailbox sockets, or
                                          an errand's two memory files
    ← ["started", name, incarnation, pid] with the child's pidfd
    ← ["failed", name, incarnation, reason]
    ← ["exited", name, incarnation, status]

Refused, as failed: what cannot be forked, a request for whose descriptors there
is no room, and a child that cannot be watched, which is killed.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import stat
import sys
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any

import msgspec

from gateway.process.whereabouts import rename_os_process

log = logging.getLogger(__name__)

Data = Mapping[str, Any] | None
"""What describes a member that joined at run time (`gateway.supervision.recruit`)."""

RunChild = Callable[[str, int, int, Data, list[int]], int]
"""Runs one child: name, incarnation, its ledger's row, its data, two descriptors."""

PACKET = 64 * 1024
"""Bytes that one packet of the channel may have."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
# Once: what is looked up in a child is made there.
_prctl = _libc.prctl


def is_errand(name: str) -> bool:
    """Tell an errand's name, ``function@process``, from a process's, which has no @."""
    return "@" in name


def let_go(unneeded: Collection[int]) -> None:
    """Put ``/dev/null`` in the place of what only the main process needs.

    Not closed: whoever holds a number must never meet another file behind it.
    """
    standard = {_identity(fd) for fd in range(3)}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        try:
            # Where standard output is a pipe a copy of it is no less needed.
            is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode) and _identity(fd) not in standard
        except OSError:
            continue  # the one that listed them
        if fd > 2 and (is_pipe or fd in unneeded):
            os.dup2(null, fd, inheritable=False)
    os.close(null)


def give_memory_back() -> None:
    """Give the kernel what is free in the heap: no copy of it is made for whoever is forked.

    It takes less to take an OS process apart as well. Only glibc has the call.
    """
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(0)


def flush_streams() -> None:
    """Write out what was printed, as far as anybody takes it.

    The terminal or the journal may be gone, a daemon may have been started without them, and
    a program may have put in their place what cannot be flushed.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        # A daemon may have been started without it.
        return None
    return found.st_dev, found.st_ino


def serve(
    channel: socket.socket, run_child: RunChild, grace: float, outlived: Callable[[], None]
) -> None:
    """Be the fork server; never returns.

    ``outlived()`` is called when the main process has closed its end, as it does where it is
    killed, and the children are gone.
    """
    rename_os_process("fork-server")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Should the handlers of the main process write somewhere on a signal.
    signal.set_wakeup_fd(-1)
    children: dict[int, tuple[str, int, int]] = {}
    poller = select.epoll()
    poller.register(channel, select.EPOLLIN)
    try:
        # An error of the connection: main closed its end while a packet was under way.
        with contextlib.suppress(ConnectionError):
            _heed(channel, run_child, children, poller)
        _end_all(children, grace)
        outlived()
        os._exit(0)
    except BaseException:
        log.exception("the fork server failed")
        _end_all(children, grace)
        os._exit(1)


def _heed(
    channel: socket.socket,
    run_child: RunChild,
    children: dict[int, tuple[str, int, int]],
    poller: select.epoll,
) -> None:
    """Fork and reap until the main process has closed its end."""
    while True:
        for fd, _ in poller.poll():
            if fd != channel.fileno():
                _reap(fd, children, poller, channel)
            elif not _fork_one(channel, run_child, children, poller):
                return


def _fork_one(
    channel: socket.socket,
    run_child: RunChild,
    children: dict[int, tuple[str, int, int]],
    poller: select.epoll,
) -> bool:
    packet, descriptors, _, _ = socket.recv_fds(channel, PACKET, 2, socket.MSG_CMSG_CLOEXEC)
    if not packet:
        return False
    name, incarnation, row, data = msgspec.msgpack.decode(packet)
    answer: list[Any]
    if len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        answer = ["failed", name, incarnation, "out of file descriptors"]
        channel.send(msgspec.msgpack.encode(answer))
        return True
    server = os.getpid()
    # This server ignores TERM, and an errand does until it runs: one that comes
    # meanwhile waits for it, and is not lost.
    held = {signal.SIGTERM} if is_errand(name) else set()
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        pid = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        answer = ["failed", name, incarnation, f"cannot fork: {error.strerror}"]
        channel.send(msgspec.msgpack.encode(answer))
        return True
    if pid == 0:

        def run() -> int:
            channel.close()
            poller.close()
            for pidfd in children:
                os.close(pidfd)
            return run_child(name, incarnation, row, data, descriptors)

        _be_child(name, run, server)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        pidfd = _watched(pid, poller)
    except OSError as error:
        # Nobody would see it end, here or there.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        answer = ["failed", name, incarnation, f"cannot be watched: {error.strerror}"]
        channel.send(msgspec.msgpack.encode(answer))
        return True
    children[pidfd] = (name, incarnation, pid)
    rights = array.array("i", [pidfd])
    answer = ["started", name, incarnation, pid]
    channel.sendmsg(
        [msgspec.msgpack.encode(answer)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
    )
    return True


def _watched(pid: int, poller: select.epoll) -> int:
    """Return a pidfd of the child ``pid``, whose end ``poller`` tells from now on."""
    pidfd = os.pidfd_open(pid)
    try:
        poller.register(pidfd, select.EPOLLIN)
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd


def _be_child(name: str, run: Callable[[], int], server: int) -> None:
    """Be one child, which runs ``run()``; never returns."""
    status = 1
    try:
        # Should the server be killed nobody would be left to end this child.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != server:
            os._exit(1)
        status = run()
    except BaseException:
        log.exception("process %s failed outside of its life", name)
    finally:
        # Whatever its life has put in the place of anything: it goes no further than here.
        try:
            logging.shutdown()
            flush_streams()
        finally:
            os._exit(status)


def _reap(
    pidfd: int,
    children: dict[int, tuple[str, int, int]],
    poller: select.epoll,
    channel: socket.socket,
) -> None:
    name, incarnation, pid = children.pop(pidfd)
    poller.unregister(pidfd)
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    answer = ["exited", name, incarnation, os.waitstatus_to_exitcode(status)]
    channel.send(msgspec.msgpack.encode(answer))


def _end_all(children: dict[int, tuple[str, int, int]], grace: float) -> None:
    """TERM, wait, KILL, reap: nobody outlives the server."""
    poller = select.poll()
    for pidfd in children:
        poller.register(pidfd, select.POLLIN)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    deadline = monotonic() + grace
    waiting = dict(children)
    while waiting:
        left = deadline - monotonic()
        for pidfd, _ in poller.poll(max(0.0, left) * 1000):
            poller.unregister(pidfd)
            os.waitpid(waiting.pop(pidfd)[2], 0)
        if left <= 0:
            for pidfd in waiting:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            deadline = monotonic() + 1.0
