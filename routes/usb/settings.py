"""What is configured for one USB device.

``match`` says which one it is, by its udev properties and sysfs attributes; or
``simulated`` is the path of a simulated one (see `gateway.device.simulated_usb`).
Interface and endpoints are the driver's own affair and are not configured. Refused when
the configuration is loaded: a device that nothing describes, or both of these do.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from gateway.hosting.matching import Match


class UsbSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to find and open a USB device.

    ``write_timeout`` is in seconds: how long a device that takes no bytes is borne
    with. ``detach`` takes the interface from the kernel's driver while the gateway
    has it, and gives it back after. ``reset`` resets a device that went wrong before
    it is opened again; that concerns all interfaces of the device, so it is off
    unless asked for.
    """

    simulated_by: ClassVar[str] = "simulated"
    """The key that takes the path of a simulated device; see ``gateway simulate``."""

    match: dict[str, str] = {}
    simulated: str = ""
    write_timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    detach: bool = True
    reset: bool = False

    def __post_init__(self) -> None:
        if bool(self.match) == bool(self.simulated):
            raise ValueError(
                'say which device, such as match = { idVendor = "05e0", idProduct = "1200" }, '
                "or the path of a simulated one; not both"
            )
        if self.match:
            Match(self.match)
        elif not self.simulated.startswith("/"):
            raise ValueError(f"a simulated device has a whole path, not {self.simulated!r}")
