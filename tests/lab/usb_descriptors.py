"""The descriptors of a made-up USB device, as bytes, truthful unless told otherwise.

USB 2.0, chapter 9.6. `Interface` and `EndpointOf` say what the device has;
`device` and `configuration` write it down.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BULK, INTERRUPT, ISOCHRONOUS = 2, 3, 1


@dataclass(frozen=True)
class EndpointOf:
    """One endpoint: address (0x8… is read), type and packet size in bytes."""

    address: int
    kind: int = BULK
    packet: int = 64

    def pack(self) -> bytes:
        """Return its descriptor."""
        return struct.pack("<BBBBHB", 7, 5, self.address, self.kind, self.packet, 4)


@dataclass(frozen=True)
class Interface:
    """One setting of one interface; ``extra`` are class descriptors before its endpoints."""

    number: int = 0
    alternate: int = 0
    kind: tuple[int, int, int] = (0xFF, 0, 0)
    endpoints: tuple[EndpointOf, ...] = (EndpointOf(0x81), EndpointOf(0x02))
    extra: bytes = b""
    claimed_endpoints: int | None = None

    def pack(self) -> bytes:
        """Return its descriptors."""
        count = len(self.endpoints) if self.claimed_endpoints is None else self.claimed_endpoints
        head = struct.pack("<9B", 9, 4, self.number, self.alternate, count, *self.kind, 0)
        return head + self.extra + b"".join(each.pack() for each in self.endpoints)


@dataclass(frozen=True)
class Device:
    """A whole device with one configuration."""

    vendor: int = 0x1209
    product: int = 0x0001
    release: int = 0x0102
    interfaces: tuple[Interface, ...] = field(default=(Interface(),))

    def pack(self) -> bytes:
        """Return the device's and the configuration's descriptors, one after the other."""
        body = b"".join(each.pack() for each in self.interfaces)
        count = len({each.number for each in self.interfaces})
        head = struct.pack(
            "<BBHBBBBHHHBBBB",
            *(18, 1, 0x0200, 0, 0, 0, 64),
            *(self.vendor, self.product, self.release, 1, 2, 3, 1),
        )
        return head + struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), count, 1, 0, 0x80, 50) + body


KEYBOARD = Interface(
    kind=(3, 1, 1),
    endpoints=(EndpointOf(0x81, INTERRUPT, 8),),
    # The HID descriptor, with a report descriptor of 63 bytes.
    extra=bytes.fromhex("092111010001223f00"),
)
"""A boot keyboard, as a barcode scanner shows itself."""
