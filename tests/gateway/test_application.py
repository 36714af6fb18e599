"""Building an application, running it in this OS process, and what it refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.application import Application
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import (
    AddressError,
    BodyError,
    CallTimeoutError,
    ConfigError,
    UnknownApiError,
)
from gateway.mail.message import Message
from gateway.process.callbacks import Event
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy

Play = Callable[..., int]


class Echo(Process):
    """Answers with what it was asked."""

    def birth(self) -> None:
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return a runner: it builds an application and plays ``scene`` in the main process's life."""

    def run(
        scene: Callable[[Process], None],
        build: Callable[[Application], None] = lambda app: None,
        frequency: float = 50.0,
    ) -> int:
        failures: list[BaseException] = []

        class Main(Process):
            def life(self) -> None:
                try:
                    scene(self)
                except BaseException as failure:  # noqa: BLE001 - raised where the test is
                    failures.append(failure)
                self.die()

        class Played(Application):
            global_frequency = frequency

            def build(self) -> None:
                build(self)

        status = Played(main=Main, sockets=tmp_path / "s").run()
        if failures:
            raise failures[0]
        return status

    return run


def echoes(app: Application) -> None:
    app.add_process("near", Echo)
    app.add_process("far", Echo, mode="fork")


# Mail


@pytest.mark.parametrize("name", ["near", "far"])
def test_a_letter_is_answered_in_its_thread(play: Play, name: str) -> None:
    def scene(main: Process) -> None:
        asked = main.send(name, "echo", {"n": [1, b"2"]}, headers={"a": "b"})
        answer = main.wait_for_reply(asked)
        assert answer.body == {"n": [1, b"2"]}
        assert (answer.thread_id, answer.thread_index) == (asked.thread_id, 2)
        further = main.send(name, "echo", thread=answer)
        assert (further.thread_id, further.thread_index) == (asked.thread_id, 3)
        main.wait_for_reply(further)

    assert play(scene, echoes) == 0


def test_what_cannot_be_sent_is_refused_by_send_in_every_mode(play: Play) -> None:
    def scene(main: Process) -> None:
        for name in ("near", "far"):
            wrong: list[dict[str, Any]] = [
                {"subject": None},
                {"priority": 1.5},
                {"headers": {"a": 1}},
                {"headers": {1: "a"}},
                {"headers": ["a"]},
                {"headers": []},
                {"headers": "a"},
                {"body": {1}},
                {"body": "\udcff"},
                {"body": {"name": "\udcff"}},
                {"subject": "\udcff"},
                {"subject": "x" * 60_001},
                {"headers": {"a": "\udcff"}},
                {"headers": {"a": "é" * 30_000}},
            ]
            for fields in wrong:
                with pytest.raises(BodyError):
                    main.send(name, **{"subject": "echo", **fields})
            assert main.wait_for_reply(main.send(name, "echo", name)).body == name
        with pytest.raises(AddressError, match="did you mean 'near'"):
            main.send("nera", "echo")

    assert play(scene, echoes) == 0


def test_what_just_fits_beside_a_body_arrives_in_every_mode(play: Play) -> None:
    def scene(main: Process) -> None:
        for name in ("near", "far"):
            headers = {"a": "é" * 29_000}
            asked = main.send(name, "echo", "ü" * 100_000, headers=headers)
            assert main.wait_for_reply(asked).body == "ü" * 100_000

    assert play(scene, echoes) == 0


def test_text_that_is_no_unicode_is_refused_before_anybody_has_it(play: Play) -> None:
    """A will of it was the end of the boss; a publication reached some and killed who wrote it."""

    def scene(main: Process) -> None:
        heard: list[str] = []
        main.subscribe("#", lambda message: heard.append(message.subject))
        with pytest.raises(TypeError, match="no Unicode"):
            main.declare_will("will", "caf\udce9")
        with pytest.raises(TypeError, match="no Unicode"):
            main.publish("news", ["caf\udce9"])
        with pytest.raises(TypeError, match="no Unicode"):
            main.publish("news", "caf\udce9", retain=True)
        with pytest.raises(ValueError, match="no Unicode"):
            main.publish("caf\udce9", 1)
        main.mailman()
        assert not {"will", "news", "caf\udce9"}.intersection(heard)

    assert play(scene) == 0


def test_an_unmatched_letter_is_counted_and_statistics_say_so(play: Play) -> None:
    def scene(main: Process) -> None:
        for name in ("near", "far"):
            main.send(name, "nobody filters this")
            told = main.wait_for_reply(main.send(name, "$statistics")).body
            assert told["unhandled"] == 1
            assert told["run_level"] == "living"

    assert play(scene, echoes) == 0


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_who_waits_for_an_answer_hears_that_nobody_takes_the_letter(
    play: Play, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    class Narrow(Process):
        def birth(self) -> None:
            self.add_filter(subject="^stop$", callback=print)

    def build(app: Application) -> None:
        app.add_process("narrow", Narrow, mode=mode)
        app.add_process("empty", mode=mode)

    def scene(main: Process) -> None:
        bounced: list[str] = []
        main.add_filter(kind="^bounce$", callback=lambda message: bounced.append(message.subject))
        before = monotonic()
        with pytest.raises(UnknownApiError, match=r"'narrow' has no filter for 'stpo'; it has s"):
            main.wait_for_reply(main.send("narrow", "stpo"), 60.0)
        with pytest.raises(UnknownApiError, match="'empty' has no filter for 'a'; it has none"):
            main.wait_for_reply(main.send("empty", "a"), 60.0)
        # Who waits for nothing is not bothered, and may have second thoughts.
        first, *_ = [main.send("narrow", "go") for _ in range(3)]
        with pytest.raises(UnknownApiError):
            main.wait_for_reply(main.send("narrow", "go"), 60.0)
        assert main.mailman() == 3
        with pytest.raises(UnknownApiError):
            main.wait_for_reply(first)
        assert bounced == []
        assert monotonic() - before < 20.0

    assert play(scene, build) == 0
    if mode != "fork":
        assert caplog.text.count("main wrote what nobody takes: 'narrow' has no filter") == 2


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_what_nobody_takes_leaves_room_for_the_answers_of_others(
    play: Play, tmp_path: Path, mode: Mode
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)

    class Deaf(Process):
        def birth(self) -> None:
            self.add_filter(subject="^last$", callback=lambda message: self.send("slow", "now"))

    class Slow(Process):
        def birth(self) -> None:
            self.add_filter(subject="^ask$", callback=self.on_ask)
            self.add_filter(subject="^now$", callback=self.on_now)

        def on_ask(self, message: Message) -> None:
            self.asked = message

        def on_now(self, message: Message) -> None:
            # It is of another writer, and may be quicker.
            while not hasattr(self, "asked"):
                self.mailman(timeout=5.0)
            before = monotonic()
            try:
                self.reply(self.asked, "answer")
            finally:
                told.write_bytes(b"1" if monotonic() - before < 2.0 else b"0")

    class Flooding(Process):
        def birth(self) -> None:
            self.add_filter(subject="^go$", callback=self.on_go)

        def on_go(self, message: Message) -> None:
            asked = self.send("slow", "ask")
            for number in range(50):
                self.send("deaf", "telemetry", number)
            self.send("deaf", "last")
            # It reads no mail until it was answered.
            assert told.read_bytes() == b"1"
            self.reply(message, self.wait_for_reply(asked).body)

    def build(app: Application) -> None:
        app.add_process("deaf", Deaf, mode=mode)
        app.add_process("slow", Slow, mode="thread")
        app.add_process("flooding", Flooding, mode="fork", depends=["deaf", "slow"])

    def scene(main: Process) -> None:
        assert main.wait_for_reply(main.send("flooding", "go"), 20.0).body == "answer"

    assert play(scene, build) == 0


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_many_that_wait_at_once_all_hear_that_nobody_takes_it(play: Play, mode: Mode) -> None:
    class Many(Process):
        def birth(self) -> None:
            self.add_filter(subject="^go$", callback=self.on_go)

        def on_go(self, message: Message) -> None:
            # All before any is waited for: more than there is room for.
            letters = [self.send("empty", "a", number) for number in range(40)]
            for letter in letters:
                with pytest.raises(UnknownApiError):
                    self.wait_for_reply(letter, 10.0)
            self.reply(message)

    def build(app: Application) -> None:
        app.add_process("empty", mode=mode)
        app.add_process("many", Many, mode="fork")

    def scene(main: Process) -> None:
        main.wait_for_reply(main.send("many", "go"), 20.0)

    assert play(scene, build) == 0


def test_what_is_said_of_a_letter_that_nobody_takes_is_short(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    class Long(Process):
        def birth(self) -> None:
            for number in range(20):
                self.add_filter(subject=f"^{number}{'x' * 50_000}$", callback=print)

    def scene(main: Process) -> None:
        with pytest.raises(UnknownApiError, match=r"'long' has no filter for 'y+…'; it has sub"):
            main.wait_for_reply(main.send("long", "y" * 50_000))

    assert play(scene, lambda app: app.add_process("long", Long)) == 0
    assert 1000 < len(caplog.text) < 4000


def test_what_died_of_old_age_bounces_to_who_asked_for_a_receipt(play: Play) -> None:
    def scene(main: Process) -> None:
        for name in ("near", "far"):
            old = main.send(name, "echo", expires_in=-1.0, receipt=True)
            with pytest.raises(TimeoutError, match="too old"):
                main.wait_for_reply(old)

    assert play(scene, echoes) == 0


def test_no_answer_is_a_timeout(play: Play) -> None:
    def scene(main: Process) -> None:
        main.add_filter(callback=lambda message: None)
        asked = main.send("main", "what is taken and not answered")
        with pytest.raises(TypeError, match="a number of seconds, not None"):
            main.wait_for_reply(asked, None)  # type: ignore[arg-type]
        with pytest.raises(CallTimeoutError):
            main.wait_for_reply(asked, 0.05)

    assert play(scene, echoes) == 0


def test_the_boss_tells_who_is_there(play: Play) -> None:
    def scene(main: Process) -> None:
        members = {m["name"]: m for m in main.wait_for_reply(main.send("boss", "ps")).body}
        assert set(members) == {"near", "far", "main"}
        assert members["far"]["mode"] == "fork"
        assert members["near"]["kind"] == "Echo"
        assert main.recipients() == ["boss", "far", "main", "near"]

    assert play(scene, echoes) == 0


def test_orders_to_the_boss_are_obeyed_from_control_mail_only(play: Play) -> None:
    def scene(main: Process) -> None:
        for subject in ("ebrake", "ended", "retain", "will", "register", "level", "nonsense"):
            main.send("boss", subject, {"error": "", "topic": "a", "body": 1})
        assert main.wait_for_reply(main.send("near", "echo", 1)).body == 1

    assert play(scene, echoes) == 0


# Topics


def test_a_subscriber_gets_what_is_retained_and_then_the_news(play: Play) -> None:
    def scene(main: Process) -> None:
        heard: list[Any] = []
        main.publish("a/b", 1, retain=True)
        main.publish("a/b", 2, retain=True)
        main.publish("a/c", 3)
        main.subscribe("a/+", lambda m: heard.append((m.subject, m.body)))
        assert heard == [("a/b", 2)]
        main.publish("a/b", 4, retain=True)
        main.publish("a/c", 5)
        main.mailman()
        assert heard == [("a/b", 2), ("a/b", 4), ("a/c", 5)]

    assert play(scene) == 0


def test_every_subscription_has_its_own_snapshot_and_misses_no_news(play: Play) -> None:
    def scene(main: Process) -> None:
        heard: dict[str, list[Any]] = {"first": [], "second": [], "third": []}
        main.publish("a/b", 1, retain=True)
        main.subscribe("a/#", lambda m: heard["first"].append(m.body))
        main.publish("a/b", 2, retain=True)
        main.subscribe("a/b", lambda m: heard["second"].append(m.body))
        main.subscribe("a/b", lambda m: heard["third"].append(m.body))
        main.mailman()
        assert heard == {"first": [1, 2], "second": [2], "third": [2]}

    assert play(scene) == 0


class Curious(Process):
    """Tells how it went to subscribe to all there is."""

    def birth(self) -> None:
        self.add_filter(subject="^listen$", callback=self.on_listen)

    def on_listen(self, message: Message) -> None:
        self.subscribe("large/#", lambda publication: None)
        self.reply(message)


def test_who_subscribes_to_more_than_a_letter_holds_is_told_so(play: Play) -> None:
    def scene(main: Process) -> None:
        for number in range(3):
            main.publish(f"large/{number}", bytes(22 << 20), retain=True)
        with pytest.raises(BodyError, match="67108864 is the most"):
            main.wait_for_reply(main.send("far", "listen"))
        # And the boss has answers for it still.
        main.publish("large/0", None, retain=True)
        main.wait_for_reply(main.send("far", "listen"))

    assert play(scene, lambda app: app.add_process("far", Curious, mode="fork")) == 0


def test_an_empty_body_ends_the_retention(play: Play) -> None:
    def scene(main: Process) -> None:
        main.publish("a", 1, retain=True)
        main.publish("a", None, retain=True)
        main.subscribe("a", lambda m: pytest.fail("it is retained no more"))

    assert play(scene) == 0


def test_each_callback_for_a_device_is_called_once(play: Play) -> None:
    def scene(main: Process) -> None:
        heard: list[tuple[str, Event]] = []
        main.register_callbacks("wheels", connected=lambda e: heard.append(("one", e)))
        main.register_callbacks("wheels", connected=lambda e: heard.append(("two", e)))
        main.register_callbacks("+", connected=lambda e: heard.append(("all", e)))
        main.publish("devices/wheels/events/connected", {"cause": "plugged in"})
        main.publish("devices/arm/events/connected", {"cause": "plugged in"})
        main.mailman()
        assert sorted((who, event.source) for who, event in heard) == [
            ("all", "arm"),
            ("all", "wheels"),
            ("one", "wheels"),
            ("two", "wheels"),
        ]
        assert heard[0][1].details == {"cause": "plugged in"}
        with pytest.raises(ValueError, match="no device raises 'conected'"):
            main.register_callbacks("wheels", conected=print)

    assert play(scene) == 0


def test_a_processs_own_events_call_who_registered(play: Play) -> None:
    def scene(main: Process) -> None:
        heard: list[Event] = []
        main.register_callbacks(full=heard.append)
        main.register_callbacks(full=heard.append)
        assert main.callback_event("full", litres=3) == 2
        assert main.callback_event("empty") == 0
        assert [event.details for event in heard] == [{"litres": 3}] * 2

    assert play(scene) == 0


# Time and threads


def test_life_keeps_its_frequency_and_mail_does_not_wait_for_it(play: Play) -> None:
    class Slow(Echo):
        def life(self) -> None:
            assert self.current_frame >= 1

    def scene(main: Process) -> None:
        clock = main._clock
        begun = clock.monotonic()
        for name in ("slow", "quick") * 10:
            main.wait_for_reply(main.send(name, "echo"))
        assert clock.monotonic() - begun < 15.0, "a frame of the slow one takes 20 s"
        quick = 0
        while quick < 3:
            slow, quick = (
                main.wait_for_reply(main.send(name, "$statistics")).body["frames"]
                for name in ("slow", "quick")
            )
        assert slow == 1
        assert quick <= 20 * (clock.monotonic() - begun + 10.0) + 2

    def build(app: Application) -> None:
        app.add_process("slow", Slow, frequency=0.05)
        app.add_process("quick", Slow, frequency=20.0)

    assert play(scene, build) == 0


def test_child_threads_belong_to_their_process(play: Play) -> None:
    ended = threading.Event()

    class Parent(Echo):
        def birth(self) -> None:
            super().birth()
            self.launch_threads()

        def _thread_pump(self) -> None:
            while self.light_sleep(60.0):
                pass
            ended.set()

        def _thread_once(self) -> None:
            return

    def scene(main: Process) -> None:
        told = main.wait_for_reply(main.send("parent", "$statistics")).body
        assert "pump" in told["threads"]

    def build(app: Application) -> None:
        app.add_process("parent", Parent)

    assert play(scene, build) == 0
    assert ended.is_set(), "it was joined, not left behind"


def test_a_child_threads_bug_is_its_processs_death(play: Play) -> None:
    class Parent(Process):
        def birth(self) -> None:
            self.add_child_thread("bug", lambda: int("no number"))

    def scene(main: Process) -> None:
        seen: list[dict[str, Any]] = []
        main.subscribe("processes/parent/state", lambda m: seen.append(m.body))
        while not any(body["state"] == "failed" for body in seen):
            assert main.mailman(10.0), seen
        assert "ValueError" in seen[-1]["cause"]

    def build(app: Application) -> None:
        app.add_process("parent", Parent, restart=RestartPolicy("temporary"))

    assert play(scene, build) == 0


def test_any_thread_may_wait_for_a_reply(play: Play) -> None:
    def scene(main: Process) -> None:
        got: list[int] = []

        def ask() -> None:
            got.extend(
                main.wait_for_reply(main.send("far", "echo", number)).body for number in range(50)
            )

        for name in "abc":
            main.add_child_thread(name, ask)
        for number in range(50):
            assert main.wait_for_reply(main.send("near", "echo", number)).body == number
        assert main.join_child_threads(20.0) == []
        assert main.child_thread_janitor() == 3
        assert sorted(got) == sorted([*range(50)] * 3)

    assert play(scene, echoes) == 0


def test_the_log_is_as_it_was_once_an_application_has_ended(play: Play) -> None:
    root, levels = logging.getLogger(), []
    before = root.level

    def scene(main: Process) -> None:
        main.set_log_level("critical")
        levels.append(root.level)

    assert play(scene) == 0
    assert levels == [logging.CRITICAL]
    assert root.level == before


# Refusals


def refused(build: Callable[[Application], object], match: str) -> None:
    class Refused(Application):
        def build(self) -> None:
            build(self)

    with pytest.raises(ConfigError, match=match):
        Refused().run()


def twice(app: Application) -> None:
    for _ in range(2):
        app.add_process("a", Echo)


def test_what_cannot_stand_is_refused_before_anything_starts() -> None:
    for name in ("main", "boss", "a@b", "", "a\n", "é" * 200, 5, None):
        with pytest.raises(ConfigError, match=r"called|has a name with a route"):
            Application().add_process(name, Echo)  # type: ignore[arg-type]

    def adding(factory: Any, app: Application, **given: Any) -> None:
        app.add_process("a", factory, **given)

    refused(twice, "already")
    refused(lambda app: app.add_process("a", Echo, mode="green"), "use thread or fork or")  # type: ignore[arg-type]
    refused(lambda app: app.add_process("a", Echo, depends=["b"]), "does not exist")
    refused(lambda app: app.add_process("a", Echo, depends=["main"]), "'main', which starts last")
    refused(lambda app: app.add_process("a", Echo, force_stop=True), "thread cannot be killed")
    refused(lambda app: app.add_process("a", "nowhere"), "module:qualname")
    for given, advice in (
        ({"frequency": "10"}, "frequency='10': use 0 to"),
        ({"limit": "x"}, "limit='x': use more than 0 seconds"),
        ({"limit": 0}, "limit=0: use more than 0 seconds"),
        ({"start_after": float("inf")}, "start_after=inf: use 0 to 2,000,000 seconds"),
        ({"start_after": 2_000_001}, "start_after=2000001: use 0 to 2,000,000 seconds"),
        ({"limit": 1e300}, r"limit=1e\+300: .* and at most 2,000,000"),
        ({"stuck_after": 10**400}, "stuck_after=10{400}: .* and at most 2,000,000"),
        ({"mailbox_size": "3"}, "mailbox_size='3': use a whole number"),
        (
            {"restart": "permanent"},
            r"restart='permanent': use a policy, such as RestartPolicy\('transient'\)",
        ),
        ({"parameters": [1]}, "use a dict"),
        ({"depends": 5}, "use a list of names"),
        ({"frequency": True}, "frequency=True: use 0 to"),
        ({"autostart": "no"}, "'a' has autostart='no': use True or False"),
        ({"bound_shutdown": "x"}, "'a' has bound_shutdown='x': use True or False"),
        ({"force_stop": "x"}, "'a' has force_stop='x': use True or False"),
        ({"temporary_folder": 3}, "'a' has temporary_folder=3: use True or False"),
        ({"route": 5}, "'a' has route=5: use the name of a route"),
        ({"restart": 0}, "'a' has restart=0: use a policy"),
        ({"when_stuck": ""}, "'a' has when_stuck='': use report or restart"),
        ({"spools": {"a": 1}}, r"'a' has spools\['a'\]=1: use SpoolTerms"),
        ({"spools": {5: SpoolTerms(limit=1)}}, r"'a' has spools\[5\]: use a pattern"),
        ({"spools": {"a+": SpoolTerms(limit=1)}}, r"'a' has spools\['a\+'\]: .* no pattern"),
        ({"spools": ["a"]}, r"'a' has spools=\['a'\]: use a dict"),
    ):
        refused(partial(adding, Echo, **given), advice)
    for none in (int, Echo.birth):
        refused(partial(adding, none), "derive it from Process")
    for timeout in ("x", None, -1, float("inf"), float("nan")):
        advice = f"shutdown_timeout={timeout!r}: use seconds from 0 to 2,000,000"
        refused(lambda app, timeout=timeout: setattr(app, "shutdown_timeout", timeout), advice)  # type: ignore[misc]
    refused(lambda app: app.add_member({"name": "a"}), "process")
    refused(lambda app: app.start_process("a"), "does not run")

    def circle(app: Application) -> None:
        app.add_process("a", Echo, depends=["b"])
        app.add_process("b", Echo, depends=["a"])

    refused(circle, "circle: [ab] → [ab] → [ab]")


@pytest.mark.parametrize("run", ["here", "thread"])
def test_a_coroutine_is_no_callback_where_there_is_no_loop(play: Play, run: Any) -> None:
    async def on_call(message: Message | None) -> None:
        pytest.fail("nobody awaits it")

    def scene(main: Any) -> None:
        with pytest.raises(ValueError, match=r"no loop for a coroutine: add .* mode='asyncio'"):
            main.add_filter(callback=on_call, run=run)
        for refused in (
            lambda: main.subscribe("news/#", on_call),
            lambda: main.follow("news/#", on_call),
            lambda: main.subscribe("news/#", partial(on_call, None)),
            lambda: main.register_callbacks("wheels", connected=on_call),
            lambda: main.register_callbacks(docked=on_call),
            lambda: main.call_soon(on_call),
            lambda: main.call_later(1.0, on_call),
            lambda: main.add_child_thread("pump", on_call),
        ):
            with pytest.raises(ValueError, match="no loop for a coroutine"):
                refused()

    play(scene)


def test_on_a_loop_a_coroutine_that_nobody_would_await_is_refused(play: Play) -> None:
    said: list[str] = []

    class OnLoop(Process):
        def birth(self) -> None:
            for begin in (self.call_soon, partial(self.add_child_thread, "pump")):
                with pytest.raises(ValueError, match="start it by add_child_task") as refusal:
                    begin(self.on_call)
                said.append(str(refusal.value))

        async def on_call(self) -> None:
            pytest.fail("nobody awaits it")

    play(
        lambda main: main.start_process("loop"),
        lambda app: app.add_process("loop", OnLoop, mode="asyncio"),
    )
    assert len(said) == 2


def test_an_application_runs_once_and_is_built_before(play: Play, tmp_path: Path) -> None:
    class Main(Process):
        def life(self) -> None:
            with pytest.raises(ConfigError, match="too late"):
                self.application.add_process("late", Echo)
            self.die()

    app = Application(main=Main, sockets=tmp_path / "s")
    assert app.run() == 0
    with pytest.raises(ConfigError, match="runs once"):
        app.run()


def test_a_second_application_on_the_same_folder_is_refused(play: Play, tmp_path: Path) -> None:
    def scene(main: Process) -> None:
        with pytest.raises(ConfigError, match="another gateway runs"):
            Application(sockets=tmp_path / "s").run()
        assert main.wait_for_reply(main.send("far", "echo", 1)).body == 1

    assert play(scene, echoes) == 0
    assert play(scene, echoes) == 0, "the folder is free again"


def test_a_folder_that_cannot_be_used_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        Application(sockets=tmp_path / "file").run()


def test_what_the_application_says_holds_for_who_says_nothing_itself(tmp_path: Path) -> None:
    class House(Application):
        global_frequency = 3.0
        mailbox_size = 7
        mailbox_order = "priority"
        stuck_after = 60.0
        when_stuck = "restart"

        def build(self) -> None:
            self.add_process("plain", Echo)
            self.add_process(
                "own", Echo, frequency=5.0, mailbox_size=9, mailbox_order="fifo", stuck_after=1.0
            )

    class Main(Process):
        def life(self) -> None:
            self.die()

    house = House(main=Main, sockets=tmp_path / "s")
    assert house.run() == 0
    said = {
        name: (s.frequency, s.mailbox_size, s.mailbox_order, s.stuck_after, s.when_stuck)
        for name, s in house._specs.items()
    }
    assert said == {
        "plain": (3.0, 7, "priority", 60.0, "restart"),
        "main": (3.0, 7, "priority", 60.0, "restart"),
        "own": (5.0, 9, "fifo", 1.0, "restart"),
    }


def test_parameters_reach_the_process(play: Play) -> None:
    class Asked(Process):
        def birth(self) -> None:
            self.add_filter(
                callback=lambda m: self.reply(m, [self.parameter("a"), self.parameter("b", 2)])
            )

    def build(app: Application) -> None:
        app.add_process("asked", Asked, mode="fork", parameters={"a": 1})

    def scene(main: Process) -> None:
        assert main.wait_for_reply(main.send("asked", "x")).body == [1, 2]

    assert play(scene, build) == 0


def test_a_letter_that_is_not_for_anybody_else_is_seen_by_filters(play: Play) -> None:
    def scene(main: Process) -> None:
        heard: list[Message] = []
        id = main.add_filter(subject="^self$", callback=heard.append)
        main.send("main", "self", 1)
        assert main.mailman() == 1
        assert [view.hits for view in main.list_filters()] == [1]
        assert main.remove_filters(id) == 1
        assert heard[0].sender == "main"

    assert play(scene) == 0


def test_an_application_loads_no_library_that_few_need() -> None:
    """Each of its OS processes would have it in memory: OpenSSL alone is 3 MB."""
    program = "import sys, gateway.application; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"_hashlib", "_sqlite3", "_ssl", "asyncio", "email", "http", "xml"} & set(loaded)
