"""A simulated USB device on a Unix socket, for a driver whose board is on USB.

A driver ships its board in Python (`UsbBoard`: a `Board` that also answers control
requests and says what its descriptors would). `SimulatedUsb` puts it behind a path;
the usb route opens that instead of a real device (``simulated = "/tmp/scanner"``).
`SimulatedUsb.plug` makes the path, `SimulatedUsb.unplug` takes it away and ends every
connection, as a pulled cable does.

The socket keeps packets (SOCK_SEQPACKET). Whoever connects says first what for: `DATA`,
then every packet is one transfer, either way; or `CONTROL`, then each request has one
answer. One thread owns the board and every descriptor; it sleeps until something comes.
A host that does not read has its packets dropped, counted.

Refused: a path where something other than a socket lies (`ValueError`).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

import msgspec

from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import PATIENCE, Board
from gateway.device.usb import UsbIdentity

DATA: Final = b"data"
CONTROL: Final = b"control"
IDENTITY: Final = b"I"
REQUEST: Final = b"C"
ANSWER: Final = b"A"
STALL: Final = b"S"
SETUP: Final = struct.Struct("<BBHHH")
LARGEST: Final = 65536 + SETUP.size + 1
"""Bytes of the largest packet."""


class Setup(msgspec.Struct, frozen=True):
    """The setup packet of a control request, USB 2.0, 9.3."""

    type: int
    request: int
    value: int
    index: int
    length: int


@runtime_checkable
class UsbBoard(Board, Protocol):
    """A USB device in Python; what `receive` and `poll` return is one packet."""

    @property
    def identity(self) -> UsbIdentity:
        """What its descriptors say."""
        ...

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """Obey a control request; return its answer (empty for a write), None for a STALL."""
        ...


class SimulatedUsb:
    """A device that can be plugged in, unplugged and plugged in again; ``path`` is its socket.

    `start` and `stop` bracket it; ``with`` does both. A driver's own says which
    device it is that is made where none is handed in, as `SimulatedPort.make_board`.
    """

    make_board: ClassVar[Callable[..., Any] | None] = None
    """Makes the device, given its ``clock``."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        board: UsbBoard | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Name the path; `ValueError` where it cannot be made, and without any device."""
        self.path = Path(link)
        if not self.path.parent.is_dir():
            raise ValueError(f"there is no folder {self.path.parent} to put the socket in")
        if self.path.exists() and not self.path.is_socket():
            raise ValueError(f"{self.path} exists and is no socket; choose another path")
        self.dropped = 0
        """Packets that the host did not take."""
        self._clock = clock or RealClock()
        # Asked of the class: a function there is no method of ours.
        make_board = type(self).make_board
        if board is None:
            if make_board is None:
                raise ValueError(f"{self.path} needs a device behind it")
            board = make_board(clock=self._clock)
        self.board: UsbBoard = board
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._wake = -1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Plug it in."""
        self.plug()

    def stop(self) -> None:
        """Unplug it; a second time does nothing."""
        self.unplug()

    def plug(self) -> None:
        """Plug it in: power up, and the path is there. Plugged in already: nothing."""
        if self._thread is not None:
            return
        self.board.reset()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.setblocking(False)
            self.path.unlink(missing_ok=True)
            listener.bind(str(self.path))
            listener.listen()
        except BaseException:
            listener.close()
            raise
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ending.clear()
        self._thread = threading.Thread(
            target=self._run, args=(listener, self._wake), name=f"usb device {self.path.name}"
        )
        self._thread.start()

    def unplug(self) -> None:
        """Pull it out: the path goes, and whoever has it open finds it gone."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending.set()
        os.eventfd_write(self._wake, 1)
        thread.join(PATIENCE)
        os.close(self._wake)
        self._wake = -1

    def do(self, something: Callable[[], None]) -> None:
        """Do ``something`` to the board, by hand, while its thread does nothing with it."""
        with self._lock:
            something()
        self.nudge()

    def nudge(self) -> None:
        """Have its thread ask the device what is due."""
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)

    # The rest runs in the device's own thread.

    def _run(self, listener: socket.socket, wake: int) -> None:
        hosts: dict[int, _Host] = {}
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(listener, select.POLLIN)
        try:
            while not self._ending.is_set():
                ready = poll.poll(self._milliseconds())
                with self._lock:
                    for descriptor, _ in ready:
                        if descriptor == wake:
                            os.eventfd_read(wake)
                        elif descriptor == listener.fileno():
                            host = _Host(listener.accept()[0])
                            hosts[host.socket.fileno()] = host
                            poll.register(host.socket, select.POLLIN)
                        elif not self._serve(hosts[descriptor], hosts):
                            poll.unregister(descriptor)
                            hosts.pop(descriptor).socket.close()
                    due = self.board.wake
                    if due is not None and due <= self._clock.monotonic():
                        self._send(self.board.poll(), hosts)
        finally:
            self.path.unlink(missing_ok=True)
            listener.close()
            for host in hosts.values():
                host.socket.close()

    def _milliseconds(self) -> int | None:
        with self._lock:
            wake = self.board.wake
        return None if wake is None else max(0, ceil((wake - self._clock.monotonic()) * 1000))

    def _serve(self, host: _Host, hosts: dict[int, _Host]) -> bool:
        """Take one packet; False where the host has gone, or makes no sense."""
        try:
            packet = host.socket.recv(LARGEST)
        except OSError:
            return False
        if not packet:
            return False
        if not host.purpose:
            host.purpose = packet
            return packet in (DATA, CONTROL)
        if host.purpose == DATA:
            self._send(self.board.receive(packet), hosts)
            return True
        answer = self._answer(packet)
        with contextlib.suppress(OSError):  # it went while it was answered
            host.socket.send(answer)
        return True

    def _answer(self, packet: bytes) -> bytes:
        if packet == IDENTITY:
            return ANSWER + msgspec.json.encode(self.board.identity)
        if packet[:1] != REQUEST or len(packet) <= SETUP.size:
            return STALL
        setup = Setup(*SETUP.unpack_from(packet, 1))
        answer = self.board.control(setup, packet[1 + SETUP.size :])
        return STALL if answer is None else ANSWER + answer[: setup.length]

    def _send(self, packet: bytes, hosts: dict[int, _Host]) -> None:
        if not packet:
            return
        taken = False
        for host in hosts.values():
            if host.purpose == DATA:
                with contextlib.suppress(OSError):
                    host.socket.send(packet, socket.MSG_DONTWAIT)
                    taken = True
        self.dropped += not taken


class _Host:
    """One connection, and what it said it is for."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.purpose = b""
