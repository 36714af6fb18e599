"""What is not well, from facts and thresholds; what only is not known is no problem."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.schema import HealthSettings
from gateway.watchdog.health import Facts, Problem, Told, worst
from gateway.watchdog.judgement import LOSS_REMEMBERED, Memory, is_worse, judge
from gateway.watchdog.reading import Reading, absent, failed

NOW = 100_000.0
SETTINGS = HealthSettings()


def judged(**machine: Any) -> list[tuple[str, str]]:
    """Return the keys and levels of what a machine with these values comes to."""
    readings = {
        name: each if isinstance(each, Reading) else Reading(each, NOW)
        for name, each in machine.items()
    }
    return found_in(Facts(machine=readings))


def found_in(facts: Facts, settings: HealthSettings = SETTINGS) -> list[tuple[str, str]]:
    problems = judge(facts, settings, NOW)
    assert all(problem.what and problem.advice for problem in problems)
    return [(problem.key, problem.level) for problem in problems]


def told(state: str, **more: Any) -> Told:
    return Told({"state": state, "cause": "for a reason", "since": 1.0, **more}, NOW)


@pytest.mark.parametrize(
    ("celsius", "level"), [(74.9, None), (75.0, "warning"), (84.9, "warning"), (85.0, "critical")]
)
def test_heat_is_judged_by_two_thresholds(celsius: float, level: str | None) -> None:
    found = judged(temperature={"celsius": celsius})
    assert found == ([("machine/temperature", level)] if level else [])


@pytest.mark.parametrize(
    ("available", "level"), [(10, None), (9, "warning"), (2, "warning"), (1, "critical")]
)
def test_memory_is_judged_by_what_is_available(available: int, level: str | None) -> None:
    found = judged(memory={"total": 100, "available": available})
    assert found == ([("machine/memory", level)] if level else [])


def test_load_counts_per_core_and_not_at_all_where_those_are_unknown() -> None:
    assert judged(load={"15m": 8.1, "cores": 4}) == [("machine/load", "warning")]
    assert judged(load={"15m": 8.0, "cores": 4}) == []
    assert judged(load={"15m": 8.1, "cores": None}) == []


def disk(**changes: Any) -> dict[str, Any]:
    fine = {"path": "/x", "total": 1000, "free": 500, "inodes": 1000, "inodes_free": 500}
    return {**fine, "read_only": False, **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"free": 49}, [("machine/disk_state/space", "warning")]),
        ({"free": 29}, [("machine/disk_state/space", "critical")]),
        ({"inodes_free": 29}, [("machine/disk_state/inodes", "critical")]),
        ({"inodes": 0, "inodes_free": 0}, []),
        ({"read_only": True}, [("machine/disk_state/read_only", "critical")]),
    ],
)
def test_a_disk_is_judged_by_bytes_and_inodes_and_whether_it_can_be_written(
    changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert judged(disk_state=disk(**changes)) == expected


def test_power_now_is_worse_than_power_once_and_unknown_is_neither() -> None:
    unknown = dict.fromkeys(
        ["under_voltage", "under_voltage_since_start", "throttled", "frequency_capped", "hot"]
    )
    assert judged(power=unknown) == []
    assert judged(power={**unknown, "under_voltage": True}) == [
        ("machine/power/under_voltage", "critical")
    ]
    assert judged(power={**unknown, "under_voltage": False, "under_voltage_since_start": True}) == [
        ("machine/power/under_voltage", "warning")
    ]
    assert judged(power={**unknown, "throttled": True}) == [("machine/power/throttled", "warning")]


def test_a_clock_has_time_to_be_set_after_the_start() -> None:
    unset = {"synchronized": False}
    assert judged(clock=unset, uptime={"seconds": 60.0}) == []
    assert judged(clock=unset, uptime={"seconds": 2000.0}) == [("machine/clock", "warning")]
    assert judged(clock=unset) == [("machine/clock", "warning")]
    assert judged(clock={"synchronized": True}, uptime={"seconds": 2000.0}) == []


def test_what_cannot_be_read_is_a_problem_and_what_is_not_there_is_none() -> None:
    assert judged(memory=failed(NOW, "no such file")) == [("machine/memory/failed", "warning")]
    assert judged(power=absent(NOW, "no Pi")) == []


@pytest.mark.parametrize(
    ("state", "level"),
    [
        ("living", None),
        ("stopped", None),
        ("ended", None),
        ("failed", "critical"),
        ("degraded", "critical"),
    ],
)
def test_a_process_that_is_not_restarted_any_more_is_critical(
    state: str, level: str | None
) -> None:
    found = found_in(Facts(processes={"arm": told(state)}))
    assert found == ([("process/arm", level)] if level else [])


def test_a_process_that_makes_no_progress_is_critical() -> None:
    stuck = {"arm": Told({"seconds": 30.2}, NOW)}
    assert found_in(Facts(processes={"arm": told("living")}, stuck=stuck)) == [
        ("process/arm/stuck", "critical")
    ]


@pytest.mark.parametrize(
    ("state", "counts", "level"),
    [
        ("healthy", {}, None),
        ("failed", {}, "critical"),
        ("stale", {}, "warning"),
        ("absent", {}, None),
        ("absent", {"absent": 1}, None),
        ("absent", {"proven": 2}, "warning"),
        ("absent", {"proven": 2, "stopped": 1}, None),
    ],
)
def test_an_absent_device_is_a_problem_only_where_it_was_connected(
    state: str, counts: dict[str, int], level: str | None
) -> None:
    moves = {"wheels": Told({"moves": [], "counts": counts}, NOW)}
    found = found_in(Facts(devices={"wheels": told(state)}, moves=moves))
    assert found == ([("device/wheels", level)] if level else [])


@pytest.mark.parametrize(
    ("state", "level"), [("connected", None), ("waiting", "warning"), ("failed", "critical")]
)
def test_a_route_that_waits_is_a_warning_and_one_that_failed_is_critical(
    state: str, level: str | None
) -> None:
    found = found_in(Facts(routes={"mqtt": told(state)}))
    assert found == ([("route/mqtt", level)] if level else [])


def test_a_route_that_does_not_answer_is_a_warning() -> None:
    facts = Facts(
        routes={"mqtt": told("connected")}, statistics={"mqtt": failed(NOW, "does not answer")}
    )
    assert found_in(facts) == [("route/mqtt/silent", "warning")]


def test_a_route_that_was_stopped_owes_no_answer() -> None:
    facts = Facts(
        processes={"mqtt": told("stopped")},
        routes={"mqtt": told("stopped")},
        statistics={"mqtt": failed(NOW, "does not answer")},
    )
    assert found_in(facts) == []


def test_letters_that_a_spool_lost_are_a_problem_for_an_hour() -> None:
    routes = {"mqtt": told("connected")}
    lately = Facts(routes=routes, spool_losses={"mqtt": NOW - LOSS_REMEMBERED + 1})
    long_ago = Facts(routes=routes, spool_losses={"mqtt": NOW - LOSS_REMEMBERED})
    assert found_in(lately) == [("route/mqtt/spool", "warning")]
    assert found_in(long_ago) == []


def test_what_could_not_be_written_down_to_wait_is_a_problem_for_an_hour() -> None:
    routes = {"serial": told("connected")}
    lately = Facts(routes=routes, unwritten={"serial": NOW - LOSS_REMEMBERED + 1})
    long_ago = Facts(routes=routes, unwritten={"serial": NOW - LOSS_REMEMBERED})
    assert found_in(lately) == [("route/serial/unwritten", "critical")]
    assert found_in(long_ago) == []


def test_a_flash_that_takes_nothing_is_a_problem_as_long_as_it_does_not() -> None:
    def facts(flash: object) -> Facts:
        statistics = {"mqtt": Reading({"spool": {"flash": flash}}, NOW)}
        return Facts(routes={"mqtt": told("connected")}, statistics=statistics)

    assert found_in(facts({"failing": "read-only"})) == [("route/mqtt/flash", "warning")]
    assert found_in(facts({"failing": ""})) == []
    assert found_in(facts(None)) == []
    (problem,) = judge(facts({"failing": "it is read-only"}), SETTINGS, NOW)
    assert problem.what.endswith("it is read-only")


# Since when, and whether it is news


def problem(key: str, level: Any = "warning") -> Problem:
    return Problem(key, level, "what", "advice")


def test_a_problem_began_when_it_was_seen_first_and_anew_when_it_comes_back() -> None:
    memory = Memory()
    assert [each.since for each in memory.remember([problem("a")], 1.0)] == [1.0]
    found = memory.remember([problem("a", "critical"), problem("b")], 2.0)
    assert [(each.key, each.since) for each in found] == [("a", 1.0), ("b", 2.0)]
    memory.remember([], 3.0)
    assert [each.since for each in memory.remember([problem("a")], 4.0)] == [4.0]


def test_news_is_what_is_new_or_worse() -> None:
    before = [problem("a"), problem("b", "critical")]
    assert not is_worse(before, before)
    assert not is_worse([], before)
    assert not is_worse([problem("b")], before)
    assert is_worse([problem("a", "critical")], before)
    assert is_worse([problem("c")], before)


def test_the_verdict_is_as_bad_as_the_worst() -> None:
    assert worst([]) == "fine"
    assert worst([problem("a")]) == "warning"
    assert worst([problem("a"), problem("b", "critical")]) == "critical"
