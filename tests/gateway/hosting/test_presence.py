"""What changed in what is plugged in: whatever the events say, the scan ends in the truth."""

from __future__ import annotations

from math import inf

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import READY_WITHIN, Presence
from tests.gateway.hosting.plugging import tty


def ready(*devices: PluggedDevice) -> dict[str, tuple[PluggedDevice, bool]]:
    return {each.sys_path: (each, True) for each in devices}


def told(presence: Presence) -> tuple[list[str], list[str]]:
    change = presence.take_change()
    if change is None:
        return [], []
    return [each.node[-1] for each in change.gone], [each.node[-1] for each in change.come]


def test_what_was_there_is_told_once_and_is_not_young() -> None:
    presence = Presence()
    presence.scanned(ready(tty(1), tty(0)), 10.0)
    assert told(presence) == ([], ["0", "1"])
    assert {each.seen for each in presence.present()} == {-inf}
    presence.added(tty(0), 11.0)
    presence.scanned(ready(tty(1), tty(0)), 12.0)
    assert presence.take_change() is None


def test_what_comes_later_knows_when() -> None:
    presence = Presence()
    presence.scanned({}, 0.0)
    presence.added(tty(0), 5.0)
    presence.scanned(ready(tty(0), tty(1)), 6.0)
    assert [each.seen for each in presence.present()] == [5.0, 6.0]


def test_pulled_and_plugged_in_again_is_gone_and_come() -> None:
    presence = Presence()
    presence.scanned(ready(tty(0)), 0.0)
    presence.take_change()
    presence.removed(tty(0).sys_path)
    presence.added(tty(0), 3.0)
    assert told(presence) == (["0"], ["0"])
    assert presence.present()[0].seen == 3.0


def test_another_one_at_the_same_path_is_told_though_no_event_came() -> None:
    presence = Presence()
    presence.scanned(ready(tty(0)), 0.0)
    presence.take_change()
    presence.scanned(ready(tty(0, inode=7)), 2.0)
    assert told(presence) == (["0"], ["0"])


def test_what_came_and_went_in_between_is_not_told() -> None:
    presence = Presence()
    presence.scanned({}, 0.0)
    presence.added(tty(0), 1.0)
    presence.removed(tty(0).sys_path)
    assert presence.take_change() is None


def test_other_properties_are_told_as_come_and_other_counters_are_not() -> None:
    presence = Presence()
    presence.scanned(ready(tty(0, attributes={"dev": "166:0", "count": "1"})), 0.0)
    presence.take_change()
    presence.added(tty(0, attributes={"dev": "166:0", "count": "2"}), 1.0)
    assert presence.take_change() is None
    assert presence.present()[0].attributes["count"] == "2"
    presence.added(tty(0, properties={"ID_BUS": "usb"}), 1.0)
    assert told(presence) == ([], ["0"])


def test_a_device_that_was_read_before_it_had_all_its_attributes_is_told_again() -> None:
    presence = Presence()
    presence.scanned({}, 0.0)
    whole = tty(0)
    bare = msgspec.structs.replace(whole.ancestors[1], attributes={"idVendor": "2341"})
    early = msgspec.structs.replace(whole, ancestors=(whole.ancestors[0], bare, whole.ancestors[2]))
    for half in (tty(0, attributes={}), early):
        presence.scanned(ready(half), 1.0)
        assert told(presence) == ([], ["0"])
        presence.added(whole, 1.1)
        assert told(presence) == ([], ["0"])
        assert presence.present()[0].attributes == whole.attributes
        assert presence.present()[0].ancestors == whole.ancestors
        presence.removed(whole.sys_path)
        presence.take_change()


def test_a_half_born_device_is_kept_back_until_it_is_ready() -> None:
    presence = Presence()
    presence.scanned({}, 0.0)
    half = {tty(0).sys_path: (tty(0), False)}
    presence.scanned(half, 1.0)
    assert presence.take_change() is None
    assert presence.due == 1.0 + READY_WITHIN
    presence.added(tty(0), 1.2)
    assert told(presence) == ([], ["0"])
    assert presence.due == inf


def test_a_half_born_device_is_taken_as_it_is_in_the_end() -> None:
    presence = Presence()
    half = {tty(0).sys_path: (tty(0), False)}
    presence.scanned(half, 0.1)
    presence.scanned(half, 0.5)
    assert presence.take_change() is None
    presence.scanned(half, presence.due)
    assert told(presence) == ([], ["0"])
    # And stays, though udevd never told of it.
    presence.scanned(half, 9.0)
    assert presence.take_change() is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["added", "removed", "scanned", "told"]),
        st.sets(st.integers(0, 3)),
        st.integers(1, 2),
    ),
    max_size=30,
)


def test_one_whose_place_another_had_in_between_has_come_anew() -> None:
    presence = Presence()
    presence.added(tty(0, inode=1), 0.0)
    assert told(presence) == ([], ["0"])
    presence.added(tty(0, inode=2), 1.0)
    presence.added(tty(0, inode=1), 2.0)
    assert told(presence) == (["0"], ["0"])


@given(steps=STEPS, truth=st.dictionaries(st.integers(0, 3), st.integers(1, 2)))
def test_who_follows_the_changes_knows_what_the_last_scan_saw(
    steps: list[tuple[str, set[int], int]], truth: dict[int, int]
) -> None:
    presence = Presence()
    known: dict[str, PluggedDevice] = {}

    def follow() -> None:
        change = presence.take_change()
        if change is None:
            return
        for device in change.gone:
            assert known.pop(device.sys_path).is_same(device)
        for device in change.come:
            before = known.get(device.sys_path)
            assert before is None or before.is_same(device)
            known[device.sys_path] = device

    for now, (what, numbers, inode) in enumerate(steps):
        devices = [tty(number, inode=inode) for number in sorted(numbers)]
        if what == "scanned":
            presence.scanned(ready(*devices), now)
        elif what == "told":
            follow()
        for device in devices:
            if what == "added":
                presence.added(device, now)
            elif what == "removed":
                presence.removed(device.sys_path)
    presence.scanned(ready(*(tty(number, inode=inode) for number, inode in truth.items())), 99.0)
    follow()
    assert {path: each.inode for path, each in known.items()} == {
        tty(number).sys_path: inode for number, inode in truth.items()
    }
    assert tuple(known[path] for path in sorted(known)) == presence.present()


def test_who_comes_with_a_node_has_pulled_whoever_had_it_before() -> None:
    presence = Presence()
    presence.scanned(ready(tty(0, port="4")), 0.0)
    presence.take_change()
    presence.added(tty(0, port="1"), 1.0)
    change = presence.take_change()
    assert change is not None
    assert [each.sys_path for each in change.gone] == [tty(0, port="4").sys_path]
    assert [each.sys_path for each in change.come] == [tty(0, port="1").sys_path]
    # The former lingers in /sys for a moment, and then does not.
    presence.scanned(ready(tty(0, port="1"), tty(0, port="4")), 2.0)
    assert presence.take_change() is None
    presence.scanned(ready(tty(0, port="1")), 3.0)
    assert presence.take_change() is None
    presence.scanned(ready(tty(0, port="4")), 4.0)
    assert told(presence) == (["0"], ["0"]), "and may come back"
