"""The texts in a device's string descriptors, as a person may be shown them.

A text is what the device says, and may be anything: no text at all, half a letter,
control characters. What cannot be read as UTF-16 becomes U+FFFD, what cannot be
printed is left out, and a device that refuses to tell has no text; none of it fails
the device. Refused is only a device that is gone (`LinkLostError`).
"""

from __future__ import annotations

from typing import Final

import usb.core

from gateway.device.usb import ControlRequest, UsbIdentity
from routes.usb import causes
from routes.usb.claim import Claim

_GET_DESCRIPTOR: Final = 0x06
_STRING: Final = 3
_LONGEST: Final = 255
_SECONDS: Final = 0.5
_ENGLISH: Final = 0x0409


def identity(claim: Claim) -> UsbIdentity:
    """Return what the descriptors of an open device say; takes up to a few seconds."""
    device = claim.device
    language = _language(_descriptor(claim, 0, 0))
    indices = (device.iManufacturer, device.iProduct, device.iSerialNumber)
    texts = [text(_descriptor(claim, index, language)) if index else "" for index in indices]
    return UsbIdentity(
        vendor=int(device.idVendor),
        product=int(device.idProduct),
        release=f"{device.bcdDevice >> 8:x}.{device.bcdDevice & 0xFF:02x}",
        manufacturer=texts[0],
        name=texts[1],
        serial_number=texts[2],
    )


def text(descriptor: bytes) -> str:
    r"""Return the text of a string descriptor; empty where it is none.

    >>> text(b"\x08\x03A\x00\x1b\x00B\x00"), text(b"\x06\x03A\x00"), text(b"")
    ('AB', 'A', '')
    """
    if len(descriptor) < 2 or descriptor[1] != _STRING:
        return ""
    # The length is the device's word; what really came is shorter at times.
    told = descriptor[2 : max(2, descriptor[0])]
    letters = told.decode("utf-16-le", "replace")
    return "".join(each for each in letters if each.isprintable()).strip()


def _language(descriptor: bytes) -> int:
    """Return the first language that the device speaks."""
    return int.from_bytes(descriptor[2:4], "little") if len(descriptor) >= 4 else _ENGLISH


def _descriptor(claim: Claim, index: int, language: int) -> bytes:
    value = _STRING << 8 | int(index)
    request = ControlRequest(_GET_DESCRIPTOR, value, language, "standard", "device")
    try:
        return claim.control(request, _LONGEST, _SECONDS)
    except usb.core.USBError as error:
        if causes.gone(error):
            raise causes.loss(error, claim.what, "asking for its texts") from error
        return b""
