"""A USB wire keeps packets, serves control transfers, and mishaps fall on both."""

from __future__ import annotations

import pytest

from gateway.clock import VirtualClock
from gateway.device.usb import ControlLink, ControlRequest
from gateway.errors import CallTimeoutError, LinkLostError, RefusedError
from gateway.testing.strangers import Echo
from gateway.testing.usb_wire import UsbWire
from tests.gateway.testing.meter import LEVEL, RANGE, MeterBoard


class Bench:
    """A wire to a meter, and time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.board = MeterBoard(self.clock)
        self.wire = UsbWire(self.board, self.clock, self.sleep)
        self.wire.plug()
        link = self.wire()
        assert isinstance(link, ControlLink)
        self.link = link
        self.pull_at = float("inf")

    def sleep(self, until: float) -> None:
        """Sleep in short pieces, as one who is nudged does."""
        self.clock.now = min(until, self.clock.now + 0.25)
        if self.clock.now >= self.pull_at:
            self.wire.pull()

    def level(self) -> bytes:
        return self.link.control_in(ControlRequest(LEVEL), 1, 1.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_each_read_brings_one_packet(bench: Bench) -> None:
    for packet in (b"one", b"", b"three", b"5"):
        bench.wire.say(packet)
    assert [bench.link.read() for _ in range(4)] == [b"one", b"three", b"5", b""]
    assert bench.wire.said == 9


def test_a_packet_that_loses_its_only_byte_is_none(bench: Bench) -> None:
    bench.wire.damage = (0, lambda byte: b"")
    bench.wire.say(b"1")
    bench.wire.say(b"two")
    assert [bench.link.read(), bench.link.read()] == [b"two", b""]


def test_what_lay_unread_is_gone_with_the_next_opening(bench: Bench) -> None:
    bench.wire.say(b"old")
    link = bench.wire()
    bench.wire.say(b"newer")
    assert [link.read(), link.read()] == [b"newer", b""]
    bench.wire.say(b"old")
    bench.wire.plug()
    bench.wire.say(b"newest")
    assert bench.wire.said == 6
    assert [link.read(), link.read()] == [b"newest", b""]


def test_control_transfers_reach_the_board(bench: Bench) -> None:
    bench.link.control_out(ControlRequest(RANGE, kind="class", recipient="interface"), b"\5", 1.0)
    assert bench.board.range == b"\5"
    assert bench.level() == b"\x63"
    assert [(each.type, each.length) for each in bench.board.asked] == [(0x21, 1), (0xC0, 1)]
    assert bench.link.identity() == bench.board.identity
    assert bench.wire.bursts == [], "an answer is no packet"
    with pytest.raises(RefusedError, match=r"request 0x63 .*STALL"):
        bench.link.control_in(ControlRequest(0x63), 1, 1.0)


def test_a_board_without_a_control_endpoint_has_none() -> None:
    clock = VirtualClock()
    wire = UsbWire(Echo(), clock, lambda until: None)
    wire.plug()
    link = wire()
    assert not isinstance(link, ControlLink)
    link.write(b"a")
    link.write(b"bc")
    assert [link.read(), link.read()] == [b"a", b"bc"]


def test_a_hung_board_costs_the_time_of_the_transfer(bench: Bench) -> None:
    bench.wire.mute = True
    with pytest.raises(CallTimeoutError, match="within 1 s"):
        bench.level()
    assert bench.clock.now == 1.0
    assert bench.board.asked == []
    assert bench.link.identity() == bench.board.identity
    bench.wire.mute = False
    assert bench.level() == b"\x63"


def test_it_hangs_and_is_pulled_in_the_middle_of_a_transfer(bench: Bench) -> None:
    bench.wire.mute_at = 1
    bench.link.control_out(ControlRequest(RANGE), b"", 1.0)
    with pytest.raises(CallTimeoutError):
        bench.level()
    bench.wire.plug()
    bench.wire.pulled_at = 0
    with pytest.raises(LinkLostError, match="pulled"):
        bench.link.control_out(ControlRequest(RANGE), b"", 1.0)
    assert not bench.wire.plugged
    bench.wire.plug()
    with pytest.raises(LinkLostError):
        bench.link.identity()  # it was another opening


def test_a_cable_that_is_pulled_while_a_hung_board_is_waited_for_ends_the_wait(
    bench: Bench,
) -> None:
    bench.wire.mute = True
    bench.pull_at = 0.5
    with pytest.raises(LinkLostError, match="pulled"):
        bench.level()
    assert bench.clock.now == 0.5
    with pytest.raises(LinkLostError):
        bench.link.identity()


def test_a_damaged_answer_is_no_longer_than_it_may_be(bench: Bench) -> None:
    bench.wire.damage = (0, lambda byte: b"xyz" + byte)
    assert bench.level() == b"x"
    bench.wire.damage = (1, lambda byte: b"")
    assert bench.level() == b""
