"""A serial link against terminals that answer, vanish, hang, are taken, forbidden or not there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from gateway.device.link import Link
from gateway.errors import LinkAbsentError, LinkLostError
from routes.serial import line
from routes.serial.serial_link import SerialLink, opener
from routes.serial.settings import SerialSettings
from tests.lab.simavr import Simavr
from tests.lab.terminal import Terminal

SECONDS = 5.0


@pytest.fixture
def link(terminal: Terminal) -> Iterator[SerialLink]:
    link = SerialLink.open(settings_for(terminal.path, write_timeout=0.2))
    yield link
    link.close()


def settings_for(path: Path, **values: Any) -> SerialSettings:
    return SerialSettings(port=str(path), **values)


def wait_until_readable(link: Link) -> None:
    assert select.select([link.fileno()], [], [], SECONDS)[0], "nothing to read"


def read_exactly(link: Link, count: int) -> bytes:
    data = b""
    while len(data) < count:
        wait_until_readable(link)
        data += link.read()
    return data


def read_to_the_end(link: Link) -> None:
    while True:
        wait_until_readable(link)
        link.read()


# A live port.


def test_bytes_travel_both_ways_unchanged(terminal: Terminal, link: SerialLink) -> None:
    every_byte = bytes(range(256))
    os.write(terminal.master, every_byte)
    assert read_exactly(link, 256) == every_byte
    link.write(every_byte)
    assert os.read(terminal.master, 512) == every_byte


def test_reading_an_idle_port_returns_nothing_at_once(link: SerialLink) -> None:
    assert link.read() == b""
    assert link.read() == b""


def test_what_lay_in_the_port_before_it_was_opened_is_thrown_away(terminal: Terminal) -> None:
    os.write(terminal.master, b"of an earlier life\n")
    assert select.select([terminal.slave], [], [], SECONDS)[0]
    link = SerialLink.open(settings_for(terminal.path))
    try:
        assert link.read() == b""
    finally:
        link.close()


def test_the_line_is_set_as_configured(terminal: Terminal) -> None:
    link = SerialLink.open(settings_for(terminal.path, baud=9600, parity="E", stopbits=2))
    try:
        _, _, cflag, _, ispeed, ospeed, _ = termios.tcgetattr(terminal.slave)
        assert (ispeed, ospeed) == (termios.B9600, termios.B9600)
        assert cflag & termios.CSTOPB
    finally:
        link.close()


def test_a_write_larger_than_the_port_holds_arrives_whole(
    terminal: Terminal, link: SerialLink
) -> None:
    data = os.urandom(100_000)
    received = bytearray()

    def drain() -> None:
        while len(received) < len(data) and select.select([terminal.master], [], [], SECONDS)[0]:
            received.extend(os.read(terminal.master, 4096))

    reader = threading.Thread(target=drain)
    reader.start()
    link.write(data)
    reader.join(SECONDS)
    assert bytes(received) == data


def test_a_closed_link_says_so_and_can_be_closed_again(link: SerialLink) -> None:
    assert "open" in repr(link)
    link.close()
    link.close()
    assert link.fileno() == -1
    assert "closed" in repr(link)
    with pytest.raises(LinkLostError, match="is closed"):
        link.read()
    with pytest.raises(LinkLostError, match="is closed"):
        link.write(b"x")


def test_a_port_can_be_opened_again_after_it_was_closed(terminal: Terminal) -> None:
    open_port = opener(settings_for(terminal.path))
    for _ in range(3):
        link = open_port()
        os.write(terminal.master, b"x")
        assert read_exactly(link, 1) == b"x"
        link.close()


# A port that dies.


def test_a_vanished_port_wakes_whoever_waits_and_is_lost_to_reading(
    terminal: Terminal, link: SerialLink
) -> None:
    terminal.vanish()
    wait_until_readable(link)
    for _ in range(2):
        with pytest.raises(LinkLostError, match=str(terminal.path)):
            link.read()
    link.close()


def test_a_vanished_port_is_lost_to_writing(terminal: Terminal, link: SerialLink) -> None:
    terminal.vanish()
    with pytest.raises(LinkLostError, match="Input/output error"):
        link.write(b"x")
    assert "broken" in repr(link)
    link.close()


def test_a_port_that_vanishes_amid_a_write_is_lost(terminal: Terminal) -> None:
    link = SerialLink.open(settings_for(terminal.path, write_timeout=SECONDS))
    began = time.monotonic()
    fuse = threading.Timer(0.1, terminal.vanish)
    fuse.start()
    with pytest.raises(LinkLostError):
        link.write(b"x" * 1_000_000)
    assert time.monotonic() - began < SECONDS / 2
    fuse.join(SECONDS)
    link.close()


def test_a_peer_that_takes_nothing_is_borne_with_until_the_write_timeout(
    link: SerialLink,
) -> None:
    began = time.monotonic()
    with pytest.raises(LinkLostError, match=r"took no bytes for 0\.2 s; \d+ are left"):
        link.write(b"x" * 1_000_000)
    assert 0.2 <= time.monotonic() - began < 2.0
    began = time.monotonic()
    link.close()
    assert time.monotonic() - began < 2.0


def fill(link: SerialLink) -> int:
    """Fill the port until it takes no byte more; return how many it took."""
    count = 0
    # The kernel moves what it took a little later, and then takes more.
    while select.select([], [link.fileno()], [], 0.05)[1]:
        with contextlib.suppress(BlockingIOError):
            while True:
                count += os.write(link.fileno(), b"x" * 1024)
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(link.fileno(), b"x")
    return count


def test_a_port_that_is_full_from_the_start_is_waited_for(
    terminal: Terminal, link: SerialLink
) -> None:
    fill(link)
    with pytest.raises(LinkLostError, match=r"took no bytes for 0\.2 s; 4 are left"):
        link.write(b"last")


def test_a_full_port_that_empties_takes_the_rest(terminal: Terminal) -> None:
    link = SerialLink.open(settings_for(terminal.path, write_timeout=SECONDS))
    count = fill(link)
    received = bytearray()

    def drain() -> None:
        while len(received) < count + 4 and select.select([terminal.master], [], [], SECONDS)[0]:
            received.extend(os.read(terminal.master, 4096))

    reader = threading.Timer(0.05, drain)
    reader.start()
    link.write(b"last")
    reader.join(SECONDS)
    assert len(received) == count + 4
    assert received.endswith(b"last")
    link.close()


def test_only_a_broken_port_is_closed_with_its_unsent_bytes_thrown_away(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    for broken in (False, True):
        link = SerialLink.open(settings_for(terminal.path, write_timeout=0.05))
        if broken:
            fill(link)
            with pytest.raises(LinkLostError):
                link.write(b"x")
        with monkeypatch.context() as patch:
            patch.setattr(termios, "tcflush", lambda descriptor, queue: flushed.append(queue))
            link.close()
        assert flushed == [termios.TCOFLUSH] * broken


# A port that cannot be opened.


def test_a_port_that_does_not_exist_is_absent(tmp_path: Path) -> None:
    with pytest.raises(LinkAbsentError, match="nothing is plugged in"):
        SerialLink.open(settings_for(tmp_path / "ttyACM7"))


def test_a_link_to_a_device_that_is_gone_is_absent(terminal: Terminal) -> None:
    terminal.vanish()
    with pytest.raises(LinkAbsentError):
        SerialLink.open(settings_for(terminal.path))


def test_a_port_below_a_folder_that_is_gone_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "by-id" / "usb-board", tmp_path / "file" / "usb-board"):
        with pytest.raises(LinkAbsentError):
            SerialLink.open(settings_for(path))


def test_a_port_in_use_is_busy_and_the_text_says_how_to_find_by_whom(
    terminal: Terminal, link: SerialLink
) -> None:
    with pytest.raises(LinkLostError, match="in use by another program: `fuser -v") as caught:
        SerialLink.open(settings_for(terminal.path))
    assert not isinstance(caught.value, LinkAbsentError)
    link.close()
    SerialLink.open(settings_for(terminal.path)).close()


def test_two_that_do_not_ask_for_it_share_a_port(terminal: Terminal) -> None:
    settings = settings_for(terminal.path, exclusive=False)
    links = [SerialLink.open(settings), SerialLink.open(settings)]
    for link in links:
        link.close()


def test_a_forbidden_port_names_the_group_that_may(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "open", PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(LinkLostError, match=r"no permission to open .*add .* to the group '\w+'"):
        SerialLink.open(settings_for(terminal.path))


def test_a_file_is_no_serial_port(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a port")
    for path in (tmp_path / "notes", tmp_path):
        with pytest.raises(LinkLostError, match="is no serial port"):
            SerialLink.open(settings_for(path))
    assert (tmp_path / "notes").read_text() == "not a port"


def refuse(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, error: BaseException
) -> None:
    def refusing(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(module, name, refusing)


@pytest.mark.parametrize("step", ["tcgetattr", "tcsetattr", "tcflush"])
def test_a_port_that_goes_while_it_is_being_set_up_is_absent(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    refuse(monkeypatch, termios, step, termios.error(errno.EIO, "Input/output error"))
    with pytest.raises(LinkAbsentError):
        SerialLink.open(settings_for(terminal.path))


def test_a_port_that_goes_before_its_signals_are_set_is_absent(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EIO, "Input/output error")
    refuse(monkeypatch, serial.Serial, "_update_dtr_state", error)
    with pytest.raises(LinkAbsentError):
        SerialLink.open(settings_for(terminal.path))


def test_a_rate_that_the_port_cannot_do_is_told(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ValueError("Failed to set custom baud rate (123457): Invalid argument")
    refuse(monkeypatch, serial.Serial, "_set_special_baudrate", error)
    with pytest.raises(LinkLostError, match=r"cannot do that: .*123457"):
        SerialLink.open(settings_for(terminal.path, baud=123457))


def test_an_error_that_nobody_foresaw_keeps_its_words(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "open", OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(LinkLostError, match=r"cannot be opened: .*Too many open files"):
        SerialLink.open(settings_for(terminal.path))


# A port server.


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def settings_for_server(server: socket.socket, **values: Any) -> SerialSettings:
    return SerialSettings(port=f"socket://127.0.0.1:{server.getsockname()[1]}", **values)


@pytest.fixture
def connection(server: socket.socket) -> Iterator[tuple[SerialLink, socket.socket]]:
    link = SerialLink.open(settings_for_server(server, write_timeout=0.2))
    peer, _ = server.accept()
    with peer:
        yield link, peer
    link.close()


Connection = tuple[SerialLink, socket.socket]


def test_a_port_server_carries_bytes_both_ways(connection: Connection) -> None:
    link, peer = connection
    assert link.read() == b""
    peer.sendall(b"from the server")
    assert read_exactly(link, 15) == b"from the server"
    link.write(b"to the server")
    assert peer.recv(100) == b"to the server"


def end_politely(peer: socket.socket) -> None:
    peer.close()


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()


@pytest.mark.parametrize("end", [end_politely, reset])
def test_a_port_server_that_goes_is_lost(
    connection: Connection, end: Callable[[socket.socket], None]
) -> None:
    link, peer = connection
    end(peer)
    wait_until_readable(link)
    with pytest.raises(LinkLostError, match="socket://"):
        link.read()
    began = time.monotonic()
    link.close()
    assert time.monotonic() - began < 0.29  # pyserial sleeps 0.3 s here


def test_a_port_server_that_takes_nothing_is_bounded(connection: Connection) -> None:
    link, _ = connection
    began = time.monotonic()
    with pytest.raises(LinkLostError, match="took no bytes"):
        link.write(b"x" * 50_000_000)
    assert time.monotonic() - began < 2.0


def test_a_port_server_that_is_not_there_is_absent(server: socket.socket) -> None:
    settings = settings_for_server(server)
    server.close()
    with pytest.raises(LinkAbsentError, match="nobody answers"):
        SerialLink.open(settings)


def test_a_port_server_that_does_not_answer_is_absent_in_time(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def wait_in_vain(address: tuple[str, int], timeout: float) -> None:
        asked.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", wait_in_vain)
    with pytest.raises(LinkAbsentError):
        SerialLink.open(settings_for_server(server, connect_timeout=0.5))
    assert asked == [0.5]


def test_a_host_that_has_no_address_is_told(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    refuse(monkeypatch, socket, "create_connection", error)
    with pytest.raises(LinkLostError, match="Name or service not known; check host name"):
        SerialLink.open(settings_for_server(server))


# Real firmware.


@pytest.mark.needs("simavr")
def test_real_firmware_answers_and_dies(simavr: Simavr) -> None:
    link = SerialLink.open(settings_for(simavr.path))
    try:
        data = b""
        link.write(b"P1*61\n")
        while not data.endswith(b"P1*61\n"):
            wait_until_readable(link)
            data += link.read()
        simavr.kill()
        with pytest.raises(LinkLostError):
            read_to_the_end(link)
    finally:
        link.close()
    with pytest.raises(LinkAbsentError):
        SerialLink.open(settings_for(simavr.path))


@pytest.mark.needs("simavr")
def test_hung_firmware_is_bounded(simavr: Simavr) -> None:
    link = SerialLink.open(settings_for(simavr.path, write_timeout=0.2))
    try:
        simavr.freeze()
        with pytest.raises(LinkLostError, match="took no bytes"):
            link.write(b"P1*61\n" * 20_000)
    finally:
        link.close()


# What is done to an open port besides reading and writing.


def die(module: object, name: str, error: BaseException) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: refuse(monkeypatch, module, name, error)


GONE = OSError(errno.EIO, "Input/output error")
GONE_TO_TERMIOS = termios.error(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    "death",
    [
        die(termios, "tcgetattr", GONE_TO_TERMIOS),
        die(termios, "tcsetattr", GONE_TO_TERMIOS),
        die(termios, "tcflush", GONE_TO_TERMIOS),
    ],
)
def test_a_port_that_dies_while_its_rate_is_changed_is_lost(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    death: Callable[[pytest.MonkeyPatch], None],
) -> None:
    link = SerialLink.open(settings_for(terminal.path, baud=(9600, 19200)))
    with monkeypatch.context() as patch:
        death(patch)
        with pytest.raises(LinkLostError, match="Input/output error"):
            link.try_next_way()
    assert "broken" in repr(link)
    link.close()


def test_a_rate_without_a_name_is_set_and_a_port_that_dies_of_it_is_lost(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = SerialLink.open(settings_for(terminal.path, baud=(9600, 74880)))
    link.try_next_way()
    assert line.rate_of(terminal.slave) == 74880
    link.try_next_way()
    with monkeypatch.context() as patch:
        refuse(patch, fcntl, "ioctl", GONE)
        with pytest.raises(LinkLostError):
            link.try_next_way()
    link.close()


def test_a_vanished_port_is_lost_to_every_operation(terminal: Terminal) -> None:
    operations: list[Callable[[SerialLink], object]] = [
        lambda link: link.read(),
        lambda link: link.write(b"x"),
        lambda link: link.try_next_way(),
        lambda link: link.send_break(0.01),
    ]
    links = [
        SerialLink.open(settings_for(terminal.path, exclusive=False, baud=(9600, 19200)))
        for _ in operations
    ]
    terminal.vanish()
    for link, operation in zip(links, operations, strict=True):
        with pytest.raises(LinkLostError, match=str(terminal.path)):
            operation(link)
        link.close()
        with pytest.raises(LinkLostError, match="is closed"):
            operation(link)


def test_a_break_leaves_the_port_as_it_was(terminal: Terminal, link: SerialLink) -> None:
    link.send_break(0.001)
    link.write(b"x")
    assert os.read(terminal.master, 10) == b"x"


def test_a_rate_that_the_port_cannot_do_is_told_and_passed_over(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line, "is_pseudo_terminal", lambda port: False)
    link = SerialLink.open(settings_for(terminal.path, baud=(9600, 250000)))
    monkeypatch.setattr(line, "rate_of", lambda descriptor: 115200)
    link.try_next_way()
    assert "baud = 250000: the port makes 115200 of it" in caplog.text
    link.close()


def test_what_a_port_cannot_do_is_told_once_and_not_at_every_opening(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    open_port = opener(settings_for(terminal.path, dtr=True))
    with caplog.at_level("INFO"):
        for _ in range(3):
            open_port().close()
    assert caplog.text.count("dtr counts for nothing") == 1
