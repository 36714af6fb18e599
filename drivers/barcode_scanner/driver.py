"""The driver of a barcode scanner that shows itself as a USB keyboard.

The gateway takes the scanner's keyboard interface from the kernel, so that what it scans
is typed into no window, and reads the keys itself. Scanners answer no questions of their
own: who is there is what the USB descriptors say, and whether it is there the bus knows.

Refused: what is not ended by the key that is set, does not begin with the prefix, or is
no text; it is counted as nonsense and published by nobody. The log tells of the first
after each connecting, the tenth, the hundredth: a scanner that is set up wrongly is so
with every code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from drivers.barcode_scanner.reports import ENDS, Keyboard
from drivers.barcode_scanner.scan import Reader, Scan
from gateway.device import DriverHost, Identity
from gateway.device.usb import Endpoint, UsbDriver, UsbInterface
from gateway.errors import CallTimeoutError, ProtocolError, RefusedError
from gateway.framing.raw import Raw

log = logging.getLogger(__name__)

# HID 1.11, section 7.2.
SET_IDLE = 0x0A
SET_PROTOCOL = 0x0B
BOOT_PROTOCOL = 0


class BarcodeScannerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the scanner is set up to do; print its manual's codes and scan them.

    ``prefix`` is what it types before each code, ``suffix`` the key after it,
    ``layout`` the keyboard that it believes to be, ``limit`` the longest code in
    characters.
    """

    prefix: str = ""
    suffix: Literal["enter", "tab"] = "enter"
    layout: Literal["us"] = "us"
    limit: Annotated[int, msgspec.Meta(ge=1, le=8192)] = 1024


class BarcodeScanner(UsbDriver):
    """A barcode scanner in keyboard mode.

    Publishes ``scan``, once for each code.
    """

    framing = Raw(limit=64)
    interface = UsbInterface(
        interface_class=3, subclass=1, protocol=1, read=Endpoint(kind="interrupt")
    )
    publications: ClassVar[Mapping[str, type]] = {"scan": Scan}
    simulator: ClassVar[str] = "drivers.barcode_scanner.simulator:SimulatedScanner"
    Settings: ClassVar[type[msgspec.Struct]] = BarcodeScannerSettings

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        chosen: BarcodeScannerSettings = self.settings
        self._keyboard = Keyboard()
        self._reader = Reader(chosen.prefix, ENDS[chosen.suffix], chosen.limit)
        self._wrong = 0
        self._told_at = 1

    def handshake(self) -> Identity:
        """Say who is there, and have it report keys as a boot keyboard, and only when they move."""
        identity = super().handshake()
        for request in (SET_PROTOCOL, SET_IDLE):
            try:
                self.control_out(
                    request, value=BOOT_PROTOCOL, kind="class", recipient="interface", timeout=0.5
                )
            except (RefusedError, CallTimeoutError) as error:
                # Many scanners know no other way and will not be told.
                log.info("%s: %s", self.name, error)
        return identity

    def received(self, frame: bytes) -> None:
        """Publish each code that ``frame``, a report of the keyboard, ends."""
        wrong: ProtocolError | None = None
        for key in self._keyboard.feed(frame):
            try:
                scan = self._reader.press(key)
            except ProtocolError as error:
                # The other keys of this report may begin the next code.
                self._note(error)
                wrong = error
            else:
                if scan is not None:
                    self.publish("scan", scan)
        if wrong is not None:
            raise wrong

    def _note(self, wrong: ProtocolError) -> None:
        self._wrong += 1
        if self._wrong == self._told_at:
            self._told_at *= 10
            log.warning("%s: %s (wrong codes so far: %d)", self.name, wrong, self._wrong)
