"""Power: under-voltage on a Raspberry Pi, USB devices that are put to sleep.

Pure: facts in, findings out. The bits are those of the firmware's ``get_throttled``:
0 to 3 hold now, 16 to 19 held at some time since the machine was started.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.cli.checkup.facts import Facts
from gateway.cli.checkup.finding import Finding, fine, unknown, wrong

_UNDER_VOLTAGE: Final = 1 << 0
_SLOWED: Final = 1 << 1 | 1 << 2 | 1 << 3
_EARLIER: Final = 16

_SUPPLY = (
    "use the supply that is made for this Pi (5.1 V; 3 A, a Pi 5: 5 A) with a short thick cable,"
    " and put motors and other hungry devices on a supply or a powered hub of their own"
)


def supply(facts: Facts) -> Iterator[Finding]:
    """Say whether the machine gets enough."""
    bits = facts.throttled
    if bits is None:
        if facts.is_pi:
            yield unknown(
                "power",
                "the firmware's get_throttled cannot be read",
                "sudo vcgencmd get_throttled: 0x0 is fine",
            )
        else:
            yield fine("power", "this machine does not tell of its supply")
    elif bits & _UNDER_VOLTAGE:
        yield wrong("power", f"under-voltage, now ({bits:#x}): USB devices drop out", _SUPPLY)
    elif bits >> _EARLIER & _UNDER_VOLTAGE:
        yield wrong("power", f"under-voltage since the start ({bits:#x}); now it is well", _SUPPLY)
    elif bits & _SLOWED or bits >> _EARLIER & _SLOWED:
        yield wrong(
            "power",
            f"the processor is or was slowed down by heat ({bits:#x})",
            "give it air or a heat sink; look at: vcgencmd measure_temp",
        )
    else:
        yield fine("power", "no under-voltage since the machine was started")


def autosuspend(facts: Facts) -> Iterator[Finding]:
    """Say which USB devices the kernel may put to sleep."""
    asleep = {port.control_path: port for port in facts.ports if port.control == "auto"}
    for path, port in asleep.items():
        yield wrong(
            "autosuspend",
            f"the kernel may put {port.name or port.usb_id} at {port.node} to sleep, and some wake"
            " badly",
            f"install the rules, which keep it awake; for now: echo on | sudo tee {path}",
        )
    if not asleep:
        yield fine("autosuspend", "no USB device is put to sleep")
