"""The simulated board by itself: no terminal, no thread, and a clock that stands still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bench_board.board import Board, slow_triangle
from gateway.framing import CheckedLine, Frame


class StillClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def board(clock: StillClock) -> Board:
    board = Board(clock=clock, voltage=lambda seconds: seconds)
    board.poll()
    return board


def lines(data: bytes) -> list[bytes]:
    events = CheckedLine().decoder().feed(data)
    assert all(isinstance(event, Frame) for event in events), events
    return [event.payload for event in events if isinstance(event, Frame)]


def encode(*payloads: bytes) -> bytes:
    return b"".join(map(CheckedLine().encode, payloads))


def test_the_banner_is_due_at_once(clock: StillClock) -> None:
    board = Board(clock=clock, firmware="2.1.0", serial_number="BB-0042")
    assert board.wake == clock.now
    assert lines(board.poll()) == [b"B bench-board 2.1.0 BB-0042"]
    assert board.wake is None


@given(st.binary(max_size=300), st.integers(1, 50))
def test_slicing_never_changes_the_answers(data: bytes, size: int) -> None:
    whole, sliced = (Board(clock=StillClock(), voltage=lambda seconds: 1.0) for _ in range(2))
    data = encode(b"S3") + data + b"\n" + encode(b"C")
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert whole.receive(data) == b"".join(map(sliced.receive, pieces))


def test_readings_are_due_when_it_says_and_not_before(board: Board, clock: StillClock) -> None:
    board.receive(encode(b"S3"))
    due = []
    for _ in range(6):
        assert board.wake is not None
        clock.now = board.wake - 0.0005
        assert board.poll() == b""
        clock.now = board.wake
        due += lines(board.poll())
    assert [line.partition(b",")[0] for line in due] == [
        *(b"A334", b"A667", b"A1000", b"A1334", b"A1667", b"A2000")
    ]


def test_a_reading_is_what_the_input_saw_when_it_was_due(board: Board, clock: StillClock) -> None:
    board.receive(encode(b"S1"))
    clock.now += 2.5
    # The input rises by a volt a second; 5 V are 1024 steps.
    assert lines(board.poll()) == [b"A1000,204", b"A2000,409"]


def test_the_input_saturates_at_its_ends(clock: StillClock) -> None:
    board = Board(clock=clock, voltage=lambda seconds: -1.0 if seconds < 1 else 9.0)
    board.poll()
    assert lines(board.receive(encode(b"R"))) == [b"R 0,0"]
    clock.now += 1
    assert lines(board.receive(encode(b"R"))) == [b"R 1000,1023"]


def test_what_was_missed_in_a_long_stop_is_not_made_up_for(board: Board, clock: StillClock) -> None:
    board.receive(encode(b"S200"))
    clock.now += 3600
    assert len(lines(board.poll())) == 200


def test_a_hung_board_is_due_for_nothing(board: Board, clock: StillClock) -> None:
    board.receive(encode(b"S10"))
    assert lines(board.receive(encode(b"FH", b"P"))) == [b"FH"]
    assert board.wake is None
    clock.now += 10
    assert board.poll() == b""


def test_the_stream_goes_on_behind_a_silence(board: Board, clock: StillClock) -> None:
    board.receive(encode(b"S10", b"FS"))
    clock.now += 0.25
    assert board.poll() == b""
    assert lines(board.receive(encode(b"F0"))) == [b"F0"]
    clock.now += 0.05
    assert lines(board.poll()) == [b"A300,61"]


def test_it_can_start_with_its_stream_on(clock: StillClock) -> None:
    board = Board(clock=clock, start_hz=2)
    board.poll()
    assert board.hz == 2
    clock.now += 1.0
    assert len(lines(board.poll())) == 2


def test_a_rate_that_the_board_does_not_know_is_refused(clock: StillClock) -> None:
    with pytest.raises(ValueError, match="0 to 200 Hz, not 201"):
        Board(clock=clock, start_hz=201)


@given(st.floats(0, 1e6))
def test_the_triangle_stays_within_the_inputs_range(seconds: float) -> None:
    assert 0.5 <= slow_triangle(seconds) <= 4.5
