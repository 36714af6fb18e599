"""What a driver's README says to paste can be pasted: the configuration stands."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config import loading
from gateway.errors import ConfigError
from routes.serial.router import SerialRouter

ROOT = Path(__file__).parents[2]
READMES = sorted(ROOT.glob("drivers/*/README.md"))
BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def find(group: str, name: str) -> type[Any]:
    """Return a plug-in as the project itself declares it, installed or not."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    points = declared["project"]["entry-points"][group]
    if name not in points:
        raise ConfigError(f"there is no {name}")
    module, _, attribute = points[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def blocks() -> list[tuple[str, str]]:
    found = [
        (str(page.parent.name), block)
        for page in READMES
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]
    return [(name, block) for name, block in found if 'route = "serial"' in block]


@pytest.mark.parametrize(("name", "block"), blocks(), ids=[name for name, _ in blocks()])
def test_the_configuration_to_paste_stands(name: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nnode = "here"\n\n[routes.serial]\n\n{block}', encoding="utf-8")
    configuration = loading.load(file, find=find)
    (device,) = configuration.devices.values()
    assert device.driver == name
    driver = find("gateway.drivers", name).configured(device.settings)
    assert driver.describe(None)["driver"]
    assert find("gateway.routes", "serial") is SerialRouter


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.parent.name))
def test_a_readme_says_how_to_wire_to_try_and_to_configure(page: Path) -> None:
    text = page.read_text(encoding="utf-8").lower()
    assert f"-m drivers.{page.parent.name}.simulator" in text
    assert "[devices." in text
    assert "hardware" in text or "wiring" in text
