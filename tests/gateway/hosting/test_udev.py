"""The watch under the real libudev and pyudev, on a machine that umockdev made up."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from tests.lab.hotplug_watcher import DEADLINE, HotplugWatcher
from tests.lab.os_processes import until
from tests.lab.umockdev import Umockdev, paths_of, tty_path, usb_serial

pytestmark = pytest.mark.needs("umockdev")


@pytest.fixture
def machine() -> Iterator[Umockdev]:
    with Umockdev() as machine:
        yield machine


def have_it_scan(watcher: HotplugWatcher, machine: Umockdev, number: int) -> None:
    """Have everything looked at once more, by events that tell nothing new of ``number``."""
    # A scan that was due already may be what follows the first.
    for _ in range(2):
        before = watcher.counts()["scans"]
        machine.uevent(tty_path(number), "change")
        assert until(lambda: watcher.counts()["scans"] > before, DEADLINE)  # noqa: B023


@pytest.mark.parametrize("source", ["kernel", "udev"])
def test_what_was_there_and_what_comes_and_goes_is_told(machine: Umockdev, source: str) -> None:
    machine.add(usb_serial(0, serial="A"))
    with HotplugWatcher("tty", source, environment=machine.environment) as watcher:
        watcher.wait_told("+ttyACM0")
        machine.add(usb_serial(1, serial="B"))
        watcher.wait_told("+ttyACM1")
        machine.unplug(*paths_of(0))
        watcher.wait_told("-ttyACM0")
        machine.add(usb_serial(0, serial="A"))
        watcher.wait_for(lambda _: watcher.told().count("+ttyACM0") == 2)
        # What the scans afterwards find is nothing new.
        have_it_scan(watcher, machine, 0)
        assert watcher.told() == ["+ttyACM0", "+ttyACM1", "-ttyACM0", "+ttyACM0"]


def test_a_device_is_told_with_all_that_may_be_matched(machine: Umockdev) -> None:
    machine.add(usb_serial(3, port="1.2", serial="X7"))
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        (change, *_) = watcher.wait_told("+ttyACM3")
    (tty,) = change["come"]
    assert tty["node"] == "/dev/ttyACM3"
    assert tty["subsystem"] == "tty"
    assert tty["properties"]["ID_PATH"] == "platform-soc-usb-0:1.2:1.0"
    assert tty["attributes"] == {"dev": "166:3"}
    interface, usb = tty["ancestors"]
    assert interface["attributes"]["bInterfaceNumber"] == "00"
    assert usb["attributes"]["serial"] == "X7"
    assert usb["properties"]["DEVTYPE"] == "usb_device"


def test_strings_that_are_no_utf8_and_binary_attributes_do_no_harm(machine: Umockdev) -> None:
    machine.add(usb_serial(0))
    usb = machine.root / paths_of(0)[2].lstrip("/")
    (usb / "product").write_bytes(b"Bo\xffard \xe9\n")
    (usb / "descriptors").write_bytes(bytes(range(256)))
    (usb / "huge").write_bytes(b"x" * 70_000)
    tty = machine.root / tty_path(0).lstrip("/")
    with (tty / "uevent").open("ab") as uevent:
        uevent.write(b"ID_MODEL=caf\xe9\n")
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        (change, *_) = watcher.wait_told("+ttyACM0")
    (device,) = change["come"]
    attributes = device["ancestors"][1]["attributes"]
    assert attributes["product"] == "Bo\N{REPLACEMENT CHARACTER}ard \N{REPLACEMENT CHARACTER}"
    assert not {"descriptors", "huge"} & attributes.keys()
    assert "ID_MODEL" not in device["properties"]
    assert device["properties"]["ID_BUS"] == "usb"


def test_a_device_that_comes_while_the_watch_starts_is_found_once(machine: Umockdev) -> None:
    for _ in range(3):
        with HotplugWatcher("tty", environment=machine.environment) as watcher:
            # Before its monitor is open, before its scan is done, and after.
            numbers = []
            for number in range(100):
                numbers.append(number)
                machine.add(usb_serial(number))
                if until(watcher.has_looked, 0.02):
                    break
            watcher.wait_present({f"ttyACM{number}" for number in numbers})
            have_it_scan(watcher, machine, 0)
            assert set(watcher.told()) == {f"+ttyACM{number}" for number in numbers}
            # One that was read before it had all its attributes is told again, with them.
            come = [device for change in watcher.said() for device in change.get("come", ())]
            assert all(come.count(device) == 1 for device in come)
        for number in numbers:
            machine.unplug(*paths_of(number))


def test_what_nobody_tells_of_is_seen_all_the_same(machine: Umockdev) -> None:
    machine.add(usb_serial(0))
    machine.add(usb_serial(1))
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        watcher.wait_present({"ttyACM0", "ttyACM1"})
        for path in paths_of(0):
            machine.remove(path)  # silently
        watcher.wait_present({"ttyACM1"})


def test_an_event_that_lies_takes_nothing_away(machine: Umockdev) -> None:
    machine.add(usb_serial(0))
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        watcher.wait_present({"ttyACM0"})
        machine.uevent(tty_path(0), "remove")  # and it is still there
        assert until(lambda: watcher.counts()["events"] == 1, DEADLINE)
        have_it_scan(watcher, machine, 0)
        assert watcher.told() == ["+ttyACM0"]


def test_a_burst_of_events_is_told_of_at_once_and_leaves_the_watch_at_rest(
    machine: Umockdev,
) -> None:
    machine.add(usb_serial(0))
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        watcher.wait_present({"ttyACM0"})
        for _ in range(300):
            machine.uevent(tty_path(0), "change")
        assert until(lambda: watcher.counts()["events"] == 300, DEADLINE)
        have_it_scan(watcher, machine, 0)
        assert watcher.told() == ["+ttyACM0"]


@pytest.mark.parametrize("free", range(6))
def test_whoever_is_out_of_descriptors_takes_nothing_for_unplugged(
    machine: Umockdev, free: int
) -> None:
    machine.add(usb_serial(0))
    machine.add(usb_serial(1))
    with HotplugWatcher("tty", environment=machine.environment) as watcher:
        watcher.wait_present({"ttyACM0", "ttyACM1"})
        before = watcher.counts()
        limits = resource.prlimit(watcher.pid, resource.RLIMIT_NOFILE)
        in_use = max(int(name) for name in os.listdir(f"/proc/{watcher.pid}/fd")) + 1
        resource.prlimit(watcher.pid, resource.RLIMIT_NOFILE, (in_use + free, limits[1]))
        machine.uevent(tty_path(0), "change")
        machine.unplug(*paths_of(1))

        def has_tried() -> bool:
            now = watcher.counts()
            # An event is looked at, and a scan is made or fails.
            scans = now["scans"] + now["troubles"] - before["scans"] - before["troubles"]
            return bool(now["events"] > before["events"] and scans > 0)

        assert until(has_tried, DEADLINE)
        resource.prlimit(watcher.pid, resource.RLIMIT_NOFILE, limits)
        watcher.wait_told("-ttyACM1")
        have_it_scan(watcher, machine, 0)
        assert watcher.told() == ["+ttyACM0", "+ttyACM1", "-ttyACM1"]
