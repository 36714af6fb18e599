"""Who has a file open: asked of the real /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.cli.inventory.holders import holders

HOLD = "import sys; f = open(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"


def test_a_program_that_has_it_open_is_named(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        found = holders([str(file), "/dev/nowhere"])
        child.communicate(timeout=20)
    assert [each.pid for each in found.of[str(file)]] == [child.pid]
    assert str(child.pid) in str(found.of[str(file)][0])
    assert "/dev/nowhere" not in found.of


def test_this_program_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "port"
    with file.open("w"):
        assert holders([str(file)]).of == {}


def test_what_may_not_be_seen_is_said(tmp_path: Path) -> None:
    (tmp_path / "proc/77").mkdir(parents=True)
    (tmp_path / "proc/78/fd").mkdir(parents=True)
    os.symlink("/dev/ttyUSB0", tmp_path / "proc/78/fd/3")
    (tmp_path / "proc/78/comm").write_text("minicom\n")
    found = holders(["/dev/ttyUSB0"], tmp_path)
    assert [str(each) for each in found.of["/dev/ttyUSB0"]] == ["minicom (pid 78)"]
    assert not found.partial


def test_a_simulated_boards_own_end_does_not_count(tmp_path: Path) -> None:
    fd = tmp_path / "proc/78/fd"
    fd.mkdir(parents=True)
    os.symlink("/dev/pts/4", fd / "3")
    assert holders(["/dev/pts/4"], tmp_path).of
    os.symlink("/dev/ptmx", fd / "4")
    assert not holders(["/dev/pts/4"], tmp_path).of
