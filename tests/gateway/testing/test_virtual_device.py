"""The device in virtual time behaves as one on a real port does, and takes none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.device import Driver
from gateway.device.link_state import LinkState
from gateway.errors import CallTimeoutError, LinkLostError, RefusedError
from gateway.testing import lockstep, virtual_device
from gateway.testing.strangers import Echo, Mute, OneLate
from gateway.testing.virtual_device import NAME, VirtualDevice
from tests.gateway.testing.lamp import Lamp, LampBoard


def lamp(driver: type[Driver] = Lamp, board: Callable[..., Any] = LampBoard) -> VirtualDevice:
    return VirtualDevice(driver, board)


def is_connected(device: VirtualDevice) -> bool:
    return device.run_until(lambda: device.state.connected)


def test_nothing_happens_before_time_is_granted() -> None:
    with lamp() as device:
        assert device.wire.written == []
        device.run(0.0)
        assert device.state is LinkState.HEALTHY
        assert device.clock.now == 0.0


def test_an_hour_takes_no_hour_and_every_run_is_like_the_other() -> None:
    def hour() -> tuple[Any, ...]:
        with lamp() as device:
            assert is_connected(device)
            device.call("dim", {"percent": 30})
            device.run(3600.0)
            return device.publications(), device.outside.events(NAME), device.clock.now

    began = time.monotonic()
    first = hour()
    assert time.monotonic() - began < 60
    assert len(first[0]) == 3600
    assert hour() == first


def test_a_command_is_answered_and_a_wrong_one_bounces() -> None:
    with lamp() as device:
        assert is_connected(device)
        assert device.call("dim", {"percent": 5}) == 5
        with pytest.raises(RefusedError, match="percent"):
            device.call("dim", {"percent": 101})
    assert device.is_settled()


def test_a_question_that_nobody_answers_takes_its_virtual_time() -> None:
    with lamp() as device:
        assert is_connected(device)
        device.wire.mute = True
        began = device.clock.now
        with pytest.raises(CallTimeoutError):
            device.call("dim", {"percent": 5})
        assert 1.0 <= device.clock.now - began <= 1.0 + virtual_device.STEP


def test_it_stops_in_the_middle_of_a_question() -> None:
    with lamp() as device:
        assert is_connected(device)
        device.wire.mute = True
        letter = device.post("dim", {"percent": 5})
        device.stop()
        (error,) = device.answers_to(letter)
        assert isinstance(error, LinkLostError)
    assert device.is_settled()


def test_a_pulled_cable_is_noticed_at_once_and_a_new_one_soon() -> None:
    with lamp() as device:
        assert is_connected(device)
        device.wire.pull()
        device.run(0.5)
        assert device.state is LinkState.ABSENT
        device.wire.plug()
        assert is_connected(device)
        assert len(device.drivers) > 1
        assert device.outside.events(NAME)[:3] == ["connected", "pong", "disconnected"]


def test_the_wire_counts_what_the_board_says_and_cuts_loses_and_damages_there() -> None:
    with lamp() as device:
        device.wire.damage = (1, lambda byte: b"")
        device.run(0.05)
        assert device.state is LinkState.OPEN  # "I lamp 1.0" is no answer
        assert device.wire.said == len(b"ID lamp 1.0\n")
        assert is_connected(device)
    with lamp() as device:
        device.wire.pulled_at = 3
        device.run(0.05)
        assert not device.wire.plugged
        assert device.state is LinkState.PRESENT  # lost, and not looked for yet
    with lamp() as device:
        device.wire.mute_at = 3
        device.run(0.05)
        assert device.wire.mute
        assert device.state is LinkState.OPEN


def test_reads_come_in_slices() -> None:
    with lamp() as device:
        device.wire.slices = itertools.repeat(1)
        assert is_connected(device)
        device.run(1.5)
        assert device.publications() == [("brightness", 0)]


@pytest.mark.parametrize(
    "stranger", [lambda clock: Mute(), lambda clock: Echo(), lambda clock: OneLate(Mute())]
)
def test_a_stranger_fails_with_the_reason(stranger: Callable[..., Any]) -> None:
    with lamp(board=stranger) as device:
        device.run(20.0)
        assert device.state is LinkState.FAILED
        assert "no handshake" in device.thread.cause or "no lamp" in device.thread.cause


def test_a_bug_is_told_from_other_failures() -> None:
    class Breaks(Lamp):
        def received(self, frame: bytes) -> None:
            raise ZeroDivisionError

    with lamp(Breaks) as device:
        device.run(2.0)
        assert device.bug() == "its driver raised ZeroDivisionError"
    with lamp(board=lambda clock: Mute()) as device:
        device.run(10.0)
        assert device.bug() == ""


def test_a_driver_that_never_rests_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spins(Lamp):
        def received(self, frame: bytes) -> None:
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                pass

    monkeypatch.setattr(lockstep, "PATIENCE", 0.1)
    with pytest.raises(AssertionError, match="did not rest within"), lamp(Spins) as device:
        device.run(1.5)
