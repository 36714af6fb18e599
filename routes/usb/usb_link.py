"""A `Link` over one interface of a USB device, through pyusb and libusb.

Reading is the pump's: `UsbLink.read` hands out one transfer at a time, so that a
packet stays a packet. Writing and control transfers block their caller, for a bounded
time each.

Refused: to guess. A link that has broken stays broken; whether the device comes back
as the same one is for its opener to find out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import usb.core

from gateway.clock import Clock, RealClock
from gateway.device.usb import ControlLink, ControlRequest, UsbIdentity, UsbInterface
from gateway.errors import LinkLostError, ProtocolError, RefusedError
from routes.usb import causes, texts
from routes.usb.claim import Claim
from routes.usb.library import library, look_up
from routes.usb.place import UsbPlace
from routes.usb.pump import TURN, Pump
from routes.usb.settings import UsbSettings

log = logging.getLogger(__name__)

ENDING: Final = TURN + 2.0
"""Seconds that the pump has to end; what libusb was told to wait is over long before."""


class UsbLink(ControlLink):
    """One claimed interface; make it with `UsbLink.open`. Used by one thread."""

    def __init__(self, claim: Claim, pump: Pump, settings: UsbSettings, clock: Clock) -> None:
        """Take over ``claim`` and ``pump``, which has not been started."""
        self._claim = claim
        self._pump = pump
        self._settings = settings
        self._clock = clock
        self._closed = False
        self._identity: UsbIdentity | None = None
        pump.start()

    @classmethod
    def open(
        cls,
        place: UsbPlace,
        interface: UsbInterface,
        settings: UsbSettings,
        *,
        reset: bool = False,
        clock: Clock | None = None,
        backend: Any = None,
    ) -> UsbLink:
        """Claim ``interface`` of the device at ``place``, after a ``reset`` if so told.

        Raises `LinkAbsentError` where nothing is there, and `LinkLostError` where
        something is and cannot be opened; its text says what to do.
        """
        backend = library() if backend is None else backend
        claim = Claim(look_up(place, backend), str(place))
        claim.take(interface, detach=settings.detach, reset=reset)
        try:
            pump = Pump(claim, f"{place.bus}-{place.address}")
        except BaseException:  # out of descriptors
            claim.give_back()
            raise
        return cls(claim, pump, settings, clock or RealClock())

    def __repr__(self) -> str:
        return f"<UsbLink {self._claim.what} {'closed' if self._closed else 'open'}>"

    def fileno(self) -> int:
        """Return what turns readable when a packet came or the device is lost; -1 once closed."""
        return self._pump.near.fileno()

    def read(self) -> bytes:
        """Return the next transfer that came, or ``b""``; raises `LinkLostError`."""
        try:
            packet = self._pump.near.recv(self._pump.size)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost() from error
        if not packet:
            raise self._lost()
        return packet

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises `LinkLostError`, after ``write_timeout`` at the latest.

        `RefusedError` where the endpoint stalls: it is cleared, and the link goes on.
        """
        endpoint = self._claim.chosen.write
        self._check_open()
        if endpoint is None:
            raise ProtocolError(f"the driver of {self._claim.what} declares no endpoint to write")
        doing = f"writing to its endpoint {endpoint.address:#04x}"
        deadline = self._clock.monotonic() + self._settings.write_timeout
        rest = data
        while rest:
            left = deadline - self._clock.monotonic()
            try:
                if left <= 0:
                    raise usb.core.USBTimeoutError("time is up")
                rest = rest[self._claim.write(rest, left) :]
            except usb.core.USBTimeoutError as error:
                raise LinkLostError(
                    f"{self._claim.what} took no bytes for {self._settings.write_timeout:g} s "
                    f"while {doing}; {len(rest)} are left"
                ) from error
            except usb.core.USBError as error:
                if not causes.stalled(error):
                    raise causes.loss(error, self._claim.what, doing) from error
                self._clear(endpoint.address)
                raise RefusedError(
                    f"{self._claim.what} answered STALL while {doing}; that is cleared"
                ) from error

    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        """Return what the device answers over its control endpoint."""
        self._check_open()
        try:
            return self._claim.control(request, length, timeout)
        except usb.core.USBError as error:
            raise causes.control_error(error, self._claim.what, f"the {request}") from error

    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        """Write ``data`` over the control endpoint."""
        self._check_open()
        try:
            self._claim.control(request, data, timeout)
        except usb.core.USBError as error:
            raise causes.control_error(error, self._claim.what, f"the {request}") from error

    def identity(self) -> UsbIdentity:
        """Return what the descriptors say, read from the device the first time."""
        self._check_open()
        if self._identity is None:
            self._identity = texts.identity(self._claim)
        return self._identity

    def close(self) -> None:
        """Give the interface back, and the kernel its driver; takes up to `TURN` seconds."""
        if self._closed:
            return
        self._closed = True
        if not self._pump.end(ENDING):
            log.error("%s: libusb does not return; its interface is kept so long", self._claim.what)

    def _clear(self, address: int) -> None:
        try:
            self._claim.clear(address)
        except usb.core.USBError as error:
            raise causes.loss(error, self._claim.what, "clearing a STALL") from error

    def _check_open(self) -> None:
        if self._closed:
            raise self._lost()

    def _lost(self) -> LinkLostError:
        if self._closed:
            return LinkLostError(f"{self._claim.what} is closed")
        return LinkLostError(str(self._pump.failure or f"the reader of {self._claim.what} ended"))


class UsbOpener:
    """Opens the link of one device, wherever it is plugged in by then."""

    def __init__(
        self,
        settings: UsbSettings,
        *,
        clock: Clock | None = None,
        load: Callable[[], Any] = library,
    ) -> None:
        """Take the device's settings; ``load`` returns pyusb's back-end."""
        self._settings = settings
        self._clock = clock
        self._load = load
        self._opened: UsbPlace | None = None

    def __call__(self, place: UsbPlace, interface: UsbInterface) -> UsbLink:
        """Open ``interface`` of the device at ``place``; raises what `UsbLink.open` raises.

        A device that is opened again without having been away went wrong; it is
        reset where that is asked for.
        """
        again = self._settings.reset and place == self._opened
        self._opened = place
        return UsbLink.open(
            place,
            interface,
            self._settings,
            reset=again,
            clock=self._clock,
            backend=self._load(),
        )
