"""A thread that neither waits nor gets on is stuck, and one that gets on is not."""

from __future__ import annotations

from gateway.hosting.stuck import StuckThreads


def test_who_waits_for_work_may_wait_for_ever() -> None:
    watch = StuckThreads(10.0)
    for now in range(0, 1000, 5):
        assert watch.look(now, {"arm": (True, 3)}) == []


def test_who_gets_on_is_not_stuck_however_busy() -> None:
    watch = StuckThreads(10.0)
    for now in range(0, 1000, 5):
        assert watch.look(now, {"arm": (False, now)}) == []


def test_who_stands_still_is_stuck_once_and_freed_by_progress() -> None:
    watch = StuckThreads(10.0)
    looks = [watch.look(now, {"arm": (False, 3), "leg": (True, 0)}) for now in (0, 5, 9.9, 10, 20)]
    assert looks == [[], [], [], ["arm"], []]
    assert watch.names == ["arm"]
    assert watch.look(25, {"arm": (True, 3)}) == []
    assert watch.names == []
    assert watch.look(34, {"arm": (False, 3)}) == []
    assert watch.look(35, {"arm": (False, 3)}) == ["arm"]
