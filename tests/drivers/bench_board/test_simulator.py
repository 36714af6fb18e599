"""The simulator's terminal, its link, its life as a program; what it says is tested elsewhere."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.bench_board.simulator import SimulatedBoard, main
from tests.drivers.bench_board.wire import Wire

ROOT = Path(__file__).parents[3]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "board") as board:
        yield board


def test_pulling_the_cable_hangs_up_and_removes_the_link(board: SimulatedBoard) -> None:
    descriptor = os.open(board.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        board.unplug()
        assert not os.path.lexists(board.path)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(1000)[0][1] & select.POLLHUP
        with pytest.raises(OSError, match="Input/output error"):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_it_comes_back_on_the_same_link_many_times(board: SimulatedBoard) -> None:
    for _ in range(20):
        board.unplug()
        board.plug()
        with Wire(board.path) as wire:
            assert wire.line().startswith(b"B bench-board ")
            assert wire.ask(b"P") == b"P"


def test_plugging_and_unplugging_twice_changes_nothing(board: SimulatedBoard) -> None:
    terminal = board.path.readlink()
    board.plug()
    assert board.path.readlink() == terminal
    board.unplug()
    board.unplug()


def test_it_can_be_started_again_after_a_stop(board: SimulatedBoard) -> None:
    board.stop()
    board.stop()
    assert not os.path.lexists(board.path)
    board.start()
    with Wire(board.path) as wire:
        assert wire.line().startswith(b"B ")


def test_starting_it_twice_is_misuse(board: SimulatedBoard) -> None:
    with pytest.raises(ValueError, match="runs already"):
        board.start()


def test_a_board_that_was_never_started_cannot_be_unplugged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has not been started"):
        SimulatedBoard(tmp_path / "board").unplug()


def test_a_host_that_does_not_read_loses_lines_and_nothing_else(board: SimulatedBoard) -> None:
    with Wire(board.path) as wire:
        wire.line()
        sent = 0
        while not board.statistics()["dropped"]:
            # In steps that the terminal has room for; the answers pile up.
            wire.send(*(b"P" + b"x" * 50 for _ in range(10)))
            sent += 10
            wait_until_received(board, sent * 55)
        wire.send(b"L1")
        wait_until_received(board, sent * 55 + 5)
        assert board.led
        whole = 0
        while not wire.is_silent_for(0.05):
            # Whole lines are dropped: each that comes is good.
            assert wire.line() in (b"P" + b"x" * 50, b"L1")
            whole += 1
        assert 0 < whole < sent
        assert wire.ask(b"P1") == b"P1"


def wait_until_received(board: SimulatedBoard, count: int) -> None:
    """Wait until the board has taken ``count`` bytes off the wire, and answered them."""
    # Nothing on the wire tells when: it is full, which is what the test is about.
    pause = select.poll()
    for _ in range(3000):
        if board.statistics()["received"] >= count:
            return
        pause.poll(1)
    pytest.fail(f"the board has not taken {count} bytes")


def test_a_foreign_file_at_the_links_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("precious")
    with pytest.raises(ValueError, match="no symbolic link"):
        SimulatedBoard(tmp_path / "board")
    assert (tmp_path / "board").read_text() == "precious"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        SimulatedBoard(tmp_path / "nowhere" / "board")


def test_a_link_that_cannot_be_made_is_told_and_can_be_tried_again(board: SimulatedBoard) -> None:
    board.unplug()
    # Somebody puts a folder where the link is to be.
    board.path.mkdir()
    with pytest.raises(RuntimeError, match=r"is not plugged: .*Is a directory"):
        board.plug()
    board.path.rmdir()
    board.plug()
    with Wire(board.path) as wire:
        assert wire.line().startswith(b"B ")


def test_a_start_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    board = SimulatedBoard(tmp_path / "board")
    board.path.mkdir()
    with pytest.raises(RuntimeError, match="Is a directory"):
        board.start()
    board.path.rmdir()
    with board, Wire(board.path) as wire:
        assert wire.line().startswith(b"B ")


def test_a_link_left_behind_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "board"
    path.symlink_to("/dev/pts/999999")
    with SimulatedBoard(path), Wire(path) as wire:
        assert wire.line().startswith(b"B ")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_as_a_program_it_says_how_to_use_it_and_ends_cleanly(
    tmp_path: Path, end: signal.Signals
) -> None:
    path = tmp_path / "board"
    command = [sys.executable, "-m", "drivers.bench_board.simulator", "--link", str(path)]
    with subprocess.Popen(
        [*command, "--hz", "50"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            said = "".join(process.stdout.readline() for _ in range(4))
            with Wire(path) as wire:
                wire.line_that(lambda line: line.startswith(b"A"))
            process.send_signal(end)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert str(path) in said
    assert "Ctrl-C pulls the cable" in said
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--link"),
        (["--link", "/dev/null"], "no symbolic link"),
        (["--link", "/nowhere/board"], "no folder"),
        (["--link", "/tmp/board", "--hz", "201"], "0 to 200 Hz, not 201"),
    ],
)
def test_as_a_program_it_explains_what_is_wrong(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert reason in capsys.readouterr().err
