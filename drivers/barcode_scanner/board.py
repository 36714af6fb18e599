"""The scanner in Python: codes in by hand, keyboard reports out, one packet at a time.

It types as fast as scanners do, a report every `EVERY` seconds, and ends each code with
the key that it is told. It knows the requests of a boot keyboard and answers others with
a STALL. Nothing that the host writes concerns it.

Refused: a code that no US keyboard can type (`ValueError`).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from drivers.barcode_scanner.driver import SET_IDLE, SET_PROTOCOL
from drivers.barcode_scanner.reports import typed
from gateway.clock import Clock
from gateway.device.simulated_usb import Setup
from gateway.device.usb import UsbIdentity

EVERY: Final = 0.002
"""Seconds between two reports."""
_CLASS_TO_INTERFACE: Final = 0x21
_REMEMBERED: Final = 16


class Scanner:
    """A `gateway.device.simulated_usb.UsbBoard`."""

    def __init__(self, clock: Clock, *, suffix: str = "\n", demo: float | None = None) -> None:
        """End each code with ``suffix``; with ``demo`` scan one by itself every so many seconds."""
        self.identity = UsbIdentity(
            vendor=0x1209,
            product=0xBC05,
            release="1.00",
            manufacturer="hardware-gateway",
            name="simulated scanner",
            serial_number="SCAN-0001",
        )
        self.requests: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        """The last class requests that it obeyed since it has power: request and value."""
        self._clock = clock
        self._suffix = suffix
        self._demo = demo
        self._number = 0
        self._reports: deque[bytes] = deque()
        self._next = 0.0

    def scan(self, code: str) -> None:
        """Have it read ``code``, now or when it has typed what it read before."""
        reports = list(typed(code + self._suffix))
        if not self._reports:
            self._next = max(self._next, self._clock.monotonic())
        self._reports.extend(reports)

    def reset(self) -> None:
        """Do what power off and on does."""
        self.requests.clear()
        self._reports.clear()
        self._next = self._clock.monotonic() + (self._demo or 0.0)

    def receive(self, data: bytes) -> bytes:
        """Ignore what the host writes."""
        return b""

    def poll(self) -> bytes:
        """Return the report that is due."""
        if self._clock.monotonic() < self._next:
            return b""
        if not self._reports:
            if self._demo is None:
                return b""
            self._number += 1
            self.scan(f"CODE-{self._number:04d}")
        report = self._reports.popleft()
        self._next += EVERY if self._reports or self._demo is None else self._demo
        return report

    @property
    def wake(self) -> float | None:
        """When the next report is due; None while there is nothing to type."""
        return self._next if self._reports or self._demo is not None else None

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """Obey what a boot keyboard obeys."""
        if setup.type != _CLASS_TO_INTERFACE or setup.request not in (SET_IDLE, SET_PROTOCOL):
            return None
        self.requests.append((setup.request, setup.value))
        return b""
