"""A barcode scanner on a live USB bus, and the hand that holds its cable and its codes.

To libusb it is a keyboard (`drivers.barcode_scanner`), bound to the kernel's driver
whenever it is plugged in. One with a ``serial`` is known by it in whichever port; others
are alike and told apart by their ports.
"""

from __future__ import annotations

from drivers.barcode_scanner.reports import typed
from tests.lab.live_usb import UsbBus
from tests.lab.usb_descriptors import KEYBOARD, Device

SCANNER = Device(vendor=0x05E0, product=0x1200, interfaces=(KEYBOARD,))
RELEASE = "1.02"


class LiveScanner:
    """One scanner; ``port`` and ``model`` may be changed while it is unplugged."""

    def __init__(self, bus: UsbBus, port: str, serial: str = "") -> None:
        self.bus = bus
        self.port = port
        self.serial = serial
        self.model = "Scanner"

    def plug(self, *, nameless: bool = False) -> None:
        """Plug it in; ``nameless``: before udev knows where, which `name` tells it then."""
        named = {} if nameless else {"ID_PATH": self._place}
        self.bus.plug(
            self.port,
            SCANNER,
            strings={1: "ACME", 2: self.model, **({3: self.serial} if self.serial else {})},
            control={"21 0a": "", "21 0b": ""},
            drivers={0: "usbhid"},
            attributes={"serial": self.serial} if self.serial else {},
            properties=named,
        )

    def name(self) -> None:
        """Have udev know, and say, where it is plugged in."""
        self.bus.tell_late(f"/sys/devices/platform/soc/usb1/1-{self.port}", ID_PATH=self._place)

    def pull(self) -> None:
        """Pull it out."""
        self.bus.unplug(self.port)

    def scan(self, code: str) -> None:
        """Scan ``code``, which ends with the Enter key."""
        self.bus.feed(self.port, *typed(code + "\n"))

    def scan_part(self, code: str, keys: int) -> None:
        """Have it type the first reports of ``code``, as far as ``keys`` of them."""
        self.bus.feed(self.port, *list(typed(code))[:keys])

    @property
    def _place(self) -> str:
        return f"platform-soc-usb-0:{self.port}"
