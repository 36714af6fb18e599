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

from gateway.device.link import Link, Opener
from gateway.hosting.descriptor_limit import make_room_for
from gateway.hosting.hosted_device import HostedDevice
from gateway.hosting.house import LOOK_AFTER_EVERY, House
from gateway.hosting.plugged import PluggedDevice
from gateway.mail.message import Message
from gateway.routing.router import Router
from routes.serial.serial_link import PortOpener, opener
from routes.serial.settings import SerialSettings
from routes.serial.sharing import SharedPort


class SerialSettingsOfRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[routes.serial]``: all else stands with each device.

    ``allow_sharing`` lets the devices' ports be shared with remote hands,
    where their ``share`` says so.
    """

    allow_sharing: bool = False


class SerialRouter(Router):
    """Hosts the devices on serial ports."""

    Settings: ClassVar[type[msgspec.Struct]] = SerialSettingsOfRoute
    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = SerialSettings

    @staticmethod
    def open_port(link: SerialSettings) -> Link:
        """Open one port for somebody who only looks, such as ``gateway devices --probe``."""
        return opener(link)()

    def start(self) -> None:
        """Start a thread for each device; what is not plugged in is waited for."""
        house = self._house = House(self, ("tty",), clock=self._clock)
        self._ports: list[SharedPort] = []
        devices: list[HostedDevice] = self.parameter("devices", [])
        make_room_for(len(devices))
        for device in devices:
            self._take_in(house, device)
        house.start()
        self.frequency = 1 / LOOK_AFTER_EVERY
        self.set_connection("connected", f"it hosts {', '.join(house.names) or 'no devices'}")

    def life(self) -> None:
        """Look after the house."""
        self._house.look_after()

    def stop(self) -> None:
        """Let go of every device, and of every visitor."""
        house: House | None = getattr(self, "_house", None)
        if house is not None:
            house.stop()
        for port in getattr(self, "_ports", []):
            port.close()

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
        opens = opener(link, clock=clock)
        shared = self._shared(link, opens)

        def open_found(found: PluggedDevice) -> Link:
            opens.move_to(found.node)
            return shared()

        berth: Any = shared
        if link.match:
            berth = house.matched(device.name, link.match, open_found)
        elif link.is_device:
            berth = house.port(device.name, link.port, shared)
        # The driver is made for each opening of the link, with the host that serves it.
        house.host(
            device.name, lambda host: device.driver(device.name, host, device.settings), berth
        )

    def _shared(self, link: SerialSettings, opens: PortOpener) -> Opener:
        """Return what opens the port for its driver, where that may be shared with others."""
        if not link.share:
            return opens
        port = SharedPort(link, opens, allowed=self.settings.allow_sharing)
        self._ports.append(port)
        return port
