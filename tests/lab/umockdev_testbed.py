"""The other side of `tests.lab.umockdev`: holds the test bed, and does as it is told.

It runs under umockdev-wrapper on the system's own Python, where umockdev's
introspection lies, and imports nothing of the project. A command is a line of
JSON on standard input, ``{"op": …}``; its answer, once it is done, is a line on
standard output. It ends when its input does, and the bed goes with it.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def obey(bed: Any, command: dict[str, Any]) -> Any:
    """Carry out one command; return what is to be told."""
    match command.pop("op"):
        case "add":
            return bed.add_from_string(command["text"])
        case "uevent":
            return bed.uevent(command["path"], command["action"])
        case "remove":
            return bed.remove_device(command["path"])
        case "attribute":
            return bed.set_attribute(command["path"], command["name"], command["value"])
        case "property":
            return bed.set_property(command["path"], command["name"], command["value"])
        case other:
            raise ValueError(f"there is no command {other!r}")


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
