"""What a driver may declare of its USB device, and its control transfers on a stand-in host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.device.identity import Identity
from gateway.device.usb import (
    ControlLink,
    ControlRequest,
    Endpoint,
    UsbDriver,
    UsbHost,
    UsbIdentity,
    UsbInterface,
)
from gateway.errors import RefusedError
from gateway.framing.raw import Raw


@pytest.mark.parametrize(
    "make",
    [
        lambda: Endpoint(0x00),
        lambda: Endpoint(0x80),
        lambda: Endpoint(0x13),
        lambda: Endpoint(0x181),
        lambda: Endpoint(0x81, transfer=65537),
        lambda: UsbInterface(read=Endpoint(0x81)),
        lambda: UsbInterface(subclass=1, protocol=1),
        lambda: UsbInterface(number=0, read=Endpoint(0x01)),
        lambda: UsbInterface(number=0, write=Endpoint(0x81)),
        lambda: ControlRequest(256),
        lambda: ControlRequest(1, value=0x10000),
        lambda: ControlRequest(1, index=-1),
    ],
)
def test_a_declaration_that_no_device_can_meet_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


def test_declarations_read_as_a_person_would_say_them() -> None:
    assert str(UsbInterface(interface_class=3, subclass=1, protocol=0, alternate=2)) == (
        "class 3, subclass 1, protocol 0, alternate setting 2"
    )
    assert str(UsbInterface(number=0)) == "interface 0"
    assert str(Endpoint(0x81, "bulk")) == "bulk endpoint 0x81"
    assert str(Endpoint()) == "endpoint"
    assert "class request 0x0a (value 0x0000) to its interface" in str(
        ControlRequest(0x0A, kind="class", recipient="interface")
    )


def test_the_type_of_a_request_is_that_of_the_standard() -> None:
    # USB 2.0, table 9-2.
    assert ControlRequest(1).type == 0x40
    assert ControlRequest(1, kind="class", recipient="interface").type == 0x21
    assert ControlRequest(1, kind="standard", recipient="endpoint").type == 0x02


class Link(ControlLink):
    """A link that notes its control transfers."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        self.asked.append((request, length, timeout))
        return b"\1" * length

    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        self.asked.append((request, data, timeout))

    def identity(self) -> UsbIdentity:
        return UsbIdentity(0x1209, 0x0001, "1.02", serial_number="X1")

    def fileno(self) -> int:
        return -1

    def read(self) -> bytes:
        return b""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class PlainHost:
    """A host without any USB device."""

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        return b""

    def ask_many(self, *asked: Any) -> list[bytes]:
        return []

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        return b""

    def write(self, payload: bytes) -> None: ...

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None: ...

    def fault(self, cause: str) -> None: ...


class Host(PlainHost):
    """A host with one."""

    def __init__(self) -> None:
        self.link = Link()

    def control_link(self) -> ControlLink:
        return self.link


class Lamp(UsbDriver):
    framing = Raw()
    interface = UsbInterface(number=0)


def test_a_driver_is_known_by_its_descriptors_unless_it_asks_itself() -> None:
    assert Lamp("lamp", Host()).handshake() == Identity("1.02", "1209:0001", "X1")


def test_control_transfers_go_to_the_link_of_the_host() -> None:
    host = Host()
    lamp = Lamp("lamp", host)
    assert lamp.control_in(0x01, 2, value=3, index=4) == b"\1\1"
    lamp.control_out(0x09, b"on", kind="class", recipient="interface", timeout=0.2)
    assert host.link.asked == [
        (ControlRequest(0x01, 3, 4), 2, 1.0),
        (ControlRequest(0x09, kind="class", recipient="interface"), b"on", 0.2),
    ]


@pytest.mark.parametrize(
    "use",
    [
        lambda lamp: lamp.control_in(1, 65536),
        lambda lamp: lamp.control_in(1, -1),
        lambda lamp: lamp.control_in(1, 1, timeout=0),
        lambda lamp: lamp.control_out(1, timeout=60.0),
    ],
)
def test_misuse_is_a_value_error_and_reaches_no_device(use: Callable[[Lamp], object]) -> None:
    host = Host()
    with pytest.raises(ValueError, match="a control transfer"):
        use(Lamp("lamp", host))
    assert host.link.asked == []


def test_a_host_without_usb_refuses_with_the_reason() -> None:
    assert isinstance(Host(), UsbHost)
    assert not isinstance(PlainHost(), UsbHost)
    with pytest.raises(RefusedError, match="lamp stands on no USB device"):
        Lamp("lamp", PlainHost()).usb_identity()
