"""More events than their socket can hold: the real kernel's, in a network namespace of our own.

Network interfaces stand in for boards: they are the devices that a machine
without hardware can make and unmake by the hundred, with real uevents.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.lab.hotplug_watcher import HotplugWatcher

pytestmark = [pytest.mark.needs("udev"), pytest.mark.alone]

SMALL = 16_384
"""Bytes for the socket of the events: a dozen of them."""
PAIRS = 60
LIMIT = 2.0

MAY = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
ENTER = [] if os.geteuid() == 0 else ["--user"]


@pytest.fixture
def watcher() -> Iterator[HotplugWatcher]:
    """A watch over network interfaces, where there is only its own ``lo``."""
    ours = 'mount -t sysfs none /sys && exec "$0" "$@"'
    within = ["unshare", *MAY, "--net", "--mount", "sh", "-c", ours]
    with HotplugWatcher("net", "kernel", SMALL, within=within) as watcher:
        watcher.wait_present({"lo"})
        watcher.looked()
        yield watcher


def ip(watcher: HotplugWatcher, *commands: str) -> None:
    """Run lines of ``ip`` where the watch lives."""
    subprocess.run(
        ["nsenter", *ENTER, "--net", "--target", str(watcher.pid), "ip", "-batch", "-"],
        input="".join(f"{line}\n" for line in commands),
        text=True,
        check=True,
        timeout=30,
    )


def add(*numbers: int) -> list[str]:
    return [f"link add near{number} type veth peer name far{number}" for number in numbers]


def delete(*numbers: int) -> list[str]:
    return [f"link del near{number}" for number in numbers]


def names(*numbers: int) -> set[str]:
    return {f"{end}{number}" for number in numbers for end in ("near", "far")}


def test_events_of_the_kernel_are_heard(watcher: HotplugWatcher) -> None:
    ip(watcher, *add(1))
    watcher.wait_present({"lo", *names(1)})
    ip(watcher, *delete(1))
    watcher.wait_present({"lo"})
    counts = watcher.counts()
    assert counts["events"] >= 2
    assert counts["overflows"] == counts["troubles"] == 0


def test_lost_events_are_made_good_within_two_seconds(watcher: HotplugWatcher) -> None:
    ip(watcher, *add(1, 2, 3))
    watcher.wait_present({"lo", *names(1, 2, 3)})
    # It sleeps while more happens than its socket can hold, then wakes to find out.
    os.kill(watcher.pid, signal.SIGSTOP)
    try:
        ip(watcher, *add(*range(10, 10 + PAIRS)), *delete(1, 2, *range(10, 30)))
    finally:
        os.kill(watcher.pid, signal.SIGCONT)
    began = time.monotonic()
    watcher.wait_present({"lo", *names(3, *range(30, 10 + PAIRS))})
    took = time.monotonic() - began
    assert watcher.counts()["overflows"] >= 1
    assert took <= LIMIT, f"{took:.2f} s"


def test_a_storm_of_events_is_outlived_and_the_end_of_it_is_the_truth(
    watcher: HotplugWatcher,
) -> None:
    for _ in range(5):
        ip(watcher, *add(*range(PAIRS)), *delete(*range(PAIRS)))
    ip(watcher, *add(7))
    watcher.wait_present({"lo", *names(7)})
