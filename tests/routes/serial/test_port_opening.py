"""Opening a port: what it cannot do is named, what it is told is read back, and nothing leaks.

A pseudo-terminal that is taken for a real port is one that can do little, and
says nothing of it: no parity, no seven bits, no modem lines.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import serial

from gateway.errors import LinkAbsentError, LinkLostError
from routes.serial import line, modem_lines
from routes.serial.port_opening import OpenPort, close_port, open_port
from routes.serial.settings import Reset, Rs485, SerialSettings
from tests.lab.terminal import Terminal

TIOCGEXCL = 0x80045440
NOBODY = 65534

Open = Callable[..., OpenPort]


@pytest.fixture
def opened(terminal: Terminal) -> Iterator[Open]:
    """Opens the port with the settings that are named; it is closed with the test."""
    descriptors: list[int] = []

    def make(**values: Any) -> OpenPort:
        settings = SerialSettings(port=str(terminal.path), **values)
        port = open_port(settings, settings.rates[0])
        descriptors.append(port.descriptor)
        return port

    yield make
    for descriptor in descriptors:
        close_port(descriptor, broken=True)


@pytest.fixture
def as_a_real_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the pty be judged as if it had a line."""
    monkeypatch.setattr(line, "is_pseudo_terminal", lambda port: False)


class Uart:
    """Answers the control calls of a real port, as far as ``able``; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, able: bool = True) -> None:
        self.lines = termios.TIOCM_DTR | termios.TIOCM_RTS
        self.history: list[tuple[str, bool]] = []
        self.rs485 = bytes(32)
        self.flags = 0
        self.able = able
        self.real = fcntl.ioctl
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, descriptor: int, request: int, argument: Any = 0) -> Any:
        if request in (termios.TIOCMBIS, termios.TIOCMBIC):
            bits = int.from_bytes(argument, "little")
            up = request == termios.TIOCMBIS
            self.lines = self.lines | bits if up else self.lines & ~bits
            self.history.append(("dtr" if bits == termios.TIOCM_DTR else "rts", up))
        elif request == modem_lines._TIOCSRS485:
            words = array.array("I", argument)
            if not self.able:
                words[1] = 0  # this driver knows no delay
            self.rs485 = words.tobytes()
        elif request == modem_lines._TIOCGRS485:
            return self.rs485
        elif request == termios.TIOCGSERIAL:
            words = array.array("I", argument)
            words[4] = self.flags
            return words.tobytes()
        elif request == termios.TIOCSSERIAL:
            if self.able:
                self.flags = array.array("I", argument)[4]
        else:
            return self.real(descriptor, request, argument)
        return None


# What a port cannot do.


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"bytesize": 7}, r"bytesize = 7: the port takes 8"),
        ({"parity": "E"}, r'parity = "E": the port makes "N" of it'),
        ({"rs485": {}}, r"rs485: the port's driver has no RS-485 mode; use an adapter"),
        ({"dtr": False}, r"dtr: the port has no such line; leave it out"),
        ({"rts": True}, r"rts: the port has no such line; leave it out"),
        ({"reset": {"line": "dtr"}}, r"reset: the port has no dtr; choose another"),
    ],
)
def test_a_setting_that_the_port_cannot_do_is_named(
    opened: Open, terminal: Terminal, values: dict[str, Any], advice: str
) -> None:
    settings = msgspec.convert({"port": str(terminal.path), **values}, SerialSettings)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(LinkLostError, match=rf"port cannot do that: .*{advice}"):
        open_port(settings, 115200)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("as_a_real_port")
def test_all_that_a_port_cannot_do_is_told_at_once(opened: Open) -> None:
    with pytest.raises(LinkLostError) as caught:
        opened(bytesize=7, parity="M", dtr=False)
    for name in ("bytesize", "parity", "dtr"):
        assert f"{name}" in str(caught.value)


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize(("made", "right"), [(115200, False), (250000, True), (243000, True)])
def test_a_rate_is_right_within_what_a_board_can_bear(
    opened: Open, monkeypatch: pytest.MonkeyPatch, made: int, right: bool
) -> None:
    monkeypatch.setattr(line, "rate_of", lambda descriptor: made)
    if right:
        opened(baud=250000)
    else:
        with pytest.raises(LinkLostError, match="baud = 250000: the port makes 115200 of it"):
            opened(baud=250000)


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize("baud", [50, 9600, 115200, 74880, 123457, 4_000_000])
def test_any_rate_that_the_port_can_do_is_set(opened: Open, baud: int) -> None:
    assert line.rate_of(opened(baud=baud).descriptor) == baud


@pytest.mark.usefixtures("as_a_real_port")
def test_flow_control_that_was_not_taken_is_named(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = termios.tcgetattr

    def without(descriptor: int) -> list[Any]:
        attributes = real(descriptor)
        attributes[0] &= ~termios.IXON
        attributes[2] &= ~termios.CRTSCTS
        return attributes

    monkeypatch.setattr(termios, "tcgetattr", without)
    with pytest.raises(LinkLostError, match="rtscts: the port has no RTS/CTS"):
        opened(rtscts=True)
    with pytest.raises(LinkLostError, match="xonxoff: the port cannot"):
        opened(xonxoff=True)


# What a port can do.


@pytest.mark.usefixtures("as_a_real_port")
def test_modem_lines_are_as_configured(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    uart = Uart(monkeypatch)
    opened(dtr=False, rts=False)
    assert uart.lines == 0


@pytest.mark.usefixtures("as_a_real_port")
def test_lines_that_are_not_configured_are_left_up(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    uart = Uart(monkeypatch)
    opened()
    assert uart.lines == termios.TIOCM_DTR | termios.TIOCM_RTS
    assert not [change for change in uart.history if not change[1]]


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize("name", ["dtr", "rts"])
def test_a_reset_pulls_its_line_for_as_long_as_it_says_and_lets_go(
    opened: Open, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    uart = Uart(monkeypatch)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        assert uart.history[-1] == (name, False)
        slept.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    opened(reset=Reset(line=name, seconds=0.25))  # type: ignore[arg-type]
    assert slept == [0.25]
    assert uart.history[-2:] == [(name, False), (name, True)]


@pytest.mark.usefixtures("as_a_real_port")
def test_a_break_is_held_and_ended(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = fcntl.ioctl

    def noted(descriptor: int, request: int, *argument: Any) -> Any:
        asked.append(request)
        return real(descriptor, request, *argument)

    monkeypatch.setattr(fcntl, "ioctl", noted)
    opened(reset=Reset(line="break", seconds=0.01), low_latency=False)
    assert asked[-2:] == [modem_lines._TIOCSBRK, modem_lines._TIOCCBRK]


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize("drops", [True, False])
def test_whether_closing_drops_the_lines_is_set(opened: Open, drops: bool) -> None:
    port = opened(hupcl=drops)
    assert bool(termios.tcgetattr(port.descriptor)[2] & termios.HUPCL) is drops


@pytest.mark.usefixtures("as_a_real_port")
def test_rs485_is_switched_on_with_its_levels_and_delays(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    uart = Uart(monkeypatch)
    opened(rs485=Rs485(rts_on_send=False, rts_after_send=True, delay_after_send=0.003))
    flags, before, after, *_ = array.array("I", uart.rs485)
    assert (flags, before, after) == (0b101, 0, 3)


@pytest.mark.usefixtures("as_a_real_port")
def test_rs485_that_the_driver_made_something_else_of_is_named(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    Uart(monkeypatch, able=False)
    with pytest.raises(LinkLostError, match=r"rs485: .* cannot do delay_before_send as configured"):
        opened(rs485=Rs485(delay_before_send=0.005))


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize("level", [True, False])
def test_the_rs485_driver_is_off_before_its_mode_is_on(
    opened: Open, monkeypatch: pytest.MonkeyPatch, level: bool
) -> None:
    uart = Uart(monkeypatch)
    opened(rs485=Rs485(rts_on_send=not level, rts_after_send=level))
    assert [up for name, up in uart.history if name == "rts"] == [level]


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize(
    ("able", "note"), [(True, "low_latency is on"), (False, "took it and did nothing")]
)
def test_low_latency_is_read_back_and_told(
    opened: Open, monkeypatch: pytest.MonkeyPatch, able: bool, note: str
) -> None:
    Uart(monkeypatch, able=able)
    assert note in "; ".join(opened().notes)


@pytest.mark.usefixtures("as_a_real_port")
def test_a_port_that_knows_no_low_latency_is_borne_with_and_told(opened: Open) -> None:
    assert "knows no such thing" in "; ".join(opened().notes)


# A pseudo-terminal.


def test_a_pseudo_terminal_has_no_line_and_says_once_what_counts_for_nothing(
    opened: Open,
) -> None:
    port = opened(parity="E", bytesize=7, dtr=True, rs485=Rs485(), reset=Reset(seconds=2))
    (note,) = port.notes
    assert "pseudo-terminal" in note
    for name in ("parity", "bytesize", "dtr", "rs485", "reset"):
        assert name in note


def test_a_pseudo_terminal_of_which_nothing_is_asked_has_nothing_to_say(opened: Open) -> None:
    assert opened().notes == ()


def test_parity_is_no_hindrance_to_opening_a_pseudo_terminal_again(opened: Open) -> None:
    for _ in range(3):
        close_port(opened(parity="E").descriptor, broken=False)


# Exclusive.


@pytest.mark.usefixtures("as_a_real_port")
def test_an_exclusive_port_is_marked_and_keeps_out_who_asks_for_nothing(
    opened: Open, terminal: Terminal
) -> None:
    os.chmod(os.path.realpath(terminal.path), 0o666)

    def others_get_in() -> bool:
        user: dict[str, Any] = {"user": NOBODY} if os.geteuid() == 0 else {}
        script = ["sh", "-c", 'exec 3<>"$1"', "sh", os.path.realpath(terminal.path)]
        return (
            subprocess.run(script, check=False, stderr=subprocess.DEVNULL, **user).returncode == 0
        )

    assert others_get_in()
    port = opened()
    assert fcntl.ioctl(port.descriptor, TIOCGEXCL, bytes(4)) != bytes(4)
    assert not others_get_in()
    close_port(port.descriptor, broken=False)
    assert others_get_in()


def test_no_descriptor_is_kept_but_the_port_s_own(opened: Open) -> None:
    before = set(os.listdir("/proc/self/fd"))
    port = opened()
    assert set(os.listdir("/proc/self/fd")) - before == {str(port.descriptor)}
    assert not os.get_inheritable(port.descriptor)


# A port that dies, at each step.

GONE = errno.EIO


def fail(number: int, name: str) -> Callable[..., Any]:
    error: Exception = OSError(number, os.strerror(number))
    if name.startswith("tc"):
        error = termios.error(number, os.strerror(number))

    def failing(*arguments: object, **options: object) -> Any:
        raise error

    return failing


@pytest.mark.usefixtures("as_a_real_port")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV, errno.ENXIO])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (termios, "tcgetattr"),
        (termios, "tcsetattr"),
        (termios, "tcflush"),
        (fcntl, "flock"),
        (fcntl, "ioctl"),
        (fcntl, "fcntl"),
        (serial.Serial, "_update_dtr_state"),
        (serial.Serial, "_reset_input_buffer"),
        (line, "rate_of"),
        (modem_lines, "set_line"),
        (modem_lines, "keep_up"),
        (modem_lines, "pull"),
        (modem_lines, "set_rs485"),
    ],
)
def test_a_port_that_goes_at_any_step_is_absent_and_nothing_is_left_open(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, module: object, name: str, number: int
) -> None:
    settings = SerialSettings(
        port=str(terminal.path), dtr=True, hupcl=False, reset=Reset(line="break", seconds=0.001)
    )
    if name == "set_rs485":
        settings = SerialSettings(port=str(terminal.path), rs485=Rs485())
    elif name == "set_line":
        pass
    else:
        monkeypatch.setattr(modem_lines, "set_line", lambda *arguments, **options: None)
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(module, name, fail(number, name))
    with pytest.raises(LinkAbsentError):
        open_port(settings, 115200)
    monkeypatch.undo()
    assert set(os.listdir("/proc/self/fd")) == before


def test_closing_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    close_port(987654, broken=True)
    close_port(987654, broken=False)
