"""A simulated USB device on its socket: what a host may do to it, and what befalls it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.clock import RealClock
from gateway.device.simulated_usb import (
    ANSWER,
    CONTROL,
    DATA,
    IDENTITY,
    REQUEST,
    SETUP,
    STALL,
    Setup,
    SimulatedUsb,
)
from gateway.device.usb import UsbIdentity

SECONDS = 5.0


class Echo:
    """A board that says back what it is told, and answers one control request."""

    identity = UsbIdentity(0x1209, 0x0002, "1.00", name="echo")

    def __init__(self) -> None:
        self.resets = 0
        self.due: list[bytes] = []
        self.asked: list[tuple[Setup, bytes]] = []

    def reset(self) -> None:
        self.resets += 1

    def receive(self, data: bytes) -> bytes:
        return data.upper()

    def poll(self) -> bytes:
        return self.due.pop(0)

    @property
    def wake(self) -> float | None:
        return 0.0 if self.due else None

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        self.asked.append((setup, data))
        return b"answer" if setup.request == 1 else None


@pytest.fixture
def board() -> Echo:
    return Echo()


@pytest.fixture
def device(tmp_path: Path, board: Echo) -> Iterator[SimulatedUsb]:
    with SimulatedUsb(tmp_path / "echo", board, clock=RealClock()) as device:
        yield device


def host(device: SimulatedUsb, purpose: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(SECONDS)
    connection.connect(str(device.path))
    connection.send(purpose)
    return connection


def is_dead(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:  # it went with something of ours unread
        return True


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.005)


def test_packets_go_both_ways_and_stay_apart(device: SimulatedUsb, board: Echo) -> None:
    with host(device, DATA) as data:
        data.send(b"one")
        data.send(b"two")
        assert [data.recv(100), data.recv(100)] == [b"ONE", b"TWO"]
        device.do(lambda: board.due.extend([b"un", b"asked"]))
        assert [data.recv(100), data.recv(100)] == [b"un", b"asked"]


def test_control_requests_have_one_answer_each(device: SimulatedUsb, board: Echo) -> None:
    with host(device, CONTROL) as control:
        control.send(REQUEST + SETUP.pack(0xC0, 1, 2, 3, 4))
        assert control.recv(100) == ANSWER + b"answ"
        control.send(REQUEST + SETUP.pack(0x40, 2, 0, 0, 2) + b"on")
        assert control.recv(100) == STALL
        assert board.asked == [(Setup(0xC0, 1, 2, 3, 4), b""), (Setup(0x40, 2, 0, 0, 2), b"on")]
        control.send(IDENTITY)
        assert b'"name":"echo"' in control.recv(1000)


def test_nonsense_is_refused_and_costs_nobody_else(device: SimulatedUsb) -> None:
    with host(device, DATA) as data, host(device, CONTROL) as control:
        with host(device, b"GET / HTTP/1.1") as stranger:
            assert stranger.recv(100) == b""
        for packet in (b"?", REQUEST, REQUEST + b"short"):
            control.send(packet)
            assert control.recv(100) == STALL
        data.send(b"still there")
        assert data.recv(100) == b"STILL THERE"


def test_a_host_that_goes_while_it_is_answered_costs_nothing(device: SimulatedUsb) -> None:
    for _ in range(20):
        connection = host(device, CONTROL)
        connection.send(REQUEST + SETUP.pack(0xC0, 1, 0, 0, 4))
        # Closed with an unread answer, or before there is one.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    with host(device, DATA) as data:
        data.send(b"x")
        assert data.recv(10) == b"X"


def test_what_nobody_takes_is_dropped_and_counted(device: SimulatedUsb, board: Echo) -> None:
    device.do(lambda: board.due.extend([b"into the void"] * 3))
    until(lambda: device.dropped == 3)
    with host(device, DATA) as data:
        data.send(b"x")
        assert data.recv(10) == b"X"
        full = 5000
        device.do(lambda: board.due.extend([b"y" * 200] * full))
        until(lambda: not board.due)
        until(lambda: 3 < device.dropped < full)


def test_unplugged_it_is_gone_and_plugged_in_it_starts_anew(
    device: SimulatedUsb, board: Echo
) -> None:
    for round_ in range(1, 4):
        assert board.resets == round_
        device.plug()
        assert board.resets == round_, "it was plugged in already"
        with host(device, DATA) as data:
            device.unplug()
            device.unplug()
            assert is_dead(data)
        assert not device.path.exists()
        device.do(lambda: None)
        device.plug()


def test_a_path_that_is_no_place_for_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is no socket"):
        SimulatedUsb(tmp_path / "file", Echo())
    with pytest.raises(ValueError, match="there is no folder"):
        SimulatedUsb(tmp_path / "no" / "where", Echo())


def test_the_socket_of_one_that_died_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "echo"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    with SimulatedUsb(path, Echo()) as device, host(device, DATA) as data:
        data.send(b"x")
        assert data.recv(10) == b"X"


def test_a_path_that_cannot_be_bound_leaves_nothing(tmp_path: Path) -> None:
    device = SimulatedUsb(tmp_path / ("long" * 50), Echo())
    with pytest.raises(OSError, match="too long"):
        device.plug()
    device.unplug()
