"""What a device's ``match`` is in udev's own words.

=====================  ===========================  ======================================
in the configuration   in a rule                    meaning
=====================  ===========================  ======================================
``ID_VENDOR_ID``       ``ENV{ID_VENDOR_ID}==``      a property of the device
``bInterfaceNumber``   ``ATTR{bInterfaceNumber}==`` a sysfs attribute of the device
``@idVendor``          ``ATTRS{idVendor}==``        an attribute of any ancestor
=====================  ===========================  ======================================

udev wants all ``ATTRS{}`` of one rule to fit one ancestor, the gateway asks for each
by itself. So each of them is a rule of its own, and the next goes on where the one
before held. One difference is left: to udev the device is among its ancestors.

Refused, as a `RuleError`: an ancestor's property (a rule cannot see those, and the
text names the attribute that says the same), what udev has only once all rules
are through, and keys that are no names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.cli.rules.quoting import RuleError, compared

_PROPERTY = re.compile(r"[A-Z][A-Z0-9_]*")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")

_SAME_AS: Final = {
    "ID_VENDOR_ID": "@idVendor",
    "ID_MODEL_ID": "@idProduct",
    "ID_SERIAL_SHORT": "@serial",
    "ID_REVISION": "@bcdDevice",
    "ID_VENDOR": "@manufacturer",
    "ID_MODEL": "@product",
    "ID_USB_INTERFACE_NUM": "@bInterfaceNumber",
}
_LATE: Final = frozenset({"DEVLINKS", "TAGS", "CURRENT_TAGS", "USEC_INITIALIZED"})


def steps(match: Mapping[str, str]) -> list[str]:
    """Return the comparisons that ``match`` stands for; each text is to be a rule of its own.

    All that concern the device itself are in the first, with one ancestor's.

    >>> steps({"ID_BUS": "usb", "@idVendor": "2341", "@idProduct": "00*"})
    ['ENV{ID_BUS}=="usb", ATTRS{idVendor}=="2341"', 'ATTRS{idProduct}=="00*"']
    """
    if not match:
        raise RuleError("an empty match would take every device: name at least one property")
    own = [_comparison(key, value) for key, value in match.items() if not key.startswith("@")]
    ancestors = [_comparison(key, value) for key, value in match.items() if key.startswith("@")]
    first = _joined([*own, *ancestors[:1]])
    return [first, *ancestors[1:]]


def _comparison(key: str, value: str) -> str:
    if not isinstance(value, str):
        raise RuleError(f"{key} = {value!r} is no text: put it in quotes")
    try:
        return f"{_left_side(key)}=={compared(value)}"
    except RuleError as error:
        raise RuleError(f"{key}: {error}") from None


def _left_side(key: str) -> str:
    name = key.removeprefix("@")
    above = name != key
    if _PROPERTY.fullmatch(name):
        if above:
            same = _SAME_AS.get(name, "an attribute, such as @idVendor")
            raise RuleError(f"a rule cannot see an ancestor's property: write {same}")
        if name in _LATE:
            raise RuleError("it is not there until all rules are through: match something else")
        return f"ENV{{{name}}}"
    if not _ATTRIBUTE.fullmatch(name):
        raise RuleError(
            "is neither a property, such as ID_SERIAL_SHORT, nor a sysfs attribute, such as serial"
        )
    return f"{'ATTRS' if above else 'ATTR'}{{{name}}}"


def _joined(comparisons: Iterable[str]) -> str:
    return ", ".join(comparisons)
