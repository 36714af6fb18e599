"""Routers and drivers that exist for tests only, and a look-up that knows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from msgspec import Meta

from gateway.config.loading import Find, load
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.config.schema import Configuration
from gateway.errors import ConfigError


class LineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rescan: Annotated[float, Meta(gt=0)] = 1.0


class PortSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: str
    baud: Annotated[int, Meta(ge=50, le=4_000_000)] = 115200


class Line:
    Settings: ClassVar[type[msgspec.Struct]] = LineSettings
    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = PortSettings


class Broker:
    """Hosts no devices, and has no settings either."""

    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = None


class GreedySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: Annotated[float, Meta(ge=0)] = msgspec.field(default=1.0, name="stuck_after")
    type: str = "wide"


class Greedy:
    """Has settings that every route has."""

    Settings: ClassVar[type[msgspec.Struct]] = GreedySettings


class GrabbySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: str = ""
    driver: str = "usb"
    inner: int = msgspec.field(default=0, name="settings")


class Grabby:
    """Says how a device is reached in keys that every device has."""

    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = GrabbySettings


class BoardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rate: Annotated[int, Meta(ge=0, le=100)] = 10


class Board:
    Settings: ClassVar[type[msgspec.Struct]] = BoardSettings


class Lamp:
    """Takes no settings."""


PLUGINS: dict[tuple[str, str], type[Any]] = {
    ("gateway.routes", "serial"): Line,
    ("gateway.routes", "mqtt"): Broker,
    ("gateway.routes", "greedy"): Greedy,
    ("gateway.routes", "grabby"): Grabby,
    ("gateway.drivers", "board"): Board,
    ("gateway.drivers", "lamp"): Lamp,
    ("module:qualname", "robot.wheels:Wheel"): Lamp,
}


def find_stub(group: str, name: str, /) -> type[Any]:
    if name == "broken":
        raise ConfigError("it is broken")
    try:
        return PLUGINS[group, name]
    except KeyError:
        raise ConfigErrors([Mistake(problem=f"no {name!r}", advice="ask")]) from None


@pytest.fixture
def find() -> Find:
    return find_stub


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[str], Configuration]:
    """Load a configuration from text."""

    def read(text: str) -> Configuration:
        file = tmp_path / "gateway.toml"
        file.write_text(text)
        return load(file, find=find_stub)

    return read


@pytest.fixture
def mistakes(loaded: Callable[[str], Configuration]) -> Callable[[str], list[str]]:
    """Return the mistakes of a configuration as ``line: key: problem; advice``."""

    def read(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            loaded(text)
        return [
            f"{m.line}: {m.key}: {m.problem}; {m.advice}"
            if m.advice
            else f"{m.line}: {m.key}: {m.problem}"
            for m in caught.value.mistakes
        ]

    return read
