"""The watch itself: when it scans, what it does where the stream of events breaks, how it rests."""

from __future__ import annotations

import logging
import os
import resource
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from errno import EIO, EMFILE, ENOBUFS
from typing import Any, cast

import pytest

from gateway.clock import RealClock
from gateway.errors import ConfigError
from gateway.hosting import hotplug as module
from gateway.hosting.hotplug import Change, Hotplug
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.udev import Udev
from tests.gateway.hosting.plugging import tty

PATIENCE = 10.0


class FakeMonitor:
    """A stream of events that a test fills; closed, as pyudev's, when nobody has it any more."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._events: deque[Any] = deque()

    def __del__(self) -> None:
        self._near.close()
        self._far.close()

    def fileno(self) -> int:
        return self._near.fileno()

    def poll(self, timeout: float) -> Any:
        assert timeout == 0
        try:
            self._near.recv(1)
        except BlockingIOError:
            return None
        event = self._events.popleft()
        try:
            if isinstance(event, Exception):
                raise event
            return event
        finally:
            del event  # an error would hold the frame that holds it, and us

    def tell(self, event: Any) -> None:
        self._events.append(event)
        self._far.send(b"!")


class Event:
    """What pyudev hands out: an action and where it happened."""

    def __init__(self, action: str, sys_path: str) -> None:
        self.action = action
        self.sys_path = sys_path


class FakeUdev:
    """A machine whose devices a test plugs in."""

    def __init__(self) -> None:
        self.devices: dict[str, PluggedDevice] = {}
        self.unready: set[str] = set()
        self.looks_the_same = False
        self.streams: list[str] = []
        self.refuse: OSError | None = None
        self.fail: OSError | None = None
        self.open_monitor: Callable[[], FakeMonitor | None] = lambda: None
        self.scans = 0
        self.glances = 0

    def monitor(self, source: str, buffer: int | None = None) -> FakeMonitor:
        if self.refuse is not None:
            raise self.refuse
        monitor = FakeMonitor()
        self.open_monitor = weakref.ref(monitor)
        self.streams.append(source)  # last: whoever waits for it has a monitor to tell
        return monitor

    def glance(self) -> Any:
        self.glances += 1
        if self.fail is not None:
            raise self.fail
        if self.looks_the_same:
            return frozenset()
        return frozenset(("tty", path, each.inode) for path, each in self.devices.items())

    def scan(self) -> dict[str, tuple[PluggedDevice, bool]]:
        self.scans += 1
        if self.fail is not None:
            raise self.fail
        return {path: (each, path not in self.unready) for path, each in self.devices.items()}

    def look(self, sys_path: str) -> PluggedDevice | None:
        if self.fail is not None:
            raise self.fail
        return self.devices.get(sys_path)

    def tell(self, *events: Any) -> None:
        monitor = self.open_monitor()
        assert monitor is not None
        for event in events:
            monitor.tell(event)


class Watched:
    """A watch over such a machine, and what it has told."""

    def __init__(self, udev: FakeUdev, udevd: Callable[[], bool]) -> None:
        self.udev = udev
        self.changed = threading.Condition()
        self.changes: list[Change] = []
        self.seen: list[set[str]] = []
        self.watch = Hotplug(("tty",), clock=RealClock(), open_udev=self._open, udevd=udevd)
        self.watch.listen(self._note)

    def _open(self, subsystems: Sequence[str]) -> Udev:
        assert subsystems == ("tty",)
        return cast(Udev, self.udev)

    def _note(self, change: Change) -> None:
        with self.changed:
            self.changes.append(change)
            self.seen.append({each.node[-1] for each in self.watch.present()})
            self.changed.notify_all()

    def present(self) -> set[str]:
        return {each.node[-1] for each in self.watch.present(PATIENCE)}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE * 100)):
            if condition():
                return
            pause.wait(0.01)
        raise AssertionError(f"not within {PATIENCE} s; told: {self.changes}")

    def plug(self, device: PluggedDevice, *, told: bool = True) -> None:
        self.udev.devices[device.sys_path] = device
        if told:
            self.udev.tell(Event("add", device.sys_path))

    def pull(self, device: PluggedDevice, *, told: bool = True) -> None:
        del self.udev.devices[device.sys_path]
        if told:
            self.udev.tell(Event("remove", device.sys_path))


Watch = Callable[..., Watched]


@pytest.fixture
def watch() -> Iterator[Watch]:
    made: list[Watched] = []

    def make(
        *devices: PluggedDevice, udevd: Callable[[], bool] = lambda: True, **more: Any
    ) -> Watched:
        udev = FakeUdev()
        udev.devices = {each.sys_path: each for each in devices}
        for name, value in more.items():
            setattr(udev, name, value)
        made.append(Watched(udev, udevd))
        made[-1].watch.start()
        return made[-1]

    yield make
    for each in made:
        assert each.watch.stop(PATIENCE)
        assert each.watch.stop(PATIENCE)
        assert not each.watch.is_dead


def test_what_is_there_is_known_once_somebody_has_looked(watch: Watch) -> None:
    watched = watch(tty(1), tty(0))
    assert [each.node for each in watched.watch.present(PATIENCE)] == [
        "/dev/ttyACM0",
        "/dev/ttyACM1",
    ]
    watched.wait_for(lambda: len(watched.changes) == 1)


def test_events_are_told_at_once_and_confirmed_by_one_scan(watch: Watch) -> None:
    watched = watch(looks_the_same=True)
    assert watched.present() == set()
    for number in range(5):
        watched.plug(tty(number))
    watched.wait_for(lambda: watched.present() == set("01234"))
    watched.pull(tty(2))
    watched.wait_for(lambda: watched.present() == set("0134"))
    watched.wait_for(lambda: watched.udev.scans >= 2)
    assert watched.watch.counts.events == 6
    assert watched.udev.scans <= 4


def test_a_late_word_of_one_before_it_costs_nothing_that_a_scan_has_found(watch: Watch) -> None:
    watched = watch(tty(0, inode=1))
    assert watched.present() == {"0"}
    watched.plug(tty(0, inode=2), told=False)  # pulled and plugged in again
    watched.wait_for(lambda: len(watched.changes) == 3)
    scans = watched.udev.scans
    watched.udev.tell(Event("remove", tty(0).sys_path), Event("add", tty(0).sys_path))
    watched.wait_for(lambda: watched.watch.counts.events == 2)
    watched.wait_for(lambda: watched.udev.scans > scans)  # it has been doubted
    assert len(watched.changes) == 3


def test_what_took_another_s_place_is_seen_once_that_has_been_told_to_be_gone(
    watch: Watch,
) -> None:
    watched = watch(tty(0, inode=1), tty(1))
    assert watched.present() == {"0", "1"}
    watched.plug(tty(0, inode=2), told=False)
    watched.plug(tty(2), told=False)
    watched.wait_for(lambda: len(watched.changes) == 3)
    assert watched.changes[1] == Change((tty(0, inode=1),), ())
    assert [each.inode for each in watched.changes[2].come] == [2, tty(2).inode]
    assert watched.seen[1:] == [{"1"}, {"0", "1", "2"}]


def test_what_is_still_there_when_it_is_told_to_be_pulled_is_gone_when_it_is(watch: Watch) -> None:
    watched = watch(tty(0), looks_the_same=True)
    assert watched.present() == {"0"}
    watched.udev.tell(Event("remove", tty(0).sys_path))
    watched.wait_for(lambda: watched.watch.counts.events == 1)
    watched.pull(tty(0), told=False)
    watched.wait_for(lambda: watched.present() == set())


def test_an_overflow_is_counted_and_made_good_by_a_scan(watch: Watch) -> None:
    watched = watch(tty(0), looks_the_same=True)
    assert watched.present() == {"0"}
    watched.plug(tty(1), told=False)
    watched.pull(tty(0), told=False)
    watched.udev.tell(OSError(ENOBUFS, "no buffer space"))
    watched.wait_for(lambda: watched.present() == {"1"})
    assert watched.watch.counts.overflows == 1
    assert watched.watch.counts.troubles == 0


def test_an_event_that_makes_no_sense_has_everything_looked_at(watch: Watch) -> None:
    watched = watch()
    assert watched.present() == set()
    watched.plug(tty(1), told=False)
    watched.udev.tell(ValueError("that is no event"))
    watched.wait_for(lambda: watched.present() == {"1"})


def test_what_nobody_tells_of_is_seen_at_the_next_glance(watch: Watch) -> None:
    watched = watch(tty(0))
    assert watched.present() == {"0"}
    watched.plug(tty(1), told=False)
    watched.wait_for(lambda: watched.present() == {"0", "1"})


def test_a_stream_that_breaks_is_opened_again(watch: Watch, monkeypatch) -> None:
    monkeypatch.setattr(module, "LISTEN_AGAIN", 0.01)
    watched = watch()
    assert watched.present() == set()
    watched.udev.tell(OSError(EIO, "it broke"))
    watched.wait_for(lambda: len(watched.udev.streams) == 2)
    watched.wait_for(lambda: watched.udev.scans >= 2)
    watched.plug(tty(3))
    watched.wait_for(lambda: watched.present() == {"3"})
    assert watched.watch.counts.troubles == 1


def test_without_any_events_it_lives_by_glances(watch: Watch, caplog) -> None:
    watched = watch(refuse=OSError(EIO, "no netlink in this sandbox"))
    assert watched.present() == set()
    watched.plug(tty(3), told=False)
    watched.wait_for(lambda: watched.present() == {"3"})
    assert watched.watch.counts.troubles == 1
    assert "no netlink in this sandbox" in caplog.text


def test_a_scan_that_fails_is_done_again(watch: Watch) -> None:
    watched = watch(tty(0), fail=OSError(EIO, "no"))
    watched.wait_for(lambda: watched.watch.counts.troubles >= 1)
    watched.udev.fail = None
    watched.wait_for(lambda: watched.present() == {"0"})


def test_a_glance_that_fails_ends_no_watch(watch: Watch, caplog) -> None:
    watched = watch(tty(0))
    assert watched.present() == {"0"}
    watched.udev.fail = OSError(EMFILE, "too many open files")
    watched.wait_for(lambda: "too many open files" in caplog.text)
    assert watched.watch.counts.troubles >= 1
    watched.udev.fail = None
    watched.plug(tty(1))
    watched.wait_for(lambda: watched.present() == {"0", "1"})


def test_an_event_that_cannot_be_looked_into_takes_nothing_away(watch: Watch) -> None:
    watched = watch(tty(0))
    assert watched.present() == {"0"}
    watched.udev.fail = OSError(EMFILE, "too many open files")
    watched.udev.tell(*(Event(action, tty(0).sys_path) for action in ("change", "remove", "add")))
    watched.wait_for(lambda: watched.watch.counts.events == 3)
    watched.wait_for(lambda: watched.watch.counts.troubles >= 1)
    watched.udev.fail = None
    watched.plug(tty(1))
    watched.wait_for(lambda: watched.present() == {"0", "1"})
    assert not any(change.gone for change in watched.changes)


def test_why_a_stream_broke_is_known_without_a_descriptor() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        os.close(lowest := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            assert module._pending_error(near.fileno()) == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        near.getsockname()  # it is open still


def test_scans_that_fail_have_a_rest_between_them_though_one_is_due(
    watch: Watch, monkeypatch
) -> None:
    monkeypatch.setattr(module, "GLANCE_EVERY", 0.05)
    watched = watch(tty(0), unready={tty(0).sys_path})
    assert watched.present() == set()
    began = time.monotonic()
    watched.udev.fail = OSError(EMFILE, "too many open files")
    # Half-born, it is due within a second, and stays so.
    watched.wait_for(lambda: watched.watch.counts.troubles >= 40)
    assert time.monotonic() - began > 39 * 0.05
    watched.udev.fail = None
    watched.wait_for(lambda: watched.present() == {"0"})


def test_the_kernel_s_events_are_heard_until_a_udevd_runs(watch: Watch) -> None:
    runs = threading.Event()
    watched = watch(tty(0), udevd=runs.is_set)
    assert watched.present() == {"0"}
    assert watched.udev.streams == ["kernel"]
    runs.set()
    watched.wait_for(lambda: watched.udev.streams == ["kernel", "udev"])
    watched.plug(tty(1))
    watched.wait_for(lambda: watched.present() == {"0", "1"})


def test_what_udevd_is_not_done_with_is_kept_back_and_not_for_ever(watch: Watch) -> None:
    watched = watch(tty(0), unready={tty(0).sys_path})
    assert watched.present() == set()
    watched.wait_for(lambda: watched.present() == {"0"})


def test_without_a_udevd_nothing_is_kept_back(watch: Watch) -> None:
    watched = watch(tty(0), unready={tty(0).sys_path}, udevd=lambda: False)
    assert watched.present() == {"0"}


def test_a_missing_libudev_is_said_and_nothing_hangs(caplog) -> None:
    def missing(subsystems: Sequence[str]) -> Udev:
        raise ConfigError("libudev is not installed: apt install libudev1")

    watch = Hotplug(("tty",), clock=RealClock(), open_udev=missing)
    watch.start()
    assert watch.present(PATIENCE) == ()
    assert "apt install libudev1" in watch.trouble
    assert watch.stop(PATIENCE)
    with caplog.at_level(logging.WARNING):
        assert "apt install libudev1" in caplog.text


def test_it_is_started_once_and_may_be_stopped_without() -> None:
    watch = Hotplug(("tty",), clock=RealClock(), open_udev=lambda _: cast(Udev, FakeUdev()))
    assert watch.stop(PATIENCE)
    watch = Hotplug(("tty",), clock=RealClock(), open_udev=lambda _: cast(Udev, FakeUdev()))
    watch.start()
    with pytest.raises(RuntimeError):
        watch.start()
    assert watch.stop(PATIENCE)


def test_libudev_that_is_not_there_is_a_mistake_that_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("pyudev._ctypeslib.utils.find_library", lambda name: None)
    with pytest.raises(ConfigError, match="sudo apt install libudev1"):
        Udev(("tty",))


@pytest.mark.alone
def test_at_rest_it_only_glances(watch: Watch) -> None:
    watched = watch(tty(0))
    assert watched.present() == {"0"}
    before = watched.udev.glances
    watched.wait_for(lambda: watched.udev.glances >= before + 2)
    assert watched.udev.scans == 1
    turns = watched.udev.glances
    assert not threading.Event().wait(1.0)
    assert watched.udev.glances <= turns + 1
