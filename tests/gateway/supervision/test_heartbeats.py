"""A process that is alive and makes no progress is noticed, shown and dealt with."""

from __future__ import annotations

import re
from random import Random
from typing import Any, cast

import pytest

from gateway.process.process import Process
from gateway.supervision.heartbeats import Heartbeats
from gateway.supervision.member import Member
from gateway.supervision.restart import RestartPolicy, Restarts
from gateway.supervision.spec import ProcessSpec

STUCK = """
class Worker(Loud):
    def birth(self):
        super().birth()
        self.add_filter(subject="hang", callback=self.on_hang)
    def on_hang(self, message):
        self.where_it_hangs()
    def where_it_hangs(self):
        if self.parameter("how") == "interpreter":
            import re
            re.match("(a+)+b", "a" * 60)  # holds the interpreter for ages
        HANG.wait(30.0)
HANG = threading.Event()

class Main(Process):
    def birth(self):
        self.lives = 0
        self.subscribe("processes/worker/events/stuck", self.on_stuck)
        self.subscribe("processes/worker/state", self.on_state)
    def on_state(self, message):
        if message.body["state"] == "living":
            self.lives += 1
            if self.lives == 1:
                self.send("worker", "hang")
            else:
                say("another life")
                self.die()
        elif message.body["state"] == "failed":
            say("failed", message.body["cause"])
    def on_stuck(self, message):
        say("stuck", message.body["action"], message.body["seconds"] >= 2.0)
        if message.body["action"] == "report":
            told = self.wait_for_reply(self.send("boss", "ps")).body
            say("ps", *[m["stuck"] for m in told if m["name"] == "worker"])
            HANG.set()
            self.die()

class App(Application):
    shutdown_timeout = 0.5
    def build(self):
        self.add_process("worker", Worker, mode=MODE, restart=SOON, stuck_after=2.0,
                         when_stuck=WHAT, parameters={"how": HOW})
App(main=Main, sockets=SOCKETS).run()
"""


@pytest.mark.parametrize(
    ("mode", "what", "how"),
    [
        ("thread", "report", "wait"),
        ("fork", "report", "wait"),
        ("fork", "restart", "wait"),
        ("fork", "restart", "interpreter"),
    ],
)
def test_a_stuck_process_is_told_of_with_its_stacks(
    start: Any, mode: str, what: str, how: str
) -> None:
    program = start(f"MODE, WHAT, HOW = {mode!r}, {what!r}, {how!r}\n{STUCK}")
    program.wait_for(f"stuck {what} True")
    if what == "report":
        assert program.wait_for("ps") == "True"
    else:
        assert program.wait_for("failed it made no progress for")
        program.wait_for("another life")
    program.end()
    record, *_ = records_of(program, "process worker made no progress")
    assert record.startswith("ERROR:gateway.supervision.heartbeats:")
    assert "where_it_hangs" in record, "the stack says where"
    assert program.said.count(f"stuck {what} True") >= 1


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_who_waits_for_mail_or_has_much_of_it_is_not_stuck(start: Any, mode: str) -> None:
    program = start(f"""
        class Worker(Process):
            def birth(self):
                self.add_filter(subject="work", callback=lambda m: self.light_sleep(0.06))
                self.add_filter(subject="ask", callback=lambda m: self.reply(m))
        class Main(Process):
            def life(self):
                self.subscribe("processes/+/events/stuck", lambda m: say("stuck", m.subject))
                self.light_sleep(1.5)
                for _ in range(60):
                    self.send("worker", "work")
                self.wait_for_reply(self.send("worker", "ask"), 30)
                self.mailman()
                say("found", self.application.statistics()["found_stuck"])
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode={mode!r}, frequency=0, stuck_after=3.0)
        App(main=Main, sockets=SOCKETS).run()
        """)
    assert program.wait_for("found") == "0"
    program.end()
    assert not any(line.startswith("stuck") for line in program.said)


def test_a_stuck_thread_that_must_progress_starves_the_watchdog_and_a_report_does_not(
    start: Any,
) -> None:
    program = start("""
        import socket
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind("\\0gateway-heartbeats-%d" % os.getpid())
        manager.settimeout(10)
        environment = {"NOTIFY_SOCKET": "@gateway-heartbeats-%d" % os.getpid(),
                       "WATCHDOG_USEC": "40000"}
        HANG = threading.Event()
        class Worker(Process):
            def life(self):
                HANG.wait(30.0)
        class Main(Process):
            def birth(self):
                self.add_child_thread("manager", self.read)
            def read(self):
                while b"is stuck" not in (told := manager.recv(4096)):
                    pass
                # What was under way when it was found; then silence, as long as it hangs.
                manager.settimeout(0.2)
                heard = []
                try:
                    while len(heard) < 20:
                        heard.append(manager.recv(4096))
                except TimeoutError:
                    say("silence", sum(b"WATCHDOG" in told for told in heard) <= 1)
                HANG.set()
                manager.settimeout(10)
                while b"WATCHDOG" not in manager.recv(4096):
                    pass
                say("fed again")
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, stuck_after=0.1, when_stuck="restart")
        sys.exit(App(main=Main, sockets=SOCKETS, environment=environment).run())
        """)
    assert program.wait_for("silence") == "True"
    program.wait_for("fed again")
    assert program.end() == 0


def records_of(program: Any, beginning: str) -> list[str]:
    """Return the log's records that begin so, each with all of its lines."""
    records = re.split(
        r"^(?=(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):)", program.complaints(), flags=re.MULTILINE
    )
    return [
        record
        for record in records
        if record.partition(":")[2].partition(":")[2].startswith(beginning)
    ]


STOPPED = """
class Worker(Loud):
    def birth(self):
        super().birth()
        os.kill(os.getpid(), signal.SIGSTOP)

class Main(Process):
    def birth(self):
        self.subscribe("processes/worker/state", self.on_state)
    def on_state(self, message):
        if message.body["state"] == "failed":
            say("failed", message.body["cause"])
            self.die()

class App(Application):
    shutdown_timeout = 0.5
    def build(self):
        self.add_process("worker", Worker, mode="fork", restart=ONCE, stuck_after=0.5,
                         when_stuck="restart")
App(main=Main, sockets=SOCKETS).run()
"""


def test_one_that_is_stopped_is_said_to_have_told_no_stacks_and_killed(start: Any) -> None:
    program = start(STOPPED)
    assert program.wait_for("failed it made no progress for")
    program.end()
    (record,) = records_of(program, "process worker made no progress")
    assert "it told no stacks: it is stopped, or gets no time" in record


def test_two_that_are_stuck_at_once_are_each_told_with_their_own_stacks(start: Any) -> None:
    program = start("""
        class Left(Process):
            def life(self):
                self.hang_left()
            def hang_left(self):
                time.sleep(60.0)
        class Right(Process):
            def life(self):
                self.hang_right()
            def hang_right(self):
                time.sleep(60.0)
        class Main(Process):
            def birth(self):
                self.gone = 0
                self.subscribe("processes/+/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] == "failed":
                    self.gone += 1
                if self.gone == 2:
                    self.die()
        class App(Application):
            shutdown_timeout = 0.5
            def build(self):
                for name, kind in (("left", Left), ("right", Right)):
                    self.add_process(name, kind, mode="fork", restart=ONCE, stuck_after=3.0,
                                     when_stuck="restart")
        App(main=Main, sockets=SOCKETS).run()
        """)
    program.end()
    for name, other in (("left", "right"), ("right", "left")):
        (record,) = records_of(program, f"process {name} made no progress")
        assert f"hang_{name}" in record
        assert f"hang_{other}" not in record


class Board:
    """What was announced."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def announce(self, topic: str, body: Any) -> None:
        self.told.append(topic)


def watched(**options: Any) -> Member:
    spec = ProcessSpec("arm", Process, "fork", stuck_after=8.0, **options)
    return Member(spec, Restarts(RestartPolicy(), Random(1)), state="living")


def test_a_boss_that_was_held_up_itself_judges_nobody_by_it() -> None:
    arm, board = watched(), Board()
    beats = Heartbeats({"arm": arm}, cast(Any, board))
    beats.step(0.0)
    assert beats.due() == 2.0
    beats.step(100.0)
    assert not arm.stuck
    for now in (102.0, 104.0, 106.0, 107.9):
        beats.step(now)
    assert not arm.stuck
    beats.step(109.0)
    assert arm.stuck
    beats.step(111.0)
    assert board.told == ["processes/arm/events/stuck"], "once"
    assert beats.required_progress(), "a report keeps systemd's watchdog fed"
    arm.progressed = 112.0
    beats.step(113.0)
    assert not arm.stuck


def test_who_was_stuck_is_not_forgiven_since_the_boss_was_held_up() -> None:
    arm = watched(when_stuck="restart")
    beats = Heartbeats({"arm": arm}, cast(Any, Board()))
    for now in (0.0, 2.0, 4.0, 6.0, 8.0, 100.0):
        beats.step(now)
    assert not beats.required_progress()
    arm.progressed = 101.0
    beats.step(102.0)
    assert beats.required_progress(), "it went on"


def test_who_must_progress_and_does_not_holds_the_watchdog_back() -> None:
    arm = watched(when_stuck="restart")
    beats = Heartbeats({"arm": arm}, cast(Any, Board()))
    for now in (0.0, 2.0, 4.0, 6.0, 8.0):
        beats.step(now)
    assert not beats.required_progress()
    arm.state = "failed"
    beats.step(10.0)
    assert beats.required_progress(), "it is being restarted"


def test_nobody_is_looked_at_unless_that_was_asked_for() -> None:
    spec = ProcessSpec("arm", Process)
    arm = Member(spec, Restarts(RestartPolicy(), Random(1)), state="living")
    beats = Heartbeats({"arm": arm}, cast(Any, Board()))
    beats.step(0.0)
    assert beats.due() is None
    assert arm.pulse is None
