"""The one libusb of this process, and the devices that it sees.

libusb is loaded when the first device is opened, in the process that hosts it: what it
opens must not be shared with a fork. It stays until the process ends. Refused with
what to do: a machine that has no libusb.
"""

from __future__ import annotations

import logging
from typing import Any

import usb.backend.libusb1
import usb.core

from gateway.errors import LinkAbsentError, LinkLostError
from routes.usb.causes import NO_LIBRARY, words
from routes.usb.place import UsbPlace


def library() -> Any:
    """Return pyusb's back-end over libusb 1.0; `LinkLostError` where it is missing."""
    # It tells of a missing library at every try, in fewer words than we do.
    logging.getLogger("usb").setLevel(logging.CRITICAL)
    backend = usb.backend.libusb1.get_backend()
    if backend is None:
        raise LinkLostError(NO_LIBRARY)
    return backend


def look_up(place: UsbPlace, backend: Any) -> usb.core.Device:
    """Return the device at ``place``; nothing is opened.

    `LinkAbsentError` where nobody is, or somebody else.
    """

    def is_there(device: usb.core.Device) -> bool:
        return bool(device.bus == place.bus and device.address == place.address)

    try:
        device = usb.core.find(backend=backend, custom_match=is_there)
    except usb.core.USBError as error:
        raise LinkLostError(f"libusb cannot list the devices: {words(error)}") from error
    if device is None:
        raise LinkAbsentError(f"nothing is plugged in at {place.node}")
    if place.vendor not in (None, device.idVendor) or place.product not in (None, device.idProduct):
        raise LinkAbsentError(
            f"{place} has gone; {device.idVendor:04x}:{device.idProduct:04x} is there now"
        )
    return device
