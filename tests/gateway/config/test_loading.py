from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.loading import Find, load
from gateway.config.mistake import ConfigErrors
from gateway.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "gateway.toml").write_text(
        "[gateway]\nnode = 'a'\n[routes.serial]\n"
        "[devices.wheels]\ndriver = 'board'\nport = '/dev/a'\nbaud = 9600\n"
    )
    return tmp_path


def test_conf_d_is_laid_over_in_the_order_of_names(folder: Path, find: Find) -> None:
    (folder / "conf.d/20-late.toml").write_text("[devices.wheels]\n\nport = '/dev/c'")
    (folder / "conf.d/10-early.toml").write_text(
        "[devices.wheels]\nport = '/dev/b'\nbaud = 50\n[devices.light]\ndriver='lamp'\nport='/l'\n"
    )
    house = load(folder / "gateway.toml", find=find)
    assert repr(house.devices["wheels"].link) == "PortSettings(port='/dev/c', baud=50)"
    assert list(house.devices) == ["wheels", "light"]
    origins = {
        key: str(house.provenance.of("devices", "wheels", key)).removeprefix(f"{folder}/")
        for key in ("driver", "port", "baud")
    }
    assert origins == {
        "driver": "gateway.toml:5",
        "port": "conf.d/20-late.toml:3",
        "baud": "conf.d/10-early.toml:3",
    }
    assert house.provenance.of("gateway", "sockets") is None


def test_what_is_no_toml_file_in_conf_d_is_left_alone(folder: Path, find: Find) -> None:
    for name in ("a.toml~", ".b.toml", "c.toml.dpkg-new", "README"):
        (folder / "conf.d" / name).write_text("no toml")
    assert load(folder / "gateway.toml", find=find).gateway.node == "a"


def test_a_table_that_replaces_a_value_brings_its_lines(folder: Path, find: Find) -> None:
    (folder / "conf.d/a.toml").write_text("\n[gateway.node]\nx.y = 1")
    with pytest.raises(ConfigErrors) as caught:
        load(folder / "gateway.toml", find=find)
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == (f"{folder}/conf.d/a.toml", 2)
    (folder / "conf.d/b.toml").write_text("gateway.node = 'b'")
    house = load(folder / "gateway.toml", find=find)
    assert str(house.provenance.of("gateway", "node")) == f"{folder}/conf.d/b.toml:1"
    assert house.provenance.of("gateway", "node", "x") is None


def test_mistakes_of_every_file_are_named_in_the_order_of_the_files(
    folder: Path, find: Find
) -> None:
    (folder / "conf.d/b.toml").write_text("[devices.wheels]\nbaud = 1")
    (folder / "conf.d/a.toml").write_text("\n\n\n[gateway]\nlog_level = 'loud'")
    with (folder / "gateway.toml").open("a") as file:
        file.write("paud = 1\n")
    with pytest.raises(ConfigErrors) as caught:
        load(folder / "gateway.toml", find=find)
    assert [mistake.key for mistake in caught.value.mistakes] == [
        "devices.wheels.paud",
        "gateway.log_level",
        "devices.wheels.baud",
    ]
    assert str(caught.value).count("\n") == 2
    assert isinstance(caught.value, ConfigError)


def test_every_file_that_cannot_be_read_is_named_and_nothing_else_judged(
    folder: Path, find: Find
) -> None:
    (folder / "conf.d/a.toml").write_text("[gateway]\nnode =")
    (folder / "conf.d/b.toml").mkdir()
    (folder / "conf.d/c.toml").write_text("[gateway]\nx = 1")
    with pytest.raises(ConfigErrors) as caught:
        load(folder / "gateway.toml", find=find)
    assert [Path(mistake.file).name for mistake in caught.value.mistakes] == ["a.toml", "b.toml"]


def test_a_conf_d_that_is_a_file_is_no_folder_of_files(folder: Path, find: Find) -> None:
    (folder / "conf.d").rmdir()
    (folder / "conf.d").write_text("a note")
    assert load(folder / "gateway.toml", find=find).gateway.node == "a"


def test_a_conf_d_that_may_not_be_listed_is_a_mistake(
    folder: Path, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gateway.config.loading.os.listdir", refuse)
    with pytest.raises(ConfigErrors) as caught:
        load(folder / "gateway.toml", find=find)
    (mistake,) = caught.value.mistakes
    assert mistake.file == f"{folder}/conf.d"
    assert mistake.problem == "cannot be listed: Permission denied"
