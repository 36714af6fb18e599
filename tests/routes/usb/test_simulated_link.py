"""A link to a simulated device behaves as one to a real device does."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.device.simulated_usb import SimulatedUsb
from gateway.device.usb import ControlRequest
from gateway.errors import CallTimeoutError, LinkAbsentError, LinkLostError, RefusedError
from routes.usb.settings import UsbSettings
from routes.usb.simulated_link import SimulatedLink
from tests.gateway.device.test_simulated_usb import Echo

SECONDS = 5.0


@pytest.fixture
def device(tmp_path: Path) -> Iterator[SimulatedUsb]:
    with SimulatedUsb(tmp_path / "echo", Echo()) as device:
        yield device


@pytest.fixture
def link(device: SimulatedUsb) -> Iterator[SimulatedLink]:
    link = SimulatedLink(settings_for(device.path))
    yield link
    link.close()


def settings_for(path: Path) -> UsbSettings:
    return UsbSettings(simulated=str(path), write_timeout=0.2)


def next_packet(link: SimulatedLink) -> bytes:
    assert select.select([link.fileno()], [], [], SECONDS)[0], "nothing came"
    return link.read()


def test_bytes_and_control_requests(link: SimulatedLink) -> None:
    assert link.read() == b""
    link.write(b"hello")
    assert next_packet(link) == b"HELLO"
    assert link.control_in(ControlRequest(1), 3, 1.0) == b"ans"
    with pytest.raises(RefusedError, match=r"refuses the vendor request 0x02 .*STALL"):
        link.control_out(ControlRequest(2), b"x", 1.0)
    assert link.identity().name == "echo"


def test_an_unplugged_device_is_lost_and_then_absent(
    device: SimulatedUsb, link: SimulatedLink
) -> None:
    device.unplug()
    for use in (
        lambda: next_packet(link),
        lambda: link.write(b"x"),
        lambda: link.control_in(ControlRequest(1), 3, 1.0),
    ):
        with pytest.raises(LinkLostError):
            use()
    with pytest.raises(LinkAbsentError, match="is not plugged in"):
        SimulatedLink(settings_for(device.path))
    device.plug()
    SimulatedLink(settings_for(device.path)).close()


def test_a_closed_link_says_so(link: SimulatedLink) -> None:
    link.close()
    link.close()
    assert link.fileno() == -1
    for use in (link.read, lambda: link.write(b"x")):
        with pytest.raises(LinkLostError, match="is closed"):
            use()


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Path]:
    """A listener that takes every connection and never says a thing."""
    path = tmp_path / "mute"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path
    path.unlink()


def test_a_device_that_says_nothing_is_borne_with_for_a_bounded_time(mute: Path) -> None:
    link = SimulatedLink(settings_for(mute))
    with pytest.raises(CallTimeoutError, match="did not answer the vendor request"):
        link.control_in(ControlRequest(1), 3, 0.05)
    with pytest.raises(LinkLostError, match="timed out"):
        write_without_end(link)
    link.close()


def write_without_end(link: SimulatedLink) -> None:
    for _ in range(10000):
        link.write(b"x" * 1000)


def test_what_is_no_simulated_device_is_told(tmp_path: Path) -> None:
    path = tmp_path / "stranger"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        with pytest.raises(LinkLostError, match="cannot be opened") as caught:
            SimulatedLink(settings_for(path))
        assert not isinstance(caught.value, LinkAbsentError)
    path.unlink()
    (tmp_path / "file").touch()
    for wrong in ("file/below", "nothing"):
        with pytest.raises(LinkAbsentError):
            SimulatedLink(settings_for(tmp_path / wrong))


@pytest.mark.parametrize("answer", [b"Anot json", b"?"])
def test_an_answer_that_makes_no_sense_costs_the_link(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "liar"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        link = SimulatedLink(settings_for(path))
        connections = [listener.accept()[0] for _ in range(2)]

        def lie() -> None:
            connections[1].recv(100)
            connections[1].recv(100)
            connections[1].send(answer)

        liar = threading.Thread(target=lie)
        liar.start()
        with pytest.raises(LinkLostError):
            link.identity()
        liar.join(SECONDS)
        link.close()
        for each in connections:
            each.close()
    path.unlink()
