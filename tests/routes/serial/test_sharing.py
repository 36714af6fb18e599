"""A shared port goes to remote hands when they come, and back to its driver when they leave."""

from __future__ import annotations

import os
import select
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import serial

from drivers.bench_board.simulator import SimulatedBoard
from gateway.device.link import Link
from gateway.errors import LinkAbsentError, LinkLostError, LinkTakenError
from routes.serial.serial_link import opener
from routes.serial.settings import SerialSettings
from routes.serial.sharing import SharedPort
from tests.lab.hosted_board import HostedBoard
from tests.lab.os_processes import until
from tests.lab.ports import free_port
from tests.lab.terminal import Terminal

SECONDS = 10.0
IDENTIFY = b"ID*0D\n"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Shared:
    """One shared port, its address, and who comes there."""

    def __init__(self, stack: ExitStack, path: Path, scheme: str, **options: Any) -> None:
        self.number = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.number}"
        allowed = options.pop("allowed", True)
        settings = SerialSettings(port=str(path), share=self.url, **options)
        self.port = SharedPort(settings, opener(settings), allowed=allowed)
        self._stack = stack
        stack.callback(self.port.close)

    def come(self) -> socket.socket:
        """Connect; the door opens with the port."""
        found: list[socket.socket] = []

        def knock() -> bool:
            try:
                found.append(socket.create_connection(("127.0.0.1", self.number), SECONDS))
            except ConnectionRefusedError:
                return False
            return True

        assert until(knock, SECONDS), "there is no door"
        visitor = found[0]
        self._stack.callback(visitor.close)
        visitor.settimeout(SECONDS)
        return visitor


MakeShared = Callable[..., Shared]


@pytest.fixture
def share(stack: ExitStack) -> MakeShared:
    return lambda path, scheme="socket", **options: Shared(stack, path, scheme, **options)


@pytest.fixture
def board(tmp_path: Path, stack: ExitStack) -> SimulatedBoard:
    return stack.enter_context(SimulatedBoard(tmp_path / "board"))


@pytest.fixture
def host(stack: ExitStack) -> Callable[[Shared], HostedBoard]:
    def make(shared: Shared) -> HostedBoard:
        hosted = HostedBoard(shared.port)
        stack.callback(hosted.stop)
        return hosted

    return make


def hear(visitor: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        more = visitor.recv(4096)
        assert more, f"hung up after {data!r}"
        data += more
    return data


def hear_behind(terminal: Terminal, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        assert select.select([terminal.master], [], [], SECONDS)[0], f"only {data!r}"
        data += os.read(terminal.master, 4096)
    return data


def read_on(link: Link) -> None:
    while select.select([link.fileno()], [], [], SECONDS)[0]:
        link.read()


def is_taken(shared: Shared) -> bool:
    try:
        shared.port().close()
    except LinkTakenError:
        return True
    return False


# With a driver.


def test_who_comes_has_the_port_and_its_driver_has_it_again_afterwards(
    board: SimulatedBoard, share: MakeShared, host: Callable[[Shared], HostedBoard]
) -> None:
    shared = share(board.path)
    hosted = host(shared)
    hosted.wait_for("healthy")
    visitor = shared.come()
    visitor.sendall(IDENTIFY)
    hear(visitor, b"ID bench-board")
    present = hosted.wait_for("present")
    assert present["connected"] is False
    address, number = visitor.getsockname()
    assert present["cause"] == f"in the remote hands of {address}:{number}"
    assert "disconnected" in [each.topic.rpartition("/")[2] for each in hosted.outside.published]
    visitor.close()
    hosted.wait_for("healthy", 2)
    assert "failed" not in hosted.states()
    assert "absent" not in hosted.states()[1:]


def test_a_device_that_fails_can_be_reached(
    terminal: Terminal, share: MakeShared, host: Callable[[Shared], HostedBoard]
) -> None:
    shared = share(terminal.path)
    hosted = host(shared)
    hosted.outside.wait_for(lambda: "open" in hosted.states(), SECONDS)
    visitor = shared.come()
    hosted.outside.wait_for(lambda: "present" in hosted.states(), SECONDS)
    visitor.sendall(b"reboot!")
    hear_behind(terminal, b"reboot!")
    os.write(terminal.master, b"Booting...\n")
    hear(visitor, b"Booting...\n")


def test_the_gateway_can_stop_while_somebody_has_the_port(
    board: SimulatedBoard, share: MakeShared, host: Callable[[Shared], HostedBoard]
) -> None:
    shared = share(board.path)
    hosted = host(shared)
    visitor = shared.come()
    hosted.wait_for("present")
    hosted.stop()
    shared.port.close()
    while visitor.recv(4096):
        pass
    assert not [each for each in threading.enumerate() if each.name.startswith("hands-")]


# The door.


def test_without_leave_a_port_is_not_shared_and_the_text_says_what_to_set(
    board: SimulatedBoard, share: MakeShared, host: Callable[[Shared], HostedBoard]
) -> None:
    shared = share(board.path, allowed=False)
    assert "set allow_sharing = true" in host(shared).wait_for("failed")["cause"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", shared.number), SECONDS)


def test_an_address_that_is_taken_is_told(board: SimulatedBoard, share: MakeShared) -> None:
    shared = share(board.path)
    with (
        socket.create_server(("127.0.0.1", shared.number)),
        pytest.raises(LinkLostError, match=r"Address already in use; choose another"),
    ):
        shared.port()


def test_an_absent_port_is_absent_though_it_is_shared(tmp_path: Path, share: MakeShared) -> None:
    with pytest.raises(LinkAbsentError):
        share(tmp_path / "absent").port()


def test_a_second_visitor_is_sent_away(board: SimulatedBoard, share: MakeShared) -> None:
    shared = share(board.path)
    shared.port().close()
    first, second = shared.come(), shared.come()
    with pytest.raises(LinkTakenError, match="in the remote hands of"):
        shared.port()
    assert second.recv(100) == b""
    first.sendall(IDENTIFY)
    hear(first, b"ID bench-board")
    with pytest.raises(LinkTakenError):
        shared.port()


def test_who_waits_at_the_door_breaks_the_open_link(
    board: SimulatedBoard, share: MakeShared
) -> None:
    shared = share(board.path)
    link = shared.port()
    try:
        visitor = shared.come()
        with pytest.raises(LinkTakenError):
            read_on(link)
    finally:
        link.close()
        link.close()
    assert link.fileno() == -1
    visitor.sendall(IDENTIFY)
    hear(visitor, b"ID bench-board")


def test_a_shared_link_carries_bytes_as_any(board: SimulatedBoard, share: MakeShared) -> None:
    link = share(board.path).port()
    try:
        link.write(IDENTIFY)
        data = b""
        while b"ID bench-board" not in data:
            assert select.select([link.fileno()], [], [], SECONDS)[0]
            data += link.read()
        assert (link.ways, link.tried) == (1, "")
    finally:
        link.close()


def test_a_visitor_finds_the_rate_that_was_proven(terminal: Terminal, share: MakeShared) -> None:
    shared = share(terminal.path, baud=(115200, 19200))
    link = shared.port()
    link.try_next_way()
    link.proven()
    link.close()
    visitor = visit(shared)
    visitor.sendall(b"x")
    hear_behind(terminal, b"x")
    assert termios.tcgetattr(terminal.slave)[4] == termios.B19200


# The visit.


def end_of(shared: Shared) -> bool:
    """Wait until the visit is over: the port can be opened again."""
    return until(lambda: not is_taken(shared), SECONDS)


def visit(shared: Shared) -> socket.socket:
    shared.port().close()
    visitor = shared.come()
    assert until(lambda: is_taken(shared), SECONDS)
    return visitor


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_visitor_s_pyserial_sets_the_line(terminal: Terminal, share: MakeShared) -> None:
    shared = share(terminal.path, "rfc2217")
    shared.port().close()
    made: list[serial.SerialBase] = []
    url = shared.url
    knock = threading.Thread(target=lambda: made.append(serial.serial_for_url(url, 57600)))
    knock.start()
    assert until(lambda: is_taken(shared), SECONDS)
    knock.join(SECONDS)
    (port,) = made
    try:
        port.write(b"\xff hello \xff")
        assert hear_behind(terminal, b"hello \xff") == b"\xff hello \xff"
        port.timeout = SECONDS
        os.write(terminal.master, b"\xff back")
        assert port.read(6) == b"\xff back"
        assert termios.tcgetattr(terminal.slave)[4] == termios.B57600
    finally:
        port.close()
    assert end_of(shared)


def test_a_port_that_dies_ends_the_visit(terminal: Terminal, share: MakeShared) -> None:
    shared = share(terminal.path)
    visitor = visit(shared)
    terminal.vanish()
    assert visitor.recv(100) == b""


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_visitor_who_takes_nothing_is_sent_away(
    terminal: Terminal, share: MakeShared, scheme: str
) -> None:
    shared = share(terminal.path, scheme, write_timeout=0.2)
    visitor = visit(shared)
    over = threading.Event()

    def babble() -> None:
        os.set_blocking(terminal.master, False)
        while not over.is_set():
            if select.select([], [terminal.master], [], 0.05)[1]:
                try:
                    os.write(terminal.master, b"x" * 4096)
                except BlockingIOError:
                    continue

    babbler = threading.Thread(target=babble)
    babbler.start()
    try:
        assert end_of(shared)
    finally:
        over.set()
        babbler.join(SECONDS)
    visitor.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xfa\x2c\x03\x63\xff\xf0",  # a parity that there is not
        b"\xff\xfa\x2c\x03\xff\xf0",  # none at all
        b"\xff\xfa\x2c\x01\x00\xff\xf0",  # half a rate
        b"\xff\xfa" + b"x" * 4000,  # no end
        b"\xff\xf0",  # an end without a beginning
    ],
)
def test_nonsense_costs_the_visitor_his_visit_and_nobody_else_anything(
    terminal: Terminal, share: MakeShared, nonsense: bytes
) -> None:
    shared = share(terminal.path, "rfc2217")
    visitor = visit(shared)
    visitor.sendall(nonsense)
    while visitor.recv(4096):
        pass
    assert end_of(shared)
