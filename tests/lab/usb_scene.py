"""Plays one scene of a live USB test, in a process that umockdev is preloaded into.

``python -m tests.lab.usb_scene '{"scene": "module:function", …}'``; `LiveUsb.play`
starts it. The last line of its output is what the scene returned. A scene that leaves a
thread or a descriptor behind fails.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import usb.core

from routes.usb.library import library
from tests.conftest import open_descriptors
from tests.lab.live_usb import UsbBus

GRACE = 3.0


def main(order: dict[str, Any]) -> None:
    """Play the scene that ``order`` names."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    module, _, name = order["scene"].partition(":")
    scene = getattr(import_module(module), name)
    # libusb opens what it keeps when it is loaded; that is no scene's.
    usb.core.find(backend=library())
    bus = UsbBus(Path(order["socket"]))
    before = (set(threading.enumerate()), open_descriptors())
    result = scene(bus, *order["arguments"])
    deadline, is_over = time.monotonic() + GRACE, False
    while (left := left_behind(*before)) and not is_over:
        # Whoever was held up for so long looks once more.
        is_over = time.monotonic() >= deadline
        threading.Event().wait(0.02)
    assert not left, f"left behind: {left}"
    bus.close()
    print(json.dumps(result))


def left_behind(threads: set[threading.Thread], descriptors: dict[int, str]) -> list[str]:
    """Return what is here now and was not before."""
    now = open_descriptors()
    return [
        *(each.name for each in set(threading.enumerate()) - threads),
        *(f"{number} {now[number]}" for number in now.keys() - descriptors.keys()),
    ]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
