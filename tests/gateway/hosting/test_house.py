"""Where devices live: hot-plug reaches each, a clash names both, a stuck driver costs itself."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from random import Random
from typing import Any, cast

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import DriverHost
from gateway.device.link import Link
from gateway.errors import AddressError
from gateway.hosting.hotplug import Hotplug, HotplugCounts, Listener
from gateway.hosting.house import House
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import Change
from gateway.hosting.stuck import StuckThreads
from gateway.mail.message import Message
from gateway.testing.fake_link import FakeLink, FakeOpener, answering
from gateway.testing.fake_outside import FakeOutside
from tests.gateway.hosting.conftest import ANSWERS, FRAMING, Board
from tests.gateway.hosting.plugging import FakeHotplug, tty
from tests.lab.os_processes import until


class Landlord(FakeOutside):
    """A router that records."""

    name = "fake"

    def __init__(self) -> None:
        super().__init__()
        self.wills: dict[str, Any] = {}
        self.boxes: list[Mailbox] = []

    def declare_will(self, topic: str, body: Any) -> None:
        self.wills[topic] = body

    def open_mailbox(self, local: str) -> Mailbox:
        self.boxes.append(Mailbox(f"{local}@fake", clock=RealClock()))
        return self.boxes[-1]

    def close_mailbox(self, box: Mailbox) -> None:
        box.close()


class Machine(FakeHotplug):
    """A watch that a test moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = HotplugCounts()
        self.is_dead = False
        self.runs = False
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def start(self) -> None:
        self.runs = True

    def stop(self, deadline: float) -> bool:
        self.runs = False
        return True

    def plug(self, *devices: PluggedDevice) -> None:
        self.devices = (*self.devices, *devices)
        self._tell(Change((), devices))

    def pull(self, *devices: PluggedDevice) -> None:
        self.devices = tuple(each for each in self.devices if each not in devices)
        self._tell(Change(devices, ()))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


class Patient(Random):
    """Every wait is a minute: who comes back sooner was woken."""

    def uniform(self, a: float, b: float) -> float:
        return 60.0


class Scene:
    """A house whose devices wait for a minute between two tries."""

    def __init__(self) -> None:
        self.landlord = Landlord()
        self.machine = Machine()
        self.house = House(
            self.landlord,
            ("tty",),
            clock=RealClock(),
            random=Patient,
            hotplug=cast(Hotplug, self.machine),
            stuck=StuckThreads(0.0),
        )
        self.drivers: dict[str, Board] = {}
        self.links: dict[str, FakeLink] = {}
        self.go_on = threading.Event()
        self._numbers = itertools.count()

    def host(self, name: str, **match: str) -> None:
        self.house.host(name, self._maker(name), self.house.matched(name, match, self._open))

    def host_plain(self, name: str, opener: FakeOpener) -> None:
        self.house.host(name, self._maker(name), opener)

    def _maker(self, name: str) -> Any:
        def make(host: DriverHost) -> Board:
            self.drivers[name] = Board(name, host)
            return self.drivers[name]

        return make

    def _open(self, device: PluggedDevice) -> Link:
        self.links[device.node] = FakeLink(answering(FRAMING, ANSWERS))
        return self.links[device.node]

    def letter(self, to: str, subject: str, body: Any = None) -> Message:
        number = str(next(self._numbers))
        return Message(number, number, 1, 0.0, "test", to, subject, body)

    def hang(self, name: str) -> None:
        """Have a driver that does not return from its next frame."""
        hung = threading.Event()

        def received(frame: bytes) -> None:
            hung.set()
            assert self.go_on.wait(10.0)

        self.drivers[name].received = received  # type: ignore[method-assign]
        node = self.landlord.retained[f"devices/{name}/claim"]["node"]
        self.links[node].hand(FRAMING.encode(b"hello"))
        assert hung.wait(10.0)

    def wait_at_rest(self, *names: str) -> None:
        """Wait until the threads of these devices wait for something to do."""
        threads = [self.house._threads[name] for name in names]
        assert until(lambda: all(each.progress()[0] for each in threads), 10.0)

    def wait_cause(self, name: str, words: str) -> None:
        self.landlord.wait_for(lambda: words in self.cause(name))

    def wait_unclaimed(self, name: str) -> None:
        self.landlord.wait_for(lambda: self.landlord.retained[f"devices/{name}/claim"] is None)

    def cause(self, name: str) -> str:
        return str(self.landlord.retained.get(f"devices/{name}/state", {}).get("cause", ""))


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.go_on.set()
    assert scene.house.stop(5.0) == []
    assert all(box.closed and box.statistics().is_balanced for box in scene.landlord.boxes)
    assert not scene.machine.runs


def test_what_is_plugged_in_later_is_served_at_once_wherever_it_is(scene: Scene) -> None:
    scene.host("left", ID_PATH="1")
    scene.host("right", ID_PATH="2")
    scene.house.start()
    for name in ("left", "right"):
        scene.wait_cause(name, "nothing plugged in")
    left, right = tty(5, port="1", serial=""), tty(3, port="2", serial="")
    scene.machine.plug(right)
    scene.landlord.wait_event("right", "connected")
    scene.machine.plug(left)
    scene.landlord.wait_event("left", "connected")
    assert scene.landlord.retained["devices/left/claim"]["node"] == "/dev/ttyACM5"
    # Both are pulled, and come back with other numbers.
    scene.machine.pull(left, right)
    for name in ("left", "right"):
        scene.landlord.wait_event(name, "disconnected")
        scene.wait_unclaimed(name)
    scene.machine.plug(tty(3, port="1", serial=""), tty(5, port="2", serial=""))
    scene.landlord.wait_event("left", "connected", 2)
    scene.landlord.wait_event("right", "connected", 2)
    assert scene.landlord.retained["devices/left/claim"]["node"] == "/dev/ttyACM3"


def test_a_clash_costs_who_comes_second_and_names_both(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    scene.host("leg", ID_VENDOR_ID="2341")
    scene.house.start()
    scene.machine.plug(tty(0))
    scene.landlord.wait_for(
        lambda: "failed" in scene.landlord.states("arm") + scene.landlord.states("leg")
    )
    loser = "arm" if "failed" in scene.landlord.states("arm") else "leg"
    assert "'arm'" in scene.cause(loser)
    assert "'leg'" in scene.cause(loser)
    # And one more such board settles it.
    scene.machine.plug(tty(1, serial="S1") if loser == "leg" else tty(2, serial="S0"))
    scene.landlord.wait_event(loser, "connected")


def test_letters_reach_their_device_and_wrong_ones_are_told_what_is_right(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    scene.house.start()
    scene.machine.plug(tty(0))
    scene.landlord.wait_event("arm", "connected")
    scene.house.outbound(scene.letter("arm@fake", "led"))
    scene.landlord.wait_answers(1)
    assert scene.landlord.replies[0][1] == "LED ok"
    with pytest.raises(AddressError, match="did you mean 'arm'"):
        scene.house.outbound(scene.letter("arn@fake", "led"))
    with pytest.raises(AddressError, match="it hosts arm"):
        scene.house.outbound(scene.letter("wheels@fake", "led"))


def test_the_wills_say_that_the_router_died_and_holds_nothing(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    state = scene.landlord.wills["devices/arm/state"]
    assert (state["state"], state["connected"]) == ("failed", False)
    assert scene.landlord.wills["devices/arm/claim"] is None


def test_without_a_device_that_is_plugged_in_nobody_watches(scene: Scene) -> None:
    opener = FakeOpener(lambda: FakeLink(answering(FRAMING, ANSWERS)))
    scene.host_plain("remote", opener)
    scene.house.start()
    scene.landlord.wait_event("remote", "connected")
    assert not scene.machine.runs


def test_a_stuck_driver_costs_its_device_and_two_have_the_router_ask_for_a_restart(
    scene: Scene,
) -> None:
    for number, name in enumerate(("a", "b", "c")):
        scene.host(name, ID_SERIAL_SHORT=f"S{number}")
    scene.house.start()
    scene.machine.plug(tty(0), tty(1), tty(2))
    for name in ("a", "b", "c"):
        scene.landlord.wait_event(name, "connected")
    scene.hang("a")
    scene.wait_at_rest("b", "c")
    scene.house.look_after()
    scene.house.look_after()
    assert scene.landlord.retained["devices/a/state"]["state"] == "failed"
    assert "does not return" in scene.cause("a")
    assert scene.house.statistics()["stuck"] == ["a"]
    scene.house.outbound(scene.letter("c@fake", "led"))
    scene.landlord.wait_answers(1)

    scene.hang("b")
    scene.wait_at_rest("c")
    scene.house.look_after()
    with pytest.raises(RuntimeError, match="a, b do not return"):
        scene.house.look_after()
    # Should they return after all, they start anew.
    scene.go_on.set()
    scene.machine.pull(tty(0), tty(1))
    scene.machine.plug(tty(0), tty(1))
    scene.landlord.wait_event("a", "connected", 2)
    scene.landlord.wait_event("b", "connected", 2)
    scene.house.look_after()
    assert scene.house.statistics()["stuck"] == []


def test_a_dead_watch_is_a_reason_for_a_restart(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    scene.house.start()
    scene.house.look_after()
    scene.machine.is_dead = True
    with pytest.raises(RuntimeError, match="hot-plug watch has died"):
        scene.house.look_after()


def test_who_does_not_end_is_named(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    scene.house.start()
    scene.machine.plug(tty(0))
    scene.landlord.wait_event("arm", "connected")
    scene.hang("arm")
    assert scene.house.stop(0.05) == ["arm"]


def test_statistics_tell_of_each_device_and_of_the_watch(scene: Scene) -> None:
    scene.host("arm", ID_SERIAL_SHORT="S0")
    scene.house.start()
    scene.machine.plug(tty(0))
    scene.landlord.wait_event("arm", "connected")
    told = scene.house.statistics()
    assert told["devices"]["arm"]["connections"] == 1
    assert told["hotplug"]["overflows"] == 0
    assert scene.house.names == ["arm"]
