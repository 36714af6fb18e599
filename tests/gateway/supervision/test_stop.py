"""However an application ends, each death runs, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

ENDINGS = """
class Worker(Loud):
    def birth(self):
        super().birth()
        if self.parameter("how") == "birth":
            raise ZeroDivisionError("in birth")
        self.add_filter(callback=self.on_letter)
    def life(self):
        if self.parameter("how") == "life":
            raise ZeroDivisionError("in life")
        if self.parameter("how") in ("die", "death"):
            self.die()
    def on_letter(self, message):
        raise ZeroDivisionError("in a callback")
    def death(self):
        super().death()
        if self.parameter("how") == "death":
            raise ZeroDivisionError("in death")

class Main(Process):
    def birth(self):
        self.subscribe("processes/worker/state", self.on_state)
        if self.parameter("how") == "callback":
            self.send("worker", "anything")
    def on_state(self, message):
        say("worker", message.body["state"], message.body["cause"])
        if message.body["state"] in ("failed", "stopped"):
            self.die()
    def death(self):
        say("death main")

class App(Application):
    def build(self):
        self.add_process("worker", Worker, mode=MODE, restart=ONCE, parameters={"how": HOW})

class Asking(Main):
    def parameter(self, name, default=None):
        return HOW

status = App(main=Asking, sockets=SOCKETS).run()
say("status", status)
"""


@pytest.mark.parametrize("mode", ["thread", "fork"])
@pytest.mark.parametrize("how", ["die", "birth", "life", "death", "callback", "SIGTERM", "SIGINT"])
def test_death_always_runs(start: Any, sockets: Path, mode: str, how: str) -> None:
    program = start(f"MODE, HOW = {mode!r}, {how!r}\n{ENDINGS}")
    if how == "SIGTERM":
        program.wait_for("worker living")
        program.signal(signal.SIGTERM)
    elif how == "SIGINT":
        program.wait_for("worker living")
        program.interrupt()
    program.wait_for("status 0")
    assert program.end() == 0
    assert program.said.count("death worker") == 1
    assert program.said.count("death main") == 1
    if how in ("birth", "life", "death", "callback"):
        assert (
            f"worker failed ZeroDivisionError: in {'a ' * (how == 'callback')}{how}" in program.said
        )
        assert program.complaints().count("ZeroDivisionError: in") == 1
    else:
        assert "Traceback" not in program.complaints()
    assert not list(sockets.glob("bus/*"))


def test_the_start_follows_what_depends_and_the_stop_goes_back(start: Any) -> None:
    program = start("""
        class Main(Loud):
            def birth(self):
                super().birth()
                self.seen = set()
                self.subscribe("processes/+/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "living":
                    self.seen.add(message.subject)
                if len(self.seen) == 5:  # main itself included
                    self.die()

        class App(Application):
            def build(self):
                self.add_process("top", Loud, depends=["left", "right"], mode="fork")
                self.add_process("left", Loud, depends=["base"])
                self.add_process("right", Loud, depends=["base"], mode="fork")
                self.add_process("base", Loud, mode="fork")

        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0
    order = [" ".join(line.split()[:2]) for line in program.said]
    born = [line for line in order if line.startswith("birth") and line != "birth main"]
    died = [line for line in order if line.startswith("death")]
    assert len(born) == 4, program.said
    assert born[0] == "birth base"
    assert born[-1] == "birth top"
    assert died[0] == "death main"
    assert died[1] == "death top"
    assert died[-1] == "death base"
    assert len(born) == 4
    assert len(died) == 5


def test_what_ends_badly_in_main_is_the_status(start: Any) -> None:
    program = start("""
        class Main(Loud):
            def life(self):
                raise ZeroDivisionError("main")
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 1
    assert "death main" in program.said


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_death_that_raises_at_the_stop_is_the_status(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Process):
            def death(self):
                raise ZeroDivisionError("in death")
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode={mode!r})
                self.add_process("other", Loud, mode={mode!r})
        class Main(Loud):
            def birth(self):
                self.start_process("worker")
                self.die()
        app = App(main=Main, sockets=SOCKETS)
        say("status", app.run())
        """)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death other", "death main"} <= set(program.said)
    assert program.complaints().count("ZeroDivisionError: in death") == 1


@pytest.mark.parametrize(
    ("where", "force", "status"), [("death", False, 1), ("death", True, 0), ("life", False, 0)]
)
def test_a_death_that_is_killed_at_the_stop_is_the_status(
    start: Any, *, where: str, force: bool, status: int
) -> None:
    program = start(f"""
        def end():
            say("dying")
            os.kill(os.getpid(), signal.SIGKILL)
        class Worker(Process):
            def life(self):
                self.publish("alive", True, retain=True)
                self.light_sleep(60)
                if {where!r} == "life":
                    end()
            def death(self):
                end()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", force_stop={force})
        class Main(Loud):
            def birth(self):
                self.subscribe("alive", lambda message: self.die())
        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for(f"status {status}")
    assert program.end() == 0
    assert "dying" in program.said


@pytest.mark.parametrize(
    ("left", "status", "told"),
    [("", 0, ""), ("3", 1, "main failed: it called exit(3)"), ("'no arm'", 1, "exit('no arm')")],
)
def test_a_main_that_exits_ends_everything_and_says_why(
    start: Any, left: str, status: int, told: str
) -> None:
    program = start(f"""
        class Main(Loud):
            def life(self):
                sys.exit({left})
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == status
    assert "death main" in program.said
    assert told in program.complaints()
    assert bool(told) is ("failed" in program.complaints())


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_life_that_raised_before_the_stop_was_its_policys_business(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Loud):
            def life(self):
                raise ZeroDivisionError("in life")
        class Main(Loud):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "failed":
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode={mode!r}, restart=ONCE)
        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("status 0")
    assert program.end() == 0


def test_the_emergency_brake_stops_everything_as_failed(start: Any) -> None:
    program = start("""
        class Worker(Loud):
            def life(self):
                self.ebrake("smoke")
                self.light_sleep(60)
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
                self.add_process("other", Loud)
        app = App(main=Loud, sockets=SOCKETS)
        status = app.run()
        say("brake", app.brake)
        sys.exit(status)
        """)
    assert program.end() == 1
    assert "brake worker: smoke" in program.said
    assert {"death worker", "death other", "death main"} <= set(program.said)


REASONS = """
class Mute:
    def __str__(self):
        raise ValueError("not a word")
    __repr__ = __str__
REASONS = {
    "no Unicode": "cannot open /dev/caf\\udce9",
    "an error": OSError("motor"),
    "an error of no Unicode": FileNotFoundError(2, "No such file", "caf\\udce9"),
    "an error that is silent": ZeroDivisionError(),
    "what cannot say it": Mute(),
    "megabytes": "\\udce9" * 3_000_000,
    "a set": {1},
}
"""


@pytest.mark.parametrize(
    ("reason", "brake"),
    [
        ("no Unicode", r"arm: cannot open /dev/caf\udce9"),
        ("an error", "arm: motor"),
        ("an error of no Unicode", r"arm: [Errno 2] No such file: 'caf\udce9'"),
        ("an error that is silent", "arm: ZeroDivisionError()"),
        ("what cannot say it", "arm: a Mute that cannot say why"),
        ("megabytes", "arm: " + r"\udce9" * 4000 + "…"),
        ("a set", "arm: {1}"),
    ],
)
@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_the_emergency_brake_stops_everything_whatever_its_reason(
    start: Any, mode: str, reason: str, brake: str
) -> None:
    program = start(
        REASONS
        + f"""
class Arm(Process):
    def birth(self):
        self.add_filter(subject="^reach$", callback=self.on_reach)
    def on_reach(self, message):
        self.ebrake(REASONS[{reason!r}])
class Main(Process):
    def life(self):
        try:
            say("answer", self.wait_for_reply(self.send("arm", "reach"), 20.0))
        except GatewayError as error:
            say("answer", type(error).__name__)
        self.light_sleep(60)
class App(Application):
    def build(self):
        self.add_process("arm", Arm, mode={mode!r})
app = App(main=Main, sockets=SOCKETS)
status = app.run()
say("brake", app.brake)
sys.exit(status)
"""
    )
    program.wait_for("answer RecipientGoneError")
    assert program.end() == 1
    assert program.said[-1] == f"brake {brake}"


@pytest.mark.parametrize("deaf", ["to letters", "to TERM too"])
def test_who_does_not_end_is_ended_within_the_deadline(start: Any, deaf: str) -> None:
    program = start(f"""
        class Deaf(Loud):
            def life(self):
                if {deaf == "to TERM too"}:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say("deaf")
                while True:
                    signal.pause()
                    if not self.is_active:
                        return
        class App(Application):
            shutdown_timeout = 0.5
            def build(self):
                self.add_process("deaf", Deaf, mode="fork")
                self.add_process("other", Loud, mode="fork")
        say("status", App(main=Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("deaf")
    program.wait_for("birth other")
    program.wait_for("birth main")
    asked = monotonic()
    program.signal(signal.SIGTERM)
    program.end()
    assert monotonic() - asked < 4.0
    assert ("death deaf" in program.said) is (deaf == "to letters")
    assert ("status 0" in program.said) is (deaf == "to letters"), "a KILL is no death"
    assert {"death other", "death main"} <= set(program.said)


def test_who_is_killed_at_the_end_is_named_once_however_many_there_are(start: Any) -> None:
    program = start("""
        class Deaf(Process):
            def life(self):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say("deaf", self.name)
                while True:
                    signal.pause()
        class App(Application):
            shutdown_timeout = 0.1
            def build(self):
                for number in range(4):
                    self.add_process(f"deaf{number}", Deaf, mode="fork")
        App(main=Loud, sockets=SOCKETS).run()
        """)
    for number in range(4):
        program.wait_for(f"deaf deaf{number}")
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    program.end()
    told = program.complaints()
    for number in range(4):
        for pressed in ("SIGTERM", "SIGKILL"):
            assert told.count(f"deaf{number} does not end: {pressed}") == 1


def test_a_thread_that_does_not_end_is_left_behind_and_told_of(start: Any) -> None:
    program = start("""
        class Stuck(Loud):
            def life(self):
                say("stuck")
                threading.Event().wait()
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("stuck", Stuck)
        say("status", App(main=Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("stuck")
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    program.end()
    assert "stuck does not end" in program.complaints()


def test_a_killed_main_takes_everybody_along_and_deaths_run(start: Any, sockets: Path) -> None:
    source = """
        class App(Application):
            def build(self):
                self.add_process("one", Loud, mode="fork")
                self.add_process("two", Loud, mode="fork")
        App(main=Loud, sockets=SOCKETS).run()
        """
    first = start(source)
    pids = [int(first.wait_for(f"birth {name}")) for name in ("one", "two", "main")]
    first.signal(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    for pid in pids[:2]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert {"death one", "death two"} <= set(first.said)
    (sockets / "bus").mkdir(exist_ok=True)
    (sockets / "bus" / "stale.7").touch()
    second = start(source)
    for name in ("one", "two", "main"):
        second.wait_for(f"birth {name}")
    assert not (sockets / "bus" / "stale.7").exists()
    second.signal(signal.SIGTERM)
    assert second.end() == 0
    assert not list(sockets.glob("bus/*"))


def test_a_killed_fork_server_pulls_the_brake(start: Any) -> None:
    program = start("""
        class Worker(Loud):
            def life(self):
                say("parent", os.getppid())
                self.light_sleep(60)
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
        app = App(main=Loud, sockets=SOCKETS)
        status = app.run()
        say("brake", app.brake)
        sys.exit(status)
        """)
    program.wait_for("birth main")
    os.kill(int(program.wait_for("parent")), signal.SIGKILL)
    assert program.end() == 1
    assert "fork server died" in program.wait_for("brake")
    assert {"death worker", "death main"} <= set(program.said)


@pytest.mark.parametrize("round_", range(3))
def test_a_stop_says_nothing_on_the_terminal(start: Any, round_: int) -> None:
    program = start("""
        class Main(Loud):
            def life(self):
                self.die()
        class App(Application):
            def build(self):
                for number in range(4):
                    self.add_process(f"worker-{number}", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0
    assert program.complaints() == ""


def test_a_life_that_reads_no_mail_hears_the_stop(start: Any) -> None:
    program = start("""
        class Worker(Loud):
            def life(self):
                say("asleep", self.name)
                if not self.light_sleep(60):
                    say("woken", self.name)
        class App(Application):
            def build(self):
                for mode in ("thread", "fork"):
                    self.add_process(mode, Worker, mode=mode)
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    for name in ("thread", "fork"):
        program.wait_for(f"asleep {name}")
    program.wait_for("birth main")
    asked = monotonic()
    program.signal(signal.SIGTERM)
    assert program.end() == 0
    assert monotonic() - asked < 8.0
    assert {"woken thread", "woken fork"} <= set(program.said)


@pytest.mark.parametrize("stuck", ["main", "fork", "thread", "asyncio"])
def test_a_second_ctrl_c_stops_by_force(start: Any, sockets: Path, stuck: str) -> None:
    program = start(f"""
        import asyncio
        from gateway.supervision import stop_signals
        stop_signals.ECHO = 0.0
        class Stuck(Process):
            def life(self):
                if self.parameter("mode") == "fork":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say("stuck")
                while True:
                    time.sleep(1)
        class OnLoop(Process):
            async def life(self):
                say("stuck")
                while True:
                    try:
                        await asyncio.sleep(1)
                    except asyncio.CancelledError:
                        say("shielded")
        class App(Application):
            shutdown_timeout = 60.0
            def build(self):
                self.add_process("other", Loud, mode="fork")
                if {stuck!r} != "main":
                    kind = OnLoop if {stuck!r} == "asyncio" else Stuck
                    self.add_process(
                        "stuck", kind, mode={stuck!r}, parameters={{"mode": {stuck!r}}}
                    )
            def stop(self):
                super().stop()
                say("stopping")
        sys.exit(App(main=Stuck if {stuck!r} == "main" else Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("stuck")
    program.wait_for("birth other")
    if stuck != "main":
        program.wait_for("birth main")
    program.interrupt()
    program.wait_for("stopping")
    program.interrupt()
    assert program.end() == 130
    assert program.complaints().count("stopped by force: Ctrl-C was pressed twice") == 1
    assert "Traceback" not in program.complaints()
    assert not list(sockets.glob("bus/*"))


@pytest.mark.parametrize("step", range(1, 5300, 110))
def test_a_second_ctrl_c_ends_it_wherever_it_comes_in(start: Any, step: int) -> None:
    # From the first Ctrl-C to where `run` knows its status a main process begins 5,500 lines and
    # instructions. The second Ctrl-C comes in where the interpreter next looks for signals.
    program = start(f"""
        import _thread, itertools
        from gateway.supervision import stop_signals
        stop_signals.ECHO = 0.0
        left = {step}
        # A `for` looks for no signals when it has called this.
        arrives = map(_thread.interrupt_main, itertools.repeat(signal.SIGINT))
        def outwards(frame):
            while frame:
                yield frame
                frame = frame.f_back
        def trace(frame, event, _):
            global left
            frame.f_trace_opcodes = True
            # On Python 3.12 a function has none of these in its first run, but lines.
            left -= event in ("opcode", "line")
            if left:
                return trace
            left = -1
            sys.settrace(None)
            for outer in outwards(frame):
                outer.f_trace = None
            say("struck", frame.f_code.co_qualname)
            for _ in arrives:
                break
        class App(Application):
            shutdown_timeout = 60.0
            def build(self):
                self.add_process("other", Loud, mode="fork")
            def stop(self):
                super().stop()
                if left > 0:
                    sys.settrace(trace)
                    for outer in outwards(sys._getframe()):
                        outer.f_trace, outer.f_trace_opcodes = trace, True
        status = App(main=Loud, sockets=SOCKETS).run()
        sys.settrace(None)
        say("over", status)
        """)
    program.wait_for("birth main")
    program.signal(signal.SIGINT)
    assert program.end() == 0
    is_struck = any(line.startswith("struck") for line in program.said)
    assert is_struck or step > 1000
    assert f"over {130 if is_struck else 0}" in program.said, program.said
    assert "Traceback" not in program.complaints(), program.said


# Before it waits for mail, sleeps itself, and waits for the end of the crew.
@pytest.mark.parametrize("where", ["mail", "life", "stop"])
def test_a_signal_that_comes_just_before_main_sleeps_is_heard(start: Any, where: str) -> None:
    program = start(f"""
        import select
        from gateway.process import wakeup
        from gateway.supervision import stop_signals
        from tests.gateway.struck import Struck
        stop_signals.ECHO = 0.0
        class Select:
            POLLIN = select.POLLIN
            @staticmethod
            def poll():
                wakeup.select = select
                return Struck(select.poll(), signal.SIGINT)
        class Main(Loud):
            def birth(self):
                super().birth()
                if {where!r} == "mail":
                    self._box._lead.everything = Struck(self._box._lead.everything, signal.SIGTERM)
                if {where!r} == "stop":
                    # As a loop of asyncio leaves it that has handled signals.
                    signal.set_wakeup_fd(-1)
        class Sleepy(Main):
            def life(self):
                wakeup.select = Select
                self.light_sleep(3600)
        class Stuck(Process):
            def life(self):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say("stuck")
                time.sleep(3600)
        class App(Application):
            shutdown_timeout = 3600.0
            def build(self):
                if {where!r} == "stop":
                    self.add_process("stuck", Stuck, mode="fork")
            def stop(self):
                super().stop()
                if {where!r} == "stop":
                    wakeup.select = Select
        sys.exit(App(main=Sleepy if {where!r} == "life" else Main, sockets=SOCKETS).run())
        """)
    if where == "stop":
        program.wait_for("stuck")
        program.wait_for("birth main")
        program.signal(signal.SIGINT)
    assert program.end() == (130 if where == "stop" else 0)


def test_a_signal_that_comes_just_before_a_forked_process_sleeps_is_heard(start: Any) -> None:
    program = start("""
        from tests.gateway.struck import Struck
        class Worker(Loud):
            def birth(self):
                super().birth()
                self.bind_signals("SIGUSR1", callback=self.hear)
                self._box._lead.everything = Struck(self._box._lead.everything, signal.SIGUSR1)
            def hear(self, name):
                say("heard", name)
                self.application.stop()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    assert program.wait_for("heard") == "SIGUSR1"
    assert program.end() == 0


@pytest.mark.parametrize("when", ["start", "stop"])
def test_ctrl_c_interrupts_neither_the_first_nor_the_last_steps(
    start: Any, sockets: Path, when: str
) -> None:
    program = start(f"""
        from gateway.supervision import stop_signals
        from gateway.supervision.fork_server import ForkServer
        stop_signals.ECHO = 0.0
        class Pressed(ForkServer):
            def press(self, how):
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)
                return how()
            def {when}(self):
                return self.press(super().{when})
        from gateway import application
        application.ForkServer = Pressed
        class App(Application):
            def build(self):
                self.add_process("other", Loud, mode="fork")
        class Main(Loud):
            def birth(self):
                self.die()
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == (130 if when == "start" else 0)
    assert "Traceback" not in program.complaints()
    assert not list(sockets.glob("bus/*"))


def test_a_stop_that_comes_before_the_start_is_heeded(start: Any) -> None:
    program = start("""
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
                self.stop()
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    asked = monotonic()
    assert program.end() == 0
    assert monotonic() - asked < 15.0
    assert program.complaints() == ""


def test_who_dies_after_the_boss_dies_in_order_and_complains_of_nothing(start: Any) -> None:
    program = start("""
        class Keeper(Loud):
            def birth(self):
                self.box = self.open_mailbox("arm@keeper")
                self.subscribe("a", print)
                super().birth()
            def death(self):
                self.close_mailbox(self.box)
                self.unsubscribe("a")
                self.publish("keeper/state", "stopped", retain=True)
                super().death()
        class App(Application):
            def build(self):
                self.add_process("keeper", Keeper, mode="fork")
        App(main=Loud, sockets=SOCKETS).run()
        """)
    for name in ("keeper", "main"):
        program.wait_for(f"birth {name}")
    program.signal(signal.SIGKILL)
    program.end()
    assert "death keeper" in program.said
    assert program.complaints() == ""
