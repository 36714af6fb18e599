"""One conversation, held with the simulator and with the firmware: both are the same board."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from drivers.bench_board import protocol
from gateway.framing import Garbage
from tests.drivers.bench_board.conftest import Bench
from tests.drivers.bench_board.wire import Wire


def is_reading(line: bytes) -> bool:
    return line.startswith(b"A")


def test_the_board_says_who_it_is_when_it_starts(bench: Bench) -> None:
    with Wire(bench.path) as wire:
        assert wire.line() == b"B bench-board 1.0.0 BB-0001"


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"ID", b"ID bench-board 1.0.0 BB-0001"),
        (b"P", b"P"),
        (b"P17", b"P17"),
        (b"L1", b"L1"),
        (b"S0", b"S0"),
        (b"S007", b"S007"),
        (b"F0", b"F0"),
        (b"FC0", b"FC0"),
        (b"", b"Nunknown "),
        (b"I", b"Nunknown I"),
        (b"IDE", b"Nunknown IDE"),
        (b"led 1", b"Nunknown led 1"),
        (b"L", b"Nargument L"),
        (b"L2", b"Nargument L2"),
        (b"L 1", b"Nargument L 1"),
        (b"S", b"Nargument S"),
        (b"S-1", b"Nargument S-1"),
        (b"S+1", b"Nargument S+1"),
        (b"S201", b"Nargument S201"),
        (b"S0010", b"Nargument S0010"),
        (b"S65536", b"Nargument S65536"),
        (b"C1", b"Nargument C1"),
        (b"F", b"Nargument F"),
        (b"FX", b"Nargument FX"),
        (b"F00", b"Nargument F00"),
        (b"FH1", b"Nargument FH1"),
        (b"FC256", b"Nargument FC256"),
        (b"FE0", b"Nargument FE0"),
        (b"FE4", b"Nargument FE4"),
        (b"P*2*", b"P*2*"),
        (b"P" + b"x" * 60, b"P" + b"x" * 60),
        (b"S" + b"1" * 60, b"Nargument S" + b"1" * 60),
    ],
)
def test_each_request_has_its_answer(wire: Wire, request_line: bytes, answer: bytes) -> None:
    assert wire.ask(request_line) == answer
    assert protocol.is_answer(request_line, answer)


def test_a_line_may_end_in_carriage_return_and_have_a_small_checksum(wire: Wire) -> None:
    wire.write(b"ID*0d\r\n\r\n\nP1*61\r\n")
    assert wire.line().startswith(b"ID ")
    assert wire.line() == b"P1"


@pytest.mark.parametrize(
    "damaged",
    [
        b"P1*60",
        b"P1",
        b"P1*",
        b"P1*6",
        b"P1*6G",
        b"P1 61",
        b"*",
        b"hello",
        b"P\x01*51",
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_refused_and_counted_and_the_next_one_heard(
    wire: Wire, damaged: bytes
) -> None:
    wire.write(damaged + b"\n")
    assert wire.line() == b"Nchecksum"
    assert wire.ask(b"C") == b"C 1,1,0,0,0,0"


def test_an_endless_line_is_refused_once_and_skipped_to_its_end(wire: Wire) -> None:
    for _ in range(4):
        wire.write(b"x" * 100)
    # Said before its end has come, which it may never do.
    assert wire.line() == b"Nlong"
    wire.write(b"P1*61\n")
    assert wire.ask(b"P2") == b"P2"
    assert wire.ask(b"C") == b"C 2,0,1,0,0,0"


@pytest.mark.parametrize(("length", "end"), [(62, b"\n"), (62, b"\r\n"), (63, b"\r\n")])
def test_a_line_one_byte_too_long_is_refused(wire: Wire, length: int, end: bytes) -> None:
    payload = b"P" * length
    wire.write(payload + b"*%02X" % (0x50 * (length % 2)) + end)
    assert wire.line() == b"Nlong"
    assert wire.ask(b"P1") == b"P1"


def test_the_longest_line_may_end_in_carriage_return(wire: Wire) -> None:
    wire.write(b"P" * 61 + b"*50\r\n")
    assert wire.line() == b"P" * 61


def test_the_counters_tell_what_was_refused(wire: Wire) -> None:
    wire.write(b"noise\n" + b"y" * 70 + b"\n")
    wire.send(b"L7", b"??")
    for _ in range(4):
        wire.line()
    counters = protocol.parse_counters(protocol.result(b"C", wire.ask(b"C")))
    assert counters == protocol.Counters(
        accepted=3, bad_checksums=1, long_lines=1, refused=2, overruns=0, unsent=0
    )


def test_the_led_follows(bench: Bench, wire: Wire) -> None:
    assert wire.ask(b"L1") == b"L1"
    bench.wait_for_led(True)
    assert wire.ask(b"L0") == b"L0"
    bench.wait_for_led(False)


def test_one_reading_carries_its_tag_and_what_the_input_sees(wire: Wire) -> None:
    first = protocol.parse_reading(protocol.result(b"R1", wire.ask(b"R1")))
    second = protocol.parse_reading(protocol.result(b"R2", wire.ask(b"R2")))
    assert second.milliseconds >= first.milliseconds
    assert protocol.volts(second.raw) == pytest.approx(2.5, abs=0.02)


def test_the_stream_keeps_the_rate_of_the_boards_own_clock(wire: Wire) -> None:
    assert wire.ask(b"S60") == b"S60"
    readings = [protocol.parse_reading(wire.line_that(is_reading)[1:]) for _ in range(31)]
    # 60 Hz is no whole number of milliseconds: the steps differ, the sum is right.
    steps = [b.milliseconds - a.milliseconds for a, b in pairwise(readings)]
    assert set(steps) == {16, 17}
    assert sum(steps) == 500
    assert {abs(reading.raw - 512) <= 4 for reading in readings} == {True}


def test_the_boards_clock_is_everybodys(wire: Wire) -> None:
    began = time.monotonic()
    assert wire.ask(b"S10") == b"S10"
    first = protocol.parse_reading(wire.line()[1:])
    for _ in range(4):
        wire.line()
    last = protocol.parse_reading(wire.line()[1:])
    assert last.milliseconds - first.milliseconds == 500
    # Early would be a wrong clock; late is a busy machine.
    assert time.monotonic() - began > 0.5


def test_the_stream_stops_when_told(wire: Wire) -> None:
    wire.send(b"S200")
    wire.line_that(is_reading)
    wire.send(b"S0")
    wire.line_that(lambda line: line == b"S0")
    assert wire.is_silent_for(0.05)


def test_requests_are_answered_in_order_amid_a_fast_stream(wire: Wire) -> None:
    # No faster: a terminal that is not read for some seconds is full, and drops an answer.
    wire.send(b"S50")
    for number in range(100):
        wire.send(b"P%d" % number)
        assert wire.line_that(lambda line: not is_reading(line) and line != b"S50") == (
            b"P%d" % number
        )


def test_several_requests_in_one_breath_are_all_answered(wire: Wire) -> None:
    # 40 lines are more than either ring buffer holds.
    requests = [b"P%03d" % number for number in range(40)]
    for first in range(0, 40, 10):
        wire.send(*requests[first : first + 10])
    assert [wire.line() for _ in requests] == requests


def test_answers_longer_than_their_requests_are_all_given(wire: Wire) -> None:
    # 40 requests fit the board's ring on the way in, their answers five times over not.
    wire.send(*[b"ID"] * 40)
    assert [wire.line() for _ in range(40)] == [b"ID bench-board 1.0.0 BB-0001"] * 40
    assert wire.ask(b"C") == b"C 41,0,0,0,0,0"


def test_every_nth_checksum_can_be_spoilt(wire: Wire) -> None:
    assert wire.ask(b"FC3") == b"FC3"
    bad = []
    for number in range(9):
        wire.send(b"P%d" % number)
        bad.append(isinstance(wire.event(), Garbage))
    assert bad == [False, False, True] * 3
    wire.send(b"F0")
    assert wire.line() == b"F0"
    assert [wire.ask(b"P") for _ in range(6)] == [b"P"] * 6


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_fault_is_reported_behind_the_answer(wire: Wire, code: int) -> None:
    request = protocol.report_fault(code)
    assert wire.ask(request) == request
    told, text = protocol.parse_fault(wire.line())
    assert told == code
    assert text


def test_a_silent_board_goes_on_listening(bench: Bench, wire: Wire) -> None:
    wire.send(b"S100")
    wire.line_that(is_reading)
    wire.send(b"FS")
    wire.line_that(lambda line: line == b"FS")
    wire.send(b"P1", b"L1")
    wire.write(b"noise\n")
    assert wire.is_silent_for(0.1)
    bench.wait_for_led(True)
    wire.send(b"F0")
    assert wire.line() == b"F0"
    assert is_reading(wire.line())


def test_a_hung_board_never_speaks_again_until_it_is_plugged_in_anew(
    bench: Bench, wire: Wire
) -> None:
    wire.send(b"S100", b"FH")
    wire.line_that(lambda line: line == b"FH")
    wire.send(b"P1", b"F0")
    # A reading may have been on its way out; after that, nothing.
    while not wire.is_silent_for(0.1):
        assert is_reading(wire.line())
    assert wire.is_silent_for(0.1)
    bench.unplug()
    bench.plug()
    with Wire(bench.path) as again:
        again.line_that(lambda line: line.startswith(b"B "))
        assert again.ask(b"P1") == b"P1"


def test_plugged_in_anew_it_has_forgotten_everything(bench: Bench, wire: Wire) -> None:
    assert wire.ask(b"L1") == b"L1"
    wire.send(b"S100", b"FC1")
    wire.write(b"half a li")
    bench.unplug()
    assert not bench.path.is_symlink()
    bench.plug()
    with Wire(bench.path) as again:
        again.line_that(lambda line: line.startswith(b"B "))
        assert again.ask(b"C") == b"C 1,0,0,0,0,0"
        assert again.is_silent_for(0.05)
