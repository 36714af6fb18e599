"""The ground: libusb, the folder of the sockets, what the kernel complained of.

Pure: facts in, findings out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.cli.checkup.facts import Facts
from gateway.cli.checkup.finding import Finding, fine, unknown, wrong

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def configuration(facts: Facts) -> Iterator[Finding]:
    """Say whether there is a configuration that can stand."""
    if facts.config_problem:
        yield wrong(
            "configuration", facts.config_problem, f"gateway check {facts.config} tells it all"
        )
    else:
        yield fine("configuration", f"{facts.config} can stand")


def libusb(facts: Facts) -> Iterator[Finding]:
    """Say whether USB devices could be spoken to."""
    if facts.libusb is not None:
        yield fine("libusb", f"it is installed: {facts.libusb}")
    elif facts.needs_libusb:
        yield wrong(
            "libusb",
            "it is not installed, and a route for USB devices is configured",
            "sudo apt install libusb-1.0-0",
        )
    else:
        yield fine("libusb", "it is not installed, and no route needs it")


def memory(facts: Facts) -> Iterator[Finding]:
    """Say whether the sockets' folder is in memory, so that nothing stale outlives a power cut."""
    kind = facts.run_type
    if kind is None:
        yield unknown("sockets", f"the file system of {facts.sockets} could not be found out")
    elif kind in _IN_MEMORY:
        yield fine("sockets", f"{facts.sockets} is in memory ({kind})")
    else:
        mend = 'put it below /run, which is in memory: [gateway] sockets = "/run/gateway"'
        if f"{facts.sockets}/".startswith("/run/"):
            mend = (
                "have /run in memory: sudo mount -t tmpfs tmpfs /run; in a container: --tmpfs /run"
            )
        yield wrong(
            "sockets",
            f"{facts.sockets} is on a disk ({kind}): sockets outlive a power cut, and an SD card"
            " wears",
            mend,
        )


def kernel(facts: Facts) -> Iterator[Finding]:
    """Say what the kernel has complained of."""
    if facts.kernel is None:
        yield unknown(
            "kernel",
            "its messages may not be read by this user",
            "sudo dmesg --level=err,warn | grep -i -e usb -e voltage",
        )
    elif not facts.kernel:
        yield fine("kernel", "no complaint of its about USB or power is remembered")
    else:
        *_, newest = facts.kernel
        yield wrong(
            "kernel",
            f"{len(facts.kernel)} complaints about USB or power, the newest: {newest}",
            "another cable, another socket, a powered hub; if it goes on, another device",
        )
