from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.cli.simulation.derived import HEAD, derived, write_derived
from gateway.cli.simulation.plan import Planned
from gateway.errors import ConfigError


def planned(name: str, key: str, link: str, *, is_in_place: bool = False) -> Planned:
    return Planned(name, "driver", "module:class", link, key, is_in_place)


def test_ports_are_others_and_all_else_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[gateway]\nnode = "lab"\n[devices.a]\nmatch = { x = "1" }\nbaud = 9600\n'
        '[devices.b]\nport = "/dev/b"\n[devices.c]\nport = "/dev/c"\n'
    )
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.toml").write_text("[devices.c.settings]\nhz = 20\n")
    text = derived(
        file,
        [
            planned("a", "port", "/tmp/a"),
            planned("b", "port", "/dev/b", is_in_place=True),
            planned("c", "simulated", "/tmp/c"),
        ],
    )
    assert text.startswith(HEAD)
    assert tomllib.loads(text) == {
        "gateway": {"node": "lab"},
        "devices": {
            "a": {"baud": 9600, "port": "/tmp/a"},
            "b": {"port": "/dev/b"},
            "c": {"port": "/dev/c", "simulated": "/tmp/c", "settings": {"hz": 20}},
        },
    }


def test_it_is_written_over_its_like_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "simulated.toml"
    for text in (f"{HEAD}\n# one\n", f"{HEAD}\n# two\n"):
        write_derived(text, file)
        assert file.read_text() == text
    real = tmp_path / "gateway.toml"
    real.write_text("# mine\n")
    with pytest.raises(ConfigError, match="is there already, and not by gateway simulate"):
        write_derived(HEAD, real)
    assert real.read_text() == "# mine\n"


def test_where_something_would_be_laid_over_it_it_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    with pytest.raises(ConfigError, match="would be laid over"):
        write_derived(HEAD, tmp_path / "simulated.toml")
    with pytest.raises(ConfigError, match="there is no folder"):
        write_derived(HEAD, tmp_path / "no" / "simulated.toml")
