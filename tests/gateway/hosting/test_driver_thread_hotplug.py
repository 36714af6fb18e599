"""A driver thread hears of hot-plug: it wakes and leaves at once, and bears half-born ports."""

from __future__ import annotations

import threading
from math import inf
from random import Random
from typing import Any

import pytest

from gateway.clock import RealClock
from gateway.device.link import Link
from gateway.errors import LinkLostError, RefusedError
from gateway.hosting import driver_thread
from gateway.hosting.berth import Berth
from gateway.hosting.plugged import PluggedDevice
from gateway.testing.fake_link import FakeOpener
from tests.gateway.hosting.plugging import tty

CLAIM = "devices/board/claim"


class Patient(Random):
    """Every wait is as long as it may be: who comes back sooner was woken."""

    def uniform(self, a: float, b: float) -> float:
        return 60.0


class FakeBerth(Berth):
    """A berth that has what the test plugs in."""

    def __init__(self, opener: FakeOpener) -> None:
        super().__init__(opener)
        self.plugged: PluggedDevice | None = None
        self.pull_while_opening = False
        self.left = 0

    @property
    def is_vacated(self) -> bool:
        return self.occupant is None

    def __call__(self) -> Link:
        self.occupant = self.plugged
        link = super().__call__()
        if self.pull_while_opening:
            self.plugged = self.occupant = None
        return link

    def leave(self) -> None:
        self.left += 1

    def told(self) -> dict[str, Any] | None:
        return None if self.occupant is None else self.occupant.told()


@pytest.fixture
def rig(make_rig):
    """A board that is not plugged in; its thread waits for a minute between two tries."""
    rig = make_rig(random=Patient(), berth=FakeBerth)
    rig.berth = rig.thread._berth
    rig.opener.absent = True
    return rig


def plug(rig, device: PluggedDevice | None = None) -> PluggedDevice:
    device = rig.berth.plugged = device or tty(0)
    rig.opener.absent = False
    return device


def unplug(rig, device: PluggedDevice) -> None:
    """Pull it so that only udev tells."""
    rig.berth.plugged = rig.berth.occupant = None
    rig.opener.absent = True
    rig.thread.pulled(device)


def connect(rig) -> PluggedDevice:
    device = plug(rig)
    rig.connect()
    return device


def test_it_wakes_at_once_when_something_is_plugged_in(rig) -> None:
    rig.thread.start()
    rig.opener.wait_attempts(1)
    plug(rig)
    rig.thread.look_again()
    rig.outside.wait_state("board", "proven")
    assert rig.outside.states("board")[-3:] == ["present", "open", "proven"]
    assert rig.outside.retained[CLAIM] == tty(0).told()


def test_the_claim_is_given_back_before_another_device_can_have_its_path(rig) -> None:
    connect(rig)
    left: list[int] = []
    close = rig.link.close

    def note_and_close() -> None:
        left.append(rig.berth.left)
        close()

    rig.link.close = note_and_close
    assert rig.thread.stop(10.0)
    assert left[0] == 1


def test_it_wakes_at_once_also_from_the_wait_after_a_failure(rig) -> None:
    plug(rig)
    rig.opener.refusal = "busy"
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    rig.opener.refusal = None
    rig.thread.look_again()
    rig.outside.wait_state("board", "proven")


def test_a_call_while_it_is_opening_is_not_lost(rig) -> None:
    looked, go_on = threading.Event(), threading.Event()

    def open_slowly() -> Link:
        looked.set()
        assert go_on.wait(10.0)
        link: Link = rig.opener()
        return link

    rig.berth._opener = open_slowly
    rig.thread.start()
    assert looked.wait(10.0)
    # It comes while the thread looks at what was there before.
    rig.thread.look_again()
    go_on.set()
    rig.opener.wait_attempts(2)


def test_a_pull_that_only_udev_tells_of_ends_the_link(rig) -> None:
    device = connect(rig)
    unplug(rig, device)
    rig.outside.wait_state("board", "absent")
    assert rig.cause() == "it was unplugged"
    rig.outside.wait_for(lambda: rig.outside.retained[CLAIM] is None)
    rig.link.wait_closed()
    assert rig.berth.left == 1
    assert rig.thread.statistics().losses == 1
    plug(rig)
    rig.thread.look_again()
    rig.outside.wait_event("board", "connected", 2)
    assert rig.call("led") == "LED ok"


def test_a_pull_ends_a_question_that_waits(rig) -> None:
    device = connect(rig)
    letter = rig.post("wait", {"seconds": 60.0})
    rig.link.wait_written(2)
    unplug(rig, device)
    rig.outside.wait_for(lambda: rig.answers_to(letter) != [])
    assert isinstance(rig.answers_to(letter)[0], LinkLostError)
    rig.outside.wait_state("board", "absent")


def test_the_pull_of_another_device_is_no_matter(rig) -> None:
    connect(rig)
    rig.thread.pulled(tty(1))
    rig.thread.pulled(tty(0))  # equal, but not what it opened: that is there still
    assert rig.call("led") == "LED ok"
    assert rig.outside.events("board") == ["connected"]


def test_what_is_pulled_while_it_is_opened_is_absent(rig) -> None:
    plug(rig)
    rig.berth.pull_while_opening = True
    rig.thread.start()
    rig.outside.wait_for(lambda: "unplugged" in rig.cause())
    assert rig.outside.states("board") == ["absent", "absent"]
    rig.link.wait_closed()


def test_a_port_that_was_just_plugged_in_is_not_called_failed(make_rig) -> None:
    rig = make_rig(random=Random(1), berth=FakeBerth)
    rig.berth = rig.thread._berth
    plug(rig, tty(0, seen=RealClock().monotonic()))
    rig.opener.refusal = "no permission"
    rig.thread.start()
    rig.opener.wait_attempts(3)
    assert rig.cause() == "it was just plugged in: no permission"
    rig.opener.refusal = None
    rig.outside.wait_event("board", "connected")
    assert rig.outside.states("board")[:4] == ["absent", "present", "open", "proven"]
    assert rig.thread.statistics().failures == 0


def test_so_it_is_with_a_port_that_was_absent_a_moment_ago(make_rig) -> None:
    rig = make_rig()
    rig.opener.absent = True
    rig.thread.start()
    rig.opener.wait_attempts(2)
    rig.opener.refusal, rig.opener.absent = "no permission", False
    rig.outside.wait_state("board", "present")
    rig.opener.refusal = None
    rig.outside.wait_event("board", "connected")
    assert "failed" not in rig.outside.states("board")


def test_a_node_that_is_not_there_yet_is_tried_again_soon(make_rig) -> None:
    rig = make_rig(berth=FakeBerth)
    rig.berth = rig.thread._berth
    plug(rig, tty(0, seen=RealClock().monotonic()))
    rig.opener.absent = True
    rig.thread.start()
    rig.outside.wait_state("board", "present")
    rig.opener.absent = False
    rig.outside.wait_event("board", "connected")


def test_in_the_end_it_is_failed_all_the_same(make_rig, monkeypatch) -> None:
    monkeypatch.setattr(driver_thread, "HALF_BORN", 0.2)
    rig = make_rig(random=Random(1), berth=FakeBerth)
    rig.berth = rig.thread._berth
    plug(rig, tty(0, seen=RealClock().monotonic()))
    rig.opener.refusal = "no permission"
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert rig.cause() == "no permission"


def test_what_was_there_before_the_gateway_is_not_half_born(rig) -> None:
    assert plug(rig).seen == -inf
    rig.opener.refusal = "no permission"
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert rig.opener.attempts == 1


def test_a_clash_of_claims_is_a_failure_whose_cause_is_told(rig) -> None:
    plug(rig)

    def clash() -> Link:
        raise RefusedError("/dev/ttyACM0 is claimed by 'leg', and meant for 'board' as well")

    rig.berth._opener = clash
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert "'leg'" in rig.cause()


def test_a_driver_that_does_not_return_is_failed_and_starts_anew_if_it_does(make_rig) -> None:
    rig = make_rig()
    stuck, go_on = threading.Event(), threading.Event()

    def received(frame: bytes) -> None:
        stuck.set()
        assert go_on.wait(10.0)

    rig.connect()
    rig.driver.received = received
    rig.hand(b"hello")
    assert stuck.wait(10.0)
    waits, _ = rig.thread.progress()
    assert not waits
    rig.thread.give_up("its driver does not return")
    assert rig.outside.retained["devices/board/state"]["state"] == "failed"
    assert rig.cause() == "its driver does not return"
    assert rig.outside.events("board")[-2:] == ["disconnected", "device_error"]
    go_on.set()
    rig.outside.wait_event("board", "connected", 2)
    assert len(rig.opener.links) == 2
    assert rig.outside.states("board").count("absent") == 1  # before it was first opened


def test_progress_grows_with_frames_and_a_thread_at_rest_waits(rig) -> None:
    connect(rig)
    _, before = rig.thread.progress()
    rig.hand(b"one", b"two")
    rig.outside.wait_for(lambda: len(rig.outside.bodies("devices/board/frame")) == 2)
    assert rig.thread.progress()[1] >= before + 2
