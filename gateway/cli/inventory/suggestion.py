"""The lines to paste for a stranger: the shortest match that means it and nothing else now.

A match says what the thing is (vendor and product), and only as much more as tells it
from what is plugged in beside it: the serial number, the interface, last of all the
place it is plugged in. What nothing tells apart is named by its port.

Pure. Values that hold a glob's characters are written so that they mean themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Final

import msgspec

from gateway.cli.inventory.sight import usb_device_of
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice

_KIND: Final = (("ID_VENDOR_ID", "ID_MODEL_ID"), ("@idVendor", "@idProduct"))
"""Ways to say what it is: as udev says it, or where udev says nothing."""
_MORE: Final = (
    ("ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM", "ID_PATH"),
    ("@serial", "@bInterfaceNumber", "DEVPATH"),
)
"""What may tell one from another, dearest last: a path changes when it is plugged elsewhere."""
_OWN: Final = (("idVendor", "idProduct"), ("serial", "DEVPATH"))
"""The same for a USB device itself."""

_ROUTES: Final = {"tty": "serial", "usb": "usb", "hidraw": "usb"}


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """``match`` is empty where only ``port`` tells it; ``warning`` says what may go wrong."""

    route: str
    match: dict[str, str] = {}
    port: str = ""
    warning: str = ""

    def toml(self, name: str, driver: str) -> str:
        """Return the table of the configuration, ready to paste."""
        if self.match:
            pairs = ", ".join(f"{_key(key)} = {_text(value)}" for key, value in self.match.items())
            where = f"match = {{ {pairs} }}"
        else:
            where = f"port = {_text(self.port)}"
        lines = [f"[devices.{name}]", f"driver = {_text(driver)}", f'route = "{self.route}"', where]
        return "\n".join(lines)


def suggest(device: PluggedDevice, devices: Sequence[PluggedDevice]) -> Suggestion:
    """Return what to write for ``device``, which is one of ``devices``."""
    route = _ROUTES.get(device.subsystem, "serial")
    others = [
        each
        for each in devices
        if each.subsystem == device.subsystem and each.sys_path != device.sys_path
    ]
    for match in _candidates(device):
        judge = Match(match)
        if judge(device) and not any(map(judge, others)):
            return Suggestion(route=route, match=match, warning=_warning(match))
    return Suggestion(
        route=route,
        port=_steadiest(device),
        warning=""
        if usb_device_of(device) is None
        else "nothing but its port tells it from what is plugged in beside it",
    )


def _candidates(device: PluggedDevice) -> Iterator[dict[str, str]]:
    ways: list[tuple[Sequence[str], Sequence[str]]] = [*zip(_KIND, _MORE, strict=True)]
    if device.subsystem == "usb":
        ways.insert(1, _OWN)
    for kind, more in ways:
        base = _known(device, kind)
        if len(base) < len(kind):
            continue
        extra = _known(device, more)
        for count in range(len(extra) + 1):
            for names in combinations(extra, count):
                yield {**base, **{name: extra[name] for name in names}}


def _known(device: PluggedDevice, keys: Iterable[str]) -> dict[str, str]:
    """Return what ``device`` says to ``keys``, as values of a match."""
    found = {}
    for key in keys:
        value = _value(device, key)
        if value and value.isprintable():
            found[key] = literal(value)
    return found


def _value(device: PluggedDevice, key: str) -> str:
    name = key.removeprefix("@")
    if name != key:
        return next(
            (each.attributes[name] for each in device.ancestors if name in each.attributes), ""
        )
    return (device.properties if name.isupper() else device.attributes).get(name, "")


def literal(value: str) -> str:
    """Return ``value`` as a match that means only itself.

    >>> literal("Uno [R3]")
    'Uno [[]R3]'
    """
    return "".join(f"[{each}]" if each in "*?[" else each for each in value)


def _warning(match: dict[str, str]) -> str:
    if "ID_PATH" in match or "DEVPATH" in match:
        return "only where it is plugged in tells it from its twin: it must stay in that socket"
    return ""


def _steadiest(device: PluggedDevice) -> str:
    """Return the name in /dev that is likeliest to stay."""
    names = sorted(device.names, key=lambda name: ("/by-path/" not in name, name != device.node))
    return names[0] if names else device.sys_path


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else f'"{key}"'


def _text(value: str) -> str:
    """Return ``value`` as TOML writes a text.

    >>> print(_text('a "b"'))
    "a \\"b\\""
    """
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
