"""The serial route: one driver thread for each configured device.

A letter to ``board@serial`` is a command for the device ``board``, which lives
in this route's `House`. What the devices publish bears their names, not the
route's: ``devices/board/analogue``. A device is at a port, or is whatever
matches, found by hot-plug wherever it is plugged in.

Refused, with a bounce: letters to a device that is not configured here, or
not connected. A port that is absent is a normal state and waited for.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from gateway.hosting.hosted_device import HostedDevice
from gateway.hosting.house import LOOK_AFTER_EVERY, House
from gateway.hosting.plugged import PluggedDevice
from gateway.mail.message import Message
from gateway.routing.router import Router
from routes.serial.serial_link import SerialLink, opener
from routes.serial.settings import SerialSettings


class SerialSettingsOfRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[routes.serial]`` itself has no settings: they stand with each device."""


class SerialRouter(Router):
    """Hosts the devices on serial ports."""

    Settings: ClassVar[type[msgspec.Struct]] = SerialSettingsOfRoute
    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = SerialSettings

    def start(self) -> None:
        """Start a thread for each device; what is not plugged in is waited for."""
        house = self._house = House(self, ("tty",), clock=self._clock)
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
        link, clock = device.link, self._clock
        assert isinstance(link, SerialSettings)

        def open_found(found: PluggedDevice) -> SerialLink:
            at = msgspec.structs.replace(link, port=found.node, match={})
            return SerialLink.open(at, clock=clock)

        berth: Any = opener(link, clock=clock)
        if link.match:
            berth = house.matched(device.name, link.match, open_found)
        elif not link.is_socket:
            berth = house.port(device.name, link.port, berth)
        # The driver is made for each opening of the link, with the host that serves it.
        house.host(
            device.name, lambda host: device.driver(device.name, host, device.settings), berth
        )
