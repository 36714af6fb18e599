"""Where the devices of one router live: their threads, mailboxes, claims, and the hot-plug watch.

The serial and the usb router are made around one: they say which devices there
are and how each is opened (`House.host`), hand on letters (`House.outbound`),
and call `House.look_after` now and then, on their own thread.

A letter to ``<device>@<route>`` goes to the device's own mailbox, which its
thread reads and answers; what was written before that mailbox was in the
writer's address book comes through the router. A device whose driver does not
return is called failed; with `TOO_MANY` of those, or without its watch, the
house asks by an exception for its router to be restarted.

Refused: letters to a device that does not live here (`AddressError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, Protocol

import msgspec

from gateway.bus.mailbox import Mailbox
from gateway.clock import Clock
from gateway.device.driver import Driver, DriverHost
from gateway.device.link import Link, Opener
from gateway.errors import AddressError
from gateway.hosting.berth import Berth, MatchedBerth, PortBerth
from gateway.hosting.claims import Claims
from gateway.hosting.driver_thread import DriverThread
from gateway.hosting.hotplug import Hotplug
from gateway.hosting.matching import Match
from gateway.hosting.outside import Outside
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import Change
from gateway.hosting.stuck import TOO_MANY, StuckThreads
from gateway.mail.address import Address
from gateway.mail.message import Message

LEAVE: Final = 3.0
"""Seconds that all devices together may take to be let go of."""
LOOK_AFTER_EVERY: Final = 5.0
"""Seconds between two calls of `House.look_after` that are soon enough."""


class Landlord(Outside, Protocol):
    """What the router is to its house."""

    @property
    def name(self) -> str:
        """Return the route's name, which stands after the ``@`` of its devices."""
        ...

    def declare_will(self, topic: str, body: Any) -> None:
        """Have ``body`` published on ``topic`` should the router die."""
        ...

    def open_mailbox(self, local: str) -> Mailbox:
        """Open the mailbox ``local@<route>``."""
        ...

    def close_mailbox(self, box: Mailbox) -> None:
        """Close what `open_mailbox` opened."""
        ...


class House:
    """Made in a router's `start`; `host` every device, then `start`, and `stop` in the end."""

    def __init__(
        self,
        landlord: Landlord,
        subsystems: Sequence[str],
        *,
        clock: Clock,
        random: Callable[[], Random] = Random,
        hotplug: Hotplug | None = None,
        stuck: StuckThreads | None = None,
    ) -> None:
        """Devices of udev's ``subsystems`` may be matched; ``random`` makes each its chance."""
        self.claims = Claims()
        self.hotplug = hotplug or Hotplug(subsystems, clock=clock)
        self._landlord = landlord
        self._clock = clock
        self._random = random
        self._stuck = stuck or StuckThreads()
        self._watches = False
        self._berths: dict[str, Berth] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._threads: dict[str, DriverThread] = {}
        self.hotplug.listen(self._changed)

    # -- moving in ---------------------------------------------------------

    def matched(
        self, name: str, match: Mapping[str, str], opener: Callable[[PluggedDevice], Link]
    ) -> MatchedBerth:
        """Return the berth of a device that is found by what it is; `ValueError` by `Match`."""
        self._watches = True
        return MatchedBerth(name, Match(match), opener, self.claims, self.hotplug)

    def port(self, name: str, path: str, opener: Opener) -> PortBerth:
        """Return the berth of a device at a path in /dev."""
        self._watches = True
        return PortBerth(name, path, opener, self.claims, self.hotplug)

    def host(self, name: str, make_driver: Callable[[DriverHost], Driver], opener: Opener) -> None:
        """Take in the device ``name``; ``opener`` may be a berth, and is used from `start` on."""
        died = f"the route {self._landlord.name!r} died"
        will = {"state": "failed", "connected": False, "cause": died, "since": None}
        self._landlord.declare_will(f"devices/{name}/state", will)
        self._landlord.declare_will(f"devices/{name}/claim", None)
        box = self._boxes[name] = self._landlord.open_mailbox(name)
        berth = self._berths[name] = opener if isinstance(opener, Berth) else Berth(opener)
        self._threads[name] = DriverThread(
            name,
            make_driver,
            berth,
            self._landlord,
            box,
            clock=self._clock,
            random=self._random(),
        )

    @property
    def names(self) -> list[str]:
        """The devices that live here."""
        return list(self._threads)

    def start(self) -> None:
        """Start the watch, where any device has something to gain by it, and every device."""
        if self._watches:
            self.hotplug.start()
        for thread in self._threads.values():
            thread.start()

    # -- day by day --------------------------------------------------------

    def outbound(self, message: Message) -> None:
        """Hand on a letter for a device, whose thread answers it."""
        name = Address.parse(message.recipient).local
        thread = self._threads.get(name)
        if thread is None:
            close = difflib.get_close_matches(name, self._threads, 1)
            hosted = ", ".join(self._threads) or "no devices"
            hint = f"did you mean {close[0]!r}?" if close else f"it hosts {hosted}"
            route = self._landlord.name
            raise AddressError(f"there is no device {name!r} on {route!r}; {hint}")
        thread.post(message)

    def look_after(self) -> None:
        """Look for threads that are stuck, and for a dead watch.

        Raises `RuntimeError`, which is to end the router, where only a new OS
        process can help.
        """
        progress = {name: each.progress() for name, each in self._threads.items()}
        for name in self._stuck.look(self._clock.monotonic(), progress):
            self._threads[name].give_up(
                "its driver does not return: only a restart of "
                f"{self._landlord.name!r} frees it, and its code needs mending"
            )
        stuck = self._stuck.names
        if len(stuck) >= TOO_MANY:
            raise RuntimeError(
                f"the drivers of {', '.join(stuck)} do not return; this route asks for a restart"
            )
        if self._watches and self.hotplug.is_dead:
            raise RuntimeError("the hot-plug watch has died; this route asks for a restart")

    def statistics(self) -> dict[str, Any]:
        """Return each device's counts, and those of the watch."""
        devices = {
            name: {"state": thread.state.value, **msgspec.to_builtins(thread.statistics())}
            for name, thread in self._threads.items()
        }
        watch = {"stuck": self._stuck.names, "hotplug": msgspec.to_builtins(self.hotplug.counts)}
        return {"devices": devices, **watch}

    def _changed(self, change: Change) -> None:
        """Tell every device that it means something to; on the thread of the watch."""
        for name, berth in self._berths.items():
            news = berth.changed(change)
            thread = self._threads[name]
            if news.pulled is not None:
                thread.pulled(news.pulled)
            if news.come:
                thread.look_again()

    # -- moving out --------------------------------------------------------

    def stop(self, deadline: float = LEAVE) -> list[str]:
        """Let go of every device, all at a time; return who does not end in ``deadline`` s."""
        until = self._clock.monotonic() + deadline
        for thread in self._threads.values():
            thread.stop(0)
        self.hotplug.stop(deadline)
        left = [
            name
            for name, thread in self._threads.items()
            if not thread.join(max(0.0, until - self._clock.monotonic()))
        ]
        for box in self._boxes.values():
            self._landlord.close_mailbox(box)
        return left
