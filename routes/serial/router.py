"""The serial route: one driver thread for each configured device.

A letter to ``board@serial`` is a command for the device ``board``. Each device
has a mailbox of that name, which its thread reads and answers; this process
hands on what was written before the mailbox was in the writer's address book.
What the devices publish bears their names, not the route's:
``devices/board/analogue``.

Refused, with a bounce: letters to a device that is not configured here, or
not connected. A port that is absent is a normal state and waited for.
"""

from __future__ import annotations

import difflib
from random import Random
from time import monotonic
from typing import Any, ClassVar

import msgspec

from gateway.bus.mailbox import Mailbox
from gateway.device.link import Opener
from gateway.errors import AddressError
from gateway.hosting.descriptor_limit import make_room_for
from gateway.hosting.driver_thread import DriverThread
from gateway.hosting.hosted_device import HostedDevice
from gateway.mail.address import Address
from gateway.mail.message import Message
from gateway.routing.router import Router
from routes.serial.serial_link import opener
from routes.serial.settings import SerialSettings
from routes.serial.sharing import SharedPort

LEAVE = 3.0
"""Seconds that all devices together may take to be let go of."""


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

    def start(self) -> None:
        """Start a thread for each device; what is not plugged in is waited for."""
        self._devices: dict[str, DriverThread] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._ports: list[SharedPort] = []
        devices: list[HostedDevice] = self.parameter("devices", [])
        make_room_for(len(devices))
        for device in devices:
            self.declare_will(
                f"devices/{device.name}/state",
                {
                    "state": "failed",
                    "connected": False,
                    "cause": f"the route {self.name!r} died",
                    "since": None,
                },
            )
            box = self._boxes[device.name] = self.open_mailbox(device.name)
            self._devices[device.name] = self._thread_for(device, box)
        for thread in self._devices.values():
            thread.start()
        self.set_connection("connected", f"it hosts {', '.join(self._devices) or 'no devices'}")

    def stop(self) -> None:
        """Let go of every device, all at a time, under one deadline."""
        threads = getattr(self, "_devices", {})
        for thread in threads.values():
            thread.stop(0)
        deadline = monotonic() + LEAVE
        for thread in threads.values():
            thread.join(max(0.0, deadline - monotonic()))
        for port in getattr(self, "_ports", []):
            port.close()
        for box in getattr(self, "_boxes", {}).values():
            self.close_mailbox(box)

    def outbound(self, message: Message) -> None:
        """Hand on a letter for a device, whose thread answers it."""
        name = Address.parse(message.recipient).local
        thread = self._devices.get(name)
        if thread is None:
            close = difflib.get_close_matches(name, self._devices, 1)
            hosted = ", ".join(self._devices) or "no devices"
            hint = f"did you mean {close[0]!r}?" if close else f"it hosts {hosted}"
            raise AddressError(f"there is no device {name!r} on {self.name!r}; {hint}")
        thread.post(message)

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts and each device's."""
        devices = {
            name: {"state": thread.state.value, **msgspec.to_builtins(thread.statistics())}
            for name, thread in getattr(self, "_devices", {}).items()
        }
        return {**super().statistics(), "devices": devices}

    def _thread_for(self, device: HostedDevice, box: Mailbox) -> DriverThread:
        link = device.link
        assert isinstance(link, SerialSettings)
        return DriverThread(
            device.name,
            # Called for each opening of the link, with the host that serves it.
            lambda host: device.driver(device.name, host, device.settings),
            self._opener_for(link),
            self,
            box,
            clock=self._clock,
            random=Random(),
        )

    def _opener_for(self, link: SerialSettings) -> Opener:
        opens = opener(link, clock=self._clock)
        if not link.share:
            return opens
        port = SharedPort(link, opens, allowed=self.settings.allow_sharing)
        self._ports.append(port)
        return port
