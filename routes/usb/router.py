"""The usb route: devices behind libusb, each in a thread of its own.

A letter to ``scanner@usb`` is a command for the device ``scanner``, which lives in this
route's `House`. A device is whatever matches, found by hot-plug in any port; its driver
(a `UsbDriver`) says which interface it wants. The hot-plug watch knows USB devices by
their udev properties and sysfs attributes.

Refused, with a bounce: letters to a device that is not configured here, or not
connected. A driver that declares no interface costs its device the state failed.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import msgspec

from gateway.device.driver import Driver
from gateway.device.link import Opener
from gateway.device.usb import UsbDriver, UsbInterface
from gateway.errors import LinkAbsentError, LinkLostError
from gateway.hosting.hosted_device import HostedDevice
from gateway.hosting.house import LOOK_AFTER_EVERY, House
from gateway.hosting.plugged import PluggedDevice
from gateway.mail.message import Message
from gateway.routing.router import Router
from routes.usb.place import UsbPlace
from routes.usb.settings import UsbSettings
from routes.usb.simulated_link import SimulatedLink
from routes.usb.usb_link import UsbLink, UsbOpener


class UsbSettingsOfRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[routes.usb]`` itself has no settings: they stand with each device."""


class UsbRouter(Router):
    """Hosts the devices that libusb reaches."""

    Settings: ClassVar[type[msgspec.Struct]] = UsbSettingsOfRoute
    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = UsbSettings

    def start(self) -> None:
        """Start a thread for each device; what is not plugged in is waited for."""
        house = self._house = House(self, ("usb",), clock=self._clock)
        devices: list[HostedDevice] = self.parameter("devices", [])
        for device in devices:
            self._take_in(house, device)
        house.start()
        self.frequency = 1 / LOOK_AFTER_EVERY
        self.set_connection("connected", f"it hosts {', '.join(house.names) or 'no devices'}")

    def life(self) -> None:
        """Look after the house."""
        self._house.look_after()

    def stop(self) -> None:
        """Let go of every device."""
        house: House | None = getattr(self, "_house", None)
        if house is not None:
            house.stop()

    def outbound(self, message: Message) -> None:
        """Hand on a letter for a device, whose thread answers it."""
        self._house.outbound(message)

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts and each device's."""
        house: House | None = getattr(self, "_house", None)
        return {**super().statistics(), **(house.statistics() if house else {"devices": {}})}

    def _take_in(self, house: House, device: HostedDevice) -> None:
        settings = device.link
        assert isinstance(settings, UsbSettings)
        open_at = UsbOpener(settings, clock=self._clock)

        def open_found(found: PluggedDevice) -> UsbLink:
            return open_at(place_of(found), interface_of(device.driver))

        berth: Opener = partial(SimulatedLink, settings)
        if settings.match:
            berth = house.matched(device.name, settings.match, open_found)
        # The driver is made for each opening of the link, with the host that serves it.
        house.host(
            device.name, lambda host: device.driver(device.name, host, device.settings), berth
        )


def interface_of(driver: type[Driver]) -> UsbInterface:
    """Return what a driver class wants; `LinkLostError` where it says nothing of the kind."""
    wanted = getattr(driver, "interface", None) if issubclass(driver, UsbDriver) else None
    if not isinstance(wanted, UsbInterface):
        raise LinkLostError(
            f"the driver {driver.__name__} declares no USB interface: it belongs on another "
            "route, such as serial, or is to be a UsbDriver with an `interface`"
        )
    return wanted


def place_of(found: PluggedDevice) -> UsbPlace:
    """Return where libusb finds a device that udev has told of."""
    told = found.attributes
    try:
        return UsbPlace(
            bus=int(told["busnum"]),
            address=int(told["devnum"]),
            vendor=int(told["idVendor"], 16),
            product=int(told["idProduct"], 16),
        )
    except (KeyError, ValueError) as error:
        # Its attributes go before the event that says so.
        raise LinkAbsentError(f"{found.node or found.sys_path} is going, or no device") from error
