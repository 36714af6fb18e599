"""What the supervisor survives: nonsense, odd deaths, and a machine that has run out of things."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest


def test_a_death_by_a_signal_without_a_name_costs_that_process_alone(start: Any) -> None:
    program = start("""
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
                self.killed = False
            def on_state(self, message):
                if message.body["state"] == "living":
                    if self.killed:
                        say("lives again")
                        self.die()
                    else:
                        self.killed = True
                        os.kill(self.active_subprocesses()["worker"], signal.SIGRTMIN + 9)
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork", restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert "lives again" in program.said
    assert f"killed by signal {signal.SIGRTMIN + 9}" in program.complaints()


def test_an_order_that_makes_no_sense_is_refused_and_costs_nobody_anything(start: Any) -> None:
    program = start("""
        WRONG = [
            ("register", "me"), ("level", {}), ("level", "gone"), ("pid", "x"), ("ended", "badly"),
            ("ended", {}), ("ended", {"error": 5}), ("start", ["worker"]),
            ("stop", {"worker": 1}), ("restart", None), ("add", "worker"), ("add", {}), ("run", 5),
            ("run", {"function": 5, "letter": b""}), ("poison_pill", ["worker"]), ("tap", 5),
            ("run", {"function": "os:abort", "letter": b"no letter"}),
            ("tap", {"id": "a", "tap": {"sender": 5}}), ("untap", 5), ("log-level", None),
            ("log-level", {"name": 5, "level": "debug"}), ("subscribe", 5), ("unsubscribe", 5),
            ("subscribe", "a/#/b"),
            ("retain", b""), ("retain", {"message": b"no letter", "version": 1}),
            ("will", "x"), ("will", {"topic": 5, "body": 1}), ("open", 5), ("close", 5),
        ]
        class Worker(Loud):
            def birth(self):
                self.add_filter(subject="^try$", callback=self.on_try)
            def on_try(self, message):
                for subject, body in WRONG:
                    try:
                        self._box.wait_for(self._tell_boss(subject, body), 10.0)
                        say("taken", subject, body)
                    except GatewayError as error:
                        say("refused", type(error).__name__, subject, error)
                try:
                    self.set_log_level("debug", 5)
                except GatewayError as error:
                    say("refused", type(error).__name__, "set_log_level", error)
                self.reply(message)
        class Main(Process):
            def life(self):
                self.wait_for_reply(self.send("worker", "try"), 60.0)
                say("crew", [(m["name"], m["state"], m["incarnation"]) for m in
                             self.wait_for_reply(self.send("boss", "ps")).body])
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
        app = App(main=Main, sockets=SOCKETS)
        say("status", app.run(), app.brake)
        """)
    program.wait_for("status 0")
    program.end()
    assert "crew [('worker', 'living', 1), ('main', 'living', 1)]" in program.said
    assert [line for line in program.said if line.startswith("taken")] == []
    refused = [line for line in program.said if line.startswith("refused")]
    assert len(refused) == 31, refused
    assert not any("CallTimeoutError" in line for line in refused), refused


def test_a_life_that_cannot_be_started_is_a_failure_of_its_own(start: Any) -> None:
    program = start("""
        class Short(threading.Thread):
            left = 2
            def start(self):
                if self.name == "worker" and Short.left:
                    Short.left -= 1
                    raise RuntimeError("can't start new thread")
                super().start()
        threading.Thread = Short
        again = RestartPolicy("transient", first=0.01, ceiling=0.01)
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, restart=again, bound_shutdown=True)
        class Worker(Loud):
            def birth(self):
                super().birth()
                self.die()
        import dataclasses
        from gateway.supervision import lives
        whole = lives.Context
        lives.Context = lambda *a, **k: dataclasses.replace(
            whole(*a, **k), make_thread=Short)
        app = App(main=Loud, sockets=SOCKETS)
        app.run()
        say("brake", repr(app.brake), Short.left)
        """)
    assert program.wait_for("brake") == "'' 0"
    program.end()
    assert "birth worker" in " ".join(program.said)
    assert "can't start new thread" in program.complaints()


def test_a_mailbox_that_could_not_be_opened_leaves_nothing_behind(
    start: Any, sockets: Path
) -> None:
    program = start("""
        import errno
        from gateway.bus.office import Office
        whole, left = Office.open, [3]
        def short(self, name, *arguments, **options):
            if name == "worker" and left[0]:
                left[0] -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return whole(self, name, *arguments, **options)
        Office.open = short
        class Main(Loud):
            def life(self):
                if "worker" in self.recipients():
                    say("found", sorted(os.listdir(SOCKETS + "/bus")))
                    self.die()
        class App(Application):
            global_frequency = 100.0
            def build(self):
                self.add_process("worker", Loud, restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    names = [
        "boss.1",
        "boss.1.hands",
        "boss.1.urgent",
        "main.1",
        "main.1.urgent",
        "worker.4",
        "worker.4.urgent",
    ]
    assert f"found {names}" in program.said
    assert os.listdir(sockets / "bus") == []
    assert "ResourceWarning" not in program.complaints()


def test_who_waits_for_an_order_is_told_at_the_stop_and_dies_in_order(start: Any) -> None:
    program = start("""
        class Never(Process):
            def birth(self):
                while self.light_sleep(60.0):
                    pass
        class Asker(Loud):
            def birth(self):
                self.add_filter(subject="^go$", callback=self.on_go)
            def on_go(self, message):
                say("asks", self.name)
                try:
                    getattr(self, self.parameter("verb"))("slow", timeout=60.0)
                except GatewayError as error:
                    say(self.name, type(error).__name__, error)
        class Main(Loud):
            def birth(self):
                self.send("one", "go")
        class App(Application):
            shutdown_timeout = 50.0
            def build(self):
                self.add_process("never", Never, autostart=False)
                self.add_process("slow", Loud, autostart=False, depends=["never"])
                self.add_process("one", Asker, mode="fork",
                                 parameters={"verb": "start_process"})
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("asks one")
    program.signal(signal.SIGTERM)
    program.wait_for("death one")
    assert program.end() == 0, program.complaints()
    assert "one RefusedError the application stops" in program.said


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_any_process_may_stop_the_application(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Process):
            def birth(self):
                self.application.stop()
        class AsyncWorker(Process):
            async def birth(self):
                self.application.stop()
        class App(Application):
            def build(self):
                worker = AsyncWorker if {mode!r} == "asyncio" else Worker
                self.add_process("worker", worker, mode={mode!r})
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()


def test_a_boss_that_failed_leaves_no_thread_alone(start: Any) -> None:
    program = start("""
        from gateway.supervision.orders import Orders
        def step(self, now):
            if Main.ready:
                raise ZeroDivisionError("a bug of the boss's")
        Orders.step = step
        class Main(Loud):
            ready = False
            def life(self):
                told = self.wait_for_reply(self.send("boss", "ps")).body
                if all(member["state"] == "living" for member in told):
                    Main.ready = True
                    self.send("boss", "ps")
        class App(Application):
            global_frequency = 50.0
            # Nobody waits for a boss that has failed, whatever fails with it.
            shutdown_timeout = 3600.0
            def build(self):
                self.add_process("worker", Loud)
                self.add_process("far", Loud, mode="fork")
            def stop(self):
                super().stop()
                raise ZeroDivisionError("as the boss pulls the brake")
        app = App(main=Main, sockets=SOCKETS)
        say("status", app.run(), app.brake)
        """)
    program.wait_for("status 1 the boss failed")
    program.end()
    assert {"death worker", "death far"} <= set(program.said)
