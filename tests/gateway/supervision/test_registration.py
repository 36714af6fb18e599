"""A child registers until it is heard, and one that dies before is noticed."""

from __future__ import annotations

import signal
from typing import Any

import pytest


def test_a_registration_that_is_not_heard_is_repeated(start: Any) -> None:
    program = start("""
        from gateway.supervision import child
        from gateway.supervision.boss import Boss
        child.PATIENCE = 0.05
        register, seen = Boss._register, []
        def deaf(self, message):
            seen.append(message)
            if len(seen) > 2:
                register(self, message)
        Boss._register = deaf
        class Main(Process):
            def life(self):
                self.start_process("worker")
                say("letters", len(seen))
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert int(program.wait_for("letters")) >= 3
    assert program.end() == 0
    assert program.said.count("death worker") == 1, "it was born once"


def test_who_is_never_heard_gives_up_and_is_restarted(start: Any) -> None:
    program = start("""
        from gateway.supervision import child
        from gateway.supervision.boss import Boss
        child.PATIENCE, child.TRIES = 0.02, 2
        Boss._register = lambda self, message: None
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "failed":
                    say("failed", message.body["cause"])
                    if message.body["restarts"] >= 2:
                        self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork", restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.wait_for("failed").startswith("the boss did not answer")
    assert program.end() == 0
    assert not any(line.startswith("birth worker") for line in program.said)


@pytest.mark.parametrize("how", ["killed", "exits"])
def test_a_child_that_is_dead_before_it_registered_is_noticed(start: Any, how: str) -> None:
    program = start(f"""
        from gateway.supervision.child import Child
        register, parent = Child._register, os.getpid()
        def dead(self):
            if os.path.exists(SOCKETS + "/alive"):
                return register(self)
            os.kill(os.getpid(), 9) if {how == "killed"} else os._exit(3)
        Child._register = dead
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
                # Not before: who subscribes later is told the last of its states alone.
                self._tell_boss("start", "worker")
            def on_state(self, message):
                say(message.body["state"], message.body["restarts"])
                if message.body["restarts"] == 3:
                    open(SOCKETS + "/alive", "w").close()
                if message.body["state"] == "living":
                    os.unlink(SOCKETS + "/alive")
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork", restart=SOON, autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    for restarts in (1, 2, 3):
        assert f"failed {restarts}" in program.said
    assert "death worker" in program.said


def test_answers_wait_for_room_and_the_boss_for_nobody(start: Any) -> None:
    program = start("""
        class Rude(Process):
            def life(self):
                asked = [self.send("boss", "ps") for _ in range(30)]
                say("asked")
                signal.pause()
                say("read", sum(len(self.wait_for_reply(each).body) == 2 for each in asked))
        class Main(Process):
            def life(self):
                begun = time.monotonic()
                for _ in range(20):
                    self.wait_for_reply(self.send("boss", "ps"))
                say("quick", time.monotonic() - begun < 5.0)
                self.light_sleep(60)
        class App(Application):
            def build(self):
                self.add_process("rude", Rude, mode="fork", frequency=0.01)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    program.wait_for("asked")
    assert program.wait_for("quick") == "True"
    program.signal(signal.SIGTERM)
    assert program.wait_for("read") == "30", "what found no room was kept"
    program.end()


def test_a_hangup_stops_the_application_in_order(start: Any) -> None:
    program = start("""
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    program.wait_for("birth worker")
    program.wait_for("birth main")
    program.hang_up()
    assert program.end() == 0
    assert program.said.count("death worker") == program.said.count("death main") == 1
    assert program.complaints() == ""
