"""The report: what is in it, how old that is, and that it is bounded."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.hosting.statistics import Statistics
from gateway.mail.body import checked
from gateway.mail.codec import from_json, to_json
from gateway.watchdog.health import (
    BYTES,
    COUNTERS,
    MOST,
    NAME,
    WHOLE_BYTES,
    ErrorLine,
    Facts,
    Problem,
    Report,
    Told,
    fitted,
    put_together,
)
from gateway.watchdog.reading import Reading, absent, failed

NOW = 1000.0


def report(facts: Facts, problems: list[Problem] | None = None) -> Report:
    return put_together(
        facts, problems or [], moment=NOW, time=NOW + 500.0, node="n", version="1", stale_after=90.0
    )


def test_the_worst_problem_comes_first_and_then_the_oldest() -> None:
    problems = [
        Problem("a", "warning", "", "", 5.0),
        Problem("b", "critical", "", "", 9.0),
        Problem("c", "warning", "", "", 1.0),
    ]
    found = report(Facts(), problems)
    assert found.verdict == "critical"
    assert [each.key for each in found.problems] == ["b", "c", "a"]
    # Told on the clock of the day, whatever that was when they began.
    assert [each.since for each in found.problems] == [509.0, 501.0, 505.0]


def test_every_reading_has_an_age_and_a_quality() -> None:
    machine = {
        "uptime": Reading({"seconds": 1.0}, NOW - 10),
        "memory": Reading({"total": 1}, NOW - 91),
        "power": absent(NOW - 500, "no Pi"),
        "clock": failed(NOW, "no"),
    }
    found = report(Facts(machine=machine)).machine
    assert {name: (each.quality, each.age) for name, each in found.items()} == {
        "uptime": ("good", 10.0),
        "memory": ("stale", 91.0),
        "power": ("absent", 500.0),
        "clock": ("failed", 0.0),
    }
    assert found["power"].value is None


def test_a_device_has_its_state_its_events_and_what_its_driver_counted() -> None:
    body = {"state": "healthy", "connected": True, "cause": "c", "since": 400.0}
    facts = Facts(
        devices={"wheels": Told(body, 990.0)},
        moves={"wheels": Told({"moves": [], "counts": {"proven": 2}}, 980.0)},
        statistics={"serial": Reading({"devices": {"wheels": {"frames": 7}}, "x": 1}, 995.0)},
        routes={"serial": Told({"state": "connected"}, 900.0)},
    )
    found = report(facts)
    wheels = found.devices["wheels"]
    assert (wheels.state, wheels.connected, wheels.since, wheels.age) == (
        "healthy",
        True,
        400.0,
        10.0,
    )
    assert wheels.events is not None
    assert (wheels.events.value, wheels.events.age) == ({"proven": 2}, 20.0)
    assert wheels.counters is not None
    assert (wheels.counters.value, wheels.counters.age) == ({"frames": 7}, 5.0)
    serial = found.routes["serial"]
    assert serial.counters is not None
    assert serial.counters.value == {"x": 1}


def test_a_route_that_did_not_answer_has_no_counters_but_a_reason() -> None:
    facts = Facts(
        routes={"mqtt": Told({"state": "connected"}, NOW)},
        statistics={"mqtt": failed(NOW, "does not answer")},
    )
    counters = report(facts).routes["mqtt"].counters
    assert counters is not None
    assert (counters.value, counters.quality, counters.reason) == (
        None,
        "failed",
        "does not answer",
    )


def test_a_spool_is_told_as_its_route_tells_it() -> None:
    facts = Facts(statistics={"mqtt": Reading({"spool": {"queued": 3}}, NOW - 100)})
    found = report(facts).spools["mqtt"]
    assert (found.value, found.quality) == ({"queued": 3}, "stale")
    assert report(Facts(statistics={"usb": Reading({"spool": None}, NOW)})).spools == {}


def test_a_report_is_bounded_and_says_what_was_left_out() -> None:
    many: dict[str, Any] = {
        f"d{number:04}": Told({"state": "absent"}, NOW) for number in range(300)
    }
    counters = {f"c{number:04}": number for number in range(COUNTERS + 9)}
    facts = Facts(
        devices=many,
        routes={"r": Told({"state": "connected"}, NOW)},
        statistics={"r": Reading(counters, NOW)},
    )
    found = report(facts, [Problem(str(n), "warning", "", "") for n in range(MOST + 1)])
    assert len(found.devices) == MOST
    assert found.left_out == {"devices": 300 - MOST, "problems": 1}
    assert len(found.problems) == MOST
    own = found.routes["r"].counters
    assert own is not None
    assert own.value is not None
    assert len(own.value) == COUNTERS


def many_boards(number: int) -> Facts:
    """Return what is so of a house with as many boards, the first of which has failed."""
    counted = Statistics(openings=3, connections=3, frames=123_456, pings=4321, pongs=4321)
    names = [f"board_{each:03}" for each in range(number)]
    healthy = {"state": "healthy", "connected": True, "cause": "it was heard", "since": 1.7e9 + 0.5}
    failed_ = {"state": "failed", "connected": False, "cause": "no handshake", "since": 1.7e9 + 0.5}
    happened = {"counts": {"present": 3, "opened": 3, "proven": 3, "heard": 3, "lost": 2}}
    states = {name: Told(healthy, NOW) for name in names} | {names[0]: Told(failed_, NOW)}
    hosted = {name: msgspec.to_builtins(counted) for name in names}
    return Facts(
        devices=states,
        moves={name: Told(happened, NOW) for name in names},
        routes={"serial": Told({"state": "connected"}, NOW)},
        statistics={"serial": Reading({"devices": hosted}, NOW)},
    )


FAILED = Problem("device/board_000", "critical", "board_000 failed", "look at it")


def test_two_hundred_boards_go_through_everywhere_and_all_that_is_shown_of_them_is_told() -> None:
    whole = report(many_boards(200), [FAILED])
    found = fitted(whole, BYTES)
    assert len(to_json(msgspec.to_builtins(found))) <= BYTES < 64 << 10
    assert len(to_json(msgspec.to_builtins(whole))) > 64 << 10
    shown = ("state", "connected", "cause", "since", "age", "events")
    for name, state in whole.devices.items():
        assert [getattr(found.devices[name], each) for each in shown] == [
            getattr(state, each) for each in shown
        ]
    # What a driver has counted is told of the one that is not well.
    assert [name for name, each in found.devices.items() if each.counters] == ["board_000"]
    assert found.left_out == {"counters": 199}
    assert msgspec.structs.replace(found, devices={}, left_out={}) == msgspec.structs.replace(
        whole, devices={}
    )


def test_a_report_that_fits_is_left_alone() -> None:
    whole = report(many_boards(20), [FAILED])
    assert fitted(whole, BYTES) is whole


def test_whatever_was_heard_a_report_has_no_more_bytes_than_it_may() -> None:
    text, names = "\1" * 1000, [f"{n:03}".ljust(NAME, "\1") for n in range(MOST)]
    told = {name: Told({"state": text, "cause": text, "mode": text}, NOW) for name in names}
    counted = dict.fromkeys(names[: COUNTERS + 1], 2**60)
    whole = report(
        Facts(
            processes=told,
            routes=told,
            devices=told,
            moves={name: Told({"counts": counted}, NOW) for name in names},
            statistics={name: Reading({"spool": counted, **counted}, NOW) for name in names[:20]},
            errors=tuple(ErrorLine(1.0, text, text, text, text) for _ in range(99)),
        ),
        [Problem(name, "critical", text, text) for name in names],
    )
    for most in (WHOLE_BYTES, BYTES):
        found = fitted(whole, most)
        assert len(to_json(msgspec.to_builtins(found))) <= most
        for kind in ("problems", "processes", "routes", "devices", "spools"):
            left_out = found.left_out.get(kind, 0)
            assert len(getattr(found, kind)) + left_out == len(getattr(whole, kind))
        assert found.verdict == "critical"


def test_a_counter_with_an_endless_name_is_none() -> None:
    facts = Facts(
        routes={"r": Told({"state": "connected"}, NOW)},
        statistics={"r": Reading({"x" * NAME: 1, "y" * (NAME + 1): 2, "half\ud800": 3}, NOW)},
    )
    counters = report(facts).routes["r"].counters
    assert counters is not None
    assert counters.value == {"x" * NAME: 1, "half?": 3}


def test_a_report_that_is_no_unicode_is_bounded_as_well() -> None:
    spool = {str(number): "\ud800" * 100 for number in range(100)}
    whole = report(Facts(statistics={"r": Reading({"spool": spool}, NOW)}))
    assert fitted(whole, 9000).spools == {}


def test_a_report_travels_as_a_letter_and_as_json() -> None:
    facts = Facts(
        machine={"uptime": Reading({"seconds": 1.0}, NOW)},
        devices={"wheels": Told({"state": "healthy", "connected": True, "since": 1.0}, NOW)},
    )
    built = msgspec.to_builtins(report(facts))
    body, _ = checked(built)
    # Tuples become lists on the way.
    assert from_json(to_json(body)) == msgspec.json.decode(msgspec.json.encode(built))


def test_a_body_of_another_shape_is_unknown_and_breaks_nothing() -> None:
    found = report(Facts(devices={"x": Told({"connected": "yes", "since": "ever"}, NOW)}))
    assert (found.devices["x"].state, found.devices["x"].connected) == ("unknown", None)
    assert found.devices["x"].since is None
