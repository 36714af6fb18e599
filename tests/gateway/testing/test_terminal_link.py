from __future__ import annotations

import os
import select
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import LinkAbsentError, LinkLostError
from gateway.testing.terminal_link import TerminalLink, opener

Terminal = tuple[int, Path]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    master, slave = os.openpty()
    tty.setraw(slave)
    path = Path(os.ttyname(slave))
    os.close(slave)
    yield master, path
    os.close(master)


def test_bytes_go_both_ways_and_reads_never_wait(terminal: Terminal) -> None:
    master, path = terminal
    link = opener(path)()
    assert link.read() == b""
    os.write(master, b"hello\r\n\xff")
    assert select.select([link.fileno()], [], [], 10.0)[0]
    assert link.read() == b"hello\r\n\xff"
    link.write(b"\x03\n")
    assert os.read(master, 10) == b"\x03\n"
    link.close()
    link.close()


def test_a_dead_terminal_is_a_lost_link() -> None:
    master, slave = os.openpty()
    link = TerminalLink(Path(os.ttyname(slave)))
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkLostError):
        link.read()
    with pytest.raises(LinkLostError):
        link.write(b"x")
    link.close()


def test_what_is_not_there_is_absent(tmp_path: Path) -> None:
    with pytest.raises(LinkAbsentError, match="is not there"):
        TerminalLink(tmp_path / "nothing")


def test_what_is_no_terminal_is_absent_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LinkAbsentError):
        TerminalLink(tmp_path / "file")
