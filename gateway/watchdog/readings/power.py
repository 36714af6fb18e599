"""Whether a Raspberry Pi gets enough power, and whether it had to slow down.

Two places tell of it. The firmware's ``get_throttled`` (Raspberry Pi's own
kernel): bits 0 to 3 hold now, 16 to 19 held at some time since the start. The
hwmon driver ``rpi_volt`` (mainline): ``in0_lcrit_alarm`` says that the voltage
was too low since that was asked last. Where neither is there the reading is
absent: no news is not good news.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from gateway.watchdog.reading import Reading, absent, failed

_BITS: Final = {"under_voltage": 0, "frequency_capped": 1, "throttled": 2, "hot": 3}
_EARLIER: Final = 16


def read(root: Path, at: float) -> Reading:
    """Return what holds now and, as ``…_since_start``, what held at some time; None where unknown.

    The names are ``under_voltage``, ``frequency_capped``, ``throttled`` and ``hot``.
    """
    found: dict[str, Any] = {}
    troubles: list[str] = []
    firmware = sorted((root / "sys/devices/platform/soc").glob("*firmware/get_throttled"))
    for path in firmware[:1]:
        try:
            found.update(decoded(int(path.read_text(), 16)))
        except (OSError, ValueError) as error:
            troubles.append(f"get_throttled cannot be read: {error}")
    alarms = _alarms(root)
    for path in alarms[:1]:
        try:
            alarm = bool(int(path.read_text()))
        except (OSError, ValueError) as error:
            troubles.append(f"in0_lcrit_alarm cannot be read: {error}")
        else:
            found["under_voltage"] = found.get("under_voltage", False) or alarm
    if found:
        known = dict.fromkeys((*_BITS, *(f"{name}_since_start" for name in _BITS)))
        return Reading({**known, **found}, at, reason="; ".join(troubles))
    if troubles:
        return failed(at, "; ".join(troubles))
    return absent(at, "this machine does not tell of its supply: it is no Raspberry Pi")


def decoded(bits: int) -> dict[str, bool]:
    """Return what the firmware's ``bits`` mean.

    >>> decoded(0x50005)["under_voltage"], decoded(0x50005)["throttled_since_start"]
    (True, True)
    """
    now = {name: bool(bits >> bit & 1) for name, bit in _BITS.items()}
    earlier = {f"{name}_since_start": bool(bits >> _EARLIER + _BITS[name] & 1) for name in _BITS}
    return {**now, **earlier}


def _alarms(root: Path) -> list[Path]:
    found = []
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        try:
            name = (folder / "name").read_text(errors="replace").strip()
        except OSError:
            continue
        if name == "rpi_volt" and (folder / "in0_lcrit_alarm").exists():
            found.append(folder / "in0_lcrit_alarm")
    return found
