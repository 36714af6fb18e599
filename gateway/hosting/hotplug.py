"""Watches what is plugged into the machine: one thread, asleep until udev tells.

pyudev's monitor hands in events, in a poll loop of our own. They are hints:
each has its device looked at, and a little later a scan, which is the truth,
confirms the whole. Where events were lost (the socket overflowed) it is
scanned at once; where none come, a glance every `GLANCE_EVERY` seconds sees
that something is other than before. That a device was pulled is not taken on
an event's word while the device is there: the event may be of one before it,
in the same port, and late. A burst is told to the listeners at once: as a
`Change` of what has gone, then one of what has come. The stream is udevd's
where one runs, else the kernel's (containers).

Refused: to go on in silence where libudev is not installed; `trouble` then
says what to install, and nothing is ever present.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from errno import ENOBUFS
from math import inf
from typing import Any, Final

import msgspec

from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import Change, Presence
from gateway.hosting.udev import Glance, Udev, udevd_runs

log = logging.getLogger(__name__)

__all__ = ["Change", "Hotplug", "HotplugCounts", "PluggedDevice"]

GLANCE_EVERY: Final = 2.0
"""Seconds between two looks at whether something changed that nobody told of."""
CONFIRM_AFTER: Final = 0.5
"""Seconds after an event until a scan confirms what it led to."""
DOUBT: Final = 0.05
"""Seconds after an event told that something was pulled which is there, until a scan decides."""
LISTEN_AGAIN: Final = 10.0
"""Seconds until a stream of events that broke, or was refused, is opened again."""
DRAIN: Final = 256
"""Events that are taken before the listeners hear of it."""

Listener = Callable[[Change], None]


class HotplugCounts(msgspec.Struct):
    """What the watch has counted since its start."""

    events: int = 0
    scans: int = 0
    overflows: int = 0
    """How often the kernel had more events than room for them."""
    troubles: int = 0
    """Streams of events, and scans, that failed."""


class Hotplug:
    """The watch over some subsystems, from `start` to `stop`."""

    def __init__(
        self,
        subsystems: Sequence[str],
        *,
        clock: Clock,
        open_udev: Callable[[Sequence[str]], Udev] = Udev,
        udevd: Callable[[], bool] = udevd_runs,
        buffer: int | None = None,
    ) -> None:
        """Watch ``subsystems`` such as ``tty``; nothing is opened yet.

        ``buffer`` is the size of the events' socket, in bytes: the machine's
        usual one unless a test wants it to overflow.
        """
        self.trouble = ""
        """Why nothing can be watched; empty where it can."""
        self.counts = HotplugCounts()
        self._subsystems = tuple(subsystems)
        self._clock = clock
        self._open_udev = open_udev
        self._udevd = udevd
        self._buffer = buffer
        self._listeners: list[Listener] = []
        self._looked = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._present: tuple[PluggedDevice, ...] = ()
        # The rest is its thread's alone.
        self._presence = Presence()
        self._monitor: Any = None
        self._source = ""
        self._glanced: Glance | None = None
        self._glance_at = self._scan_at = -inf
        self._doubt_at = inf
        self._rest_until = -inf
        self._listen_at = -inf
        self._wake = -1

    # -- for everybody -----------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` called with every `Change`, on the watch's thread; before `start`.

        The first change is all that was there before. None has both gone and come.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to watch; `RuntimeError` a second time."""
        if self._thread is not None:
            raise RuntimeError("the watch over what is plugged in has been started before")
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="hotplug", daemon=True)
        self._thread.start()

    def stop(self, deadline: float) -> bool:
        """End the watch; return whether it ended within ``deadline`` seconds."""
        self._stopping.set()
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        if self._thread is None:
            return True
        self._thread.join(deadline)
        return not self._thread.is_alive()

    @property
    def is_dead(self) -> bool:
        """Whether the watch has ended though nobody stopped it: of a bug, which its log tells."""
        thread = self._thread
        return thread is not None and not thread.is_alive() and not self._stopping.is_set()

    def present(self, within: float = 0.0) -> tuple[PluggedDevice, ...]:
        """Return what is plugged in, in the order of the ports.

        Before anybody has looked it waits for that, ``within`` seconds at most.
        """
        self._looked.wait(within)
        return self._present

    # -- its thread --------------------------------------------------------

    def _run(self) -> None:
        try:
            udev = self._open_udev(self._subsystems)
        except ConfigError as error:
            self.trouble = str(error)
            log.warning("hot-plug: %s", error)
            udev = None
        try:
            if udev is not None:
                with select.epoll() as epoll:
                    epoll.register(self._wake, select.EPOLLIN)
                    while not self._stopping.is_set():
                        self._turn(udev, epoll)
        finally:
            self._monitor = None  # its socket is closed with it
            self._looked.set()
            with self._lock:
                os.close(self._wake)
                self._wake = -1

    def _turn(self, udev: Udev, epoll: select.epoll) -> None:
        now = self._clock.monotonic()
        self._keep_listening(udev, epoll, now)
        if now >= self._glance_at:
            self._glance_at = now + GLANCE_EVERY
            if self._has_changed(udev):
                self._scan_at = -inf
        if now >= self._scan_due():
            self._scan(udev, now)
        self._tell()
        # What was done may have taken a while; what became due meanwhile is next.
        due = min(self._glance_at, self._scan_due())
        wait = max(0.0, due - self._clock.monotonic())
        for descriptor, _ in epoll.poll(wait, 2):
            if descriptor != self._wake:
                self._hear(udev)

    def _scan_due(self) -> float:
        return max(self._rest_until, min(self._scan_at, self._doubt_at, self._presence.due))

    def _has_changed(self, udev: Udev) -> bool:
        """Whether a glance sees something else than the last scan; a scan tells what fails."""
        try:
            return udev.glance() != self._glanced
        except OSError:
            return True

    def _keep_listening(self, udev: Udev, epoll: select.epoll, now: float) -> None:
        """Open the stream of events where it is not open, or is no more the right one."""
        source = "udev" if self._udevd() else "kernel"
        if self._monitor is not None and source == self._source:
            return
        if self._monitor is None and now < self._listen_at:
            return
        self._monitor = None
        self._source, self._listen_at = source, now + LISTEN_AGAIN
        try:
            self._monitor = udev.monitor(source, self._buffer)
            epoll.register(self._monitor.fileno(), select.EPOLLIN)
        except OSError as error:
            self._trouble("no events from %s: %s; again in %g s", source, str(error), LISTEN_AGAIN)
            self._monitor = None
        # What came between two streams, or before the first, was told by neither.
        self._scan_at = -inf

    def _hear(self, udev: Udev) -> None:
        """Take what has been told, up to `DRAIN` events, and look at each device."""
        for _ in range(DRAIN):
            try:
                device = self._monitor.poll(0)
            except OSError as error:
                self._scan_at = -inf
                if ENOBUFS in (error.errno, _pending_error(self._monitor.fileno())):
                    self.counts.overflows += 1
                    log.info("hot-plug: events were lost; everything is looked at again")
                    continue
                self._trouble("events from %s ended: %s", self._source, str(error))
                self._monitor = None
                return
            except ValueError as error:
                # Something that is no event, which libudev would not take.
                log.debug("hot-plug: an event that makes no sense: %s", error)
                self._scan_at = -inf
                continue
            if device is None:
                return
            self.counts.events += 1
            now = self._clock.monotonic()
            self._scan_at = min(self._scan_at, now + CONFIRM_AFTER)
            try:
                there = udev.look(device.sys_path)
            except OSError:
                # Nobody knows whether it is there: the scan will, or will say what is wrong.
                self._scan_at = -inf
                continue
            if there is not None and device.action != "remove":
                self._presence.added(there, now)
            elif there is not None and self._presence.knows(there):
                # It came after the one that this is about, and a scan has found it; or it
                # is this very one, and is just going.
                self._doubt_at = min(self._doubt_at, now + DOUBT)
            else:
                self._presence.removed(device.sys_path)

    def _scan(self, udev: Udev, now: float) -> None:
        """Look at everything; what is found is the truth."""
        if now >= self._scan_at:
            self._scan_at = inf  # one that is to confirm is not made needless by an earlier one
        self._doubt_at = inf
        try:
            # Before the scan: what changes during it is seen at the next glance.
            self._glanced = udev.glance()
            found = udev.scan()
        except OSError as error:
            self._trouble("looking at %s failed: %s", ", ".join(self._subsystems), str(error))
            # What is due stays due: without a rest nothing else would be done any more.
            self._glanced, self._rest_until = None, now + GLANCE_EVERY
            return
        self.counts.scans += 1
        if self._source == "kernel":
            found = {path: (device, True) for path, (device, _) in found.items()}
        self._presence.scanned(found, now)

    def _tell(self) -> None:
        change = self._presence.take_change()
        if change is not None:
            for device in change.gone:
                log.debug("hot-plug: %s has gone", device.node or device.sys_path)
            for device in change.come:
                log.debug("hot-plug: %s is there", device.node or device.sys_path)
            self._tell_of(change)
        if not self._looked.is_set() and self._presence.has_been_scanned:
            self._looked.set()

    def _tell_of(self, change: Change) -> None:
        """Tell what has gone before anybody may see what came in its place.

        Whoever had the former lets go of the port by that; whoever looks for the latter
        would find the port taken otherwise.
        """
        present = self._presence.present()
        if change.gone:
            stayed = {each.sys_path for each in self._present}
            stayed -= {each.sys_path for each in change.gone}
            self._present = tuple(each for each in present if each.sys_path in stayed)
            for listener in self._listeners:
                listener(Change(change.gone, ()))
        self._present = present
        if change.come:
            for listener in self._listeners:
                listener(Change((), change.come))

    def _trouble(self, text: str, *arguments: str | float) -> None:
        # Words only: an error that a log's reader keeps would keep the stream open.
        self.counts.troubles += 1
        log.warning("hot-plug: " + text, *arguments)


def _pending_error(descriptor: int) -> int:
    """Return, and clear, why a socket polls as broken: pyudev only says that it does."""
    # Without a copy of it: there may be no descriptors left.
    stream = socket.socket(fileno=descriptor)
    try:
        return stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    finally:
        stream.detach()
