"""A program that watches hot-plug and says what changed, a line of JSON for each change.

``python -m tests.lab.hotplug_watch SUBSYSTEM,… [kernel|udev] [BUFFER]``, for a
test to start where it wants it: under umockdev, or in a network namespace of
its own. A line on its standard input is answered with ``{"counts": …}``; the
end of it ends the program.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import msgspec

from gateway.clock import RealClock
from gateway.hosting.hotplug import Change, Hotplug


def main() -> None:
    """Watch until standard input ends."""
    subsystems, source, buffer, *_ = [*sys.argv[1:], *("kernel", "0")[len(sys.argv) - 2 :]]
    lock = threading.Lock()

    def say(what: dict[str, Any]) -> None:
        with lock:
            sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
            sys.stdout.flush()

    hotplug = Hotplug(
        subsystems.split(","),
        clock=RealClock(),
        udevd=lambda: source == "udev",
        buffer=int(buffer) or None,
    )

    def changed(change: Change) -> None:
        say({"at": time.time(), **msgspec.to_builtins(change)})

    hotplug.listen(changed)
    hotplug.start()
    hotplug.present(10.0)
    say({"looked": True, "trouble": hotplug.trouble})
    for _ in sys.stdin:
        used = time.process_time()
        say({"counts": msgspec.to_builtins(hotplug.counts), "processor": used})
    if not hotplug.stop(10.0):
        raise SystemExit("the watch did not end")


if __name__ == "__main__":
    main()
