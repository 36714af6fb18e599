"""What is kept of what the gateway tells: the newest, bounded."""

from __future__ import annotations

import pytest

from gateway.mail.message import Message
from gateway.watchdog import ears as module
from gateway.watchdog.ears import EVENTS, TEXT, Ears
from gateway.watchdog.health import NAME


def told(topic: str, body: object) -> Message:
    return Message("1", "1", 1, 0.0, "x", "", topic, body, kind="publication", retain=True)


def line(text: str, **more: object) -> dict[str, object]:
    return {"time": 1.0, "level": "error", "process": "p", "logger": "l", "text": text, **more}


def test_the_newest_state_of_each_is_kept_until_it_is_taken_back() -> None:
    ears = Ears(3)
    for topic in ("processes/a/state", "routes/a/state", "devices/a/state", "devices/a/moves"):
        ears.hear(told(topic, {"state": "x"}), 5.0)
        ears.hear(told(topic, {"state": topic}), 6.0)
        ears.hear(told(topic, "nonsense"), 7.0)
    facts = ears.facts({})
    for table in (facts.processes, facts.routes, facts.devices, facts.moves):
        assert table["a"].at == 6.0
    assert facts.moves["a"].body == {"state": "devices/a/moves"}
    ears.hear(told("devices/a/state", None), 8.0)
    assert ears.facts({}).devices == {}
    assert ears.facts({}).moves != {}


@pytest.mark.parametrize(
    ("topic", "body", "is_stuck"),
    [
        ("state", {"state": "living"}, True),
        ("events/goes_on", {"pid": 1}, False),
        ("state", {"state": "failed"}, False),
        ("state", None, False),
    ],
)
def test_who_is_stuck_is_so_until_it_goes_on_or_ends(
    topic: str, body: object, is_stuck: bool
) -> None:
    ears = Ears(3)
    ears.hear(told("processes/a/state", {"state": "living"}), 5.0)
    for name in ("a", "nobody"):
        ears.hear_stuck(told(f"processes/{name}/events/stuck", {"seconds": 3}), 6.0)
    assert {name: each.body for name, each in ears.facts({}).stuck.items()} == {
        "a": {"seconds": 3.0}
    }
    heard = told(f"processes/a/{topic}", body)
    (ears.hear if topic == "state" else ears.hear_stuck)(heard, 7.0)
    assert ("a" in ears.facts({}).stuck) == is_stuck


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    ears = Ears(3)
    for name in "abc":
        ears.hear(told(f"devices/{name}/state", {}), 5.0)
    assert list(ears.facts({}).devices) == ["a", "b"]


def test_of_what_a_foreign_process_says_no_more_is_kept_than_the_report_tells() -> None:
    ears = Ears(3)
    endless = "x" * 9000
    body = {"state": endless, "cause": endless, "mode": ["?"], "since": 5.0, "more": endless}
    for kind in ("processes", "routes", "devices"):
        ears.hear(told(f"{kind}/a/state", body), 5.0)
        ears.hear(told(f"{kind}/{endless}/state", body), 5.0)
        ears.hear(told(f"{kind}/{'n' * NAME}/state", {"cause": "half\ud800"}), 5.0)
    counts = {**{str(number): number for number in range(99)}, "moves": endless}
    ears.hear(told("devices/a/moves", {"moves": [endless], "counts": counts}), 5.0)
    ears.miss_statistics("a", 5.0, f"has no answer: {endless}")
    facts = ears.facts({})
    for table in (facts.processes, facts.routes, facts.devices):
        assert list(table) == ["a", "n" * NAME]
        assert table["a"].body == {"state": "x" * TEXT, "cause": "x" * TEXT, "since": 5.0}
        assert table["n" * NAME].body == {"cause": "half?"}
    assert facts.moves["a"].body == {"counts": {str(number): number for number in range(EVENTS)}}
    assert len(facts.statistics["a"].reason) == TEXT


def test_the_last_errors_are_kept_and_all_are_counted() -> None:
    ears = Ears(2)
    for number in range(4):
        ears.hear_error(line(str(number)))
    ears.hear_error(line("7 lines were left out", level="warning", left_out=7))
    ears.hear_error("nonsense")
    facts = ears.facts({})
    assert [each.text for each in facts.errors] == ["3", "7 lines were left out"]
    assert facts.errors_seen == {"error": 4, "warning": 7}


def test_an_error_is_kept_in_part() -> None:
    ears = Ears(2)
    ears.hear_error(line("x" * 9000, process="x" * 9000, logger="x" * 9000, level="x" * 9000))
    (kept,) = ears.facts({}).errors
    assert {len(text) for text in (kept.text, kept.process, kept.logger)} == {TEXT}
    assert len(kept.level) == NAME


def test_whoever_could_write_less_down_than_before_has_lost_letters() -> None:
    ears = Ears(5)
    for at, body in enumerate(({"mqtt": 0}, {"mqtt": 2, "log": 1}, {"mqtt": 2, "log": 1}, None)):
        ears.hear_statistics("serial", {"unwritten": body}, float(at))
    assert ears.facts({}).unwritten == {"serial": 1.0}


def test_a_spool_that_drops_more_than_before_has_lost_letters() -> None:
    ears = Ears(2)
    ears.hear_statistics("mqtt", {"spool": {"dropped": 0}}, 1.0)
    assert ears.facts({}).spool_losses == {}
    ears.hear_statistics("mqtt", {"spool": {"dropped": 3}}, 2.0)
    ears.hear_statistics("mqtt", {"spool": {"dropped": 3}}, 3.0)
    assert ears.facts({}).spool_losses == {"mqtt": 2.0}
    # A new life begins to count anew.
    ears.hear_statistics("mqtt", {"spool": {"dropped": 0}}, 4.0)
    ears.hear_statistics("mqtt", {"spool": {"dropped": 1}}, 5.0)
    assert ears.facts({}).spool_losses == {"mqtt": 5.0}
