"""The configuration from afar: no secret leaves, nothing is written that does not pass."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway import plugins
from gateway.config.loading import load
from gateway.errors import ConfigError, RefusedError
from routes.mqtt.manage_config import (
    HIDDEN,
    NAME,
    Change,
    for_record,
    prepare,
    shown,
    unfinished,
    without_secrets,
)

TEXT = """
[gateway]
node = "lab"
sockets = "/run/lab"

[routes.serial]
[routes.usb]
[routes.mqtt]
broker = "mqtt://gw@localhost"
username = "gw"
password_file = "/etc/gateway/password"

[devices.bench]
driver = "bench_board"
port = "/dev/ttyUSB0"
"""


def loaded(path: str) -> Any:
    return load(path, find=plugins.find)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(TEXT)
    return file


def prepared(file: Path, text: str, *sections: str) -> Change:
    return prepare(str(file), text, load=loaded, sections=sections or ("devices",), own="mqtt")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_the_configuration_is_shown_whole_but_for_its_secrets(file: Path) -> None:
    folder = file.parent / "conf.d"
    folder.mkdir()
    (folder / "50-more.toml").write_text(
        '[crew.cloud]\nprocess = "a:B"\n[crew.cloud.parameters]\napi_key = "s3cret"\n'
        'url = "https://me:s3cret@cloud"\ntokens = ["s3cret"]\nsince = 2026-01-01\n'
    )
    told = shown(str(file))
    assert told["files"] == [str(file), str(folder / "50-more.toml")]
    document = told["document"]
    assert document["routes"]["mqtt"]["password_file"] == "/etc/gateway/password"
    assert document["crew"]["cloud"]["parameters"] == {
        "api_key": HIDDEN,
        "url": f"https://me:{HIDDEN}@cloud",
        "tokens": HIDDEN,
        "since": "2026-01-01",
    }
    assert "s3cret" not in str(told)


@pytest.mark.parametrize(
    "key", ["password", "Passwd", "wifi_secret", "TOKEN", "sim_pin", "passphrase", "psk"]
)
def test_a_secret_is_hidden_whatever_it_holds(key: str) -> None:
    for value in ("x", 1234, ["x"], {"ada": "x"}):
        assert without_secrets({key: value}) == {key: HIDDEN}


def test_a_change_is_checked_before_anything_is_written(file: Path) -> None:
    before = tree(file.parent)
    with pytest.raises(ConfigError, match="did you mean 'baud'") as raised:
        prepared(file, "[devices.bench]\nbaudd = 9600\n")
    assert f"{file.parent}/conf.d/{NAME}:2: devices.bench.baudd" in str(raised.value)
    with pytest.raises(ConfigError, match="is no TOML"):
        prepared(file, "[devices")
    with pytest.raises(ConfigError, match="is no TOML"):
        prepared(file, '[devices.bench]\nport = "\ud800"\n')
    change = prepared(file, "[devices.bench]\nbaud = 9600\n")
    assert change.routes == ("serial",)
    assert tree(file.parent) == before


def test_a_change_is_written_whole_and_undone_whole(file: Path) -> None:
    before = tree(file.parent)
    first = prepared(file, "[devices.bench]\nbaud = 9600\n")
    first.write()
    assert loaded(str(file)).devices["bench"].link.baud == 9600
    second = prepared(file, "[devices.bench]\nbaud = 57600\n")
    second.write()
    assert loaded(str(file)).devices["bench"].link.baud == 57600
    assert unfinished(str(file)) == second
    second.undo()
    second.end()
    assert unfinished(str(file)) is None
    assert loaded(str(file)).devices["bench"].link.baud == 9600
    first.undo()
    first.end()
    assert tree(file.parent) == before


def test_who_may_read_a_change_stays_as_it_was(file: Path) -> None:
    prepared(file, "").write()
    remote = file.parent / "conf.d" / NAME
    remote.chmod(0o600)
    change = prepared(file, "[devices.bench]\nbaud = 9600\n")
    change.write()
    assert {stat.S_IMODE(each.stat().st_mode) for each in remote.parent.iterdir()} == {0o600}
    change.undo()
    change.end()
    assert stat.S_IMODE(remote.stat().st_mode) == 0o600


def test_a_change_that_was_cut_is_undone_by_whoever_finds_it_however_often(file: Path) -> None:
    first = prepared(file, "[devices.bench]\nbaud = 9600\n")
    first.write()
    first.end()
    before = tree(file.parent)
    prepared(file, "[devices.bench]\nbaud = 57600\n").write()
    found = [unfinished(str(file))]
    for _ in range(2):
        assert found[-1] is not None
        found[-1].undo()
        found.append(unfinished(str(file)))
    assert loaded(str(file)).devices["bench"].link.baud == 9600
    assert found[-1] is not None
    found[-1].end()
    assert tree(file.parent) == before


class FullDisk:
    """Lets so many bytes more be written, as a disk that fills up does."""

    def __init__(self, patch: pytest.MonkeyPatch, synced: int) -> None:
        self.left = synced
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left -= 1
        self._fsync(descriptor)


def changed_again(file: Path) -> tuple[dict[str, bytes], Change]:
    """Make one change and prepare another; return what there is now, and that."""
    first = prepared(file, "[devices.bench]\nbaud = 9600\n")
    first.write()
    first.end()
    return tree(file.parent), prepared(file, "[devices.bench]\nbaud = 57600\n")


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_change_that_finds_no_room_leaves_nothing_behind(
    file: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    before, change = changed_again(file)
    FullDisk(monkeypatch, room)
    with pytest.raises(OSError, match="No space left"):
        change.write()
    assert tree(file.parent) == before


def test_a_disk_that_is_full_by_then_keeps_nothing_from_being_undone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, change = changed_again(file)
    change.write()
    FullDisk(monkeypatch, 0)
    change.undo()
    change.end()
    assert tree(file.parent) == before


def test_what_ends_a_trial_outlives_a_power_cut(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = prepared(file, "[devices.bench]\nbaud = 9600\n")
    change.write()
    on_disk: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: on_disk.append(os.listdir(change.file.parent)))
    change.end()
    assert on_disk[-1] == [NAME]


HOSTILE = ("a" + ".a" * 30_000 + "=1", "a" + ".a" * 90 + "=1", "x = 1\n" * 20_000, "a=" + "[" * 400)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_long_or_deep_costs_the_record_no_time(text: str) -> None:
    told = for_record({"text": text})["text"]
    assert told.startswith(f"({len(text)} characters")


def test_a_key_without_end_is_refused_before_it_is_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="more than 100 dots"):
        prepared(file, "devices" + ".a" * 30_000 + " = 1\n")


def test_a_trial_is_over_once_the_change_is_kept(file: Path) -> None:
    change = prepared(file, "[devices.bench]\nbaud = 9600\n")
    change.write()
    change.end()
    assert unfinished(str(file)) is None
    (file.parent / "conf.d" / f".{NAME}.trial").write_text("5")
    with pytest.raises(ConfigError, match="says nothing of a change"):
        unfinished(str(file))


def test_only_the_sections_that_are_allowed_may_be_touched(file: Path) -> None:
    for text in ('[crew.x]\nprocess = "os:system"\n', '[gateway]\nnode = "x"\n', "[routes.new]\n"):
        with pytest.raises(RefusedError, match="cannot be changed from afar, only devices"):
            prepared(file, text)


def test_what_only_a_new_start_applies_is_refused(file: Path) -> None:
    with pytest.raises(RefusedError, match="a new start of the gateway"):
        prepared(file, '[routes.more]\ntype = "serial"\n', "devices", "routes")
    with pytest.raises(RefusedError, match="a new start of the gateway"):
        prepared(file, "[routes.serial]\nstuck_after = 0\n", "devices", "routes")
    with pytest.raises(RefusedError, match="'mqtt', which was asked"):
        prepared(file, "[routes.mqtt]\nkeepalive = 5\n", "devices", "routes")


def test_who_is_concerned_is_found(file: Path) -> None:
    added = prepared(file, '[devices.two]\ndriver = "bench_board"\nport = "/dev/ttyUSB1"\n')
    assert added.routes == ("serial",)
    assert prepared(file, "").routes == ()
