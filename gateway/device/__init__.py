"""What a device is: its link, how far it is proven, its heartbeat, its driver."""

from __future__ import annotations

from gateway.device.driver import Driver, DriverHost
from gateway.device.heartbeat import Heartbeat
from gateway.device.identity import Identity
from gateway.device.link import Link, Opener
from gateway.mail.signature import Unit, command

__all__ = ["Driver", "DriverHost", "Heartbeat", "Identity", "Link", "Opener", "Unit", "command"]
