"""Orders, limits and heartbeats of lives on a loop, in virtual time, beside pills and taps."""

from __future__ import annotations

import select
import signal
from time import monotonic
from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import ConfigError
from gateway.mail.message import Message
from gateway.process.context import Mode
from gateway.process.mail_tap import MailTap
from gateway.process.process import Process
from gateway.supervision.recruit import data_of, spec_of
from gateway.supervision.spec import ProcessSpec
from gateway.testing.stage import Echo, play

HEAD = """
import asyncio
from gateway import AsyncProcess, Program

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"

class LoudOnLoop(AsyncProcess):
    async def birth(self):
        say("birth", self.name)
    async def death(self):
        say("death", self.name)
"""

PATIENT = [
    "sh",
    "-c",
    'while read line; do case "$line" in *die*) exit;; esac; done <&$GATEWAY_SOCKET_FD',
]
"""A program that lives until it is told to end."""


def test_lives_on_a_loop_join_at_run_time_and_obey_orders(start: Any, tmp_path: Any) -> None:
    (tmp_path / "late_module.py").write_text(
        "from gateway import AsyncProcess\n"
        "class Late(AsyncProcess):\n"
        "    async def birth(self):\n"
        "        self.add_filter(subject='ask', callback=self.on_ask)\n"
        "    async def on_ask(self, message):\n"
        "        self.reply(message, self.parameter('colour'))\n"
    )
    program = start(f"""
        sys.path.insert(0, {str(tmp_path)!r})
        class Main(Process):
            def life(self):
                app = self.application
                app.add_process("one", "late_module:Late", mode="asyncio",
                                parameters={{"colour": "red"}})
                app.add_process("cat", mode="external", command={PATIENT!r})
                app.add_member({{"name": "dog", "mode": "external", "command": {PATIENT!r},
                                "autostart": False}})
                for name in ("one", "cat", "dog"):
                    self.start_process(name)
                say(self.wait_for_reply(self.send("one", "ask")).body)
                self.stop_process("one")
                self.stop_process("cat")
                self.restart_process("one")
                self.restart_process("dog")
                say(self.wait_for_reply(self.send("one", "ask")).body)
                told = self.wait_for_reply(self.send("boss", "ps")).body
                say(*sorted((m["name"], m["kind"], m["incarnation"], m["state"])
                            for m in told if m["name"] != "main"))
                self.die()
        sys.exit(Application(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.said == [
        "red",
        "red",
        "('cat', 'sh', 1, 'stopped') ('dog', 'sh', 2, 'living') ('one', 'Late', 2, 'living')",
    ]


@pytest.mark.parametrize("mode", ["asyncio", "external"])
def test_who_does_not_end_by_order_is_pressed(start: Any, mode: str) -> None:
    program = start(
        HEAD
        + f"""
MODE = {mode!r}
class Deaf(LoudOnLoop):
    async def death(self):
        await asyncio.sleep(60)
class Main(Process):
    def birth(self):
        self.start_process("deaf")
        self.stop_process("deaf")
        told = self.wait_for_reply(self.send("boss", "ps")).body
        say(*[m["state"] for m in told if m["name"] == "deaf"])
        self.die()
class App(Application):
    shutdown_timeout = 0.3
    def build(self):
        if MODE == "asyncio":
            self.add_process("deaf", Deaf, mode="asyncio")
        else:
            self.add_process("deaf", mode="external",
                             command=Program([sys.executable, "-c", DEAF], patience=60.0))
sys.exit(App(main=Main, sockets=SOCKETS).run())
"""
    )
    assert program.end() == 0, program.complaints()
    assert program.said[-1] == "stopped"
    assert "deaf does not end: it is pressed" in program.complaints()


def test_a_blocked_loop_fails_the_order_and_is_found_stuck(start: Any) -> None:
    program = start(
        HEAD
        + """
HANG = threading.Event()
class Blocks(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="hang", callback=self.on_hang)
    def on_hang(self, message):
        HANG.wait(30.0)
class Main(Process):
    def birth(self):
        self.subscribe("processes/blocks/events/stuck", self.on_stuck)
        self.start_process("blocks")
        self.send("blocks", "hang")
    def on_stuck(self, message):
        say("stuck", message.body["action"])
        try:
            self.stop_process("blocks")
        except RefusedError as error:
            say("refused", error)
        HANG.set()
        self.die()
class App(Application):
    shutdown_timeout = 0.3
    def build(self):
        self.add_process("blocks", Blocks, mode="asyncio", stuck_after=0.5)
sys.exit(App(main=Main, sockets=SOCKETS).run())
"""
    )
    assert program.end() == 0, program.complaints()
    assert "stuck report" in program.said
    assert "refused 'blocks' does not end and blocks its loop" in program.said
    assert "on_hang" in program.complaints(), "the stack says where"


def test_who_awaits_is_not_stuck_and_a_program_is_not_watched(start: Any) -> None:
    program = start(
        HEAD
        + """
class Waits(LoudOnLoop):
    async def life(self):
        await self.light_sleep(60)
class Main(Process):
    def life(self):
        # Without a letter: whoever asks makes progress.
        while not self.application._boss._heartbeats.stuck and self.light_sleep(0.05):
            pass
        self.light_sleep(0.7)
        say("found itself")
        self.die()
class App(Application):
    stuck_after = 0.3
    def build(self):
        self.add_process("waits", Waits, mode="asyncio")
        self.add_process("program", mode="external", command=["sleep", "60"])
App(main=Main, sockets=SOCKETS).run()
"""
    )
    # The main process sleeps in its life, which is no progress; nobody else is found.
    program.wait_for("found itself")
    program.end()
    assert "process main made no progress" in program.complaints()
    assert "process waits made no progress" not in program.complaints()
    assert "process program made no progress" not in program.complaints()


def test_a_program_that_is_to_be_forced_is_not_waited_for(start: Any) -> None:
    program = start(
        HEAD
        + """
class App(Application):
    shutdown_timeout = 60.0
    def build(self):
        self.add_process("deaf", mode="external", force_stop=True,
                         command=Program([sys.executable, "-c", DEAF], patience=60.0))
        self.add_process("loud", Loud, depends=["deaf"])
sys.exit(App(main=Loud, sockets=SOCKETS).run())
"""
    )
    program.wait_for("birth loud")
    program.wait_for("birth main")
    asked = monotonic()
    program.signal(signal.SIGTERM)
    assert program.end() == 0
    assert monotonic() - asked < 10.0


def test_who_took_a_pill_is_not_restarted_and_may_be_started_by_order() -> None:
    def scene(main: Process) -> None:
        assert main.poison_pill("echo") == "it ended by itself"
        assert main.recipients() == ["boss", "main"]
        told = main.wait_for_reply(main.send("boss", "ps")).body
        assert [m["state"] for m in told if m["name"] == "echo"] == ["stopped"]
        main.start_process("echo")
        assert main.wait_for_reply(main.send("echo", "say", 1)).body == 1
        main.restart_process("echo")
        assert main.wait_for_reply(main.send("echo", "say", 2)).body == 2

    play(scene, echo=(Echo, "fork"))


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_mail_to_a_life_that_is_given_up_before_it_began_is_counted(mode: Mode) -> None:
    found: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            self.send("waits", "hello")
            self.send("waits", "hello")
            self.stop_process("waits")
            told = self.wait_for_reply(self.send("boss", "ps")).body
            found.extend(member for member in told if member["name"] == "waits")
            self.die()

    class App(Application):
        def build(self) -> None:
            self.add_process("never", autostart=False)
            self.add_process("waits", mode=mode, depends=["never"])

    assert App(main=Main).run() == 0
    (told,) = found
    assert told["state"] == "stopped"
    ledger = told["ledger"]
    assert (ledger["accepted"], ledger["lost_with_reader"], ledger["queued"]) == (2, 2, 0)


def test_what_no_loop_and_no_simulation_can_keep_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be killed"):
        ProcessSpec("a", Process, "asyncio", force_stop=True)

    class App(Application):
        def build(self) -> None:
            self.add_process("a", temporary_folder=True)

    with pytest.raises(ConfigError, match="a simulation has no files"):
        App().simulate(until=1.0)


def test_a_program_is_plain_data_too_and_a_class_beside_it_is_refused() -> None:
    data = {
        "name": "cat",
        "mode": "external",
        "mailbox_policy": "reject",
        "command": {"command": ["cat", "-u"], "folder": "/", "patience": 2.0},
    }
    spec = spec_of(data)
    assert spec.command is not None
    assert (spec.kind, spec.command.folder, spec.mailbox_policy) == ("cat", "/", "reject")
    assert spec_of(data_of(spec)).command == spec.command
    wrongs: list[dict[str, Any]] = [
        {"process": "a:B"},
        {"mode": "fork"},
        {"command": None},
        {"command": []},
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigError, match="command"):
            spec_of({**data, **wrong})


def test_orders_and_new_members_in_virtual_time() -> None:
    said: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            self.application.add_member(
                {"name": "late", "process": "gateway.testing.stage:Echo", "mode": "thread"}
            )
            self.start_process("late")
            said.append(self.wait_for_reply(self.send("late", "say", 1)).body)
            self.restart_process("late")
            self.stop_process("late")
            for wrong in ("fork", "asyncio"):
                try:
                    self.application.add_member(
                        {"name": wrong, "process": "gateway.testing.stage:Echo", "mode": wrong}
                    )
                except ConfigError as error:
                    said.append(str(error))
            self.subscribe("processes/slow/state", lambda m: said.append(m.body["cause"]))
            self.application.add_process(
                "slow", "gateway.testing.stage:Echo", limit=60.0, start_after=30.0
            )

    outcome = Application(main=Main).simulate(until=100.0, seed=3)
    assert outcome.status == 0
    assert said[0] == 1
    assert all("only threads can be simulated" in text for text in said[1:3])
    assert "its limit of 60 s was over" in said


class Asker(Process):
    """Asks the boss who is there."""

    def birth(self) -> None:
        self.add_filter(subject="^go$", callback=self.on_go)

    def on_go(self, message: Message) -> None:
        self.process_names()
        self.reply(message)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_who_watches_the_mail_sees_what_the_boss_answers(mode: Mode) -> None:
    def scene(main: Process) -> list[tuple[str, str]]:
        tap = MailTap(main)
        try:
            tap.follow("all", sender="boss", kinds=("reply",))
            main.wait_for_reply(main.send("asker", "go"))
            seen: list[tuple[str, str]] = []
            # The boss's answer to the tap itself may come first.
            while ("reply", "asker") not in seen:
                assert select.select([tap.fileno()], [], [], 10.0)[0], seen
                seen += [(copy.content["kind"], copy.content["recipient"]) for copy in tap.take()]
            return seen
        finally:
            tap.close()

    assert ("reply", "asker") in play(scene, asker=(Asker, mode))
