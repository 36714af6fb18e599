"""The configuration from afar: no secret leaves, nothing is written that does not pass."""

from __future__ import annotations

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


@pytest.mark.parametrize("key", ["password", "Passwd", "wifi_secret", "TOKEN", "sim_pin"])
def test_a_secret_is_hidden_whatever_it_holds(key: str) -> None:
    for value in ("x", 1234, ["x"]):
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
    assert unfinished(str(file)) is None
    assert loaded(str(file)).devices["bench"].link.baud == 9600
    first.undo()
    assert tree(file.parent) == before


def test_a_trial_is_over_once_the_change_is_kept(file: Path) -> None:
    change = prepared(file, "[devices.bench]\nbaud = 9600\n")
    change.write()
    change.keep()
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
    with pytest.raises(RefusedError, match="'mqtt', which was asked"):
        prepared(file, "[routes.mqtt]\nkeepalive = 5\n", "devices", "routes")


def test_who_is_concerned_is_found(file: Path) -> None:
    added = prepared(file, '[devices.two]\ndriver = "bench_board"\nport = "/dev/ttyUSB1"\n')
    assert added.routes == ("serial",)
    assert prepared(file, "").routes == ()
