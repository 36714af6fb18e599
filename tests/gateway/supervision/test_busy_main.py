"""A stop waits for a main process that is busy no longer than for anybody else."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

FOR_EVER = {
    "goes round": "while True: pass",
    "sleeps": "time.sleep(600)",
    "waits for a thread": "threading.Event().wait()",
    "waits for a reply": 'self.wait_for_reply(self.send("arm", "silence"), timeout=600)',
}


def house(busy: str, *, where: str = "life", patience: float = 0.3, pulls: bool = False) -> str:
    """Return an application whose main is ``busy`` for ever in ``where``, around an arm."""
    return f"""
class Main(Loud):
    def life(self):
        self.die()
    def {where}(self):
        say("busy")
        {busy}
class Arm(Loud):
    def birth(self):
        self.add_filter(subject="^silence$", callback=lambda message: None)
        self.add_filter(subject="^poison$", callback=self.on_poison)
        super().birth()
    def on_poison(self, message):
        try:
            self.poison_pill("main")
        except RefusedError:
            say("it holds out")
    def life(self):
        if {pulls} and os.path.exists(SOCKETS + "/pull"):
            self.ebrake("the arm is loose")
class App(Application):
    shutdown_timeout = {patience}
    def build(self):
        self.add_process("arm", Arm, mode="fork", frequency=100)
    def stop(self):
        super().stop()
        say("stopping")
app = App(main=Main, sockets=SOCKETS)
status = app.run()
say("brake", app.brake)
say("status", status)
"""


@pytest.mark.parametrize("busy", FOR_EVER)
def test_it_is_interrupted_at_the_deadline(start: Any, busy: str) -> None:
    program = start(house(FOR_EVER[busy]))
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)
    assert "main does not end: it is interrupted\n" in program.complaints()


def test_so_it_is_in_its_death(start: Any) -> None:
    program = start(house("time.sleep(600)", where="death"))
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert "death arm" in program.said


ENDS = {
    "die": "self.die()",
    "a bug": "1 / 0",
    "a pill": 'self.send("arm", "poison"); self.light_sleep(600)',
}


@pytest.mark.parametrize("how", ENDS)
def test_so_it_is_in_its_death_whatever_brought_that(start: Any, how: str) -> None:
    source = house("time.sleep(600)", where="death").replace("self.die()", ENDS[how])
    program = start(source)
    program.wait_for("busy")
    program.wait_for("status 1")
    assert program.end() == 0
    assert "death arm" in program.said
    assert "main does not end: it is interrupted\n" in program.complaints()


def loop_of_its_own(where: str) -> str:
    """Return a program with a loop of its own, whose main is busy in its birth or death."""
    return f"""
        class Main(Loud):
            def {where}(self):
                say("busy")
                time.sleep(600)
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("arm", Loud, mode="fork")
        app = App(main=Main, sockets=SOCKETS)
        try:
            with app.running():
                say("born")
        except KeyboardInterrupt:
            say("status", app.status)
        """


def test_so_it_is_in_its_death_after_a_loop_of_the_programs_own(start: Any) -> None:
    program = start(loop_of_its_own("death"))
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"born", "busy", "death arm"} <= set(program.said)


def test_so_it_is_in_the_death_that_follows(start: Any) -> None:
    source = house("time.sleep(600)")
    program = start(
        source.replace("class Arm", "    def death(self):\n        self.life()\nclass Arm")
    )
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert program.said.count("busy") == 2
    assert "main does not end: it is interrupted once more\n" in program.complaints()


def test_so_is_a_loop_of_the_programs_own(start: Any) -> None:
    program = start("""
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("arm", Loud, mode="fork")
        app = App(main=Loud, sockets=SOCKETS)
        try:
            with app.running():
                say("busy")
                time.sleep(600)
        except KeyboardInterrupt:
            say("status", app.status)
        """)
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)


STUBBORN = """
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                say("not me")
"""


def test_so_is_its_birth_there(start: Any) -> None:
    program = start(loop_of_its_own("birth"))
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)
    assert "born" not in program.said


def test_so_is_one_that_has_bound_the_signals(start: Any) -> None:
    program = start(
        house("""
        self.bind_signals("SIGINT", "SIGTERM", "SIGHUP")
        say("bound")
        time.sleep(600)
        """)
    )
    program.wait_for("birth arm")
    program.wait_for("bound")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)


def test_so_is_one_that_has_blocked_a_signal_at_the_deadline(start: Any) -> None:
    program = start(
        house("""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        say("blocked")
        time.sleep(600)
        """)
    )
    program.wait_for("birth arm")
    program.wait_for("blocked")
    program.signal(signal.SIGHUP)
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)


def test_a_second_ctrl_c_just_before_it_is_interrupted_leaves_its_death_alone(start: Any) -> None:
    program = start("""
        from gateway.supervision import stop_signals
        stop_signals.ECHO = 0.0
        due, dying, sent = threading.Event(), threading.Event(), threading.Event()
        interrupt = stop_signals.StopSignals.interrupt
        def late(signals, is_wanted):
            due.set()
            dying.wait()
            is_sent = interrupt(signals, is_wanted)
            sent.set()
            return is_sent
        stop_signals.StopSignals.interrupt = late
        class Main(Loud):
            def life(self):
                signal.raise_signal(signal.SIGTERM)
                due.wait()
                signal.raise_signal(signal.SIGINT)
            def death(self):
                dying.set()
                sent.wait()
                super().death()
        class App(Application):
            shutdown_timeout = 0.3
        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("status 130")
    assert program.end() == 0
    assert "death main" in program.said


def test_one_that_nothing_ends_holds_up_nobody_else_and_is_told_of(start: Any) -> None:
    program = start(f"""
class Told(logging.Handler):
    def emit(self, record):
        say("told", record.getMessage().splitlines()[0])
logging.getLogger().addHandler(Told())
{house(STUBBORN)}""")
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("death arm")
    program.wait_for("told main does not end, and holds up the end of the application")
    assert "in life\n" in program.complaints()
    assert program.said.count("not me") == 2
    program.signal(signal.SIGKILL)
    program.end()


def test_a_second_ctrl_c_that_it_swallows_ends_the_crew_all_the_same(start: Any) -> None:
    program = start(f"""
from gateway.supervision import stop_signals
stop_signals.ECHO = 0.0
{house(STUBBORN, patience=600.0)}""")
    program.wait_for("birth arm")
    program.wait_for("busy")
    program.signal(signal.SIGINT)
    program.wait_for("stopping")
    program.signal(signal.SIGINT)
    program.wait_for("not me")
    program.wait_for("death arm")
    program.signal(signal.SIGKILL)
    program.end()


@pytest.mark.parametrize("busy", FOR_EVER)
def test_the_emergency_brake_ends_the_crew_at_once(start: Any, sockets: Path, busy: str) -> None:
    program = start(house(FOR_EVER[busy], pulls=True, patience=600.0))
    program.wait_for("birth arm")
    program.wait_for("busy")
    (sockets / "pull").touch()
    program.wait_for("death arm")
    assert "emergency brake: arm: the arm is loose" in program.complaints()
    # Who waits for the arm itself ends as soon as that is gone, and not before.
    assert "death main" not in program.said[: program.said.index("death arm")]
    assert ("death main" in program.said) <= (busy == "waits for a reply")
    program.signal(signal.SIGKILL)
    program.end()


def test_after_the_emergency_brake_it_has_its_time_and_is_interrupted_twice_as_well(
    start: Any, sockets: Path
) -> None:
    source = house("time.sleep(600)", pulls=True)
    program = start(
        source.replace("class Arm", "    def death(self):\n        self.life()\nclass Arm")
    )
    program.wait_for("birth arm")
    program.wait_for("busy")
    (sockets / "pull").touch()
    program.wait_for("status 1")
    assert program.end() == 0
    assert program.said.count("busy") == 2
    complaints = program.complaints()
    assert "main does not end: it is interrupted\n" in complaints
    assert "main does not end: it is interrupted once more\n" in complaints


def test_the_emergency_brake_gives_it_no_more_time_than_it_had(start: Any) -> None:
    program = start("""
        from gateway.clock import RealClock
        class Ahead(RealClock):
            by = 0.0
            def monotonic(self):
                return time.monotonic() + self.by
        clock = Ahead()
        lives, gone = threading.Event(), threading.Event()
        class Arm(Loud):
            def life(self):
                lives.set()
            def death(self):
                super().death()
                gone.set()
        class Main(Loud):
            def life(self):
                lives.wait()
                self.application.stop()
                clock.by += 500
                self.ebrake("the arm is loose")
                gone.wait()
                clock.by += 200
                time.sleep(600)
        class App(Application):
            shutdown_timeout = 600.0
            def build(self):
                self.add_process("arm", Arm, frequency=100)
        say("status", App(main=Main, sockets=SOCKETS, clock=clock).run())
        """)
    program.wait_for("death main")
    program.wait_for("status 1")
    assert program.end() == 0


BRAKES = {
    "before the stop": """
        class Screen(Waiting):
            def life(self):
                self.ebrake("the arm is loose")
                self.light_sleep(60)
        class Main(Loud):
            pass
    """,
    "as the stop begins": """
        from gateway.supervision import boss
        class Main(Loud):
            def life(self):
                self.start_process("screen")
                self.die()
        class Shutdown(boss.Shutdown):
            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                if name == "main_is_over" and value and not app.pulled:
                    app.pulled = True
                    app._boss._pull_brake("the arm is loose")
        boss.Shutdown = Shutdown
        class Screen(Waiting):
            pass
    """,
    "during the stop": """
        class Main(Loud):
            def life(self):
                self.start_process("screen")
                self.die()
        class Screen(Waiting):
            def death(self):
                self.ebrake("the arm is loose")
                super().death()
    """,
}


@pytest.mark.parametrize("when", BRAKES)
def test_the_emergency_brake_waits_for_no_order(start: Any, when: str) -> None:
    program = start(f"""
        ENDED = SOCKETS + ".ended"
        os.mkfifo(ENDED)
        class Arm(Loud):
            def death(self):
                super().death()
                open(ENDED, "w").close()
        class Waiting(Loud):
            def death(self):
                open(ENDED).close()
                super().death()
        {BRAKES[when]}
        class App(Application):
            pulled = False
            shutdown_timeout = 60.0
            def build(self):
                self.add_process("arm", Arm, mode="fork")
                self.add_process("screen", Screen, mode="fork", depends=["arm"])
        app = App(main=Main, sockets=SOCKETS)
        say("status", app.run())
        """)
    program.wait_for("status 1")
    assert program.end() == 0
    assert program.said.index("death arm") < program.said.index("death screen")
    assert "the arm is loose" in program.complaints()


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_boss_that_fails_tells_everybody(start: Any, sockets: Path, mode: str) -> None:
    source = house("time.sleep(600)", pulls=True)
    program = start(f"""
from gateway.supervision.boss import Boss
def fail(boss, message):
    raise ZeroDivisionError("a bug")
Boss._ebrake = fail
{source.replace('mode="fork"', f'mode="{mode}"')}""")
    program.wait_for("birth arm")
    program.wait_for("busy")
    (sockets / "pull").touch()
    program.wait_for("death arm")
    assert "the boss failed" in program.complaints()
    program.signal(signal.SIGKILL)
    program.end()


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_so_does_the_end_of_what_the_application_is_bound_to(start: Any, mode: str) -> None:
    source = house('open(SOCKETS + "/busy", "w").close(); time.sleep(600)')
    program = start(f"""
class Bound(Loud):
    def life(self):
        if os.path.exists(SOCKETS + "/busy"):
            self.die()
class House(Application):
    def add_process(self, name, factory, **terms):
        super().add_process(name, factory, **terms)
        if name == "arm":
            self.add_process("bound", Bound, mode={mode!r}, bound_shutdown=True, frequency=100)
{source.replace("class App(Application)", "class App(House)")}""")
    program.wait_for("death bound")
    program.wait_for("status 1")
    assert program.end() == 0
    assert {"death arm", "death main"} <= set(program.said)


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_main_may_use_the_crew_until_it_is_over_and_the_crew_its_boss(
    start: Any, mode: str
) -> None:
    program = start(f"""
import asyncio
from gateway import AsyncProcess
class Arm(AsyncProcess if {mode!r} == "asyncio" else Loud):
    pass
class Main(Loud):
    def death(self):
        self.restart_process("arm")
        self.stop_process("arm")
        self.start_process("late")
        say("late lives")
class App(Application):
    def build(self):
        self.add_process("arm", Arm, mode={mode!r})
        self.add_process("late", Loud, mode="fork", autostart=False)
say("status", App(main=Main, sockets=SOCKETS).run())
""")
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    program.wait_for("late lives")
    program.wait_for("status 0")
    assert program.end() == 0, program.complaints()


def test_a_bound_process_that_fails_while_main_ends_is_the_status(start: Any) -> None:
    program = start("""
        class Bound(Loud):
            def birth(self):
                self.add_filter(subject="^fail$", callback=lambda message: 1 / 0)
        class Main(Loud):
            def death(self):
                self.subscribe("processes/bound/state", self.on_state)
                self.send("bound", "fail")
                while not self.failed:
                    self.mailman(0.1)
            def on_state(self, message):
                self.failed = message.body["state"] == "failed"
            failed = False
        class App(Application):
            def build(self):
                self.add_process("bound", Bound, bound_shutdown=True, restart=ONCE)
        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    program.wait_for("status 1")
    program.end()


@pytest.mark.parametrize("crew", ["thread", "fork"])
def test_the_crew_has_its_whole_time_after_a_main_that_was_late(start: Any, crew: str) -> None:
    program = start(f"""
class Main(Loud):
    def life(self):
        say("busy")
        time.sleep(600)
class Motor(Loud):
    def death(self):
        time.sleep(0.3)
        say("the motor is safe")
class App(Application):
    shutdown_timeout = 4.0
    def build(self):
        self.add_process("motor", Motor, mode={crew!r})
say("status", App(main=Main, sockets=SOCKETS).run())
""")
    program.wait_for("birth motor")
    program.wait_for("busy")
    program.signal(signal.SIGTERM)
    program.wait_for("the motor is safe")
    program.wait_for("status 1")
    program.end()
    assert "motor does not end" not in program.complaints()


def test_who_was_told_at_the_deadline_is_not_left_behind_at_once(start: Any) -> None:
    program = start("""
        class Top(Loud):
            def death(self):
                threading.Event().wait()
        class Motor(Loud):
            def death(self):
                time.sleep(0.2)
                say("the motor is safe")
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("motor", Motor)
                self.add_process("top", Top, depends=["motor"])
        say("status", App(main=Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("birth top")
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    program.wait_for("the motor is safe")
    program.wait_for("status 1")
    program.end()
    assert "top does not end; its thread is left behind" in program.complaints()


def test_a_main_that_cannot_be_interrupted_is_said_to_be_so(start: Any) -> None:
    program = start(
        house("""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.application.stop()
        threading.Event().wait()
        """)
    )
    program.wait_for("death arm")
    program.signal(signal.SIGKILL)
    program.end()
    assert "main does not end: it cannot be interrupted" in program.complaints()


def test_signals_that_somebody_else_took_are_not_sent(start: Any) -> None:
    program = start(
        house("""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.write(1, b"taken\\n")
        time.sleep(600)
        """)
    )
    program.wait_for("birth arm")
    program.wait_for("taken")
    program.interrupt()
    program.wait_for("status 1")
    assert program.end() == 0, "SIGINT was ours still"


def test_a_stop_before_a_loop_of_the_programs_own_is_over_at_once(start: Any) -> None:
    program = start("""
        from gateway.supervision.boss import Boss
        run = Boss._run
        def late(boss):
            time.sleep(0.1)
            run(boss)
        Boss._run = late
        class App(Application):
            def build(self):
                self.add_process("arm", Loud, mode="fork")
                self.stop()
        app = App(main=Loud, sockets=SOCKETS)
        with app.running() as main:
            say("active", main.is_active)
        say("status", app.status)
        """)
    program.wait_for("active False")
    program.wait_for("status 0")
    assert program.end() == 0


def test_a_poison_pill_interrupts_no_main(start: Any) -> None:
    program = start("""
        class Main(Loud):
            def life(self):
                self.send("pill", "now")
                time.sleep(1.0)
                say("done")
        class Pill(Process):
            def birth(self):
                self.add_filter(subject="now", callback=self.on_now)
            def on_now(self, message):
                try:
                    self.poison_pill("main", timeout=10.0)
                except GatewayError as error:
                    say("told", type(error).__name__)
        class App(Application):
            shutdown_timeout = 0.3
            def build(self):
                self.add_process("pill", Pill, mode="fork")
        say("status", App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("done")
    program.wait_for("status 0")
    program.end()
