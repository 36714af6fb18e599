"""The real udev, in a room of its own: recorded devices, our rules, a /dev that is nobody's.

`UdevRoom` makes a sysfs out of recordings (umockdev's format) and runs the machine's own
udev on it in a mount and network namespace: nothing of the machine's /sys, /dev, /run
or /etc is touched, and no other test is disturbed. `test` lets ``udevadm
test`` apply all rules to one device and returns what has become of it; `Daemon` is the
real systemd-udevd, to which the kernel's own events come.

Needs root, or a sudo that asks nothing, and the udev package: ``pytest.mark.needs("udev")``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.test_packages import rights

ROOM = Path(__file__).with_name("udev_room_inside.py")
ROOT = Path(__file__).parents[2]
DEADLINE = 45.0
IN_A_ROOM = [
    *(rights() or []),
    *("unshare", "--mount", "--net", "--propagation", "private", sys.executable, str(ROOM)),
]


@dataclass(frozen=True)
class Outcome:
    """What udev has made of a device: its links and properties, and who may open it."""

    log: str
    properties: dict[str, str]
    links: list[str]
    mode: int
    group: str
    is_settled: bool
    """Whether udev was done with the device after these links were there, and before the rest."""

    @property
    def complaints(self) -> list[str]:
        """Lines in which udev speaks of a rule that it does not take as it is."""
        return [
            line
            for line in self.log.splitlines()
            if ".rules:" in line
            and any(word in line for word in ("nvalid", "nknown", "gnoring", "ailed to resolve"))
        ]


class UdevRoom:
    """A folder with a sysfs and rules."""

    def __init__(self, folder: Path, *recordings: str) -> None:
        self.folder = folder
        self.rules = folder / "rules"
        self.rules.mkdir(parents=True)
        self.sys = folder / "sys"
        self.nodes: dict[str, tuple[int, int]] = {}
        for name in ("bus", "class", "dev/char", "dev/block", "devices"):
            (self.sys / name).mkdir(parents=True)
        for recording in recordings:
            for block in recording.strip().split("\n\n"):
                self._add(block)

    def attribute(self, path: str) -> str:
        """Return what stands in the attribute ``path``, below /sys."""
        return (self.sys / path.removeprefix("/sys/").removeprefix("/")).read_text()

    def test(self, path: str, action: str = "add") -> Outcome:
        """Apply the machine's rules and `rules` to the device at ``path``, below /sys."""
        done = subprocess.run(
            [*IN_A_ROOM, str(self.folder), "test", path, action, json.dumps(self.nodes)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return _outcome(json.loads(done.stdout))

    def _add(self, block: str) -> None:
        lines = [line.partition(": ")[::2] for line in block.splitlines()]
        path = next(value for kind, value in lines if kind == "P")
        folder = self.sys / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        said = dict(value.split("=", 1) for kind, value in lines if kind == "E")
        (folder / "uevent").write_text(
            "".join(
                f"{key}={value.removeprefix('/dev/')}\n"
                for key, value in said.items()
                if key in ("DEVTYPE", "DEVNAME", "MAJOR", "MINOR", "PRODUCT", "MODALIAS", "DRIVER")
            )
        )
        subsystem = said["SUBSYSTEM"]
        room = "bus" if subsystem in ("usb", "usb-serial", "hid", "platform", "pci") else "class"
        listed = self.sys / room / subsystem / ("devices" if room == "bus" else "")
        listed.mkdir(parents=True, exist_ok=True)
        _link(folder / "subsystem", self.sys / room / subsystem)
        _link(listed / folder.name, folder)
        for kind, value in lines:
            if kind == "A":
                name, text = value.split("=", 1)
                attribute = folder / name
                attribute.parent.mkdir(parents=True, exist_ok=True)
                attribute.write_text(text.replace("\\n", "\n"))
            elif kind == "L":
                name, target = value.split("=", 1)
                (folder / name).symlink_to(target)
        if "MAJOR" in said:
            numbers = int(said["MAJOR"]), int(said["MINOR"])
            _link(self.sys / "dev/char" / f"{numbers[0]}:{numbers[1]}", folder)
            self.nodes[said["DEVNAME"]] = numbers


class Daemon:
    """systemd-udevd in a room; it hears what the kernel says of this machine's devices."""

    def __init__(self, room: UdevRoom) -> None:
        self._process = subprocess.Popen(
            [*IN_A_ROOM, str(room.folder), "daemon", "-", "-", json.dumps(room.nodes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say("ready?")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(DEADLINE)

    def announce(self, node: str, action: str) -> None:
        """Have the kernel say that ``action``, such as add, happened to the tty ``node``."""
        self._say(f"{action} {node.removeprefix('/dev/')}")

    def look(self, node: str) -> Outcome:
        """Return what has become of the device ``node`` so far."""
        return _outcome(self._say(node))

    def wait_for(self, node: str, *, link: str, there: bool = True) -> Outcome:
        """Return what has become of ``node`` once ``link`` is among its names, or not.

        The links come before other things that udev does about a device: it waits for those.
        """
        deadline = time.monotonic() + DEADLINE
        while True:
            outcome = self.look(node)
            if outcome.is_settled and (link in outcome.links) is there:
                return outcome
            assert time.monotonic() < deadline, outcome

    def _say(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _link(link: Path, target: Path) -> None:
    link.symlink_to(os.path.relpath(target, link.parent))


def _outcome(said: dict[str, Any]) -> Outcome:
    return Outcome(**said)
