from __future__ import annotations

from random import Random

import pytest

from gateway.clock import Clock, VirtualClock
from gateway.device.board_faults import BoardFaults, UsbBoardFaults, with_faults
from gateway.device.simulated_usb import Setup
from gateway.device.usb import UsbIdentity


class Ticker:
    """Ticks every second of its clock, and echoes."""

    def __init__(self, *, clock: Clock) -> None:
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        self._due = self.clock.monotonic() + 1.0

    def receive(self, data: bytes) -> bytes:
        return data

    def poll(self) -> bytes:
        said = b""
        while self._due <= self.clock.monotonic():
            said += b"tick"
            self._due += 1.0
        return said

    @property
    def wake(self) -> float | None:
        return self._due


class UsbTicker(Ticker):
    identity = UsbIdentity(
        vendor=1, product=2, release="1.00", manufacturer="", name="", serial_number=""
    )

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        return b"obeyed"


@pytest.fixture
def base() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def board(base: VirtualClock) -> BoardFaults:
    return with_faults(Ticker, clock=base, random=Random(1))


def test_without_a_fault_it_is_the_board(base: VirtualClock, board: BoardFaults) -> None:
    assert board.receive(b"abc") == b"abc"
    assert board.wake == 1.0
    base.now = 1.0
    assert (board.poll(), board.poll()) == (b"tick", b"")
    assert isinstance(board.board, Ticker)


def test_one_that_hangs_hears_and_says_nothing_until_its_time_is_over(
    base: VirtualClock, board: BoardFaults
) -> None:
    board.hang(3.0)
    assert board.receive(b"abc") == b""
    base.now = 2.0
    assert (board.poll(), board.is_hung, board.wake) == (b"", True, 3.0)
    base.now = 3.0
    assert board.receive(b"abc") == b"abc"
    assert board.unheard == 3


@pytest.mark.parametrize("remedy", ["reset", "mend"])
def test_one_that_hangs_for_good_is_mended_by_hand_or_by_its_power(
    base: VirtualClock, board: BoardFaults, remedy: str
) -> None:
    board.hang()
    base.now = 1e6
    assert (board.wake, board.poll()) == (None, b"")
    getattr(board, remedy)()
    assert board.receive(b"abc") == b"abc"


def test_noise_changes_its_part_of_the_bytes_either_way(board: BoardFaults) -> None:
    board.make_noise(0.1)
    sent = bytes(1000)
    heard = board.receive(sent)
    wrong = sum(byte != 0 for byte in heard)
    assert 120 <= wrong <= 260, "some on the way there, some on the way back"
    assert wrong <= board.garbled <= 260
    board.make_noise(1.0)
    board.board.receive = lambda data: b""  # type: ignore[method-assign]
    before = board.garbled
    board.receive(bytes(50))
    assert board.garbled == before + 50, "each byte is another one"
    board.mend()
    board.board.receive = lambda data: data  # type: ignore[method-assign]
    assert board.receive(sent) == sent


def test_one_seed_gives_one_noise(base: VirtualClock) -> None:
    heard = []
    for seed in (7, 7, 8):
        board = with_faults(Ticker, clock=base, random=Random(seed))
        board.make_noise(0.5)
        heard.append(board.receive(bytes(64)))
    assert heard[0] == heard[1] != heard[2]


def test_a_clock_that_drifts_has_things_due_sooner_or_later(
    base: VirtualClock, board: BoardFaults
) -> None:
    board.clock.drift(250_000)
    assert board.wake == 0.8
    base.now = 0.8
    assert board.poll() == b"tick"


def test_a_step_says_what_was_due_on_the_way_one_after_the_other(base: VirtualClock) -> None:
    board = with_faults(Ticker, clock=base, random=Random(1), held=True)
    base.now = 500.0
    assert (board.wake, board.poll()) == (None, b""), "its clock stands still"
    board.step(2.5)
    assert board.wake == 500.0, "at once"
    assert [board.poll() for _ in range(3)] == [b"tick", b"tick", b""]
    board.step(0.5)
    assert board.poll() == b"tick"


def test_a_step_ends_also_where_the_board_never_stops_talking(base: VirtualClock) -> None:
    board = with_faults(Ticker, clock=base, random=Random(1), held=True)
    board.board.poll = lambda: b"x"  # type: ignore[method-assign]
    board.step(10.0)
    assert board.clock.monotonic() == 10.0
    assert len(board._said) == 10_000


def test_power_off_and_on_forgets_what_was_to_be_said(base: VirtualClock) -> None:
    board = with_faults(Ticker, clock=base, random=Random(1), held=True)
    board.step(5)
    board.reset()
    assert board.poll() == b""


def test_a_usb_device_that_hangs_stalls(base: VirtualClock) -> None:
    board = with_faults(UsbTicker, clock=base, random=Random(1))
    assert isinstance(board, UsbBoardFaults)
    assert board.identity is UsbTicker.identity
    setup = Setup(0, 0, 0, 0, 8)
    assert board.control(setup, b"") == b"obeyed"
    board.hang()
    assert board.control(setup, b"") is None


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("hang", 0.0, "cannot hang for 0.0 s"),
        ("hang", float("nan"), "cannot hang"),
        ("make_noise", 1.5, "give the part of the bytes"),
        ("make_noise", float("nan"), "give the part"),
        ("step", -1.0, "give 0 to 3600"),
        ("step", 1e9, "give 0 to 3600"),
    ],
)
def test_what_makes_no_sense_is_refused(
    board: BoardFaults, word: str, value: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        getattr(board, word)(value)
