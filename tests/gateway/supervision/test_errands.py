"""Callbacks in forked OS processes: a child a letter, watched, bounded, gone at the end."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from gateway.application import Application
from gateway.bus.known import KNOWN
from gateway.bus.ledger import Balance
from gateway.errors import RefusedError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.accounts import Accounts
from gateway.supervision.errands import Errands
from gateway.supervision.fork_server import Exited
from gateway.supervision.member import Member
from gateway.supervision.restart import RestartPolicy, Restarts
from gateway.supervision.spec import ProcessSpec

HEAD = """
def on_pid(message):
    return [os.getpid(), message.body]

def on_nothing(message):
    say("nothing", message.body)

def on_refuse(message):
    raise RefusedError("not on a Sunday")

def on_bug(message):
    raise ZeroDivisionError("in a fork")

def on_kill(message):
    os.kill(os.getpid(), 9)

def on_exit(message):
    sys.exit(3 if message.body is None else message.body)

def on_unserialisable(message):
    return {1, 2}

def on_hang(message):
    say("hangs", os.getpid())
    time.sleep(60)

def on_refuse_too(message):
    raise RefusedError("nor on a Monday")

class Worker(Process):
    def birth(self):
        self.add_filter(subject="^refuse_too$", callback=on_refuse, run="fork")
        self.add_filter(subject="^refuse_here$", callback=on_refuse)
        ways = ("here", "fork"), ("fork", "here"), ("thread", "fork"), ("fork", "thread")
        for first, second in (*ways, ("fork", "fork")):
            for way in (first, second):
                self.add_filter(subject=f"^{first} {second}$", callback=on_refuse, run=way)
        self.add_filter(subject="^busy$", callback=on_refuse, run="fork")
        self.add_filter(subject="^busy$", callback=self.be_busy)
        for name, function in list(globals().items()):
            if name.startswith("on_"):
                self.add_filter(subject=f"^{name[3:]}$", callback=function, run="fork")
        self.add_filter(subject="^alive$", callback=lambda m: self.reply(m, os.getpid()))
    def be_busy(self, message):
        while not os.path.exists(SOCKETS + "/go"):
            self.light_sleep(0.01)

class App(Application):
    shutdown_timeout = 5.0
    def build(self):
        self.add_process("worker", Worker, mode=MODE, restart=ONCE)

class Asking(Process):
    def life(self):
        self.play()
        self.die()
    def ask(self, subject, body=None, seconds=20):
        try:
            return self.wait_for_reply(self.send("worker", subject, body), seconds).body
        except GatewayError as error:
            return f"{type(error).__name__}: {error}"
    delivered = 0
    def begin(self):
        self.ask("alive")
        self.delivered = self.ledger(0)[1]
    def ledger(self, bounced):
        while True:
            crew = self.wait_for_reply(self.send("boss", "ps")).body
            (mail,) = [member["ledger"] for member in crew if member["name"] == "worker"]
            if mail["bounced"] >= bounced and not mail["queued"]:
                break
            self.light_sleep(0.01)
        settled = ("delivered", "dropped", "expired", "bounced", "lost_with_reader")
        assert mail["accepted"] == sum(map(mail.get, settled)), mail
        return mail["bounced"], mail["delivered"] - self.delivered
"""


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_it_returns_is_the_reply_and_its_death_bounces_and_costs_nobody_else(
    start: Any, mode: str
) -> None:
    program = start(f"""MODE = {mode!r}
{HEAD}
class Main(Asking):
    def play(self):
        before = self.ask("alive")
        for size in (1, 200_000):
            pid, body = self.ask("pid", "x" * size)
            say("pid", pid not in (before, os.getpid()), len(body))
        for subject in ("refuse", "bug", "kill", "unserialisable"):
            say(subject, self.ask(subject))
        for code in (3, "no camera"):
            say("exit", code, self.ask("exit", code))
        self.send("worker", "nothing", 7)
        say("same", before == self.ask("alive"))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert program.said.count("pid True 1") == 1
    assert program.said.count("pid True 200000") == 1
    assert "refuse RefusedError: not on a Sunday" in program.said
    bounced = "RecipientGoneError: __main__:on_{0}@worker did not answer: {1}".format
    assert f"bug {bounced('bug', 'ZeroDivisionError: in a fork')}" in program.said
    assert f"kill {bounced('kill', 'killed by SIGKILL')}" in program.said
    assert f"exit 3 {bounced('exit', 'exit status 3')}" in program.said
    assert f"exit no camera {bounced('exit', 'exit status 1')}" in program.said
    assert "on_exit@worker failed: it called exit('no camera')" in program.complaints()
    assert "outside of its life" not in program.complaints()
    assert program.wait_for("unserialisable BodyError: body is a set")
    assert "same True" in program.said
    assert program.complaints().count("ZeroDivisionError: in a fork") == 1


def test_a_reply_is_not_given_where_none_is_returned(start: Any) -> None:
    program = start(f"""MODE = "thread"
{HEAD}
class Main(Asking):
    def play(self):
        say(self.ask("nothing", 7, seconds=0.5))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    timed_out, said = sorted(program.said)
    assert said == "nothing 7"
    assert timed_out.startswith("CallTimeoutError")


def test_who_exits_in_order_has_not_failed(start: Any) -> None:
    program = start(f"""MODE = "thread"
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        say(self.ask("exit", 0, seconds=0.5))
        say(self.ledger(0))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    timed_out, ledger = program.said
    assert timed_out.startswith("CallTimeoutError")
    assert ledger == "(0, 1)"
    assert program.complaints() == ""


def test_only_so_many_run_and_wait_and_the_stop_waits_for_none(start: Any) -> None:
    program = start(f"""MODE = "thread"
{HEAD}
from gateway.supervision.errands import AT_ONCE, WAITING
from gateway.supervision.fork_server import ForkServer
ForkServer.__init__.__kwdefaults__["grace"] = 60.0
class Main(Asking):
    def play(self):
        letters = [self.send("worker", "hang") for _ in range(AT_ONCE + WAITING + 1)]
        try:
            self.wait_for_reply(letters.pop(), 20)
        except MailboxFullError as error:
            say("full", error)
        say("alive", self.ask("alive") == os.getpid())
        self.letters = letters
begun = time.monotonic()
status = App(main=Main, sockets=SOCKETS).run()
say("status", status)
say("took", time.monotonic() - begun)
""")
    program.wait_for("full 64 letters wait")
    assert program.wait_for("alive") == "True"
    program.wait_for("status 0")
    assert float(program.wait_for("took")) < 15.0, "the fork server need not resort to KILL"
    assert program.end() == 0, program.complaints()
    pids = [int(line.split()[1]) for line in program.said if line.startswith("hangs")]
    assert len(pids) <= 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_takes_too_long_is_killed_and_makes_room(start: Any) -> None:
    program = start(f"""MODE = "fork"
import gateway.supervision.errands as errands
errands.LIMIT, errands.AT_ONCE = 0.3, 1
{HEAD}
class Main(Asking):
    def play(self):
        hangs = self.send("worker", "hang")
        asked = self.send("worker", "pid", 1)
        for letter in (hangs, asked):
            try:
                say("answer", self.wait_for_reply(letter, 20).body[1])
            except GatewayError as error:
                say(type(error).__name__, error)
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert "CallTimeoutError __main__:on_hang@worker took longer than 0.3 s" in program.said
    assert "answer 1" in program.said


def test_a_hundred_in_a_row_leave_no_descriptor_and_no_process(start: Any) -> None:
    program = start(f"""MODE = "fork"
{HEAD}
class Main(Asking):
    def play(self):
        counts = []
        for number in range(100):
            assert self.ask("kill" if number % 2 else "pid")
            if number in (20, 99):
                counts.append(len(os.listdir("/proc/self/fd")))
        say("grown by", counts[1] - counts[0])
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert int(program.wait_for("grown by")) <= 3


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_what_is_sent_back_is_counted_as_bounced(start: Any, mode: str) -> None:
    program = start(f"""MODE = {mode!r}
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        subjects = ("refuse_here", "refuse", "bug", "kill", "exit", "unserialisable")
        for number, subject in enumerate(subjects, 1):
            self.ask(subject)
            say(subject, *self.ledger(number))
        self.ask("pid")
        say("answered", *self.ledger(6))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    subjects = ["refuse_here", "refuse", "bug", "kill", "exit", "unserialisable"]
    counts = [f"{subject} {number} 0" for number, subject in enumerate(subjects, 1)]
    assert program.said == [*counts, "answered 6 1"]


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_what_finds_no_room_for_its_errand_is_counted_as_bounced(start: Any, mode: str) -> None:
    program = start(f"""MODE = {mode!r}
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        letters = [self.send("worker", "pid", awaited=True) for _ in range(300)]
        refused = 0
        for letter in letters:
            try:
                self.wait_for_reply(letter, 30)
            except MailboxFullError:
                refused += 1
        say("as told", refused >= 100, (refused, 300 - refused) == self.ledger(refused))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert program.said == ["as told True True"]


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_what_took_too_long_is_counted_before_its_writer_is_told(start: Any, mode: str) -> None:
    program = start(f"""MODE = {mode!r}
import gateway.supervision.errands as errands
errands.LIMIT = 0.3
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        say(self.ask("hang").partition(":")[0], *self.ledger(0))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert "CallTimeoutError 1 0" in program.said


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_busy_process_delays_no_refusal_of_its_forked_callbacks(start: Any, mode: str) -> None:
    program = start(f"""MODE = {mode!r}
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        say(self.ask("busy", seconds=5))
        say(*self.ledger(1))
        open(SOCKETS + "/go", "x").close()
        say("alive", self.ask("alive") > 0)
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert program.said == ["RefusedError: not on a Sunday", "1 0", "alive True"]


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_letter_that_several_callbacks_send_back_is_counted_once(start: Any, mode: str) -> None:
    program = start(f"""MODE = {mode!r}
{HEAD}
class Main(Asking):
    def play(self):
        self.begin()
        subjects = ("here fork", "fork here", "thread fork", "fork thread", "fork fork")
        for subject in subjects:
            for _ in range(3):
                self.ask(subject)
        say(*self.ledger(3 * len(subjects)))
        # Four run at a time: who comes fifth is answered after everything else was counted.
        for _ in range(5):
            self.ask("pid")
        say(*self.ledger(3 * len(subjects)))
sys.exit(App(main=Main, sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert program.said == ["15 0", "15 5"]


@pytest.mark.parametrize("writer", ["thread", "fork", "asyncio"])
def test_whoever_writes_more_than_has_room_is_told_of_each_letter(start: Any, writer: str) -> None:
    program = start(f"""MODE = "thread"
{HEAD}
from gateway import AsyncProcess
def busily(message):
    time.sleep(0.01)
    return 1
class Writer(Process):
    def life(self):
        self.send("worker", "alive")
        letters = [self.send("worker", "busily", awaited=True) for _ in range(300)]
        # Nothing is read before the last of them has been handed on.
        self.wait_for_reply(self.send("worker", "alive"), 30)
        self.note([self.outcome(letter) for letter in letters])
    def outcome(self, letter):
        try:
            return self.wait_for_reply(letter, 30).body
        except MailboxFullError:
            return "full"
    def note(self, outcomes):
        say(len(outcomes), outcomes.count(1) + outcomes.count("full"), "full" in outcomes)
        self.die()
class LoopWriter(AsyncProcess, Writer):
    async def life(self):
        letters = [self.send("worker", "busily", awaited=True) for _ in range(300)]
        self.note([await self.outcome(letter) for letter in letters])
    async def outcome(self, letter):
        try:
            return (await self.wait_for_reply(letter, 30)).body
        except MailboxFullError:
            return "full"
class House(App):
    mailbox_size = 1000
    def build(self):
        super().build()
        made = LoopWriter if {writer!r} == "asyncio" else Writer
        self.add_process("writer", made, mode={writer!r}, bound_shutdown=True)
Worker.birth_before = Worker.birth
def birth(self):
    self.birth_before()
    self.add_filter(subject="^busily$", callback=busily, run="fork")
Worker.birth = birth
sys.exit(House(sockets=SOCKETS).run())
""")
    assert program.end() == 0, program.complaints()
    assert program.said == ["300 300 True"]


def nothing(message: Message) -> None: ...


def test_a_simulation_forks_nothing_and_its_ledger_says_so() -> None:
    told: list[str] = []

    class Worker(Process):
        def birth(self) -> None:
            self.add_filter(subject="^x$", callback=nothing, run="fork")

    class Main(Process):
        def life(self) -> None:
            for _ in range(3):
                with pytest.raises(RefusedError, match="a simulation forks nothing") as refused:
                    self.wait_for_reply(self.send("worker", "x"))
                told.append(str(refused.value))
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("worker", Worker)

    outcome = House(main=Main).simulate(until=60.0)
    assert len(told) == 3
    worker = outcome.ledger["worker"]
    assert (worker.accepted, worker.delivered, worker.bounced) == (3, 0, 3)


class NotingOffice:
    """Stands for the bus, on which nothing is sent here."""

    book = None


class IdleForkServer:
    """Forks nothing, and says nothing."""

    def spawn_errand(self, name: str, number: int, task: int, done: int) -> None:
        return


def order(id: str, owner: str = "worker", *, is_counted: bool = False) -> Message:
    letter = Message(id, id, 1, 0.0, "main", owner, "sum", b"x" * 100)
    body = {"function": "m:f", "letter": encode(letter), "is_counted": is_counted}
    return Message("o", "o", 1, 0.0, owner, "boss", "run", body, sender_incarnation=3)


def test_a_letter_is_counted_once_however_long_its_other_callbacks_run() -> None:
    office: Any = NotingOffice()
    idle: Any = IdleForkServer()
    counted: list[tuple[str, int, str]] = []
    told: list[str] = []
    errands = Errands(
        office,
        idle,
        lambda *known: counted.append(known),
        lambda letter, error: told.append(letter.message_id),
    )
    twice = [order("1"), order("1"), order("1", "idle"), order("2", is_counted=True)]
    for message in twice:
        errands.take(message)
    errands.hear(Exited("", 1, 1))
    assert counted == [("worker", 3, "1")]
    errands.end("the application stopped")
    assert counted == [("worker", 3, "1"), ("idle", 3, "1")]
    assert told == ["1", "1", "1", "2"], "each of them would have answered"


def a_member(lives_before: int = 0) -> Member:
    restarts: Any = Restarts(RestartPolicy(), Random(1))
    return Member(ProcessSpec("worker", Process), restarts, lives_before=lives_before)


SENT_BACK = Balance(delivered=-1, bounced=1)


def test_who_handed_a_letter_on_has_it_counted_once_whoever_else_sends_some_back() -> None:
    office: Any = None
    members = {"worker": a_member(), "busy": a_member()}
    accounts = Accounts(office, members)
    for writer in ("worker", "board@worker"):
        accounts.sent_back(writer, 1, "1")
        for number in range(KNOWN + 1):
            accounts.sent_back("busy", 1, f"other {number}")
    assert members["worker"].past == SENT_BACK


def test_what_somebody_forgotten_handed_on_is_counted_once_and_not_for_a_namesake() -> None:
    office: Any = None
    members = {"worker": a_member()}
    accounts = Accounts(office, members)
    accounts.sent_back("worker", 3, "1")
    accounts.forget(members.pop("worker"))
    members["worker"] = a_member(lives_before=3)
    for letter in ("1", "2", "2"):
        accounts.sent_back("worker", 3, letter)
    assert members["worker"].past == Balance()
    assert accounts.of_the_forgotten == SENT_BACK.plus(SENT_BACK)
    accounts.sent_back("worker", 4, "3")
    assert members["worker"].past == SENT_BACK
