"""Which drivers expect a stranger; a package with a bug hides none of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.inventory.likely import installed, likely
from gateway.hosting.plugged import PluggedDevice


class Uno:
    looks_like = ({"@idVendor": "0403"}, {"@idVendor": "2341", "@idProduct": "00*"})


class Careless:
    looks_like: tuple[dict[str, str], ...] = ({}, {"no key": "x"}, {"@idVendor": "2341"})


class Silent:
    pass


def test_the_match_that_fits_is_told(plugged: list[PluggedDevice]) -> None:
    port = next(device for device in plugged if device.node == "/dev/ttyACM0")
    assert likely(port, {"uno": Uno, "careless": Careless, "silent": Silent}) == {
        "uno": "@idVendor=2341, @idProduct=00*",
        "careless": "@idVendor=2341",
    }


def test_a_package_that_cannot_be_imported_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "odd-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[gateway.drivers]\nabsent = no_such_module:Driver\nbroken = odd_driver:Driver\n"
    )
    (tmp_path / "odd_driver.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = installed()
    assert "bench_board" in found.classes
    assert "cannot be imported" in found.broken["absent"]
    assert "ZeroDivisionError: division by zero" in found.broken["broken"]
    assert "odd_driver.py:1" in found.broken["broken"]
