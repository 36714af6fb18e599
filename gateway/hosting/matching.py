"""Which plugged-in device is meant: pairs of a key and a value, all of which must fit.

A key in capitals is a udev property (``ID_VENDOR_ID``), any other a sysfs
attribute (``idVendor``, ``serial``). With ``@`` before it any ancestor may
have it, each such key for itself; the device's own does not count. A value
that holds ``*``, ``?`` or ``[`` is a glob, case counts; any other is exact.

Pure: knows a `PluggedDevice` and no udev. Refused: a match of nothing, which
would take any device, and keys that cannot be one (`ValueError`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate

from gateway.hosting.plugged import PluggedAncestor, PluggedDevice

_PROPERTY = re.compile(r"[A-Z][A-Z0-9_]*")
_ATTRIBUTE = re.compile(r"[A-Za-z][\w.:-]*")
_GLOB = re.compile(r"[*?[]")


class Match:
    """A predicate over plugged devices that can also say why not.

    >>> acm = PluggedDevice(subsystem="tty", sys_path="/sys/x", properties={"ID_BUS": "usb"})
    >>> Match({"ID_BUS": "us*"})(acm), Match({"ID_BUS": "pci", "serial": "7"}).misses(acm)
    (True, ["ID_BUS is 'usb', not 'pci'", 'it has no attribute serial'])
    """

    def __init__(self, match: Mapping[str, str]) -> None:
        """Take the pairs as they are configured; `ValueError` says which of them cannot be."""
        if not match:
            raise ValueError("an empty match would take any device: name what tells this one")
        self._wants = [_Want(key, value) for key, value in match.items()]

    def __call__(self, device: PluggedDevice) -> bool:
        """Whether all pairs fit ``device``."""
        return all(want.miss(device) is None for want in self._wants)

    def misses(self, device: PluggedDevice) -> list[str]:
        """Say of each pair that does not fit why not; empty where the device matches."""
        return [miss for want in self._wants if (miss := want.miss(device)) is not None]

    def nearest(self, devices: Iterator[PluggedDevice]) -> tuple[PluggedDevice, list[str]] | None:
        """Return the device that misses least, and what; None where none fits in anything."""
        judged = [(self.misses(device), device) for device in devices]
        near = [each for each in judged if len(each[0]) < len(self._wants)]
        if not near:
            return None
        misses, device = min(near, key=lambda each: (len(each[0]), each[1].sys_path))
        return device, misses

    def __str__(self) -> str:
        """Return the pairs as a person reads them.

        >>> str(Match({"ID_VENDOR_ID": "2341", "@serial": "A*"}))
        'ID_VENDOR_ID=2341, @serial=A*'
        """
        return ", ".join(f"{want.key}={want.value}" for want in self._wants)


class _Want:
    """One pair."""

    def __init__(self, key: str, value: str) -> None:
        self.key = key
        self.value = value
        self._of_ancestors = key.startswith("@")
        self._name = key.removeprefix("@")
        self._is_property = _PROPERTY.fullmatch(self._name) is not None
        if not self._is_property and not _ATTRIBUTE.fullmatch(self._name):
            raise ValueError(
                f"{key!r} is no key to match by: write a udev property (ID_VENDOR_ID), a sysfs "
                "attribute (idVendor), or either with @ before it, for an ancestor's"
            )
        self._fits: Callable[[str], object] = value.__eq__
        if _GLOB.search(value):
            self._fits = re.compile(translate(value)).match

    def miss(self, device: PluggedDevice) -> str | None:
        """Say why this pair does not fit ``device``; None where it does."""
        owners = device.ancestors if self._of_ancestors else (device,)
        values = [value for owner in owners if (value := self._of(owner)) is not None]
        if any(self._fits(value) for value in values):
            return None
        if not values:
            who = "no ancestor of it has" if self._of_ancestors else "it has no"
            kind = "property" if self._is_property else "attribute"
            return f"{who} {'the ' if self._of_ancestors else ''}{kind} {self._name}"
        has = " and ".join(map(repr, values))
        return f"{self.key} is {has}, not {self.value!r}"

    def _of(self, owner: PluggedDevice | PluggedAncestor) -> str | None:
        return (owner.properties if self._is_property else owner.attributes).get(self._name)
