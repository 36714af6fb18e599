"""A link through real RFC 2217 servers, and to what only looks like one."""

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

from gateway.clock import RealClock
from gateway.device.link import Link
from gateway.errors import LinkAbsentError, LinkLostError
from routes.serial.baud_detection import Rates
from routes.serial.rfc2217_link import Rfc2217Link
from routes.serial.serial_link import opener
from routes.serial.settings import Reset, SerialSettings
from routes.serial.telnet import DO, DONT, IAC, SB, SE, WILL
from tests.lab.port_server import ManagedServer, Ser2net
from tests.lab.ports import free_port
from tests.lab.terminal import Terminal

SECONDS = 10.0

Server = ManagedServer | Ser2net
Open = Callable[..., Link]


@pytest.fixture(
    params=["pyserial", pytest.param("ser2net", marks=pytest.mark.needs("ser2net"))],
)
def server(request: pytest.FixtureRequest, terminal: Terminal, tmp_path: Path) -> Iterator[Server]:
    """A real server with the terminal as its port."""
    made: Server
    if request.param == "pyserial":
        made = ManagedServer(terminal.path)
    else:
        made = Ser2net(tmp_path, os.path.realpath(terminal.path))
    with made as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def opened(stack: ExitStack) -> Open:
    """Opens links that are closed with the test."""

    def make(url: str, **values: Any) -> Link:
        link = opener(SerialSettings(port=url, **values))()
        stack.callback(link.close)
        return link

    return make


def read_exactly(read: Callable[[], bytes], descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([descriptor], [], [], SECONDS)[0], f"only {data!r}"
        data += read()
    return data


def read_to_the_end(link: Link) -> None:
    while True:
        assert select.select([link.fileno()], [], [], SECONDS)[0], "nothing came"
        link.read()


EVERY_BYTE = bytes(range(256)) * 2


def test_every_byte_travels_both_ways_unchanged(
    server: Server, terminal: Terminal, opened: Open
) -> None:
    link = opened(server.url)
    assert isinstance(link, Rfc2217Link)
    link.write(EVERY_BYTE)
    master = terminal.master
    assert read_exactly(lambda: os.read(master, 4096), master, 512) == EVERY_BYTE
    os.write(master, EVERY_BYTE)
    assert read_exactly(link.read, link.fileno(), 512) == EVERY_BYTE
    assert link.read() == b""


def test_the_far_line_has_the_rate(server: Server, terminal: Terminal, opened: Open) -> None:
    opened(server.url, baud=57600, stopbits=2)
    _, _, cflag, _, speed, *_ = termios.tcgetattr(terminal.slave)
    assert speed == termios.B57600
    assert cflag & termios.CSTOPB


def test_a_setting_that_the_far_port_cannot_do_is_named(terminal: Terminal, opened: Open) -> None:
    with (
        ManagedServer(terminal.path) as server,
        pytest.raises(LinkLostError, match="cannot do that: parity: the port server makes N"),
    ):
        opened(server.url, parity="E")


def test_the_next_rate_is_set_on_the_open_port(
    server: Server, terminal: Terminal, opened: Open
) -> None:
    link = opened(server.url, baud=(9600, 19200, 38400))
    assert link.ways == 3
    for constant in (termios.B19200, termios.B38400, termios.B9600, termios.B19200):
        link.try_next_way()
        assert termios.tcgetattr(terminal.slave)[4] == constant
    assert link.tried == "9600, 19200 and 38400 baud"
    link.write(b"x")
    assert os.read(terminal.master, 10) == b"x"


def test_a_server_that_dies_is_lost(server: Server, terminal: Terminal, opened: Open) -> None:
    link = opened(server.url)
    if isinstance(server, Ser2net):
        server.kill()
    else:
        server.hang_up()
    with pytest.raises(LinkLostError, match="rfc2217://"):
        read_to_the_end(link)


def test_a_port_that_dies_behind_its_server_is_lost(
    terminal: Terminal, tmp_path: Path, opened: Open
) -> None:
    with ManagedServer(terminal.path) as server:
        link = opened(server.url)
        server.hang_up()
        terminal.vanish()
        with pytest.raises(LinkLostError):
            read_to_the_end(link)


def test_a_server_that_is_not_there_is_absent(opened: Open) -> None:
    with pytest.raises(LinkAbsentError, match="nobody answers at rfc2217://"):
        opened(f"rfc2217://127.0.0.1:{free_port()}")


# What only looks like one.


PURGE = bytes([IAC, SB, 44, 12, 3, IAC, SE])
"""The last of what sets a line."""


def receive(client: socket.socket, until: bytes) -> bytes:
    data = b""
    while until not in data:
        more = client.recv(4096)
        assert more, "it hung up"
        data += more
    return data


class Scripted:
    """A TCP server that says what it is told to one client."""

    def __init__(self, stack: ExitStack, *says: bytes) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(SECONDS)
        self.url = f"rfc2217://127.0.0.1:{listener.getsockname()[1]}"
        self.client: socket.socket | None = None

        def serve() -> None:
            self.client, _ = listener.accept()
            self.client.settimeout(SECONDS)
            for each in says:
                self.client.sendall(each)
                if each is not says[-1]:
                    receive(self.client, PURGE)

        thread = threading.Thread(target=serve)
        thread.start()

        def end() -> None:
            thread.join(SECONDS)
            if self.client is not None:
                self.client.close()

        stack.callback(end)


def test_a_server_of_bytes_alone_is_told_apart(opened: Open, stack: ExitStack) -> None:
    server = Scripted(stack, b"temperature 21.5\n" * 10)
    with pytest.raises(LinkLostError, match="no RFC 2217 port server; use socket://"):
        opened(server.url, connect_timeout=0.2)


def test_a_telnet_server_that_declines_is_told_apart_at_once(
    opened: Open, stack: ExitStack
) -> None:
    server = Scripted(stack, bytes([IAC, WILL, 1, IAC, DONT, 44]))
    with pytest.raises(LinkLostError, match="no RFC 2217 port server"):
        opened(server.url, connect_timeout=60)


AGREES = bytes([IAC, DO, 44])


def says(word: int, value: bytes = b"") -> bytes:
    return bytes([IAC, SB, 44, 100 + word]) + value + bytes([IAC, SE])


SETTLED = says(2, b"\x08") + says(3, b"\x01") + says(4, b"\x01") + says(1, b"\x00\x01\xc2\x00")


def test_a_server_that_sets_nothing_is_given_up_in_time(opened: Open, stack: ExitStack) -> None:
    server = Scripted(stack, AGREES, says(2, b"\x08"))
    with pytest.raises(LinkLostError, match=r"has not set .*parity, stopbits, baud within 0\.2 s"):
        opened(server.url, connect_timeout=0.2)


def test_a_server_that_confirms_no_flow_control_is_borne_with(
    opened: Open, stack: ExitStack
) -> None:
    server = Scripted(stack, AGREES, SETTLED)
    assert opened(server.url, rtscts=True).read() == b""


def test_what_is_written_while_the_server_asks_for_silence_is_sent_afterwards(
    opened: Open, stack: ExitStack
) -> None:
    server = Scripted(stack, AGREES, SETTLED)
    link = opened(server.url)
    assert server.client is not None
    server.client.sendall(says(8) + b"more")
    assert read_exactly(link.read, link.fileno(), 4) == b"more"
    link.write(b"first;")
    link.write(b"second;")
    server.client.sendall(says(9) + b"ok")
    assert read_exactly(link.read, link.fileno(), 2) == b"ok"
    assert receive(server.client, b"second;").endswith(b"first;second;")


def test_a_server_that_asks_for_silence_for_ever_is_lost(stack: ExitStack) -> None:
    class Clock(RealClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return RealClock.monotonic() + self.ahead

    clock = Clock()
    server = Scripted(stack, AGREES, SETTLED)
    settings = SerialSettings(port=server.url)
    link = Rfc2217Link.open(settings, clock=clock, rates=Rates(settings.rates))
    stack.callback(link.close)
    assert server.client is not None
    server.client.sendall(says(8) + b"x")
    assert read_exactly(link.read, link.fileno(), 1) == b"x"
    link.write(b"first;")
    clock.ahead = 1.5
    with pytest.raises(LinkLostError, match=r"asks for silence since 1\.5 s; 13 bytes are left"):
        link.write(b"second;")


def test_what_is_withheld_is_bounded(opened: Open, stack: ExitStack) -> None:
    server = Scripted(stack, AGREES, SETTLED)
    link = opened(server.url, write_timeout=60)
    assert server.client is not None
    server.client.sendall(says(8) + b"x")
    assert read_exactly(link.read, link.fileno(), 1) == b"x"
    for _ in range(8):
        link.write(b"y" * 8192)
    with pytest.raises(LinkLostError, match="asks for silence"):
        link.write(b"y")


def test_a_reset_pulls_the_far_line_and_lets_it_go(opened: Open, stack: ExitStack) -> None:
    server = Scripted(stack, AGREES, SETTLED)
    opened(server.url, reset=Reset(seconds=0.01))
    assert server.client is not None
    heard = receive(server.client, bytes([IAC, SB, 44, 5, 8, IAC, SE]))
    assert bytes([IAC, SB, 44, 5, 9, IAC, SE]) in heard
