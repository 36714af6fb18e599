"""A board at a rate that nobody knows is found by its driver's handshake, and remembered."""

from __future__ import annotations

import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from routes.serial.serial_link import opener
from routes.serial.settings import SerialSettings
from tests.lab.hosted_board import HostedBoard
from tests.lab.port_server import ManagedServer
from tests.lab.rated_board import SimulatedRatedBoard

MakeRig = Callable[..., HostedBoard]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_rig(stack: ExitStack) -> MakeRig:
    def make(within: float = 5.0, **values: Any) -> HostedBoard:
        rig = HostedBoard(opener(SerialSettings(**values)), within)
        stack.callback(rig.stop)
        return rig

    return make


@pytest.fixture
def board(tmp_path: Path, stack: ExitStack) -> SimulatedRatedBoard:
    """A board at 19200 baud."""
    return stack.enter_context(SimulatedRatedBoard(tmp_path / "board", 19200))


def test_the_handshake_proves_one_of_several_rates_and_the_board_is_heard(
    board: SimulatedRatedBoard, make_rig: MakeRig
) -> None:
    rig = make_rig(port=str(board.path), baud=(115200, 9600, 19200))
    assert rig.wait_for("healthy")["connected"]
    # Further rounds follow where the board was held up for longer than an answer may take.
    assert board.rated.rates[:3] == [termios.B115200, termios.B9600, termios.B19200]
    assert board.rated.rates[-1] == termios.B19200
    assert rig.states().count("open") == 1, "it was found on one opening of the port"
    assert "failed" not in rig.states()


def test_the_rate_that_proved_is_the_first_after_a_cable_was_pulled(
    board: SimulatedRatedBoard, make_rig: MakeRig
) -> None:
    rig = make_rig(port=str(board.path), baud=(115200, 9600, 19200))
    rig.wait_for("healthy")
    board.unplug()
    rig.wait_for("absent", 2)
    board.rated.rates.clear()
    board.plug()
    rig.wait_for("healthy", 2)
    assert board.rated.rates[0] == board.rated.rates[-1] == termios.B19200


def test_auto_finds_a_common_rate(board: SimulatedRatedBoard, make_rig: MakeRig) -> None:
    assert make_rig(port=str(board.path), baud="auto").wait_for("healthy")["connected"]


def test_where_no_rate_is_right_it_is_told_which_were_tried_in_bounded_time(
    board: SimulatedRatedBoard, make_rig: MakeRig
) -> None:
    rig = make_rig(port=str(board.path), baud=(115200, 9600), within=0.4)
    cause = rig.wait_for("failed")["cause"]
    assert "no handshake within 0.8 s at 115200 and 9600 baud" in cause
    assert {termios.B115200, termios.B9600} >= set(board.rated.rates)


def test_one_rate_that_is_wrong_is_told_as_before(
    board: SimulatedRatedBoard, make_rig: MakeRig
) -> None:
    rig = make_rig(port=str(board.path), baud=9600, within=0.3)
    assert "no handshake within 0.3 s: " in rig.wait_for("failed")["cause"]


def test_a_rate_is_found_through_a_port_server(
    board: SimulatedRatedBoard, make_rig: MakeRig, stack: ExitStack
) -> None:
    server = stack.enter_context(ManagedServer(board.path))
    rig = make_rig(port=server.url, baud=(115200, 9600, 19200))
    assert rig.wait_for("healthy")["connected"]
    assert board.rated.rates[-1] == termios.B19200
