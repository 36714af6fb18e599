"""Where a USB device is plugged in now, as libusb finds it again."""

from __future__ import annotations

import msgspec


class UsbPlace(msgspec.Struct, frozen=True):
    """Bus and address of a device that is present, and which one it should be.

    The kernel gives an address anew with each plug; ``vendor`` and ``product`` tell
    whether somebody else has it by now (None: whoever is there will do).
    """

    bus: int
    address: int
    vendor: int | None = None
    product: int | None = None

    @property
    def node(self) -> str:
        """The device's node, which whoever opens it needs permission for."""
        return f"/dev/bus/usb/{self.bus:03d}/{self.address:03d}"

    def __str__(self) -> str:
        if self.vendor is None or self.product is None:
            return self.node
        return f"{self.vendor:04x}:{self.product:04x} at {self.node}"
