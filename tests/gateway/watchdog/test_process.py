"""The process ``health`` in a real application, with crew in OS processes of their own."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.application import Application
from gateway.config.schema import HealthSettings
from gateway.errors import CallTimeoutError, RefusedError
from gateway.mail.codec import to_json
from gateway.mail.message import Message
from gateway.process.log_stream import LogCopies
from gateway.process.mail_tap import MailTap
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from gateway.watchdog.process import Health
from tests.gateway.watchdog.readings.trees import PI_4, plant

DEADLINE = 30.0

log = logging.getLogger("tests.crew")


class Crew(Process):
    """A route with one device and a spool, that says and does what it is written."""

    def birth(self) -> None:
        self.add_filter(callback=self.on_say, subject="^say$")
        self.add_filter(callback=self.on_device, subject="^device$")
        self.add_filter(callback=self.on_break, subject="^break$")
        self.add_filter(callback=self.on_pid, subject="^pid$")
        self.publish(f"routes/{self.name}/state", {"state": "connected", "since": 1.0}, retain=True)
        self.tell("wheels", "healthy")

    def on_say(self, message: Message) -> None:
        log.log(message.body["level"], "%s", message.body["text"])
        if message.kind == "letter":
            self.reply(message)

    def on_device(self, message: Message) -> None:
        self.tell(**message.body)

    def tell(self, name: str, state: str) -> None:
        body = {"state": state, "connected": False, "cause": "told so", "since": 1.0}
        self.publish(f"devices/{name}/state", body, retain=True)

    def on_pid(self, message: Message) -> None:
        self.reply(message, os.getpid())

    def on_break(self, message: Message) -> None:
        raise ZeroDivisionError("a bug of the crew")

    def statistics(self) -> dict[str, Any]:
        return {**super().statistics(), "spool": {"queued": 4, "dropped": 0}}


class Stage:
    """What a scene has at hand."""

    def __init__(self, main: Process) -> None:
        self.main = main
        self.heard: list[Message] = []

    def ask(self, subject: str, body: Any = None, to: str = "health") -> Any:
        return self.main.wait_for_reply(self.main.send(to, subject, body), DEADLINE).body

    def hear(self, pattern: str) -> None:
        self.main.subscribe(pattern, self.heard.append)

    def await_(
        self, wanted: Callable[[Message], bool], nudge: Callable[[], object] = lambda: None
    ) -> Message:
        """Return the first that is wanted; ``nudge`` again and again until it has come."""
        deadline = time.monotonic() + DEADLINE
        seen = 0
        while time.monotonic() < deadline:
            nudge()
            self.main.mailman(timeout=0.1)
            for message in self.heard[seen:]:
                seen += 1
                if wanted(message):
                    return message
        raise AssertionError(f"only this was heard: {[m.body for m in self.heard]}")

    def say(self, text: str, level: int = logging.WARNING) -> None:
        self.ask("say", {"text": text, "level": level}, to="crew")


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what plays a scene around ``health`` with settings, on a Raspberry Pi."""
    # A boss that gets no time for a second is waited for.
    monkeypatch.setattr(MailTap.__init__, "__kwdefaults__", {"timeout": 20.0})
    root = plant(tmp_path / "root", PI_4)

    def play(
        scene: Callable[[Stage], Any], stuck_after: float | None = None, **settings: Any
    ) -> Any:
        results: list[Any] = []

        class Main(Process):
            def birth(self) -> None:
                try:
                    results.append(scene(Stage(self)))
                finally:
                    self.die()

        class Play(Application):
            def build(self) -> None:
                once = RestartPolicy("temporary")
                self.add_process("crew", Crew, mode="fork", restart=once, stuck_after=stuck_after)
                parameters = {
                    "settings": HealthSettings(**{"min_gap": 0.5, "period": 3600.0, **settings}),
                    "node": "kitchen-pi",
                    "sockets": "/run/gateway",
                    "root": str(root),
                }
                self.add_process("health", Health, depends=("crew",), parameters=parameters)

        assert Play(main=Main).run() == 0
        (result,) = results
        return result

    return play


Play = Callable[..., Any]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a report wait for a crew that gets no time for a second."""
    monkeypatch.setattr("gateway.watchdog.process.ANSWERS", 20.0)


@pytest.mark.usefixtures("patient")
def test_a_report_is_there_from_the_start(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("health")
        return stage.await_(lambda message: "crew" in message.body["routes"])

    message = play(scene)
    report = message.body
    assert message.retain
    assert (report["node"], report["verdict"]) == ("kitchen-pi", "warning")
    assert [each["key"] for each in report["problems"]] == ["machine/power/under_voltage"]
    assert report["machine"]["temperature"]["value"]["celsius"] == 48.686
    assert report["processes"]["crew"]["state"] == "living"
    assert report["routes"]["crew"]["counters"]["value"]["mail.accepted"] >= 0
    assert report["spools"]["crew"]["value"] == {"queued": 4, "dropped": 0}
    assert report["devices"]["wheels"]["state"] == "healthy"


@pytest.mark.usefixtures("patient")
def test_what_is_too_much_for_who_is_far_away_is_told_in_the_house(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.watchdog.process.BYTES", 2000)

    def scene(stage: Stage) -> Any:
        stage.hear("health/whole")
        stage.hear("health")
        whole = stage.await_(
            lambda message: message.subject == "health/whole" and "crew" in message.body["spools"]
        )
        far = stage.await_(
            lambda message: (
                message.subject == "health" and message.body["time"] == whole.body["time"]
            )
        )
        assert whole.retain
        assert far.retain
        return whole.body, far.body, stage.ask("report")

    whole, far, answer = play(scene)
    assert len(to_json(far)) <= 2000
    assert far["left_out"]["processes"] > 0
    assert (far["time"], far["verdict"]) == (whole["time"], whole["verdict"])
    for report in (whole, answer):
        assert report["left_out"] == {}
        assert report["spools"]["crew"]["value"] == {"queued": 4, "dropped": 0}


def test_who_asks_is_told_how_it_is_now(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        first = stage.ask("report")
        return first, stage.ask("report"), stage.ask("$statistics")

    first, second, statistics = play(scene)
    assert second["time"] > first["time"]
    assert second["machine"]["uptime"]["age"] < 60
    assert statistics["kept"]["devices"] == 1


def test_what_turns_from_well_to_unwell_is_told_long_before_the_period_is_over(
    play: Play,
) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("health")
        stage.await_(lambda message: "wheels" in message.body["devices"])
        stage.main.send("crew", "device", {"name": "wheels", "state": "failed"})
        return stage.await_(lambda message: message.body["verdict"] == "critical").body

    report = play(scene)
    problem = report["problems"][0]
    assert (problem["key"], problem["what"]) == ("device/wheels", "wheels failed: told so")
    assert problem["since"] <= report["time"]


def test_a_process_that_makes_no_progress_is_told_until_it_goes_on(play: Play) -> None:
    def stuck(report: Any) -> list[str]:
        return [each["what"] for each in report["problems"] if each["key"] == "process/crew/stuck"]

    def scene(stage: Stage) -> Any:
        stage.hear("health")
        stage.hear("processes/crew/events/goes_on")
        pid = stage.ask("pid", to="crew")
        deadline = time.monotonic() + DEADLINE
        # It may have taken that long to begin.
        while any(each["stuck"] for each in stage.ask("ps", to="boss")):
            assert time.monotonic() < deadline
        os.kill(pid, signal.SIGSTOP)
        try:
            found = stage.await_(
                lambda message: "problems" in message.body and bool(stuck(message.body))
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        stage.await_(lambda message: message.subject == "processes/crew/events/goes_on")
        deadline = time.monotonic() + DEADLINE
        # It may hear of that a moment later than this process.
        while stuck(stage.ask("report")):
            assert time.monotonic() < deadline
        return stuck(found.body)

    (what,) = play(scene, stuck_after=1.0)
    assert what == "the process crew makes no progress: found so after 1 s"


def test_two_reports_are_never_closer_than_the_gap(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("health")
        names = map(str, range(1000))
        told: list[float] = []

        def break_another() -> None:
            stage.main.send("crew", "device", {"name": next(names), "state": "failed"})

        def enough(message: Message) -> bool:
            told.append(message.body["time"])
            return len(told) == 4

        stage.await_(enough, break_another)
        return told

    told = play(scene, min_gap=1.0)
    assert all(later - sooner > 0.9 for sooner, later in pairwise(told))


def test_the_period_is_kept_where_nothing_happens(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("health")
        count = [0]

        def counted(message: Message) -> bool:
            count[0] += 1
            return count[0] == 3

        return stage.await_(counted).body

    assert play(scene, period=1.0, min_gap=0.5)["machine"]["uptime"]["quality"] == "good"


def test_a_route_that_was_killed_with_the_question_in_its_hands_is_asked_anew(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.watchdog.process.FRESH", 0.0)

    def scene(stage: Stage) -> Any:
        def answered_within(seconds: float) -> bool:
            counters = stage.ask("report")["routes"].get("crew", {}).get("counters") or {}
            return counters.get("quality") == "good" and counters["age"] < seconds

        deadline = time.monotonic() + DEADLINE
        while not answered_within(DEADLINE):
            assert time.monotonic() < deadline
        pid = stage.ask("pid", to="crew")
        os.kill(pid, signal.SIGSTOP)
        stage.ask("report")
        stage.hear("processes/crew/state")
        os.kill(pid, signal.SIGKILL)
        stage.await_(lambda message: message.body["state"] == "failed")
        killed = time.monotonic()
        stage.heard.clear()
        stage.main.restart_process("crew")
        stage.await_(lambda message: message.body["state"] == "living")
        while not answered_within(time.monotonic() - killed):
            assert time.monotonic() < deadline
        return stage.ask("report")["problems"]

    assert [each["key"] for each in play(scene)] == ["machine/power/under_voltage"]


# The log


def test_what_the_boss_did_not_take_is_asked_of_it_again(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Health._stream
    refused: list[str] = []

    def stream_the_second_time(self: Health, level: str, seconds: float) -> None:
        if level and not refused:
            refused.append(level)
            raise CallTimeoutError("the boss is busy")
        stream(self, level, seconds)

    monkeypatch.setattr(Health, "_stream", stream_the_second_time)

    def scene(stage: Stage) -> Any:
        stage.hear("log/crew")
        with pytest.raises(CallTimeoutError):
            stage.ask("$log_stream", {"level": "info", "seconds": 600})
        return stage.await_(lambda _: True, lambda: stage.say("now", logging.INFO))

    assert play(scene, period=1.0).body["text"] == "now"


def test_the_log_of_every_os_process_is_published_for_who_asks(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("log/#")
        told = stage.ask("$log_stream", {"level": "debug", "seconds": 600})
        far = stage.await_(
            lambda message: message.body["text"] == "far", lambda: stage.say("far", logging.DEBUG)
        )
        near = stage.await_(
            lambda message: message.body["text"] == "near",
            lambda: logging.getLogger("near").debug("near"),
        )
        return told, far, near

    told, far, near = play(scene)
    assert (told["level"], told["seconds"], told["topics"]) == ("debug", 600.0, "log/#")
    assert (far.subject, far.sender) == ("log/crew", "crew")
    assert {key: far.body[key] for key in ("level", "logger", "process")} == {
        "level": "debug",
        "logger": "tests.crew",
        "process": "crew",
    }
    assert near.subject == "log/main"


def test_a_subscriber_that_logs_every_line_hears_no_echo(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("log/#")
        stage.main.subscribe("log/#", lambda message: log.warning("heard %s", message.subject))
        stage.ask("$log_stream", {"level": "debug", "seconds": 600})
        stage.await_(lambda message: message.body["text"] == "x", lambda: stage.say("x"))
        # What it logged itself came after that, and before this.
        log.warning("the end")
        stage.await_(lambda message: message.body["text"] == "the end")
        return [message.body["text"] for message in stage.heard]

    assert not any(text.startswith("heard") for text in play(scene))


def test_a_lease_of_the_log_ends_by_itself_and_the_next_one_holds(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("log/#")
        stage.ask("$log_stream", {"level": "info", "seconds": 600, "id": "long"})
        stage.ask("$log_stream", {"level": "debug", "seconds": 1, "id": "short"})
        stage.await_(
            lambda message: message.body["text"] == "during",
            lambda: stage.say("during", logging.DEBUG),
        )
        deadline = time.monotonic() + DEADLINE
        while stage.ask("$statistics")["log_leases"] > 1:
            assert time.monotonic() < deadline
        stage.say("after", logging.DEBUG)
        stage.await_(
            lambda message: message.body["text"] == "still",
            lambda: stage.say("still", logging.INFO),
        )
        stage.ask("$log_stream", {"level": "info", "seconds": 0, "id": "long"})
        stage.say("at last", logging.INFO)
        stage.main.mailman(timeout=0.1)
        return {message.body["text"] for message in stage.heard if message.subject == "log/crew"}

    texts = play(scene)
    assert "after" not in texts
    assert "at last" not in texts


def test_the_last_warnings_are_in_the_report_though_nobody_streams_the_log(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("log/#")
        deadline = time.monotonic() + DEADLINE
        while not (errors := stage.ask("report")["errors"]):
            stage.say("not this", logging.INFO)
            stage.say("this", logging.ERROR)
            assert time.monotonic() < deadline
        stage.main.mailman(timeout=0.1)
        return errors, stage.ask("report")["errors_seen"], stage.heard

    errors, seen, streamed = play(scene)
    assert {each["text"] for each in errors} == {"this"}
    assert errors[0]["process"] == "crew"
    assert seen["error"] >= 1
    assert streamed == []


def test_the_last_words_of_a_process_with_a_bug_are_in_the_report(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        # Once this is told, the crew has the book in which the log's mailbox stands.
        deadline = time.monotonic() + DEADLINE
        while not stage.ask("report")["errors"]:
            stage.say("there")
            assert time.monotonic() < deadline
        stage.main.send("crew", "break")
        while not any("a bug of the crew" in e["text"] for e in stage.ask("report")["errors"]):
            assert time.monotonic() < deadline
        stage.hear("health")
        return stage.await_(lambda message: message.body["verdict"] == "critical").body

    report = play(scene)
    assert report["problems"][0]["key"] == "process/crew"


def test_a_health_that_was_restarted_hears_and_reports_again(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.ask("$log_stream", {"level": "debug", "seconds": 600})
        stage.main.restart_process("health")
        deadline = time.monotonic() + DEADLINE
        while not (report := stage.ask("report"))["errors"]:
            stage.say("again")
            assert time.monotonic() < deadline
        return report, stage.ask("$statistics")["log_leases"]

    report, leases = play(scene)
    assert report["devices"]["wheels"]["state"] == "healthy"
    assert leases == 0


def test_no_handler_is_left_when_the_application_is_over(play: Play) -> None:
    play(lambda stage: stage.ask("$log_stream", {"level": "debug", "seconds": 600}))
    assert not any(isinstance(each, LogCopies) for each in logging.getLogger().handlers)


# The mail


def test_the_mail_is_published_for_who_asks_and_ends_by_itself(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("tail/#")
        told = stage.ask("$tail", {"seconds": 2, "recipient": "crew", "kinds": ["letter"]})
        copy = stage.await_(
            lambda message: message.body.get("subject") == "say", lambda: stage.say("x")
        )
        end = stage.await_(lambda message: "end" in message.body)
        return told, copy, end, stage.ask("$statistics")["tails"]

    told, copy, end, left = play(scene)
    assert told["topic"] == copy.subject == end.subject == f"tail/{told['id']}"
    assert {key: copy.body[key] for key in ("kind", "sender", "recipient")} == {
        "kind": "letter",
        "sender": "main",
        "recipient": "crew",
    }
    assert copy.body["body"] == {"text": "x", "level": logging.WARNING}
    assert end.body["end"] == "its time is over"
    assert left == 0


def test_a_tail_that_the_boss_has_ended_says_so(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the OS process had been stopped for longer than the lease.
    monkeypatch.setattr("gateway.process.shared_tap.RENEW_EVERY", 0.2)
    monkeypatch.setattr("gateway.process.shared_tap.LEASE", 0.2)

    def scene(stage: Stage) -> Any:
        stage.hear("tail/#")
        stage.ask("$tail", {"seconds": 3600})
        end = stage.await_(lambda message: "end" in message.body)
        return end.body["end"], stage.ask("$statistics")["tails"]

    end, tails = play(scene)
    assert end.endswith("ask again")
    assert tails == 0


def test_a_tail_does_not_show_itself_nor_the_log(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("#")
        stage.ask("$log_stream", {"level": "debug", "seconds": 600})
        told = stage.ask("$tail", {"seconds": 600, "kinds": ["publication"]})
        stage.await_(
            lambda message: message.body["text"] == "x" if "text" in message.body else False,
            lambda: stage.say("x"),
        )
        stage.main.publish("weather", {"is": "fine"})
        stage.await_(lambda message: message.body.get("subject") == "weather")
        stage.ask("$tail", {"seconds": 0, "id": told["id"]})
        stage.await_(lambda message: "end" in message.body)
        return {m.body.get("subject") for m in stage.heard if m.subject == told["topic"]}

    shown = play(scene)
    assert "weather" in shown
    assert not any(str(subject).startswith(("tail/", "log/")) for subject in shown)


@pytest.mark.parametrize(
    ("subject", "body", "said"),
    [
        ("$log_stream", None, "use a number"),
        ("$log_stream", {"level": "loud", "seconds": 1}, "no level"),
        ("$log_stream", {"level": "info", "seconds": 3601}, "up to 3600"),
        ("$log_stream", {"level": "info", "second": 1}, "use level, seconds and id"),
        ("$tail", None, "asks for no tail"),
        ("$tail", {"seconds": 1, "kind": "letter"}, "asks for no tail"),
        ("$tail", {"seconds": 1, "kinds": ["control"]}, "asks for no tail"),
        ("$tail", {"seconds": 1e9}, "up to 3600"),
        ("$tail", {"seconds": 0, "id": "7"}, "no tail '7'"),
        ("$tail", {"seconds": 1, "id": "7"}, "without one"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_and_costs_nothing(
    play: Play, subject: str, body: Any, said: str
) -> None:
    def scene(stage: Stage) -> Any:
        with pytest.raises(RefusedError, match=said):
            stage.ask(subject, body)
        statistics = stage.ask("$statistics")
        return statistics["log_leases"], statistics["tails"]

    assert play(scene) == (0, 0)


def test_copies_beyond_the_rate_are_missed_and_the_next_one_says_how_many(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        stage.hear("tail/#")
        stage.ask("$tail", {"seconds": 600, "subject": "say", "kinds": ["letter"]})
        numbers = map(str, range(10_000))

        def talk() -> None:
            for _ in range(10):
                stage.say(next(numbers), logging.DEBUG)

        stage.await_(lambda message: len(stage.heard) > 3, talk)
        return [(int(m.body["body"]["text"]), m.body["missed"]) for m in stage.heard]

    told = play(scene, tail_rate=2)
    assert told[0] == (0, 0)
    assert sum(missed for _, missed in told) > 0
    for (before, _), (number, missed) in pairwise(told):
        assert number - before == 1 + missed


def test_more_tails_than_there_may_be_are_refused(play: Play) -> None:
    def scene(stage: Stage) -> Any:
        for _ in range(8):
            stage.ask("$tail", {"seconds": 600})
        with pytest.raises(RefusedError, match="8 times already"):
            stage.ask("$tail", {"seconds": 600})
        return stage.ask("$statistics")["tails"]

    assert play(scene) == 8
