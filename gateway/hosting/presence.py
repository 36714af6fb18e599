"""The table of what is plugged in, and what has changed in it since it was last told.

Events are hints and a scan is the truth: both are put in here, in the order in
which they were learned, and `Presence.take_change` says what came and went by
that. A device that came and went in between is not told of at all; one that
was pulled and is there again is told as gone and come, since whoever has it
open holds a dead one.

Half-born devices, which udevd has not named and given their rights yet, are
kept back until it has, for `READY_WITHIN` seconds at most.

Pure: reads no clock and no device.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

import msgspec

from gateway.hosting.plugged import PluggedDevice

READY_WITHIN: Final = 1.0
"""Seconds that udevd gets for a device that a scan has found before it told of it."""


class Change(msgspec.Struct, frozen=True):
    """What has gone, then what has come; a device with other properties has come only."""

    gone: tuple[PluggedDevice, ...]
    come: tuple[PluggedDevice, ...]


class Presence:
    """Devices by their path in /sys, as far as is known."""

    def __init__(self) -> None:
        self._table: dict[str, PluggedDevice] = {}
        self._told: dict[str, PluggedDevice] = {}
        self._pulled: set[str] = set()
        self._unready: dict[str, float] = {}
        self._scanned = False

    @property
    def has_been_scanned(self) -> bool:
        """Whether anybody has looked yet."""
        return self._scanned

    @property
    def due(self) -> float:
        """When a half-born device is to be taken as it is; infinity where there is none."""
        return min(self._unready.values(), default=inf)

    def present(self) -> tuple[PluggedDevice, ...]:
        """Return all that is there, in the order of their paths: of their ports."""
        return tuple(self._table[path] for path in sorted(self._table))

    def knows(self, device: PluggedDevice) -> bool:
        """Whether it is ``device`` that is in the table, and not one before it or after."""
        known = self._table.get(device.sys_path)
        return known is not None and known.is_same(device)

    def added(self, device: PluggedDevice, now: float) -> None:
        """An event told of ``device``, as it was read then (monotonic seconds).

        No two have one node: whatever had this one's before has been pulled.
        """
        self._unready.pop(device.sys_path, None)
        former = self._holder_of(device)
        if former is not None:
            self.removed(former)
        self._put(device, now)

    def removed(self, sys_path: str) -> None:
        """An event told that the device at ``sys_path`` was pulled."""
        self._unready.pop(sys_path, None)
        if self._table.pop(sys_path, None) is not None:
            self._pulled.add(sys_path)

    def scanned(self, found: Mapping[str, tuple[PluggedDevice, bool]], now: float) -> None:
        """A scan found this and nothing else: each device, and whether it is ready."""
        for path in self._table.keys() - found.keys():
            self.removed(path)
        unready = self._unready
        self._unready = {}
        for path, (device, ready) in found.items():
            if path not in self._table and self._holder_of(device) in found:
                continue  # what is just going: an event has told of its node's next holder
            deadline = unready.get(path, now + READY_WITHIN)
            if ready or path in self._table or now >= deadline:
                # What was there before us was born long ago.
                self._put(device, now if self._scanned else -inf)
            else:
                self._unready[path] = deadline
        self._scanned = True

    def _holder_of(self, device: PluggedDevice) -> str | None:
        """Return the path of another one that has the node of ``device``."""
        for path, known in self._table.items():
            if device.node and known.node == device.node and path != device.sys_path:
                return path
        return None

    def take_change(self) -> Change | None:
        """Return what has changed since this was last called; None where nothing has."""
        table, told, pulled = self._table, self._told, self._pulled
        gone = [
            told[path]
            for path in sorted(told)
            if path in pulled or path not in table or not _has_stayed(told[path], table[path])
        ]
        come = [
            table[path]
            for path in sorted(table)
            if path in pulled or path not in told or _differ(told[path], table[path])
        ]
        self._told, self._pulled = dict(table), set()
        return Change(tuple(gone), tuple(come)) if gone or come else None

    def _put(self, device: PluggedDevice, now: float) -> None:
        before = self._table.get(device.sys_path)
        if before is not None and before.is_same(device):
            now = before.seen  # the same one, of which more may be known by now
        self._table[device.sys_path] = msgspec.structs.replace(device, seen=now)


def _has_stayed(one: PluggedDevice, other: PluggedDevice) -> bool:
    """Whether it is the same device, and nobody took its place in between."""
    return one.is_same(other) and one.seen == other.seen


def _differ(one: PluggedDevice, other: PluggedDevice) -> bool:
    """Whether there is anything to tell; what attributes say is at times a mere count.

    That one has come which was not there is told: a device is read at times before the
    kernel has given it all of them.
    """
    if one is other:
        return False
    return (
        not _has_stayed(one, other)
        or one.node != other.node
        or one.properties != other.properties
        or _attribute_names(one) != _attribute_names(other)
    )


def _attribute_names(device: PluggedDevice) -> list[frozenset[str]]:
    """Return the names of its attributes, and of those above it."""
    above = [frozenset(each.attributes) for each in device.ancestors]
    return [frozenset(device.attributes), *above]
