"""Where a device is plugged in: found by what it is, claimed, told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gateway.device.link import Link
from gateway.errors import LinkAbsentError, LinkLostError, RefusedError
from gateway.hosting.berth import MatchedBerth, PortBerth
from gateway.hosting.claims import Claims
from gateway.hosting.hotplug import Hotplug
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import Change
from gateway.testing.fake_link import FakeLink
from tests.gateway.hosting.plugging import FakeHotplug, come, gone, tty


class Place:
    """Some devices of ours around one watch; what they open is written down."""

    def __init__(self, *devices: PluggedDevice) -> None:
        self.hotplug = FakeHotplug(*devices)
        self.claims = Claims()
        self.opened: list[str] = []
        self.error: Exception | None = None

    def matched(self, name: str, **match: str) -> MatchedBerth:
        watch = cast(Hotplug, self.hotplug)
        return MatchedBerth(name, Match(match), self._open, self.claims, watch)

    def port(self, name: str, path: str) -> PortBerth:
        watch = cast(Hotplug, self.hotplug)
        return PortBerth(name, path, lambda: self._open(tty(0)), self.claims, watch)

    def _open(self, device: PluggedDevice) -> Link:
        self.opened.append(device.node)
        if self.error is not None:
            raise self.error
        link = FakeLink()
        link.close()
        return link


def told(berth: MatchedBerth | PortBerth) -> Any:
    found = berth.told()
    return found and found["node"]


def test_what_matches_is_opened_claimed_and_told() -> None:
    place = Place(tty(0), tty(1))
    berth = place.matched("arm", ID_SERIAL_SHORT="S1")
    berth()
    assert place.opened == ["/dev/ttyACM1"]
    assert berth.told() == {
        "node": "/dev/ttyACM1",
        "path": tty(1).sys_path,
        "properties": {
            "ID_BUS": "usb",
            "ID_VENDOR_ID": "2341",
            "ID_SERIAL_SHORT": "S1",
            "ID_PATH": "2",
        },
    }


def test_absent_says_what_is_looked_for_and_what_comes_near() -> None:
    place = Place(tty(0))
    with pytest.raises(LinkAbsentError, match=r"nothing plugged in matches ID_BUS=pci$"):
        place.matched("arm", ID_BUS="pci")()
    near = "matches ID_BUS=usb, ID_SERIAL_SHORT=S7; /dev/ttyACM0 comes near, but .*'S0', not 'S7'"
    with pytest.raises(LinkAbsentError, match=near):
        place.matched("arm", ID_BUS="usb", ID_SERIAL_SHORT="S7")()


def test_what_is_another_s_does_not_come_near() -> None:
    place = Place(tty(0))
    place.matched("leg", ID_SERIAL_SHORT="S0")()
    with pytest.raises(LinkAbsentError, match=r"ID_SERIAL_SHORT=S7$"):
        place.matched("arm", ID_BUS="usb", ID_SERIAL_SHORT="S7")()


def test_two_identical_boards_are_told_apart_by_port() -> None:
    place = Place(tty(0, serial="", port="1.1"), tty(1, serial="", port="1.2"))
    right, left = place.matched("right", ID_PATH="1.2"), place.matched("left", ID_PATH="1.1")
    right()
    left()
    assert place.opened == ["/dev/ttyACM1", "/dev/ttyACM0"]


def test_two_that_match_both_boards_get_one_each_and_a_third_hears_of_the_clash() -> None:
    place = Place(tty(0), tty(1))
    for name in ("a", "b"):
        place.matched(name, ID_VENDOR_ID="2341")()
    assert place.opened == ["/dev/ttyACM0", "/dev/ttyACM1"]
    with pytest.raises(RefusedError, match=r"/dev/ttyACM0 is claimed by 'a'.*'c'.*ID_PATH"):
        place.matched("c", ID_VENDOR_ID="2341")()


def test_a_claim_outlives_the_link_and_ends_when_the_board_is_pulled() -> None:
    place = Place(tty(0))
    berth, other = place.matched("a", ID_BUS="usb"), place.matched("b", ID_BUS="usb")
    berth()
    berth.leave()
    assert told(berth) == "/dev/ttyACM0"
    with pytest.raises(RefusedError):
        other()
    place.hotplug.devices = ()
    news = berth.changed(gone(tty(0)))
    assert news.pulled == tty(0)
    assert berth.is_vacated
    assert told(berth) is None
    place.hotplug.devices = (tty(0),)
    other()
    assert told(other) == "/dev/ttyACM0"


def test_what_it_has_is_opened_again_before_another_that_matches_too() -> None:
    place = Place(tty(1))
    berth = place.matched("a", ID_BUS="usb")
    berth()
    place.hotplug.devices = (tty(0), tty(1))
    berth()
    assert place.opened == ["/dev/ttyACM1"] * 2


def test_news_are_what_concerns_it() -> None:
    place = Place(tty(0))
    berth = place.matched("a", ID_SERIAL_SHORT="S0")
    assert berth.changed(come(tty(1))) == (None, False)
    assert berth.changed(come(tty(0))) == (None, True)
    berth()
    assert berth.changed(come(tty(0, properties={"ID_SERIAL_SHORT": "S0"}))) == (None, False)
    assert berth.changed(gone(tty(1))) == (None, False)
    both = Change((tty(0),), (tty(0, seen=5.0),))
    assert berth.changed(both) == (tty(0), True)


def test_a_successor_that_was_told_of_before_the_pull_is_found_by_it() -> None:
    place = Place(tty(0, serial="A"))
    berth = place.matched("a", ID_SERIAL_SHORT="A")
    berth()
    place.hotplug.devices = (tty(0, serial="A"), tty(1, serial="A"))
    assert berth.changed(come(tty(1, serial="A"))) == (None, False)
    place.hotplug.devices = (tty(1, serial="A"),)
    assert berth.changed(gone(tty(0, serial="A"))) == (tty(0, serial="A"), True)


def test_one_that_came_after_the_pull_is_not_taken_for_the_pulled() -> None:
    place = Place(tty(0, seen=5.0))
    berth = place.matched("a", ID_SERIAL_SHORT="S0")
    berth()  # the thread was faster than the news of the pull before
    assert berth.changed(Change((tty(0),), (tty(0, seen=5.0),))) == (None, False)
    assert not berth.is_vacated


def test_without_libudev_it_says_what_to_install() -> None:
    place = Place()
    place.hotplug.trouble = "libudev is missing: apt install libudev1"
    with pytest.raises(LinkLostError, match="apt install libudev1"):
        place.matched("a", ID_BUS="usb")()


def test_a_port_is_claimed_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "ttyACM0"
    path.touch()
    place = Place(tty(0, node=str(path)))
    berth, other = place.port("a", str(path)), place.port("b", str(path))
    berth()
    assert told(berth) == str(path)
    assert berth.told() == tty(0, node=str(path)).told()
    with pytest.raises(RefusedError, match=r"'a'.*'b'"):
        other()
    with pytest.raises(RefusedError, match=r"'a'.*'c'"):
        place.matched("c", ID_BUS="usb")()
    berth.leave()
    assert told(berth) is None
    other()


def test_a_port_that_cannot_be_opened_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "board"
    path.touch()
    place = Place()
    berth = place.port("a", str(path))
    place.error = LinkLostError("busy")
    with pytest.raises(LinkLostError, match="busy"):
        berth()
    assert told(berth) is None
    place.error = None
    berth()
    assert berth.told() == {"node": str(path), "path": "", "properties": {}}


def test_a_port_is_woken_by_its_node_its_link_or_what_its_link_leads_to(tmp_path: Path) -> None:
    place = Place()
    link = tmp_path / "link"
    link.symlink_to("/dev/ttyACM3")
    by_id = {"DEVLINKS": "/dev/serial/by-id/x /dev/serial/by-path/y"}
    assert place.port("a", "/dev/ttyACM3").changed(come(tty(3))).come
    assert place.port("a", str(link)).changed(come(tty(3))).come
    assert place.port("a", "/dev/serial/by-id/x").changed(come(tty(3, properties=by_id))).come
    assert not place.port("a", "/dev/ttyACM3").changed(come(tty(1))).come
    assert not place.port("a", "/dev/ttyACM3").changed(gone(tty(3))).come
