"""The socket file: taken, kept and given back."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import LinkLostError
from routes.unix_socket import door as module
from routes.unix_socket.door import Door

ROOT = Path(module.__file__).parents[2]

PREDECESSOR = """
import signal, sys
from pathlib import Path
from routes.unix_socket.door import Door
door = Door(Path(sys.argv[1]))
print("open", flush=True)
signal.pause()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.sock"


def knock(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))


def test_only_its_owner_and_group_may_knock(path: Path) -> None:
    before = os.umask(0)
    try:
        door = Door(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    knock(path)
    door.close()
    assert not path.exists()


def test_whoever_sees_the_file_is_let_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    listen = socket.socket.listen

    def watched(made: socket.socket, backlog: int) -> None:
        seen.append(path.exists())
        listen(made, backlog)
        seen.append(path.exists())

    monkeypatch.setattr(socket.socket, "listen", watched)
    path.with_name("gateway.sock.new").touch()  # by one who was killed while it opened
    door = Door(path)
    assert seen == [False, False]
    knock(path)
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "gateway.sock",
        "gateway.sock.lock",
    ]
    door.close()


def test_nobody_waiting_is_no_client(path: Path) -> None:
    door = Door(path)
    assert door.accept() is None
    door.close()


def test_what_a_killed_predecessor_left_is_replaced(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PREDECESSOR, str(path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as predecessor:
        assert predecessor.stdout is not None
        assert predecessor.stdout.readline() == b"open\n"
        with pytest.raises(LinkLostError, match=r"^another gateway listens.*another path"):
            Door(path)
        predecessor.send_signal(signal.SIGKILL)
    assert path.exists()
    door = Door(path)
    knock(path)
    door.close()


def test_a_living_door_is_not_taken(path: Path) -> None:
    door = Door(path)
    with pytest.raises(LinkLostError, match=r"^another gateway listens"):
        Door(path)
    knock(path)
    door.close()


def test_another_programs_socket_is_not_taken(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(2):  # the second finds the backlog full
            with pytest.raises(LinkLostError, match=r"^another program listens"):
                Door(path)
    path.unlink()


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("a letter")
    with pytest.raises(LinkLostError, match=r"^/.* is no socket: remove it"):
        Door(path)
    assert path.read_text() == "a letter"


@pytest.mark.parametrize("name", ["absent/gateway.sock", "file/gateway.sock"])
def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LinkLostError, match=r"^cannot listen at .*; give the gateway's user"):
        Door(tmp_path / name)


def test_a_folder_may_lie_deep(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / ("down" * 30)
    folder.mkdir(parents=True)
    door = Door(folder / "gateway.sock")
    door.close()
    assert not (folder / "gateway.sock").exists()


def test_a_file_that_is_no_longer_ours_is_left_alone(path: Path) -> None:
    door = Door(path)
    path.rename(path.with_suffix(".old"))
    path.write_text("somebody else's")
    door.close()
    assert path.read_text() == "somebody else's"
    path.with_suffix(".old").unlink()


def test_closing_gives_every_descriptor_back(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Door(path).close()
    path.mkdir()
    for _ in range(3):
        with pytest.raises(LinkLostError):
            Door(path)
    assert len(os.listdir("/proc/self/fd")) == before
