"""What is played on a live USB bus: each function is one scene, in a process of its own.

`tests.routes.usb.test_live_usb` has them played; an assertion that fails here fails there.
"""

from __future__ import annotations

import itertools
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, ClassVar

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import command
from gateway.device.usb import ControlRequest, Endpoint, UsbDriver, UsbInterface
from gateway.errors import CallTimeoutError, LinkAbsentError, LinkLostError, RefusedError
from gateway.framing.raw import Raw
from gateway.hosting.driver_thread import DriverThread
from gateway.mail.message import Message
from gateway.testing.fake_outside import FakeOutside
from routes.usb.claim import Claim
from routes.usb.library import library, look_up
from routes.usb.place import UsbPlace
from routes.usb.pump import TURN
from routes.usb.settings import UsbSettings
from routes.usb.usb_link import UsbLink, UsbOpener
from tests.lab.live_usb import UsbBus
from tests.lab.usb_descriptors import KEYBOARD, Device, EndpointOf, Interface

SECONDS = 10.0
PORT = "1"
BOTH = UsbInterface(number=0, read=Endpoint(0x81), write=Endpoint(0x02))
ECHO = Device()
STRINGS = {1: "ACME", 2: "Bulk echo", 3: "X1"}
SETTINGS = UsbSettings(match={"ID_VENDOR_ID": "1209"}, write_timeout=10.0)
ASK = ControlRequest(0x01)


def plug_echo(bus: UsbBus, **more: Any) -> UsbPlace:
    options: dict[str, Any] = {
        "strings": STRINGS,
        "echo": {0x02: 0x81},
        "control": {"c0 01": "01020304", "40 02": "", "c0 07": "mute"},
    }
    address = bus.plug(PORT, ECHO, **{**options, **more})
    return UsbPlace(1, address, ECHO.vendor, ECHO.product)


@contextmanager
def opened(
    place: UsbPlace,
    interface: UsbInterface = BOTH,
    settings: UsbSettings = SETTINGS,
    *,
    reset: bool = False,
) -> Iterator[UsbLink]:
    link = UsbLink.open(place, interface, settings, reset=reset)
    try:
        yield link
    finally:
        link.close()


def next_packet(link: UsbLink) -> bytes:
    assert select.select([link.fileno()], [], [], SECONDS)[0], "nothing came"
    return link.read()


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.005)


# The link by itself.


def bytes_and_control(bus: UsbBus) -> None:
    """Bulk both ways, control both ways, texts, and all given back."""
    place = plug_echo(bus)
    with opened(place) as link:
        assert link.read() == b""
        for packet in (b"a", b"bc" * 20, bytes(range(64))):
            link.write(packet)
            assert next_packet(link) == packet
        assert link.control_in(ASK, 64, SECONDS) == b"\1\2\3\4"
        assert link.control_in(ASK, 2, SECONDS) == b"\1\2"
        link.control_out(ControlRequest(0x02, 7, 9), b"set", SECONDS)
        said = link.identity()
        assert (said.manufacturer, said.name, said.serial_number) == ("ACME", "Bulk echo", "X1")
        assert (said.vendor, said.product, said.release) == (0x1209, 0x0001, "1.02")
    controls = [each for each in bus.look(PORT)["log"] if each[0] == "control"]
    assert ["control", 0x40, 2, 7, 9, b"set".hex()] in controls
    assert bus.done(PORT) == [["claim", 0], ["release", 0]]


def packets_stay_apart(bus: UsbBus) -> None:
    """Packets that came before anybody read are read one by one."""
    place = plug_echo(bus)
    packets = [bytes([number]) * (number % 64 + 1) for number in range(100)]
    with opened(place) as link:
        bus.feed(PORT, *packets)
        assert [next_packet(link) for _ in packets] == packets
        assert link.read() == b""


def nobody_reads(bus: UsbBus) -> None:
    """A device that sends more than anybody reads is held up, not read into memory."""
    place = plug_echo(bus)
    packets = [struct.pack("<I", number) * 16 for number in range(2000)]
    with opened(place) as link:
        bus.feed(PORT, *packets)
        assert until_it_stops_reading(bus) > 1000
        assert [next_packet(link) for _ in packets] == packets
    # And one that is closed while it is full.
    with opened(place):
        bus.feed(PORT, *packets)
        until_it_stops_reading(bus)


def until_it_stops_reading(bus: UsbBus) -> int:
    """Wait until nothing is done to the device for a while; return what it still holds."""
    looks = [-1]

    def quiet() -> bool:
        threading.Event().wait(0.4)
        looks.append(bus.look(PORT)["ioctls"])
        return looks[-1] == looks[-2]

    until(quiet)
    return int(bus.look(PORT)["queued"])


def stalls(bus: UsbBus) -> None:
    """A STALL on each kind of endpoint costs the exchange and not the link."""
    place = plug_echo(bus)
    with opened(place) as link:
        with pytest.raises(RefusedError, match=r"vendor request 0x09 .*STALL"):
            link.control_in(ControlRequest(0x09), 8, SECONDS)
        bus.stall(PORT, 0x02)
        with pytest.raises(RefusedError, match="STALL while writing to its endpoint 0x02"):
            link.write(b"lost")
        link.write(b"kept")
        assert next_packet(link) == b"kept"
        bus.feed(PORT, b"before", "stall", b"after", "stall", "stall", b"end")
        assert [next_packet(link) for _ in range(3)] == [b"before", b"after", b"end"]
        assert bus.done(PORT).count(["clear_halt", 0x81]) == 3
        bus.feed(PORT, "stall", "stall", "stall", "stall", "stall")
        with pytest.raises(LinkLostError, match="STALL again and again"):
            next_packet(link)


def time_runs_out(bus: UsbBus) -> None:
    """A device that neither answers nor takes anything is borne with for a bounded time."""
    place = plug_echo(bus)
    hasty = UsbSettings(match=SETTINGS.match, write_timeout=0.5)
    with opened(place, settings=hasty) as link:
        began = time.monotonic()
        with pytest.raises(CallTimeoutError, match="did not answer the vendor request 0x07"):
            link.control_in(ControlRequest(0x07), 8, 0.2)
        bus.mute(PORT, 0x02)
        with pytest.raises(LinkLostError, match=r"took no bytes for 0\.5 s .*; 4 are left"):
            link.write(b"lost")
        assert 0.7 <= time.monotonic() - began < 9.0
        bus.speak(PORT, 0x02)


def unplugged_in_every_transfer(bus: UsbBus) -> None:
    """Pulled while it is read, written, asked; each time lost, then absent, then back."""
    for act in (reading, writing, asking):
        place = plug_echo(bus)
        with opened(place) as link:
            bus.mute(PORT, 0x02)
            fuse = threading.Timer(0.1, other_hand, (bus, "unplug", PORT))
            fuse.start()
            began = time.monotonic()
            with pytest.raises(LinkLostError, match="was unplugged"):
                act(link)
            assert time.monotonic() - began < 8.0
            fuse.join()
            for _ in range(2):
                with pytest.raises(LinkLostError, match="was unplugged"):
                    next_packet(link)
        with pytest.raises(LinkAbsentError, match="nothing is plugged in"):
            UsbLink.open(place, BOTH, SETTINGS)
    place = plug_echo(bus)
    with opened(place) as link:
        link.write(b"back")
        assert next_packet(link) == b"back"


def pulled_before_it_is_opened(bus: UsbBus) -> None:
    """Found, pulled, and opened only then: it is absent, and nothing of it stays open."""
    for _ in range(5):
        place = plug_echo(bus)
        device = look_up(place, library())
        bus.unplug(PORT)
        with pytest.raises(LinkAbsentError, match="nothing is plugged in"):
            Claim(device, "the device").take(BOTH, detach=True, reset=False)
        # Whom the news has not reached yet opens it, and umockdev bears no open that fails.
        os.close(os.open(place.node, os.O_RDWR))


def no_key_is_lost_between_two_reads(bus: UsbBus) -> None:
    """Packets come just as the pump's reads run out of time, and each arrives."""
    place = plug_echo(bus)
    dice = Random(11)
    with opened(place) as link:
        for number in range(60):
            # About when a read ends for want of bytes, and before the next begins.
            threading.Event().wait(TURN + dice.uniform(-0.004, 0.004))
            packet = struct.pack("<I", number)
            bus.feed(PORT, packet)
            assert next_packet(link) == packet
        assert link.read() == b""


def reading(link: UsbLink) -> None:
    next_packet(link)


def writing(link: UsbLink) -> None:
    link.write(b"into the void")


def asking(link: UsbLink) -> None:
    link.control_in(ControlRequest(0x07), 8, 4.0)


def other_hand(bus: UsbBus, action: str, *arguments: Any) -> None:
    """Do something from another thread: a `UsbBus` is one thread's."""
    second = UsbBus(bus.path)
    getattr(second, action)(*arguments)
    second.close()


def kernel_driver(bus: UsbBus) -> None:
    """The kernel's driver is detached and given back, also where the opening fails."""
    place = plug_echo(bus, drivers={0: "usbhid"})
    with opened(place) as link:
        assert bus.look(PORT)["drivers"] == {}
        link.write(b"x")
    assert bus.look(PORT)["drivers"] == {"0": "usbhid"}
    assert [each[0] for each in bus.done(PORT)] == ["detach", "claim", "release", "attach"]
    with pytest.raises(LinkLostError, match="detach = true"):
        UsbLink.open(place, BOTH, UsbSettings(match=SETTINGS.match, detach=False))
    bus.unplug(PORT)

    place = plug_echo(bus, drivers={0: "usbhid"}, busy=[0])
    with pytest.raises(LinkLostError, match=r"in use by another program .*fuser"):
        UsbLink.open(place, BOTH, SETTINGS)
    assert bus.look(PORT)["drivers"] == {"0": "usbhid"}
    # Pulled with the driver detached: there is nobody to give it back to.
    bus.unplug(PORT)
    place = plug_echo(bus, drivers={0: "usbhid"})
    with opened(place):
        bus.unplug(PORT)


def configuration(bus: UsbBus) -> None:
    """A configuration is set where there is none, and else left alone."""
    place = plug_echo(bus, configured="")
    with opened(place) as link:
        link.write(b"x")
    assert bus.done(PORT)[0] == ["configuration", 1]
    bus.unplug(PORT)
    place = plug_echo(bus)
    with pytest.raises(LinkLostError, match="has no configuration 3"):
        UsbLink.open(place, UsbInterface(number=0, configuration=3, read=Endpoint(0x81)), SETTINGS)
    assert "configuration" not in [each[0] for each in bus.done(PORT)]


def reset_on_request(bus: UsbBus) -> None:
    """A device that went wrong is reset before it is opened again, where that is asked for."""
    for asked in (False, True):
        place = plug_echo(bus)
        settings = UsbSettings(match=SETTINGS.match, write_timeout=1.0, reset=asked)
        opener = UsbOpener(settings)
        link = opener(place, BOTH)
        bus.mute(PORT, 0x02)
        with pytest.raises(LinkLostError, match="took no bytes"):
            link.write(b"x")
        link.close()
        link = opener(place, BOTH)
        if asked:
            link.write(b"x")
            assert next_packet(link) == b"x"
        link.close()
        assert (["reset"] in bus.done(PORT)) is asked
        bus.unplug(PORT)


def alternate_setting(bus: UsbBus) -> None:
    """Another setting of an interface is chosen, with its own endpoints."""
    other = Interface(alternate=1, endpoints=(EndpointOf(0x83, packet=32), EndpointOf(0x04)))
    device = Device(interfaces=(Interface(), other))
    address = bus.plug(PORT, device, echo={0x04: 0x83})
    wanted = UsbInterface(number=0, alternate=1, read=Endpoint(), write=Endpoint())
    with opened(UsbPlace(1, address), wanted) as link:
        link.write(b"over there")
        assert next_packet(link) == b"over there"
        with pytest.raises(ValueError, match="is not the driver's own"):
            link.control_in(ControlRequest(1, index=5, recipient="interface"), 1, SECONDS)
    assert bus.done(PORT)[:2] == [["claim", 0], ["alternate", 0, 1]]


def without_a_read_endpoint(bus: UsbBus) -> None:
    """A device that is only written to is missed when it goes all the same."""
    place = plug_echo(bus)
    with opened(place, UsbInterface(number=0, write=Endpoint())) as link:
        link.write(b"x")
        assert link.read() == b""
        bus.unplug(PORT)
        with pytest.raises(LinkLostError, match="was unplugged"):
            next_packet(link)


def big_transfers(bus: UsbBus) -> None:
    """A driver may ask for more than a packet at a time; what is short ends it."""
    place = plug_echo(bus)
    wanted = UsbInterface(number=0, read=Endpoint(0x81, transfer=4096))
    with opened(place, wanted) as link:
        bus.feed(PORT, b"x" * 4096, b"short")
        assert next_packet(link) == b"x" * 4096
        assert next_packet(link) == b"short"
        bus.feed(PORT, b"y" * 5000)
        with pytest.raises(LinkLostError, match="sent more than it was asked for"):
            next_packet(link)
    with opened(place, wanted) as link:
        bus.feed(PORT, "noise")
        with pytest.raises(LinkLostError, match="look at its cable"):
            next_packet(link)


def lies(bus: UsbBus) -> None:
    """Descriptors that lie, and texts that are none, are an error with a reason or nothing."""

    def refused(match: str, wanted: UsbInterface = BOTH, **more: Any) -> None:
        place = plug_echo(bus, **more)
        with pytest.raises(LinkLostError, match=match):
            UsbLink.open(place, wanted, SETTINGS)
        bus.unplug(PORT)

    whole = ECHO.pack()
    refused("has no bulk endpoint 0x83", UsbInterface(number=0, read=Endpoint(0x83, "bulk")))
    refused("has no interface 4.*it has interface 0", UsbInterface(number=4))
    refused("it has none", descriptors=whole[:30])  # cut off
    refused("descriptors|lack|cannot be opened|endpoint", descriptors=whole[:-7] + b"\x02\x05")
    zero = Device(interfaces=(Interface(endpoints=(EndpointOf(0x81, packet=0), EndpointOf(2))),))
    refused("packets of 0 bytes", descriptors=zero.pack())
    twice = Device(interfaces=(Interface(), Interface(number=1)))
    refused("to interface 1 as well", descriptors=twice.pack())
    promise = Device(interfaces=(Interface(claimed_endpoints=9),))
    refused("reading its descriptors, which are damaged or lie", descriptors=promise.pack())
    strings = {1: "raw:0803410000d84200", 2: "raw:ff03", 3: "raw:00"}
    with opened(plug_echo(bus, strings=strings)) as link:
        said = link.identity()
        assert said.manufacturer == "A\ufffdB"
        assert (said.name, said.serial_number) == ("", "")


# A hosted driver.


class Echo(UsbDriver):
    """Answers what it is asked with what the device sends back."""

    framing = Raw(limit=64)
    interface = BOTH
    publications: ClassVar[dict[str, type]] = {"late": float, "said": bytes}

    def received(self, frame: bytes) -> None:
        if len(frame) == 8:
            (sent,) = struct.unpack("<Q", frame)
            self.publish("late", (time.monotonic_ns() - sent) / 1e9)
        else:
            self.publish("said", frame)

    @command
    def say(self, text: str) -> str:
        """Have it said back."""
        return self.ask(text.encode(), answer=text.encode(), timeout=2.0).decode()

    @command
    def number(self) -> int:
        """Ask over the control endpoint."""
        return int.from_bytes(self.control_in(0x01, 4), "little")

    @command
    def nothing(self) -> None:
        """Ask what it does not know."""
        self.control_out(0x55, recipient="interface")


class Hosted:
    """A driver thread on the live bus."""

    def __init__(self, find: Callable[[], UsbPlace], driver: type[UsbDriver] = Echo) -> None:
        open_at = UsbOpener(SETTINGS)
        self.outside = FakeOutside()
        self.mailbox = Mailbox("echo@usb", clock=RealClock())
        self.thread = DriverThread(
            "echo",
            lambda host: driver("echo", host),
            lambda: open_at(find(), driver.interface),
            self.outside,
            self.mailbox,
            clock=RealClock(),
            random=Random(1),
        )
        self._ids = itertools.count(1)

    def __enter__(self) -> Hosted:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.thread.stop(5.0), "the driver thread did not end"
        self.mailbox.close()

    def ask(self, subject: str, body: object = None) -> Any:
        """Have a command carried out; return its answer or raise its bounce."""
        number = str(next(self._ids))
        letter = Message(number, number, 1, 0.0, "test", "echo@usb", subject, body)
        answered = len(self.outside.replies) + len(self.outside.bounces)
        self.thread.post(letter)
        self.outside.wait_answers(answered + 1)
        if self.outside.bounces and self.outside.bounces[-1][0] is letter:
            raise self.outside.bounces[-1][1]
        return self.outside.replies[-1][1]


def hosted_driver(bus: UsbBus) -> None:
    """A whole driver: known by its descriptors, asked, told, pulled and back."""
    places: list[UsbPlace] = []

    def find() -> UsbPlace:
        if not places:
            raise LinkAbsentError("nothing is plugged in")
        return places[-1]

    with Hosted(find) as hosted:
        hosted.outside.wait_state("echo", "absent")
        for turn in range(1, 4):
            places.append(plug_echo(bus))
            hosted.outside.wait_event("echo", "connected", turn)
            identity = hosted.outside.retained["devices/echo/info"]["identity"]
            assert identity == {"firmware": "1.02", "model": "Bulk echo", "serial_number": "X1"}
            assert hosted.ask("say", {"text": f"hello {turn}"}) == f"hello {turn}"
            assert hosted.ask("number") == 0x04030201
            with pytest.raises(RefusedError, match="STALL"):
                hosted.ask("nothing")
            places.clear()
            bus.unplug(PORT)
            hosted.outside.wait_event("echo", "disconnected", turn)
        causes = [each.body["cause"] for each in hosted.outside.published if "state" in each.topic]
        assert "1209:0001 at /dev/bus/usb/001/002 was unplugged" in causes


def idle_cost(bus: UsbBus, seconds: float) -> dict[str, float]:
    """Return the share of a core that a connected device costs which says nothing."""
    place = plug_echo(bus)
    with Hosted(lambda: place) as hosted:
        hosted.outside.wait_event("echo", "connected")
        began, used = time.monotonic(), time.process_time()
        threading.Event().wait(seconds)
        share = (time.process_time() - used) / (time.monotonic() - began)
    return {"share": share}


def lateness(bus: UsbBus, packets: int) -> list[float]:
    """Return the seconds from each transfer's end to `received`, sorted."""
    place = plug_echo(bus)
    dice = Random(7)
    with Hosted(lambda: place) as hosted:
        hosted.outside.wait_event("echo", "connected")
        topic = "devices/echo/late"
        for number in range(packets):
            threading.Event().wait(dice.uniform(0.0, 0.02))
            bus.feed(PORT, "stamp")
            hosted.outside.wait_for(lambda n=number: len(hosted.outside.bodies(topic)) > n)  # type: ignore[misc]
        return sorted(hosted.outside.bodies(topic))


def keyboard_interface(bus: UsbBus) -> None:
    """An interface is found by its class, past others that are not it."""
    first = Interface(number=0, endpoints=(EndpointOf(0x82), EndpointOf(0x02)))
    second = Interface(
        number=1, kind=KEYBOARD.kind, endpoints=KEYBOARD.endpoints, extra=KEYBOARD.extra
    )
    address = bus.plug(PORT, Device(interfaces=(first, second)), drivers={1: "usbhid"})
    wanted = UsbInterface(interface_class=3, subclass=1, protocol=1, read=Endpoint())
    with opened(UsbPlace(1, address), wanted) as link:
        bus.feed(PORT, bytes(8))
        assert next_packet(link) == bytes(8)
    assert [each[0] for each in bus.done(PORT)] == ["detach", "claim", "release", "attach"]
