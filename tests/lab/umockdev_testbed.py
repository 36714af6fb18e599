"""The other side of `tests.lab.umockdev`: holds the test bed, and does as it is told.

It runs under umockdev-wrapper on the system's own Python, where umockdev's
introspection lies, and imports nothing of the project; `tests.lab.usb_emulator`,
which has a test bed too, obeys as it does. A command is a line of
JSON on standard input, ``{"op": …}``; its answer, once it is done, is a line on
standard output. It ends when its input does, and the bed goes with it.

umockdev sends events to sockets that hold ten, and ends this process where one
is full. A reader that is late is therefore waited for, before every event.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socket
import sys
from pathlib import Path
from typing import Any

HELD: list[int] = []
LONG_AGO = 200
"""Removals after which an inode's number may be another's."""
READER = 15.0
"""Seconds that who listens to events gets to read some."""


def obey(bed: Any, command: dict[str, Any]) -> Any:
    """Carry out one command; return what is to be told."""
    match command.pop("op"):
        case "add":
            for device in filter(None, command["text"].split("\n\n")):
                wait_for_room(bed)
                bed.add_from_string(device + "\n")
            return None
        case "uevent":
            wait_for_room(bed)
            return bed.uevent(command["path"], command["action"])
        case "pull":  # as the kernel does: the event, and the folder goes behind it
            obey(bed, {"op": "uevent", "path": command["path"], "action": "remove"})
            return obey(bed, {"op": "remove", "path": command["path"]})
        case "remove":
            forget_number(bed, command["path"])
            hold(bed, command["path"])
            return bed.remove_device(command["path"])
        case "attribute":
            return bed.set_attribute(command["path"], command["name"], command["value"])
        case "property":
            return bed.set_property(command["path"], command["name"], command["value"])
        case other:
            raise ValueError(f"there is no command {other!r}")


def wait_for_room(bed: Any) -> None:
    """Wait until everybody who listens has room for an event."""
    for path in Path(bed.get_root_dir()).glob("event*"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(str(path))  # unconnected, poll would know nothing of the reader
            except (ConnectionRefusedError, FileNotFoundError):
                continue  # it listens no more
            poll = select.poll()
            poll.register(probe, select.POLLOUT)
            if not poll.poll(READER * 1000):
                raise TimeoutError(f"whoever listens at {path.name} reads nothing")


def forget_number(bed: Any, path: str) -> None:
    """Remove the link to the device at ``path`` by its number.

    umockdev leaves it lying where it made no file in /dev, and trips over it when the
    number comes again.
    """
    root = bed.get_root_dir()
    number = Path(f"{root}{path}/dev")
    if number.is_file():
        Path(f"{root}/sys/dev/char/{number.read_text().strip()}").unlink(missing_ok=True)


def hold(bed: Any, path: str) -> None:
    """Keep the inode of the device at ``path`` from being another's for a while.

    The kernel gives no folder of /sys the number that another had; a disk does so at once.
    """
    HELD.append(os.open(bed.get_root_dir() + path, os.O_PATH))
    if len(HELD) > LONG_AGO:
        os.close(HELD.pop(0))


def main() -> None:
    """Make a test bed, say where it is, obey."""
    gi = importlib.import_module("gi")
    gi.require_version("UMockdev", "1.0")
    bed = importlib.import_module("gi.repository.UMockdev").Testbed.new()
    print(json.dumps({"root": bed.get_root_dir()}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"ok": True, "result": obey(bed, json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and fails the test
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
