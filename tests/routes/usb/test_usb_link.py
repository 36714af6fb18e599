"""A USB link over a made-up device: every fault of libusb, at every step, and what it costs."""

from __future__ import annotations

import errno
import select
import threading
import time
from collections.abc import Callable

import pytest

from gateway.device.usb import ControlRequest, Endpoint, UsbInterface
from gateway.errors import (
    CallTimeoutError,
    LinkAbsentError,
    LinkLostError,
    ProtocolError,
    RefusedError,
)
from routes.usb import pump as pump_module
from routes.usb.place import UsbPlace
from routes.usb.settings import UsbSettings
from routes.usb.usb_link import UsbLink, UsbOpener
from tests.lab.os_processes import until
from tests.lab.usb_descriptors import INTERRUPT, ISOCHRONOUS, Device, EndpointOf, Interface
from tests.routes.usb.conftest import BOTH, PLACE, SETTINGS, OpenLink
from tests.routes.usb.fake_backend import FakeBackend, usb_error

SECONDS = 5.0
ASK = ControlRequest(0x01)


def next_packet(link: UsbLink) -> bytes:
    assert select.select([link.fileno()], [], [], SECONDS)[0], "nothing came"
    return link.read()


# Opening and giving back.


def test_what_is_taken_is_given_back_in_order(backend: FakeBackend, open_link: OpenLink) -> None:
    backend.kernel_drivers = {0}
    link = open_link()
    assert "open" in repr(link)
    link.close()
    link.close()
    assert "closed" in repr(link)
    assert link.fileno() == -1
    assert backend.names() == ["open", "detach", "claim", "release", "attach", "close"]


STEPS = {
    "open_device": [],
    "get_configuration": ["open", "close"],
    "is_kernel_driver_active": ["open", "close"],
    "detach_kernel_driver": ["open", "close"],
    "claim_interface": ["open", "detach", "attach", "close"],
    "set_interface_altsetting": ["open", "detach", "claim", "release", "attach", "close"],
}
ERRORS = {
    errno.ENODEV: (LinkAbsentError, "has just gone while"),
    errno.EACCES: (LinkLostError, "no permission to open .*`gateway udev-rules`"),
    errno.EBUSY: (LinkLostError, "in use by another program .*`fuser -v"),
    errno.EIO: (LinkLostError, "cannot be opened, "),
    errno.EPIPE: (LinkLostError, "refuses"),
}


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("step", STEPS)
def test_whatever_step_fails_all_is_given_back_and_the_text_says_what_to_do(
    open_link: OpenLink, backend: FakeBackend, step: str, number: int
) -> None:
    backend.device = Device(interfaces=(Interface(), Interface(alternate=1)))
    backend.kernel_drivers = {0}
    backend.fail(step, number)
    kind, words = ERRORS[number]
    wanted = UsbInterface(number=0, alternate=1, read=Endpoint(0x81))
    with pytest.raises(LinkLostError, match=words) as caught:
        open_link(wanted)
    assert type(caught.value) is kind
    assert backend.names() == STEPS[step]
    assert backend.kernel_drivers == {0}


def test_what_the_system_does_not_support_is_said(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.kernel_drivers = {0}
    backend.fail("detach_kernel_driver", NotImplementedError("not here"))
    with pytest.raises(LinkLostError, match="does not support detaching the kernel's driver"):
        open_link()
    backend.kernel_drivers = set()
    backend.fail("is_kernel_driver_active", NotImplementedError("not here"))
    open_link()


def test_a_kernel_driver_that_left_by_itself_is_nobody_to_come_back(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.kernel_drivers = {0}
    backend.fail("detach_kernel_driver", errno.ENOENT)
    open_link().close()
    assert backend.names() == ["open", "claim", "release", "close"]


def test_a_kernel_driver_that_does_not_come_back_is_told_in_the_log(
    open_link: OpenLink, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.kernel_drivers = {0}
    link = open_link()
    backend.fail("attach_kernel_driver", errno.EBUSY)
    link.close()
    assert "the kernel's driver of interface 0 does not come back" in caplog.text
    assert backend.names()[-1] == "close"


def test_a_kernel_driver_is_left_alone_where_that_is_asked_for(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.kernel_drivers = {0}
    with pytest.raises(LinkLostError, match="set detach = true"):
        open_link(settings=UsbSettings(match=SETTINGS.match, detach=False))
    assert backend.names() == ["open", "close"]


def test_a_place_where_nobody_is_or_another_is_absent(open_link: OpenLink) -> None:
    with pytest.raises(LinkAbsentError, match="nothing is plugged in at /dev/bus/usb/001/006"):
        open_link(place=UsbPlace(1, 6))
    with pytest.raises(LinkAbsentError, match=r"05e0:0001 at .* has gone; 1209:0001 is there now"):
        open_link(place=UsbPlace(1, 5, 0x05E0, 0x0001))
    open_link(place=UsbPlace(1, 5))


def test_devices_that_cannot_be_listed_are_told(open_link: OpenLink, backend: FakeBackend) -> None:
    backend.fail("enumerate_devices", errno.EIO)
    with pytest.raises(LinkLostError, match="cannot list the devices"):
        open_link()


def test_a_configuration_is_set_only_where_it_must_be(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    open_link().close()
    assert "set_configuration" not in backend.names()
    backend.configured = 0
    open_link().close()
    assert ("set_configuration", 1) in backend.log
    backend.configurations = 2
    second = UsbInterface(number=0, configuration=2, read=Endpoint(0x81))
    open_link(second).close()
    open_link(second).close()
    assert backend.log.count(("set_configuration", 2)) == 1
    with pytest.raises(LinkLostError, match="has no configuration 7"):
        open_link(UsbInterface(number=0, configuration=7))
    backend.configurations = 0
    with pytest.raises(LinkLostError, match=r"has no configuration: its descriptors lie"):
        open_link()


def test_a_device_is_reset_only_when_it_is_opened_again_and_that_is_asked_for(
    backend: FakeBackend,
) -> None:
    settings = UsbSettings(match=SETTINGS.match, reset=True)
    opener = UsbOpener(settings, load=lambda: backend)
    opener(PLACE, BOTH).close()
    assert "reset" not in backend.names()
    opener(PLACE, BOTH).close()
    assert backend.names().count("reset") == 1
    backend.fail("reset_device", errno.ENOENT)
    with pytest.raises(LinkAbsentError, match="comes back anew after its reset"):
        opener(PLACE, BOTH)
    backend.fail("reset_device", errno.EIO)
    with pytest.raises(LinkLostError, match="resetting it"):
        opener(PLACE, BOTH)


# What descriptors say.


@pytest.mark.parametrize(
    ("interfaces", "wanted", "words"),
    [
        ((Interface(),), UsbInterface(number=1), "has no interface 1, .* it has interface 0"),
        ((), UsbInterface(number=0), "it has none"),
        (
            (Interface(kind=(3, 0, 0)),),
            UsbInterface(interface_class=3, subclass=1),
            "has no class 3, subclass 1, .* class 3, subclass 0",
        ),
        ((Interface(),), UsbInterface(number=0, read=Endpoint(0x83)), "has no endpoint 0x83"),
        (
            (Interface(endpoints=(EndpointOf(0x81, ISOCHRONOUS),)),),
            UsbInterface(number=0, read=Endpoint()),
            "has isochronous endpoint 0x81",
        ),
        (
            (Interface(),),
            UsbInterface(number=0, read=Endpoint(kind="interrupt")),
            "has no interrupt endpoint for reading",
        ),
        (
            (Interface(endpoints=()),),
            UsbInterface(number=0, write=Endpoint()),
            "has no endpoint for writing.* has none",
        ),
        (
            (Interface(endpoints=(EndpointOf(0x81, packet=0),)),),
            UsbInterface(number=0, read=Endpoint()),
            "packets of 0 bytes",
        ),
        (
            (Interface(), Interface(number=1)),
            UsbInterface(number=1, read=Endpoint()),
            "to interface 0 as well",
        ),
        ((Interface(claimed_endpoints=9),), UsbInterface(number=0), "descriptors of .* lie"),
    ],
)
def test_a_device_without_what_the_driver_wants_says_what_it_has(
    open_link: OpenLink,
    backend: FakeBackend,
    interfaces: tuple[Interface, ...],
    wanted: UsbInterface,
    words: str,
) -> None:
    backend.device = Device(interfaces=interfaces)
    with pytest.raises(LinkLostError, match=words) as caught:
        open_link(wanted)
    assert not isinstance(caught.value, LinkAbsentError)
    assert backend.names()[-1] == "close"


def test_descriptors_that_cannot_be_read_are_told(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    for error in (errno.EIO, errno.ENOENT):
        backend.fail("get_configuration_descriptor", error)
        with pytest.raises(LinkLostError, match="lie") as caught:
            open_link()
        assert not isinstance(caught.value, LinkAbsentError)


def test_a_high_speed_endpoint_may_send_several_packets_at_a_time(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    endpoint = EndpointOf(0x81, INTERRUPT, 0x1400 | 0x0000)
    backend.device = Device(interfaces=(Interface(endpoints=(endpoint,)),))
    backend.packets.put(b"x" * 3072)
    assert next_packet(open_link(UsbInterface(number=0, read=Endpoint()))) == b"x" * 3072


# Reading.


def test_each_packet_is_read_by_itself_and_empty_ones_are_none(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    assert link.read() == b""
    for packet in (b"one", b"", b"two", b"x" * 64):
        backend.packets.put(packet)
    assert [next_packet(link) for _ in range(3)] == [b"one", b"two", b"x" * 64]


def test_what_came_before_the_end_can_still_be_read(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    backend.packets.put(b"last words")
    backend.packets.put(usb_error(errno.ENODEV))
    assert next_packet(link) == b"last words"
    for _ in range(2):
        with pytest.raises(LinkLostError, match="was unplugged"):
            next_packet(link)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENODEV, "was unplugged"),
        (errno.EIO, "look at its cable, hub and power"),
        (errno.EOVERFLOW, "sent more than it was asked for"),
        (errno.ENOMEM, "failed while reading its endpoint 0x81"),
    ],
)
def test_a_read_that_fails_costs_the_link_with_the_reason(
    open_link: OpenLink, backend: FakeBackend, number: int, words: str
) -> None:
    link = open_link()
    backend.packets.put(usb_error(number))
    with pytest.raises(LinkLostError, match=words) as caught:
        next_packet(link)
    assert not isinstance(caught.value, LinkAbsentError)


def test_a_stall_is_cleared_and_only_many_in_a_row_cost_the_link(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    stall = usb_error(errno.EPIPE)
    for _ in range(3):
        for each in (stall, usb_error(errno.EINTR), *[stall] * (pump_module.STALLS - 2), b"ok"):
            backend.packets.put(each)
        assert next_packet(link) == b"ok"
    assert backend.names().count("clear_halt") == 3 * (pump_module.STALLS - 1)
    for _ in range(pump_module.STALLS):
        backend.packets.put(stall)
    with pytest.raises(LinkLostError, match="STALL again and again"):
        next_packet(link)


def test_a_stall_that_cannot_be_cleared_costs_the_link(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    backend.fail("clear_halt", errno.ENODEV)
    backend.packets.put(usb_error(errno.EPIPE))
    with pytest.raises(LinkLostError, match="was unplugged"):
        next_packet(link)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_reader_ends_the_link_and_no_more(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    backend.packets.put(ZeroDivisionError("in the reader"))
    with pytest.raises(LinkLostError, match=r"the reader of .* ended"):
        next_packet(link)


def test_a_device_is_not_read_faster_than_its_packets_are_taken(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    packets = [number.to_bytes(4, "little") * 16 for number in range(5000)]
    for packet in packets:
        backend.packets.put(packet)
    looks = [-1, backend.reads]
    while looks[-1] != looks[-2]:
        threading.Event().wait(2 * pump_module.TURN)
        looks.append(backend.reads)
    assert looks[-1] < 2000, "all of it lies in memory"
    assert [next_packet(link) for _ in packets] == packets


def test_a_link_that_nobody_reads_is_closed_within_a_turn(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    for fill in (0, 5000):
        link = open_link()
        for _ in range(fill):
            backend.packets.put(b"x" * 64)
        began = time.monotonic()
        link.close()
        assert time.monotonic() - began < pump_module.TURN + 2.0
        with pytest.raises(LinkLostError, match="is closed"):
            link.read()


def test_a_device_that_libusb_does_not_let_go_of_is_not_closed_under_it(
    open_link: OpenLink,
    backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    free, inside = threading.Event(), threading.Event()

    def stuck(*arguments: object) -> int:
        inside.set()
        assert free.wait(SECONDS)
        raise usb_error(errno.ENODEV)

    monkeypatch.setattr(backend, "bulk_read", stuck)
    monkeypatch.setattr("routes.usb.usb_link.ENDING", 0.1)
    link = open_link()
    assert inside.wait(SECONDS)
    link.close()
    assert "libusb does not return" in caplog.text
    assert "close" not in backend.names()
    free.set()
    # It is given back by whoever is the last inside, and nothing is left open.
    assert until(lambda: backend.names()[-1] == "close", SECONDS)
    assert backend.names() == ["open", "claim", "release", "close"]


def test_a_device_without_a_read_endpoint_is_asked_whether_it_is_there(
    open_link: OpenLink, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "STATUS_EVERY", 0.01)
    backend.fail("ctrl_transfer", None, errno.ETIMEDOUT, errno.EPIPE, None, errno.ENODEV)
    link = open_link(UsbInterface(number=0, write=Endpoint()))
    with pytest.raises(LinkLostError, match="was unplugged"):
        next_packet(link)
    assert backend.log.count(("control", 0x80, 0, 0, 0, b"\0\0")) == 2


# Writing.


def test_a_write_arrives_whole_in_as_many_pieces_as_it_takes(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.takes = 5
    open_link().write(b"twelve bytes")
    assert backend.written == [b"twelv", b"e byt", b"es"]


def test_a_device_that_takes_nothing_is_lost_after_the_write_timeout(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.takes = 3
    backend.fail("bulk_write", None, errno.ETIMEDOUT)
    with pytest.raises(LinkLostError, match=r"took no bytes for 0\.3 s .*0x02; 2 are left"):
        open_link().write(b"12345")


def test_a_device_that_takes_nothing_at_all_for_ever_is_lost_as_well(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.takes = 0
    began = time.monotonic()
    with pytest.raises(LinkLostError, match="took no bytes"):
        open_link().write(b"12345")
    assert 0.3 <= time.monotonic() - began < SECONDS


def test_a_stall_while_writing_is_cleared_and_refused(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    backend.fail("bulk_write", errno.EPIPE)
    with pytest.raises(RefusedError, match="STALL while writing to its endpoint 0x02"):
        link.write(b"x")
    assert ("clear_halt", 0x02) in backend.log
    link.write(b"y")
    backend.fail("bulk_write", errno.EPIPE)
    backend.fail("clear_halt", errno.ENODEV)
    with pytest.raises(LinkLostError, match="was unplugged"):
        link.write(b"z")


def test_a_write_to_a_device_that_is_gone_is_lost(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.fail("bulk_write", errno.ENODEV)
    with pytest.raises(LinkLostError, match="was unplugged"):
        open_link().write(b"x")


def test_a_driver_without_a_write_endpoint_cannot_write(open_link: OpenLink) -> None:
    link = open_link(UsbInterface(number=0, read=Endpoint()))
    with pytest.raises(ProtocolError, match="declares no endpoint to write"):
        link.write(b"x")


# Control transfers.


def test_control_requests_are_those_of_the_standard(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    backend.device = Device(interfaces=(Interface(number=3),))
    link = open_link(UsbInterface(number=3))
    assert link.control_in(ControlRequest(0x01, 2, 7), 4, 1.0) == bytes(4)
    link.control_out(ControlRequest(0x0A, kind="class", recipient="interface"), b"on", 1.0)
    link.control_out(ControlRequest(0x0B, index=0x103, recipient="interface"), b"", 0.0001)
    assert [each for each in backend.log if each[0] == "control" and each[1] != 0x80] == [
        ("control", 0xC0, 0x01, 2, 7, bytes(4)),
        ("control", 0x21, 0x0A, 0, 3, b"on"),
        ("control", 0x41, 0x0B, 0, 0x103, b""),
    ]
    with pytest.raises(ValueError, match="interface 1 is not the driver's own, which is 3"):
        link.control_in(ControlRequest(1, index=1, kind="class", recipient="interface"), 1, 1.0)
    assert ("claim", 1) not in backend.log


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EPIPE, RefusedError, "refuses the vendor request 0x01 .*STALL"),
        (errno.ETIMEDOUT, CallTimeoutError, "did not answer the vendor request 0x01"),
        (errno.ENODEV, LinkLostError, "was unplugged"),
        (errno.EIO, LinkLostError, "failed while the vendor request 0x01"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [lambda link: link.control_in(ASK, 4, 1.0), lambda link: link.control_out(ASK, b"x", 1.0)],
    ids=["in", "out"],
)
def test_a_control_transfer_that_fails_says_whose_fault_it_is(
    open_link: OpenLink,
    backend: FakeBackend,
    number: int,
    kind: type[Exception],
    words: str,
    use: Callable[[UsbLink], object],
) -> None:
    link = open_link()
    backend.fail("ctrl_transfer", number)
    with pytest.raises(kind, match=words):
        use(link)


@pytest.mark.parametrize(
    "use",
    [
        lambda link: link.control_in(ASK, 4, 1.0),
        lambda link: link.control_out(ASK, b"", 1.0),
        lambda link: link.identity(),
        lambda link: link.write(b"x"),
    ],
)
def test_a_closed_link_says_so(open_link: OpenLink, use: Callable[[UsbLink], object]) -> None:
    link = open_link()
    link.close()
    with pytest.raises(LinkLostError, match="is closed"):
        use(link)


# Who it is.


def test_its_texts_are_read_once(open_link: OpenLink, backend: FakeBackend) -> None:
    name = "Scanner Ü"
    backend.strings = {
        0: b"\x04\x03\x09\x04",
        2: bytes([2 + 2 * len(name), 3]) + name.encode("utf-16-le"),
    }
    link = open_link()
    said = link.identity()
    assert (said.manufacturer, said.name, said.serial_number) == ("", name, "")
    assert (said.vendor, said.product, said.release) == (0x1209, 0x0001, "1.02")
    backend.strings = {}
    assert link.identity() is said


def test_texts_of_a_device_that_is_gone_are_a_lost_link(
    open_link: OpenLink, backend: FakeBackend
) -> None:
    link = open_link()
    backend.fail("ctrl_transfer", errno.ENODEV)
    with pytest.raises(LinkLostError, match="was unplugged"):
        link.identity()
