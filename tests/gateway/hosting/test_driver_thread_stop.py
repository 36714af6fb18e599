"""The end of a hosted device: within its deadline, in every state, with nothing left."""

from __future__ import annotations

import os
import threading
from random import Random

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import Heartbeat
from gateway.device.link_state import LinkState
from gateway.hosting.driver_thread import DriverThread
from gateway.testing.fake_link import FakeOpener
from gateway.testing.fake_outside import FakeOutside

SOON = 10.0
"""Seconds; far less than any wait that a stop has to cut short."""


class Slow(Random):
    """Randomness by which every back-off is as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return 3600.0


def test_a_connected_device_stops_and_says_so(rig) -> None:
    link = rig.connect()
    assert rig.thread.stop(SOON)
    assert link.closed
    assert rig.thread.state is LinkState.PRESENT
    assert rig.outside.retained["devices/board/state"]["connected"] is False
    assert rig.outside.events("board") == ["connected", "disconnected"]


def test_an_absent_device_stops_within_its_pause(make_rig) -> None:
    rig = make_rig(random=Slow())
    rig.opener.absent = True
    rig.thread.start()
    rig.outside.wait_for(lambda: rig.thread.cause == "nothing is plugged in")
    assert rig.thread.stop(SOON)
    assert rig.thread.state is LinkState.ABSENT


def test_a_failed_device_stops_within_its_back_off(make_rig) -> None:
    rig = make_rig(random=Slow())
    rig.opener.refusal = "busy"
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert rig.thread.stop(SOON)
    assert rig.thread.state is LinkState.FAILED


def test_a_device_stops_within_its_handshake(make_rig) -> None:
    rig = make_rig(answers={}, handshake_within=60.0)
    rig.thread.start()
    rig.opener.wait_link().wait_written(1)
    assert rig.thread.stop(SOON)
    assert rig.opener.links[0].closed
    assert rig.outside.events("board") == []


def test_a_device_stops_within_a_question(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    rig.post("wait", {"seconds": 3600.0})
    link.wait_written(2)
    assert rig.thread.stop(SOON)
    assert link.closed


def test_a_stale_device_stops(make_rig) -> None:
    rig = make_rig(
        answers={b"ID": b"ID 1.0"}, heartbeat=Heartbeat(ping=b"P", every=60.0, patience=0.05)
    )
    rig.connect()
    rig.outside.wait_event("board", "comms_error")
    assert rig.thread.stop(SOON)


def test_a_device_that_was_never_started_is_stopped_already(rig) -> None:
    assert rig.thread.stop(0.0)
    assert rig.thread.join(0.0)


def test_stopping_twice_does_no_harm(rig) -> None:
    rig.connect()
    assert rig.thread.stop(SOON)
    assert rig.thread.stop(SOON)


def test_many_devices_are_asked_first_and_joined_after(make_rig) -> None:
    rigs = [make_rig() for _ in range(5)]
    for each in rigs:
        each.connect()
    for each in rigs:
        each.thread.stop(0.0)
    assert all(each.thread.join(SOON) for each in rigs)


def test_a_driver_that_does_not_return_is_reported_and_not_waited_for(make_rig) -> None:
    rig = make_rig()
    rig.connect()
    entered, released = threading.Event(), threading.Event()

    def stuck(topic, body, *, retain=False) -> None:
        entered.set()
        released.wait(30.0)

    rig.outside.publish = stuck
    rig.hand(b"hello")
    assert entered.wait(5.0)
    try:
        assert not rig.thread.stop(0.1)
    finally:
        released.set()
    assert rig.thread.join(SOON)


def test_a_stopped_device_leaves_no_descriptor() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for absent in (True, False):
        opener, outside = FakeOpener(), FakeOutside()
        opener.absent = absent

        def refuse(host):
            raise KeyError("no driver")

        box = Mailbox("board@fake", clock=RealClock())
        thread = DriverThread(
            "board", refuse, opener, outside, box, clock=RealClock(), random=Random(1)
        )
        thread.start()
        outside.wait_state("board", "failed")
        assert thread.stop(SOON)
        box.close()
    assert descriptors() == before


def test_a_device_whose_mailbox_is_closed_under_it_ends(rig) -> None:
    link = rig.connect()
    rig.mailbox.close()
    assert rig.thread.join(SOON)
    assert link.closed


def test_stop_is_heard_amid_a_flood_of_commands(rig) -> None:
    """Also where there is always one more to carry out, and it waits for nothing."""
    rig.connect()
    reply = rig.outside.reply
    flooded = threading.Event()

    def reply_and_post_again(message, body) -> None:
        reply(message, body)
        rig.post("say", {"text": "x"})
        if len(rig.outside.replies) > 100:
            flooded.set()

    rig.outside.reply = reply_and_post_again
    rig.post("say", {"text": "x"})
    assert flooded.wait(5.0)
    assert rig.thread.stop(SOON)
    taken = rig.thread.statistics()
    assert (taken.queued, taken.accepted) == (0, taken.answered + taken.bounced)


def test_stop_is_heard_at_any_moment(make_rig) -> None:
    """Stop at whatever point of its life the thread happens to be."""
    for _ in range(300):
        rig = make_rig(heartbeat=Heartbeat(ping=b"P", every=0.001, patience=1.0))
        rig.thread.start()
        assert rig.thread.stop(SOON)
