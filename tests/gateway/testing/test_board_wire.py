from __future__ import annotations

import itertools

import pytest

from gateway.clock import VirtualClock
from gateway.errors import LinkAbsentError, LinkLostError
from gateway.testing.board_wire import BoardWire
from gateway.testing.strangers import Babbler, Echo
from tests.gateway.testing.lamp import LampBoard


@pytest.fixture
def wire() -> BoardWire:
    """A wire to a plug that says back what is written."""
    clock = VirtualClock()
    wire = BoardWire(Echo(), clock)
    wire.plug()
    return wire


def test_what_is_written_reaches_the_board_and_its_answer_the_reader(wire: BoardWire) -> None:
    link = wire()
    link.write(b"hello")
    assert link.read() == b"hello"
    assert link.read() == b""
    assert (wire.written, wire.bursts, wire.said) == ([b"hello"], [b"hello"], 5)


def test_an_unplugged_board_is_absent_and_an_open_link_is_dead(wire: BoardWire) -> None:
    link = wire()
    wire.say(b"last words")
    wire.pull()
    assert link.read() == b"last words"
    with pytest.raises(LinkLostError, match="pulled"):
        link.read()
    with pytest.raises(LinkLostError):
        link.write(b"x")
    with pytest.raises(LinkAbsentError):
        wire()
    wire.plug()
    with pytest.raises(LinkLostError):
        link.read()  # it was another opening
    assert wire().read() == b""


def test_a_closed_link_is_used_no_more(wire: BoardWire) -> None:
    link = wire()
    link.close()
    with pytest.raises(LinkLostError, match="closed"):
        link.write(b"x")


def test_a_byte_is_damaged_by_its_number(wire: BoardWire) -> None:
    link = wire()
    wire.damage = (6, lambda byte: b"<" + byte + b">")
    wire.say(b"abcd")
    wire.say(b"efgh")
    wire.say(b"ijkl")
    assert link.read() == b"abcdef<g>hijkl"


def test_it_is_pulled_before_the_byte_of_that_number_once(wire: BoardWire) -> None:
    link = wire()
    wire.pulled_at = 6
    wire.say(b"abcd")
    wire.say(b"efgh")
    assert link.read() == b"abcdef"
    with pytest.raises(LinkLostError):
        link.read()
    wire.plug()
    link = wire()
    wire.say(b"abcdefgh")
    assert link.read() == b"abcdefgh"


def test_a_mute_board_hears_and_says_nothing(wire: BoardWire) -> None:
    link = wire()
    wire.mute_at = 2
    link.write(b"abcd")
    assert link.read() == b"ab"
    link.write(b"efgh")
    assert link.read() == b""
    wire.mute = False
    link.write(b"ijkl")
    assert link.read() == b"ijkl"


def test_reads_bring_what_the_slices_allow(wire: BoardWire) -> None:
    link = wire()
    wire.slices = itertools.cycle((1, 2))
    wire.say(b"abcdef")
    assert [link.read() for _ in range(5)] == [b"a", b"bc", b"d", b"ef", b""]


def test_a_board_speaks_when_it_is_due() -> None:
    clock = VirtualClock()
    wire = BoardWire(LampBoard(clock), clock)
    wire.plug()
    assert wire.wake == 1.0
    wire.let_speak()
    assert wire.incoming == b""
    clock.now = 1.0
    wire.let_speak()
    assert wire.incoming == b"LUX 0\n"
    assert wire.wake == 2.0


def test_a_board_that_is_due_and_says_nothing_is_not_asked_for_ever() -> None:
    class Undecided(Echo):
        wake = 0.0

    clock = VirtualClock()
    wire = BoardWire(Undecided(), clock)
    wire.plug()
    wire.let_speak()
    assert 0 < wire.wake <= 0.01


def test_the_babbler_says_64_kb() -> None:
    clock = VirtualClock()
    wire = BoardWire(Babbler(clock), clock)
    wire.plug()
    for _ in range(1000):
        clock.now += 0.02
        wire.let_speak()
    assert wire.said == 64 * 1024
