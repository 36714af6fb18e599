"""What a technician reads: what is wrong first, words before colours, nothing unsafe."""

from __future__ import annotations

import re
from typing import Any

from gateway.cli.health_page import render

NOW = 10_000.0


def reading(value: dict[str, Any] | None, quality: str = "good", **more: Any) -> dict[str, Any]:
    return {"value": value, "quality": quality, "age": 0.5, "reason": "", **more}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "time": NOW,
        "node": "kitchen-pi",
        "version": "1.2",
        "verdict": "fine",
        "problems": [],
        "machine": {
            "uptime": reading({"seconds": 7500.0}),
            "temperature": reading({"celsius": 48.7, "zones": {}, "unread": 0}),
            "power": reading(None, "absent", reason="it is no Raspberry Pi"),
            "memory": reading({"total": 4e9, "available": 1e9}),
        },
        "processes": {},
        "routes": {},
        "devices": {},
        "spools": {},
        "errors": [],
        **changes,
    }


PROBLEM = {
    "key": "machine/temperature",
    "level": "critical",
    "what": "it is 91 °C hot",
    "advice": "give it air",
    "since": NOW - 75,
}


def test_a_well_gateway_says_so_on_its_first_line() -> None:
    lines = render(report())
    assert lines[0] == "kitchen-pi: FINE, well"
    assert lines[1].startswith("version 1.2, machine up 2h05m, told at ")


def test_what_is_wrong_comes_first_with_what_to_do_about_it() -> None:
    lines = render(report(verdict="critical", problems=[PROBLEM]))
    assert lines[0] == "kitchen-pi: CRITICAL, 1 problem"
    assert lines[3:5] == [
        "CRITICAL  it is 91 °C hot (for 1m15s)",
        "          → give it air",
    ]


def words(lines: list[str]) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in lines if len(line.split()) > 1}


def test_each_reading_has_a_word_and_what_is_not_known_is_not_fine() -> None:
    machine = report()["machine"]
    machine["memory"] = reading({"total": 4e9, "available": 1e9}, "stale", age=400.0)
    machine["clock"] = reading(None, "failed", reason="not permitted")
    said = words(render(report(machine=machine, problems=[PROBLEM])))
    assert said["temperature"] == "critical"
    assert said["power"] == "unknown"
    assert said["memory"] == "stale"
    assert said["clock"] == "unread"


def test_what_could_not_be_read_says_why() -> None:
    machine = {"clock": reading(None, "failed", reason="not permitted")}
    assert any("not permitted" in line for line in render(report(machine=machine)))


def test_colours_only_repeat_what_the_words_say() -> None:
    full = report(
        verdict="critical",
        problems=[PROBLEM],
        devices={"wheels": {"state": "failed", "cause": "no handshake", "since": NOW - 5}},
        errors=[{"time": NOW, "level": "error", "process": "serial", "text": "x"}],
    )
    plain, coloured = render(full), render(full, colour=True)
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in coloured] == plain
    assert "\x1b[31mCRITICAL\x1b[0m" in coloured[0]
    assert not any("\x1b" in line for line in plain)


def test_devices_and_routes_say_their_cause_and_their_counts() -> None:
    lines = render(
        report(
            routes={"mqtt": {"state": "waiting", "cause": "no broker", "since": NOW - 60}},
            spools={"mqtt": reading({"queued": 12})},
            devices={
                "wheels": {
                    "state": "healthy",
                    "cause": "it answered",
                    "since": NOW - 5,
                    "events": reading({"proven": 3}),
                }
            },
            processes={"serial": {"state": "living", "cause": "x", "restarts": 2}},
            left_out={"devices": 4},
        )
    )
    text = "\n".join(lines)
    assert re.search(r"mqtt +waiting +1m00s: no broker \(12 wait in its spool\)", text)
    assert re.search(r"wheels +healthy +5s: it answered \(connected 3 times\)", text)
    assert "restarted 2 times" in text
    assert "… and 4 more" in text


def test_one_is_no_plural() -> None:
    said = "\n".join(
        render(
            report(
                routes={"mqtt": {"state": "waiting", "cause": "no broker", "since": NOW - 60}},
                spools={"mqtt": reading({"queued": 1})},
                processes={"serial": {"state": "living", "cause": "x", "restarts": 1}},
            )
        )
    )
    assert "(1 waits in its spool)" in said
    assert "(restarted once)" in said


def test_a_route_that_does_not_answer_does_not_look_well_in_its_row() -> None:
    silent = reading(None, "failed", reason="does not answer: it is busy or stuck")
    state = {"state": "connected", "cause": "it hosts wheels", "since": NOW - 60}
    said = "\n".join(render(report(routes={"serial": {**state, "counters": silent}})))
    assert "1m00s: it hosts wheels (but it does not answer: it is busy or stuck)" in said


def test_a_line_of_the_log_of_another_day_has_its_date() -> None:
    line = {"level": "error", "process": "main", "text": "x"}
    now = 1_795_269_751.0
    errors = [{**line, "time": now - 3 * 86_400}, {**line, "time": now}]
    *_, old, new = render(report(time=now, errors=errors))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d error    main: x", old)
    assert re.fullmatch(r"\d\d:\d\d:\d\d error    main: x", new)


def test_columns_stand_below_their_headings() -> None:
    devices = {
        name: {"state": state, "cause": "CAUSE", "since": None}
        for name, state in (("a", "stale"), ("a-long-name", "absent"))
    }
    lines = render(report(devices=devices))
    head = next(line for line in lines if line.startswith("DEVICE"))
    for line in lines[lines.index(head) + 1 : lines.index(head) + 3]:
        assert line.index("CAUSE") == head.index("FOR HOW LONG")


def test_lines_are_wrapped_to_the_terminal() -> None:
    long = {**PROBLEM, "what": "word " * 60, "advice": "advice " * 60}
    lines = render(report(problems=[long]), 72)
    assert max(map(len, lines)) <= 72


def test_names_cannot_write_to_the_terminal() -> None:
    evil = "\x1b[2Jx"
    state = {"state": evil, "cause": evil, "since": NOW}
    lines = render(
        report(
            node=evil,
            devices={evil: state},
            problems=[{**PROBLEM, "what": evil, "advice": evil}],
            errors=[{"time": NOW, "level": evil, "process": evil, "text": evil}],
        )
    )
    assert "\x1b" not in "\n".join(lines)
