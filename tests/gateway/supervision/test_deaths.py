"""A process that dies is noticed, told of and restarted; whoever waits for it learns it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from random import Random
from textwrap import dedent
from typing import Any
from unittest.mock import Mock

import pytest

from gateway.application import Application
from gateway.clock import RealClock
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.deaths import Deaths
from gateway.supervision.member import KILLED, Member
from gateway.supervision.restart import RestartPolicy, Restarts
from gateway.supervision.spec import ProcessSpec


def test_who_waits_for_a_killed_process_gets_a_typed_error_and_its_successor_answers(
    start: Any,
) -> None:
    program = start("""
        class Worker(Loud):
            def birth(self):
                super().birth()
                self.add_filter(subject="^ask$", callback=lambda m: self.reply(m, os.getpid()))
                self.add_filter(subject="^kill$", callback=lambda m: os.kill(os.getpid(), 9))
        class Main(Process):
            def birth(self):
                self.lives = 0
                self.subscribe("processes/worker/events/died_without_death", self.on_death)
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                say("state", message.body["state"])
                if message.body["state"] == "living":
                    self.lives += 1
                    first = self.wait_for_reply(self.send("worker", "ask")).body
                    say("life", self.lives, first)
                    if self.lives == 2:
                        return self.die()
                    asked = self.send("worker", "kill")
                    try:
                        self.wait_for_reply(asked, 60)
                    except RecipientGoneError as error:
                        say("gone", error)
                    try:
                        self.send("worker", "ask")
                    except (RecipientGoneError, AddressError) as error:
                        say("nobody", type(error).__name__)
            def on_death(self, message):
                say("told", message.body["cause"])
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert "gone 'worker' died before it answered 'kill'" in program.said
    assert any(line.startswith("told its OS process was killed") for line in program.said)
    first, second = (program.wait_for(f"life {number}") for number in (1, 2))
    assert first != second
    assert program.said.count("death worker") == 1, "the first life was killed"


def test_an_order_heard_beside_a_death_that_is_over_is_carried_out_at_once(start: Any) -> None:
    program = start("""
        class Main(Process):
            def life(self):
                boss, ordered = self.application._boss, []
                usual = boss._deaths.begun
                heard = threading.Event()
                def late(pids):
                    # Between the moment when the boss looks at its letters and this one.
                    ordered.append(self._tell_boss("start", "worker"))
                    usual(pids)
                    heard.set()
                boss._deaths.begun = late
                # As where its pidfd was quicker: nobody is left of whom it tells.
                os.eventfd_write(boss._death_watch.fileno(), 1)
                heard.wait()
                self._box.wait_for(ordered[0], 15.0)
                say("started")
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Process, autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.said == ["started"]


WAITING = dedent("""
    class Worker(Process):
        def birth(self):
            self.add_filter(subject="pid", callback=lambda m: self.reply(m, os.getpid()))
            self.add_filter(subject="silence", callback=lambda m: None)
            self.add_filter(subject="change", callback=lambda m: os.execv("/bin/sleep", SLEEP))
    class Main(Process):
        def ask(self, subject):
            try:
                return self.outcome(self.send("worker", subject))
            except GatewayError as error:
                return f"{type(error).__name__} {error}"
        def outcome(self, asked):
            try:
                return self.wait_for_reply(asked, 20).body
            except GatewayError as error:
                return f"{type(error).__name__} {error}"
        def state(self):
            (found,) = [each for each in self.wait_for_reply(self.send("boss", "ps")).body
                        if each["name"] == "worker"]
            return found["state"], found["cause"]
    class App(Application):
        def build(self):
            self.add_process("worker", Worker, mode="fork", restart=POLICY)
    SLEEP = ["sleep", "3600"]
""")


@pytest.mark.parametrize("kernel", ["tells at once", "has no futex_waitv"])
def test_who_knows_of_a_death_finds_it_to_be_over(start: Any, kernel: str) -> None:
    program = start(
        WAITING
        + dedent(f"""
        POLICY = ONCE
        from gateway.supervision import death_watch
        if {kernel == "has no futex_waitv"}:
            death_watch._FUTEX_WAITV = 9999
        class Asking(Main):
            def life(self):
                for life in range(1, 21):
                    worker = self.ask("pid")
                    killer = threading.Timer(0.01, os.kill, (worker, signal.SIGKILL))
                    asked = self.send("worker", "silence")
                    killer.start()
                    say("waited", self.outcome(asked))
                    say("wrote", self.ask("silence"))
                    say("state", self.state()[0])
                    killer.join()
                    self.start_process("worker")
                self.die()
        sys.exit(App(main=Asking, sockets=SOCKETS).run())
        """)
    )
    assert program.end() == 0, program.complaints()
    away = "wrote RecipientGoneError 'worker' is away: "
    assert Counter(away if line.startswith(away) else line for line in program.said) == {
        "waited RecipientGoneError 'worker' died before it answered 'silence'": 20,
        away: 20,
        "state failed": 20,
    }


def test_a_life_that_became_another_program_takes_no_mail_and_goes_on(start: Any) -> None:
    program = start(
        WAITING
        + dedent("""
        POLICY = SOON
        class Asking(Main):
            def life(self):
                worker = self.ask("pid")
                say("waited", self.ask("change"))
                say("state", *self.state())
                say("wrote", self.ask("pid"))
                os.kill(worker, signal.SIGTERM)
                while self.state()[0] != "living" or not isinstance(self.ask("pid"), int):
                    self.light_sleep(0.01)
                say("anew", self.ask("pid") != worker)
                self.die()
        sys.exit(App(main=Asking, sockets=SOCKETS).run())
        """)
    )
    assert program.end() == 0, program.complaints()
    away = "it became another program, or its OS process cannot end"
    assert program.said == [
        "waited RecipientGoneError 'worker' died before it answered 'change'",
        f"state living {away}",
        f"wrote RecipientGoneError 'worker' is away: {away}",
        "anew True",
    ]
    assert f"worker takes no mail any more: {away}" in program.complaints()


def test_who_waits_beside_the_boss_has_its_error_before_the_boss_tells_the_others(
    start: Any,
) -> None:
    program = start("""
        from gateway.bus.office import Office
        from gateway.supervision.noticeboard import Noticeboard
        # Whoever has the interpreter's lock keeps it while it does not sleep.
        sys.setswitchinterval(60)
        known = threading.Event()
        said = []
        def give_way(self, give_way=Office.give_way):
            # More than once, on a machine that is slow.
            until = time.monotonic() + 5
            while not known.is_set() and time.monotonic() < until:
                give_way(self)
            said.append("gave way")
        def send_book(self, member, send_book=Noticeboard._send_book):
            said.append("sent")
            send_book(self, member)
        class Main(Loud):
            def life(self):
                worker = self.wait_for_reply(self.send("worker", "pid")).body
                asked = self.send("worker", "silence")
                Office.give_way, Noticeboard._send_book = give_way, send_book
                threading.Timer(0.05, os.kill, (worker, signal.SIGKILL)).start()
                try:
                    self.wait_for_reply(asked, 60)
                except RecipientGoneError:
                    said.append("known")
                    known.set()
                self.die()
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="pid", callback=lambda m: self.reply(m, os.getpid()))
                self.add_filter(subject="silence", callback=lambda m: None)
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=ONCE)
                self.add_process("other", Process, mode="fork")
        status = App(main=Main, sockets=SOCKETS).run()
        say(*said[:3])
        sys.exit(status)
        """)
    assert program.end() == 0, program.complaints()
    assert "known gave way sent" in program.said


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_bug_kills_and_restarts_and_a_gateway_error_bounces(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Loud):
            def birth(self):
                super().birth()
                self.add_filter(subject="refuse", callback=self.refuse)
                self.add_filter(subject="bug", callback=lambda m: 1 / 0)
                self.add_filter(subject="ask", callback=lambda m: self.reply(m, "fine"))
            def refuse(self, message):
                raise RefusedError("not on a Sunday")
        class Main(Process):
            def life(self):
                for subject in ("refuse", "ask", "bug"):
                    try:
                        say(subject, self.wait_for_reply(self.send("worker", subject), 30).body)
                    except GatewayError as error:
                        say(subject, type(error).__name__, error)
                while True:
                    try:
                        say("again", self.wait_for_reply(self.send("worker", "ask"), 30).body)
                    except (AddressError, RecipientGoneError):
                        self.light_sleep(0.005)
                    else:
                        break
                try:
                    self.wait_for_reply(self.send("worker", "nobody reads this", receipt=True), 30)
                except RefusedError as error:
                    say("unread", error)
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode={mode!r}, restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert "refuse RefusedError not on a Sunday" in program.said
    assert "ask fine" in program.said
    assert program.wait_for("bug RecipientGoneError")
    assert "again fine" in program.said
    assert program.wait_for("unread 'worker' has no filter")
    assert program.said.count("death worker") == 2
    assert program.complaints().count("Traceback") == 1


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_whoever_writes_to_who_is_away_is_told_why(start: Any, mode: str) -> None:
    program = start(f"""
        LATER = RestartPolicy(first=50.0, ceiling=50.0)
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="break", callback=lambda m: 1 / 0)
        class Main(Process):
            def life(self):
                for name in ("once", "later"):
                    try:
                        self.wait_for_reply(self.send(name, "break"))
                    except RecipientGoneError:
                        pass
                self.poison_pill("stopped")
                for name in ("once", "later", "stopped", "unborn", "latr"):
                    try:
                        self.send(name, "break")
                    except GatewayError as error:
                        say(type(error).__name__, error)
                self.start_process("stopped")
                self.send("stopped", "nothing")
                say("back")
                self.die()
        class App(Application):
            def build(self):
                self.add_process("once", Worker, mode={mode!r}, restart=ONCE)
                self.add_process("later", Worker, mode={mode!r}, restart=LATER)
                self.add_process("stopped", Worker, mode={mode!r})
                self.add_process("unborn", Worker, mode={mode!r}, autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    bug = "ZeroDivisionError: division by zero"
    assert f"RecipientGoneError 'once' is away: {bug}" in program.said
    assert f"RecipientGoneError 'later' is away: {bug}; it is to be started again" in program.said
    assert "RecipientGoneError 'unborn' is away: not started yet" in program.said
    assert "RecipientGoneError 'stopped' is away: it ended by itself" in program.said
    assert "AddressError nobody here is called 'latr': did you mean 'later'?" in program.said
    assert "back" in program.said


def test_a_child_of_os_fork_is_told_that_the_mail_is_its_parents(start: Any) -> None:
    program = start("""
        class Main(Process):
            def life(self):
                child = os.fork()
                if not child:
                    try:
                        self.poison_pill("worker")
                    except RefusedError as error:
                        say(error)
                    finally:
                        os._exit(0)
                os.waitpid(child, 0)
                say("worker", self.wait_for_reply(self.send("worker", "ask")).body)
                self.die()
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="ask", callback=lambda m: self.reply(m, "lives"))
        class App(Application):
            def build(self):
                self.add_process("worker", Worker)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.wait_for("this is a child of os.fork(), and the mail of 'main' is its parent's")
    assert "worker lives" in program.said


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_a_process_cannot_say_bounces_and_costs_it_nothing(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="reply", callback=lambda m: self.reply(m, {{1, 2}}))
                self.add_filter(subject="publish", callback=lambda m: self.publish("a", object()))
                self.add_filter(subject="nobody", callback=lambda m: self.send("nobody", "a"))
                self.add_filter(subject="itself", callback=self.on_itself)
                self.add_filter(subject="ask", callback=lambda m: self.reply(m, os.getpid()))
            def on_itself(self, message):
                self.wait_for_reply(self.send(self.name, "ask"), 0.05)
        class Main(Process):
            def life(self):
                before = self.wait_for_reply(self.send("worker", "ask")).body
                for subject in ("reply", "publish", "nobody", "itself"):
                    try:
                        self.wait_for_reply(self.send("worker", subject), 20)
                    except GatewayError as error:
                        say(subject, type(error).__name__, error)
                say("same", before == self.wait_for_reply(self.send("worker", "ask")).body)
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode={mode!r}, restart=ONCE)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.wait_for("reply BodyError body is a set")
    assert program.wait_for("publish BodyError body is a object")
    assert program.wait_for("nobody AddressError nobody here is called 'nobody'")
    assert program.wait_for("itself CallTimeoutError 'worker' did not answer 'ask'")
    assert "same True" in program.said
    assert "Traceback" not in program.complaints()


@pytest.mark.parametrize("how", ["birth", "killed", "stopped"])
def test_wills_are_said_for_those_who_die_and_not_for_those_who_end(start: Any, how: str) -> None:
    program = start(f"""
        HOW = {how!r}
        class Worker(Process):
            def birth(self):
                self.declare_will("devices/arm/state", {{"state": "failed", "since": None}})
                self.publish("devices/arm/state", {{"state": "healthy", "since": 1.0}}, retain=True)
                if HOW == "birth":
                    raise ZeroDivisionError
            def life(self):
                os.kill(os.getpid(), 9) if HOW == "killed" else self.die()
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_worker)
            def on_worker(self, message):
                if message.body["state"] in ("failed", "stopped"):
                    self.subscribe("devices/+/state", self.on_arm)
                    self.die()
            def on_arm(self, message):
                say("arm", message.body["state"], (message.body["since"] or 0) > 1e9)
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=ONCE, frequency=50)
        App(main=Main, sockets=SOCKETS).run()
        """)
    program.end()
    assert program.said == ["arm healthy False" if how == "stopped" else "arm failed True"]


def test_what_a_killed_reader_left_unread_is_counted_and_bounces(start: Any) -> None:
    program = start("""
        import json
        class Worker(Process):
            def birth(self):
                self.read = []
                self.add_filter(subject="^read$", callback=self.read.append)
            def life(self):
                while len(self.read) < 2:
                    self.mailman(60.0)
                os.kill(os.getpid(), signal.SIGSTOP)
        class Main(Process):
            def life(self):
                self.send("worker", "read")
                self.send("worker", "read")
                state = None
                while state != "T":
                    self.light_sleep(0.001)
                    (worker,) = [each for each in self.crew() if each["name"] == "worker"]
                    if worker["pid"]:
                        with open(f"/proc/{worker['pid']}/stat") as stat:
                            state = stat.read().rpartition(")")[2].split()[0]
                asked = [self.send("worker", f"unread {n}", receipt=True) for n in range(6)]
                # As it was told before, it may have been read since.
                before = self.crew()[0]["ledger"]
                os.kill(worker["pid"], signal.SIGKILL)
                for each in asked:
                    try:
                        self.wait_for_reply(each, 30.0)
                    except RecipientGoneError as error:
                        say("bounced", error)
                while self.crew()[0]["ledger"]["lost_with_reader"] < 6:
                    self.light_sleep(0.001)
                say("ledger", json.dumps([before, self.crew()[0]["ledger"]]))
                self.die()
            def crew(self):
                return self.wait_for_reply(self._tell_boss("ps", None), 30.0).body
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=ONCE, frequency=100)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    before, after = json.loads(program.wait_for("ledger"))
    assert program.end() == 0, program.complaints()
    assert len([line for line in program.said if line.startswith("bounced 'worker' died")]) == 6
    # Replies are counted as well, such as the boss's to the registration.
    assert before["accepted"] == before["delivered"] >= 2
    assert after == {**before, "accepted": before["accepted"] + 6, "lost_with_reader": 6}


def test_a_death_does_not_overtake_what_the_dead_had_written(start: Any) -> None:
    program = start("""
        MAIN = os.getpid()
        class Worker(Process):
            def life(self):
                if self.current_frame < 3:
                    return
                say("worker", os.getpid())
                # Its death and its letters are there together when the boss looks next.
                os.kill(MAIN, signal.SIGSTOP)
                self.declare_will("devices/arm/state", "failed")
                for state in ("open", "proven", "healthy"):
                    self.publish("devices/arm/state", state, retain=True)
                os.kill(os.getpid(), signal.SIGKILL)
        class Main(Process):
            def birth(self):
                self.subscribe("devices/arm/state", self.on_arm)
            def on_arm(self, message):
                say("arm", message.body)
                if message.body == "failed":
                    self.subscribe("devices/+/state", lambda message: say("kept", message.body))
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=ONCE, frequency=50)
        App(main=Main, sockets=SOCKETS).run()
        """)
    try:
        worker = os.pidfd_open(int(program.wait_for("worker")))
    except ProcessLookupError:
        pass
    else:
        assert select.select([worker], [], [], 20.0)[0]
        os.close(worker)
    program.signal(signal.SIGCONT)
    program.end()
    # What lay in the subscriber's own socket may be overtaken, and is dropped as outdated then.
    assert program.said[-2:] == ["arm failed", "kept failed"]


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_cannot_be_made_is_judged_like_any_death(start: Any, mode: str) -> None:
    program = start(f"""
        class Broken(Process):
            def __init__(self, context):
                raise ZeroDivisionError("in the constructor")
        class Main(Process):
            def birth(self):
                self.subscribe("processes/broken/state", self.on_state)
                self._tell_boss("start", "broken")
            def on_state(self, message):
                say(message.body["state"], message.body["restarts"], message.body["cause"])
                if message.body["restarts"] >= 2:
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("broken", Broken, mode={mode!r}, restart=SOON, autostart=False)
                self.add_process("other", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert "failed 2 ZeroDivisionError: in the constructor" in program.said
    assert program.said.count("death other") == 1


def test_a_main_that_cannot_be_made_ends_the_application(start: Any) -> None:
    program = start("""
        class Broken(Process):
            def __init__(self, context):
                raise ZeroDivisionError("in the constructor")
        class App(Application):
            def build(self):
                self.add_process("other", Loud, mode="fork")
        sys.exit(App(main=Broken, sockets=SOCKETS).run())
        """)
    assert program.end() == 1
    assert "ZeroDivisionError: in the constructor" in program.complaints()


def test_too_many_deaths_make_it_degraded_and_never_silently_gone(start: Any) -> None:
    program = start("""
        class Worker(Process):
            def birth(self):
                raise ZeroDivisionError
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                say(message.body["state"], message.body["restarts"])
                if message.body["state"] == "degraded":
                    say("ps", [m["state"] for m in self.ask() if m["name"] == "worker"])
                    self.die()
            def ask(self):
                return self.wait_for_reply(self.send("boss", "ps")).body
        class App(Application):
            def build(self):
                policy = RestartPolicy(first=0.01, ceiling=0.01, most=3)
                self.add_process("worker", Worker, mode="fork", restart=policy)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0
    assert "degraded 4" in program.said
    assert "ps ['degraded']" in program.said


def test_one_that_is_degraded_is_tried_again_slowly_and_recovers(start: Any) -> None:
    program = start("""
        class Worker(Loud):
            def birth(self):
                if not os.path.exists(SOCKETS + "/mended"):
                    raise ZeroDivisionError
                super().birth()
        class Main(Process):
            def birth(self):
                self.slow = 0
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                state = message.body["state"]
                say(state)
                self.slow += state == "degraded"
                if self.slow == 3:
                    open(SOCKETS + "/mended", "w").close()
                if state == "living":
                    os.unlink(SOCKETS + "/mended")
                    self.die()
        class App(Application):
            def build(self):
                policy = RestartPolicy(first=0.01, ceiling=0.01, most=2, within=30, slowly=0.05)
                self.add_process("worker", Worker, mode="fork", restart=policy)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.said.count("degraded") >= 3
    assert "death worker" in program.said


def test_who_answers_and_dies_has_answered(start: Any) -> None:
    program = start("""
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="ask", callback=self.on_ask)
            def on_ask(self, message):
                self.reply(message, "last words")
                os.kill(os.getpid(), 9)
        class Main(Process):
            def birth(self):
                self.rounds = 0
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "living":
                    assert self.wait_for_reply(self.send("worker", "ask"), 30).body == "last words"
                    self.rounds += 1
                elif self.rounds == 25:
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()


def test_who_reads_no_replies_does_not_hold_up_the_boss(start: Any) -> None:
    program = start("""
        class Rude(Process):
            def life(self):
                for _ in range(60):
                    self.send("boss", "ps")
                say("asked")
                signal.pause()
        class Main(Process):
            def birth(self):
                self.subscribe("processes/doomed/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "living":
                    begun = time.monotonic()
                    asked = self.send("doomed", "now")
                    try:
                        self.wait_for_reply(asked, 15)
                    except RecipientGoneError:
                        say("noticed", time.monotonic() - begun < 10)
                    self.die()
        class Doomed(Process):
            def birth(self):
                self.add_filter(subject="now", callback=lambda m: os.kill(os.getpid(), 9))
        class App(Application):
            shutdown_timeout = 0.2
            def build(self):
                self.add_process("rude", Rude, mode="fork")
                self.add_process("doomed", Doomed, mode="fork", depends=["rude"], restart=ONCE)
        App(main=Main, sockets=SOCKETS).run()
        """)
    program.wait_for("asked")
    assert program.wait_for("noticed") == "True"
    program.end()


def test_lives_of_threads_leave_no_descriptor(start: Any) -> None:
    program = start("""
        import gc
        class Worker(Process):
            def life(self):
                self.die()
        class Main(Process):
            def birth(self):
                self.counts = {}
                self.subscribe("processes/worker/state", self.on_state)
                self._tell_boss("start", "worker")
            def on_state(self, message):
                restarts = message.body["restarts"]
                if message.body["state"] == "living" and restarts in (3, 40):
                    gc.collect()
                    self.counts[restarts] = len(os.listdir("/proc/self/fd"))
                    if restarts == 40:
                        say("grown by", self.counts[40] - self.counts[3])
                        self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, frequency=1000, restart=SOON,
                                 autostart=False)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert int(program.wait_for("grown by")) <= 10, "what one life holds, more or less"


@pytest.mark.alone
def test_a_hundred_deaths_are_noticed_at_once(start: Any, capsys: Any) -> None:
    program = start("""
        import json
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="^pid$", callback=lambda m: self.reply(m, os.getpid()))
                self.add_filter(subject="^hang$", callback=lambda m: self.light_sleep(60))
        class Main(Process):
            def birth(self):
                self.times = []
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] != "living":
                    return
                pid = self.wait_for_reply(self.send("worker", "pid")).body
                asked = self.send("worker", "hang")
                killed = []
                def kill():
                    killed.append(time.perf_counter())
                    os.kill(pid, signal.SIGKILL)
                killer = threading.Timer(0.002, kill)
                killer.start()
                try:
                    self.wait_for_reply(asked, 30)
                except RecipientGoneError:
                    self.times.append((time.perf_counter() - killed[0]) * 1000)
                killer.join()
                if len(self.times) == 100:
                    say("times", json.dumps(self.times))
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork", restart=SOON)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    times = sorted(json.loads(program.wait_for("times")))
    assert program.end() == 0
    with capsys.disabled():
        print(f" [death notice: median {times[50]:.2f} ms, p99 {times[98]:.2f} ms]", end=" ")
    assert len(times) == 100, "each was a RecipientGoneError"
    assert times[50] <= 50.0


def test_a_forked_caller_learns_of_a_death_as_fast(start: Any) -> None:
    program = start("""
        class Doomed(Process):
            def birth(self):
                self.add_filter(subject="now", callback=lambda m: os.kill(os.getpid(), 9))
        class Caller(Process):
            def life(self):
                begun = time.monotonic()
                try:
                    self.wait_for_reply(self.send("doomed", "now"), 15)
                except RecipientGoneError:
                    say("noticed", time.monotonic() - begun < 10)
                self.light_sleep(60)
        class App(Application):
            def build(self):
                self.add_process("doomed", Doomed, mode="fork", restart=ONCE)
                self.add_process("caller", Caller, mode="fork", depends=["doomed"])
        sys.exit(App(main=Loud, sockets=SOCKETS).run())
        """)
    assert program.wait_for("noticed") == "True"
    program.wait_for("birth main")
    program.signal(signal.SIGTERM)
    assert program.end() == 0


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_bug_that_cannot_say_what_it_is_is_a_death_as_any(start: Any, mode: str) -> None:
    program = start(f"""
        from gateway import AsyncProcess
        class Mute(Exception):
            def __str__(self):
                raise ValueError("nothing to say")
        class Worker(Process):
            def birth(self):
                raise Mute
        class AsyncWorker(AsyncProcess):
            async def birth(self):
                raise Mute
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "failed":
                    say("told", message.body["cause"])
                    self.die()
        class App(Application):
            def build(self):
                worker = AsyncWorker if {mode!r} == "asyncio" else Worker
                self.add_process("worker", worker, mode={mode!r}, restart=ONCE)
        App(main=Main, sockets=SOCKETS).run()
        """)
    assert program.wait_for("told") == "Mute"
    program.end()


@pytest.mark.parametrize("status", [0, 3])
def test_a_life_that_leaves_without_a_word_is_not_said_to_have_been_killed(
    start: Any, status: int
) -> None:
    program = start(f"""
        class Leaving(Process):
            def life(self):
                os._exit({status})
        class Main(Process):
            def birth(self):
                self.subscribe("processes/leaving/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "failed":
                    say("cause", message.body["cause"])
                    if "status" in message.body["cause"]:
                        self.die()
        class App(Application):
            def build(self):
                self.add_process("leaving", Leaving, mode="fork", restart=ONCE)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.said[-1] == f"cause it left without saying so: exit status {status}"
    unknown = "cause its OS process was killed, crashed, or left by os._exit"
    assert set(program.said[:-1]) <= {unknown}


@pytest.mark.parametrize("limit", [None, 8.0])
def test_an_end_in_order_is_told_as_that_however_often(limit: float | None) -> None:
    births: list[float] = []
    told: list[tuple[str, str]] = []

    class Nightly(Process):
        def birth(self) -> None:
            births.append(self._clock.monotonic())
            if limit is None:
                self.call_later(8.0, self.die)

    class Main(Process):
        def birth(self) -> None:
            self.subscribe("processes/nightly/state", self.on_state)

        def on_state(self, message: Message) -> None:
            told.append((message.body["state"], message.body["cause"]))

    class App(Application):
        def build(self) -> None:
            policy = RestartPolicy(most=2, first=2.0)
            self.add_process("nightly", Nightly, limit=limit, restart=policy)

    assert App(main=Main).simulate(until=99.0, seed=1).status == 0
    assert births == [10.0 * life for life in range(10)], "8 s of life, 2 s of waiting"
    assert not {"failed", "degraded"} & {state for state, _ in told}
    cause = "it ended by itself" if limit is None else "its limit of 8 s was over"
    assert told.count(("ended", cause)) == 10


# The lock of an OS process has told


class Told:
    """`Deaths` of one member with an OS process, and what it was said to do, in order."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(["sleep", "3600"])
        self.member = Member(ProcessSpec("worker", Process), Restarts(RestartPolicy(), Random(1)))
        self.member.state, self.member.pid = "living", self.popen.pid
        self.member.pidfd = os.pidfd_open(self.popen.pid)
        self.done = Mock()
        self.deaths = Deaths(
            Mock(clock=RealClock()),
            Mock(),
            self.done.board,
            self.done.accounts,
            self.done.clerk,
            {"worker": self.member},
            death_watch=self.done.watch,
            temporary=None,
            is_stopping=lambda: False,
            on_bound_end=self.done.bound_end,
        )

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def calls(self) -> list[str]:
        return [name for name, _, _ in self.done.mock_calls]

    def close(self) -> None:
        self.kill()
        if self.member.pidfd >= 0:
            os.close(self.member.pidfd)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.close()


def test_everybody_is_told_of_a_death_before_its_os_process_has_ended(told: Told) -> None:
    def tell_book() -> None:
        if not told.member.unread:
            return
        assert not told.member.takes_mail
        assert told.member.absence == KILLED
        assert told.popen.poll() is None, "it has not ended yet"
        told.kill()

    told.done.board.tell_book.side_effect = tell_book
    pid = told.member.pid
    told.deaths.begun([pid])
    assert told.calls()[:3] == ["clerk.catch_up", "board.tell_book", "watch.forget"]
    told.done.watch.forget.assert_called_once_with(pid)
    told.done.clerk.catch_up.assert_called_once_with()
    told.done.accounts.close.assert_called_once_with(told.member)
    assert (told.member.state, told.member.unread) == ("failed", "")


def test_what_a_life_said_of_its_end_comes_before_its_lock(told: Told) -> None:
    def catch_up() -> None:
        told.member.said_dead = True

    told.done.clerk.catch_up.side_effect = catch_up
    told.deaths.begun([told.member.pid])
    assert told.calls() == ["clerk.catch_up"]
    assert told.member.takes_mail


def test_a_death_is_left_to_the_pidfd_where_that_is_on_its_way(told: Told) -> None:
    os.close(told.member.pidfd)
    told.member.pidfd = -1
    told.deaths.begun([told.member.pid])
    assert told.calls() == ["clerk.catch_up"]
    assert told.member.takes_mail


def test_the_lock_of_somebody_else_is_nobodys_death(told: Told) -> None:
    told.deaths.begun([told.member.pid + 1])
    assert told.calls() == ["clerk.catch_up"]
    assert told.member.takes_mail
