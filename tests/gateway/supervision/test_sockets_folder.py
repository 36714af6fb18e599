"""A folder that was made for one run goes with it, whoever is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.supervision.sockets_folder import OURS, claim, clean

CREW = """
class Worker(Loud):
    def birth(self):
        super().birth()
        say("server", os.getppid())
    def death(self):
        super().death()
        say("there", self.temporary_folder.is_dir())
class App(Application):
    def build(self):
        self.add_process("worker", Worker, mode="fork", temporary_folder=True)
class Main(Loud):
    def birth(self):
        super().birth()
        say("folder", self.application._temporary.parent)
sys.exit(App(main=Main).run())
"""


def begin(start: Any) -> tuple[Any, Path, int]:
    """Start an application without a folder; return it, its folder and its fork server."""
    program = start(CREW)
    server = int(program.wait_for("server"))
    return program, Path(program.wait_for("folder")), server


def kill_all(program: Any, server: int) -> None:
    """Have main and its fork server gone before either can do anything for the other."""
    os.kill(server, signal.SIGSTOP)
    program.signal(signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    program.end()


@pytest.mark.parametrize("again", range(3))
def test_it_goes_where_main_is_killed_once_every_death_has_run(start: Any, again: int) -> None:
    program, folder, _ = begin(start)
    assert (folder / "bus").is_dir()
    program.signal(signal.SIGKILL)
    assert program.end() == -signal.SIGKILL
    assert "there True" in program.said
    assert not folder.exists()


def test_what_nobody_was_left_to_remove_goes_with_the_next_start(start: Any) -> None:
    program, folder, server = begin(start)
    kill_all(program, server)
    assert folder.is_dir()
    other, used, _ = begin(start)
    assert not folder.exists()
    assert used.is_dir()
    other.signal(signal.SIGTERM)
    assert other.end() == 0
    assert not used.exists()


def test_one_that_somebody_lives_in_is_let_alone(start: Any) -> None:
    program, folder, server = begin(start)
    clean(folder.parent)
    assert (folder / "bus").is_dir()
    # Main is gone, and the fork server has yet to end what is left.
    os.kill(server, signal.SIGSTOP)
    main = os.pidfd_open(program.pid)
    program.signal(signal.SIGKILL)
    os.waitid(os.P_PIDFD, main, os.WEXITED | os.WNOWAIT)
    os.close(main)
    clean(folder.parent)
    assert (folder / "bus").is_dir()
    os.kill(server, signal.SIGCONT)
    program.end()
    assert not folder.exists()


def test_nothing_goes_that_was_not_made_here(tmp_path: Path) -> None:
    named, new, ours, elsewhere = (
        tmp_path / name for name in ("gateway-named", "gateway-new", "gateway-ours", "elsewhere")
    )
    for folder in (named, ours, elsewhere):
        (folder / "bus").mkdir(parents=True)
        (folder / "lock").touch()
    new.mkdir()
    (tmp_path / "gateway-file").touch()
    (elsewhere / "lock").write_bytes(OURS)
    (tmp_path / "gateway-link").symlink_to(elsewhere)
    (ours / "lock").write_bytes(OURS)
    with (ours / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clean(tmp_path)
        assert ours.is_dir()
    clean(tmp_path)
    assert not ours.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "elsewhere",
        "gateway-file",
        "gateway-link",
        "gateway-named",
        "gateway-new",
    ]
    clean(tmp_path / "nowhere")


def test_a_lock_that_is_no_file_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "gateway-queer" / "lock").mkdir(parents=True)
    (tmp_path / "gateway-pipe").mkdir()
    os.mkfifo(tmp_path / "gateway-pipe" / "lock")
    clean(tmp_path)
    assert (tmp_path / "gateway-queer").is_dir()
    assert (tmp_path / "gateway-pipe").is_dir()


@pytest.mark.parametrize("is_named", [True, False])
def test_a_folder_without_locks_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(ConfigError, match=r"No locks available; .* set sockets to another one"),
        ExitStack() as stack,
    ):
        claim(tmp_path / "named" if is_named else None, stack)
    assert not list(tmp_path.glob("gateway-*"))
