"""One process is started, stopped, restarted or added while the others go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest


@pytest.mark.parametrize("who", ["main", "forked", "application"])
def test_a_process_is_started_stopped_and_restarted_from_anywhere(start: Any, who: str) -> None:
    program = start(f"""
        WHO = {who!r}
        def play(self):
            ask = self.application if WHO == "application" else self
            for name in ("thread", "fork"):
                for verb in ("start", "start", "restart", "stop", "stop", "start"):
                    getattr(ask, verb + "_process")(name)
                    say(name, verb, name in self.recipients() or self.recipients())
        class Main(Process):
            def life(self):
                if WHO != "forked":
                    play(self)
                    self.die()
                elif self.wait_for_reply(self.send("forked", "play"), 30):
                    self.die()
        class Forked(Process):
            def birth(self):
                self.add_filter(subject="play", callback=self.on_play)
            def on_play(self, message):
                play(self)
                self.reply(message)
        class App(Application):
            def build(self):
                self.add_process("forked", Forked, mode="fork")
                for mode in ("thread", "fork"):
                    self.add_process(mode, Loud, mode=mode, autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    for name in ("thread", "fork"):
        verbs = [line.split()[1] for line in program.said if line.startswith(f"{name} ")]
        assert verbs == ["start", "start", "restart", "stop", "stop", "start"]
        lives = [line.split()[0] for line in program.said if f" {name}" in line]
        assert lives == ["birth", "death"] * 3
        for verb in ("start", "restart"):
            assert f"{name} {verb} True" in program.said
        assert f"{name} stop True" not in program.said
    assert program.complaints() == ""


def test_a_start_brings_up_what_is_needed_and_a_failure_is_an_error(start: Any) -> None:
    program = start("""
        class Broken(Process):
            def birth(self):
                raise ZeroDivisionError("in birth")
        class Main(Process):
            def life(self):
                self.start_process("top")
                say("up")
                for order in (
                    lambda: self.start_process("broken"),
                    lambda: self.start_process("nobody"),
                    lambda: self.stop_process("main"),
                    lambda: self.restart_process("boss"),
                ):
                    try:
                        order()
                    except RefusedError as error:
                        say("refused", error)
                self.die()
        class App(Application):
            def build(self):
                for name, needed in (("top", ["middle"]), ("middle", ["base"]), ("base", [])):
                    self.add_process(name, Loud, mode="fork", autostart=False, depends=needed)
                self.add_process("broken", Broken, autostart=False, restart=ONCE)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    born = [line.split()[1] for line in program.said if line.startswith("birth")]
    assert born == ["base", "middle", "top"]
    assert "refused 'broken' does not live: ZeroDivisionError: in birth" in program.said
    assert any("there is no process 'nobody'; there are base" in line for line in program.said)
    assert any("'main' is the application" in line for line in program.said)


def test_an_order_that_came_by_letter_is_refused_and_one_of_oneself_is_carried_out(
    start: Any,
) -> None:
    program = start("""
        class Worker(Loud):
            def life(self):
                if self.current_frame == 1:
                    self.restart_process(self.name)
                    say("it goes on")
        class Main(Process):
            def life(self):
                for subject in ("stop", "restart", "start", "add", "nonsense"):
                    try:
                        self.wait_for_reply(self.send("boss", subject, "worker"), 10)
                    except RefusedError as error:
                        say("refused", error)
                while (self.application.statistics()["fork_server"]["exited"]) < 2:
                    self.light_sleep(0.005)
                told = self.wait_for_reply(self.send("boss", "$statistics")).body
                say("unknown", told["unknown"], told["members"], told["mail"]["accepted"] > 0)
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", frequency=50)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    refused = [line for line in program.said if line.startswith("refused")]
    assert refused[0].startswith("refused the boss obeys no letter 'stop'")
    assert len(refused) == 5
    assert "unknown 5 2 True" in program.said
    assert program.said.count("it goes on") >= 2


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_who_does_not_end_by_order_is_killed_or_the_order_fails(start: Any, mode: str) -> None:
    program = start(f"""
        class Deaf(Loud):
            def life(self):
                if self.parameter("mode") == "fork":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self.send("main", "deaf")
                self.release.wait()
            release = threading.Event()
        class Main(Process):
            def birth(self):
                self.add_filter(subject="deaf", callback=self.on_deaf)
            def on_deaf(self, message):
                try:
                    self.stop_process("deaf")
                    say("stopped")
                except RefusedError as error:
                    say("refused", error)
                told = [m for m in self.wait_for_reply(self.send("boss", "ps")).body]
                say("it is", *[m["state"] for m in told if m["name"] == "deaf"])
                Deaf.release.set()
                self.die()
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("deaf", Deaf, mode={mode!r}, parameters={{"mode": {mode!r}}})
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    if mode == "fork":
        assert "stopped" in program.said
        assert "it is stopped" in program.said
        assert "death deaf" not in program.said
    else:
        assert "refused 'deaf' does not end, and is a thread" in program.said
        assert "it is stopping" in program.said


def test_a_member_joins_at_run_time_by_name_and_plain_data(start: Any, tmp_path: Path) -> None:
    (tmp_path / "late_module.py").write_text(
        "from gateway.process.process import Process\n"
        "class Late(Process):\n"
        "    def birth(self):\n"
        "        self.add_filter(subject='ask', callback=self.on_ask)\n"
        "    def on_ask(self, message):\n"
        "        self.reply(message, [self.parameter('colour'), self.frequency])\n"
    )
    program = start(f"""
        sys.path.insert(0, {str(tmp_path)!r})
        class Main(Process):
            def life(self):
                app = self.application
                app.add_process("one", "late_module:Late", mode="fork", frequency=5,
                                parameters={{"colour": "red"}})
                app.add_member({{"name": "two", "process": "late_module:Late", "mode": "thread",
                                "depends": ["one"], "parameters": {{"colour": "blue"}}}})
                app.add_member({{"name": "three", "process": "late_module:Late",
                                "autostart": False}})
                for name in ("one", "two", "three"):
                    self.start_process(name)
                    say(name, self.wait_for_reply(self.send(name, "ask")).body)
                os.kill([m["pid"] for m in self.ps() if m["name"] == "one"][0], signal.SIGKILL)
                while True:
                    try:
                        say("again", self.wait_for_reply(self.send("one", "ask")).body)
                        break
                    except (RecipientGoneError, AddressError):
                        self.light_sleep(0.005)
                for wrong in (
                    lambda: app.add_process("one", "late_module:Late"),
                    lambda: app.add_process("boss", "late_module:Late"),
                    lambda: app.add_process("four", "late_module:Nobody"),
                    lambda: app.add_process("four", "late_module:Late", depends=["nobody"]),
                    lambda: app.add_process("four", Process),
                    lambda: app.add_process("four", "late_module:Late", parameters={{"a": self}}),
                ):
                    try:
                        wrong()
                    except GatewayError as error:
                        say("refused", type(error).__name__, error)
                self.die()
            def ps(self):
                return self.wait_for_reply(self.send("boss", "ps")).body
        class App(Application):
            global_frequency = 2.0
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert "one ['red', 5.0]" in program.said
    assert "two ['blue', 2.0]" in program.said
    assert "three [None, 2.0]" in program.said
    assert "again ['red', 5.0]" in program.said
    refused = [line for line in program.said if line.startswith("refused")]
    for line, words in zip(
        refused, ["already", "boss", "no class", "not exist", "too late", "cannot be"], strict=True
    ):
        assert words in line, refused


@pytest.mark.parametrize(("how", "status"), [("ends", 0), ("fails", 1), ("is stopped", 0)])
def test_the_application_ends_with_whom_it_is_bound_to(start: Any, how: str, status: int) -> None:
    program = start(f"""
        HOW = {how!r}
        class Worker(Loud):
            def life(self):
                if HOW == "fails":
                    raise ZeroDivisionError
                if HOW == "ends":
                    self.die()
        class Main(Loud):
            def birth(self):
                super().birth()
                if HOW == "is stopped":
                    self.stop_process("worker")
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", bound_shutdown=True)
                self.add_process("other", Loud)
        app = App(main=Main, sockets=SOCKETS)
        status = app.run()
        say("status", status, app.status)
        """)
    program.wait_for(f"status {status} {status}")
    program.end()
    assert {"death worker", "death other", "death main"} <= set(program.said)


def test_who_is_to_be_forced_is_not_waited_for(start: Any) -> None:
    program = start("""
        class Slow(Loud):
            def death(self):
                say("dying slowly")
                threading.Event().wait()
        class App(Application):
            shutdown_timeout = 60.0
            def build(self):
                self.add_process("base", Loud, mode="fork")
                self.add_process("slow", Slow, mode="fork", force_stop=True, depends=["base"])
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("birth slow")
    program.wait_for("birth main")
    asked = monotonic()
    program.signal(signal.SIGTERM)
    assert program.end() == 0
    assert monotonic() - asked < 10.0
    assert program.said[-1] == "death base", "the others' deaths run, in order"


def test_a_limit_ends_a_life_in_order_and_the_policy_judges(start: Any) -> None:
    program = start("""
        class Main(Process):
            def birth(self):
                self.subscribe("processes/+/state", self.on_state)
                self._tell_boss("start", "again")
            def on_state(self, message):
                name = message.subject.split("/")[1]
                if message.body["state"] in ("ended", "failed", "stopped"):
                    say(message.body["state"], name, message.body["cause"])
                if name == "again" and message.body["restarts"] >= 2:
                    self.die()
        class App(Application):
            def build(self):
                again = RestartPolicy(first=0.01, ceiling=0.01, most=0)
                for mode in ("thread", "fork"):
                    self.add_process("once-" + mode, Loud, mode=mode, restart=ONCE, limit=0.05)
                self.add_process("again", Loud, mode="fork", restart=again, limit=0.05,
                                 autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    for mode in ("thread", "fork"):
        assert f"stopped once-{mode} its limit of 0.05 s was over" in program.said
        assert program.said.count(f"death once-{mode}") == 1
    assert program.said.count("ended again its limit of 0.05 s was over") >= 2, "it is no failure"
    assert not any(line.startswith("failed") for line in program.said)


def test_a_start_time_holds_a_process_back(start: Any) -> None:
    program = start("""
        begun = time.monotonic()
        class Worker(Process):
            def birth(self):
                say("after", time.monotonic() - begun >= 0.2)
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, start_after=0.2, bound_shutdown=True)
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    assert program.wait_for("after") == "True"
    assert program.end() == 0


@pytest.mark.parametrize("how", ["dies", "is killed"])
def test_a_temporary_folder_lasts_as_long_as_its_life(start: Any, sockets: Path, how: str) -> None:
    program = start(f"""
        HOW = {how!r}
        class Worker(Process):
            def birth(self):
                folder = self.temporary_folder
                say("folder", folder, oct(folder.stat().st_mode & 0o777), list(folder.iterdir()))
                (folder / "deep").mkdir()
                (folder / "deep" / "file").write_text("x")
            def life(self):
                os.kill(os.getpid(), 9) if HOW == "is killed" else self.die()
        class Main(Process):
            def birth(self):
                self.subscribe("processes/forked/state", self.on_state)
                try:
                    self.temporary_folder
                except ValueError as error:
                    say("none", error)
            def on_state(self, message):
                if message.body["restarts"] >= 2:
                    say("left", "forked.1" in os.listdir(SOCKETS + "/temporary"))
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("forked", Worker, mode="fork", restart=SOON, frequency=50,
                                 temporary_folder=True)
                if HOW == "dies":
                    self.add_process("thread", Worker, restart=ONCE, temporary_folder=True)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    stale = sockets / "temporary" / "forked.1" / "of a killed predecessor"
    assert not stale.exists()
    assert program.end() == 0, program.complaints()
    folders = [line.split() for line in program.said if line.startswith("folder")]
    assert all(line[2:] == ["0o700", "[]"] for line in folders)
    forked = [line[1] for line in folders if "forked" in line[1]]
    assert len(forked) == len(set(forked)) >= 2, "each life has its own"
    assert "left True" not in program.said
    assert not (sockets / "temporary").exists()
    assert program.wait_for("none").startswith("'main' was added without temporary_folder")


def test_what_a_killed_application_left_is_removed_at_the_next_start(
    start: Any, sockets: Path
) -> None:
    left = sockets / "temporary" / "worker.1"
    left.mkdir(parents=True)
    (left / "file").touch()
    program = start("""
        class Main(Process):
            def life(self):
                say("there", os.path.exists(SOCKETS + "/temporary"))
                self.die()
        sys.exit(Application(main=Main, sockets=SOCKETS).run())
        """)
    assert program.wait_for("there") == "False"
    assert program.end() == 0
    assert os.path.isdir(sockets)
