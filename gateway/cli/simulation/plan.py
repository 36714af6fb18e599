"""Which simulator stands behind which path, for each device of a configuration.

A device is put at the very path that its configuration names, where nothing is; else
behind a link in a folder, and the configuration has to be another one
(`gateway.cli.simulation.derived`). A device that is found by a ``match`` is always
among those, since nothing simulated has properties that udev knows.

A route says itself which key of a device takes the path of a simulated one
(``simulated_by`` of its `DeviceSettings`), a driver where its simulator is. Nothing is
made here. Refused, all at once (`ConfigErrors`): devices without a simulator, on a
route that has no such key, or at a port that another one has.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.mistake import ConfigErrors, Mistake, suggest
from gateway.config.schema import Configuration, DeviceConfig
from gateway.plugins import DRIVERS

WITHOUT_IT = "simulate the others: --only NAME, once for each"

Find = Callable[[str, str], Any]


class Planned(NamedTuple):
    """One device: its ``simulator`` as module:class, and the ``link`` it stands behind."""

    name: str
    driver: str
    simulator: str
    link: str
    key: str
    """What takes the link in the device's table."""
    is_in_place: bool
    """Whether the configuration names this path already."""
    why: str = ""
    """Why it is not in its place."""

    @property
    def line(self) -> str:
        """What is to be written in the device's table."""
        return f'{self.key} = "{self.link}"'


def plan(
    configuration: Configuration, folder: Path, find: Find, only: Collection[str] = ()
) -> list[Planned]:
    """Return what to simulate: all devices, or ``only`` those; links that need it in ``folder``."""
    mistakes: list[Mistake] = []
    planned: dict[str, Planned] = {}
    known = list(configuration.devices)
    for name in only:
        if name not in known:
            problem = f"there is no device {name!r}"
            mistakes.append(Mistake(problem=problem, advice=suggest(name, known)))
    for device in configuration.devices.values():
        if only and device.name not in only:
            continue
        try:
            made = _planned(device, folder, find)
            other = planned.setdefault(made.link, made)
            if other is not made:
                said = f"{other.name!r} is at {made.link} already"
                raise _Impossible(made.key, said, "give it a port of its own")
        except _Impossible as error:
            mistakes.append(_mistake(configuration, device, error))
    if mistakes:
        raise ConfigErrors(mistakes)
    if not planned:
        raise ConfigErrors([Mistake(problem="no devices are configured", advice="add some")])
    return list(planned.values())


class _Impossible(Exception):  # noqa: N818 - it becomes a mistake
    def __init__(self, key: str, problem: str, advice: str) -> None:
        self.key, self.problem, self.advice = key, problem, advice
        super().__init__(problem)


def _planned(device: DeviceConfig, folder: Path, find: Find) -> Planned:
    simulator: str = getattr(find(DRIVERS, device.driver), "simulator", "")
    if not simulator:
        raise _Impossible("driver", f"the driver {device.driver!r} ships no simulator", WITHOUT_IT)
    key: str = getattr(type(device.link), "simulated_by", "")
    if not key:
        raise _Impossible(
            "route", f"nothing on the route {device.route!r} can be simulated", WITHOUT_IT
        )
    path: str = getattr(device.link, key)
    why = "it is found by a match"
    if path.startswith("/"):
        why = why_not_at(Path(path))
    elif path:
        why = f"{path} is on another machine"
    link = str(folder / device.name) if why else path
    return Planned(device.name, device.driver, simulator, link, key, not why, why)


def why_not_at(path: Path) -> str:
    """Return why no simulated device may stand at ``path``; empty where one may.

    What is there may be real, and is not touched; what an earlier simulation
    left behind leads nowhere.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        kind = 0
    except OSError as error:
        return f"{path}: {error.strerror}"
    is_left = (stat.S_ISLNK(kind) and not path.exists()) or (
        stat.S_ISSOCK(kind) and not _is_listening(path)
    )
    if kind and not is_left:
        return f"something is at {path}"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"this user may not write in {path.parent}"
    return ""


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            # Of another kind, or full, or not ours: it is somebody's.
            return True
    return True


def _mistake(configuration: Configuration, device: DeviceConfig, error: _Impossible) -> Mistake:
    origin = configuration.provenance.nearest(("devices", device.name, error.key))
    return Mistake(
        problem=error.problem,
        advice=error.advice,
        key=f"devices.{device.name}.{error.key}",
        file=origin.file if origin else "",
        line=origin.line if origin else None,
    )


def in_words(planned: list[Planned]) -> Iterator[str]:
    """Give a line for each device: where it stands, and what is to be written where it matters."""
    width = max(len(each.name) for each in planned)
    for each in planned:
        place = f"{each.name.ljust(width)}  {each.link}"
        yield place if each.is_in_place else f"{place}  ({each.why}: write {each.line})"
