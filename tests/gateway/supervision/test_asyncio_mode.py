"""Processes on a shared event loop: what they may do, and what they cannot do to each other."""

from __future__ import annotations

from typing import Any

HEAD = """
import asyncio
from gateway import AsyncProcess

class LoudOnLoop(AsyncProcess):
    async def death(self):
        say("death", self.name)
"""

RUN = """
class App(Application):
    shutdown_timeout = globals().get("AT_MOST", 20.0)
    def build(self):
        build(self)
sys.exit(App(main=Main, sockets=SOCKETS).run())
"""


def test_many_share_one_thread_and_each_has_its_own_frames_and_mail(start: Any) -> None:
    program = start(
        HEAD
        + """
class Worker(LoudOnLoop):
    async def birth(self):
        self.threads = set()
        self.asked = []
        self.add_filter(subject="^where$", callback=self.asked.append)
    async def life(self):
        self.threads.add(threading.get_ident())
        await asyncio.sleep(0)
        while self.current_frame >= 3 and self.asked:
            self.reply(self.asked.pop(), sorted(self.threads))
class Main(Process):
    def life(self):
        found = [self.wait_for_reply(self.send(f"w{n}", "where")).body for n in range(50)]
        say("loop threads", len({thread for each in found for thread in each}))
        say("threads", threading.active_count())
        self.die()
def build(app):
    for n in range(50):
        app.add_process(f"w{n}", Worker, mode="asyncio", frequency=200)
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said[:2] == ["loop threads 1", "threads 3"], "main, the boss and the loop"
    assert len([line for line in program.said if line.startswith("death")]) == 50


def test_what_would_block_the_loop_is_refused_by_name(start: Any) -> None:
    program = start(
        HEAD
        + """
class Worker(LoudOnLoop):
    async def birth(self):
        self.frequency = 1
        self.add_filter(subject="^forget$", callback=self.on_forget)
        asked = self.send("echo", "echo")
        self.add_locks("arm")
        attempts = {
            "sleep": lambda: bool(self.light_sleep(60)),
            "reply": lambda: self.wait_for_reply(asked).body,
            "result": lambda: self.wait_for_reply(asked).result(),
            "mailman": lambda: self.mailman(60),
            "mailbox": lambda: self.open_mailbox("x"),
            "order": lambda: bool(self.start_process("echo")),
            "stop": lambda: bool(self.stop_process("echo")),
            "again": lambda: bool(self.restart_process("echo")),
            "locks": lambda: self.get_locks("arm").__enter__(),
            "names": lambda: sorted(self.process_names()),
            "pids": lambda: self.active_subprocesses()["echo"],
            "level": lambda: self.set_log_level("")["default"],
            "frame": lambda: bool(self.frequency_sleep()),
            "whole": lambda: self.application.restart_process("echo"),
            "count": lambda: self.application.statistics(),
        }
        for name, attempt in attempts.items():
            try:
                attempt()
            except RuntimeError as error:
                say(name, error)
        say("still", (await self.wait_for_reply(asked)).body)
    async def on_forget(self, message):
        self.light_sleep(60)
class Echo(Process):
    def birth(self):
        self.add_filter(subject="echo", callback=lambda m: self.reply(m, "here"))
class Main(Process):
    def life(self):
        try:
            self.wait_for_reply(self.send("worker", "forget"), 20)
        except RecipientGoneError as error:
            say("gone", error)
        self.die()
def build(app):
    app.add_process("echo", Echo)
    app.add_process("worker", Worker, mode="asyncio", restart=ONCE, depends=["echo"])
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    hint = "must not block the loop that an asyncio process shares: write `await self."
    application = (
        "an order to the application waits, and would hold up everybody on this event loop:"
        " in an asyncio process write `await self.start_process(...)` and the like,"
        " elsewhere `await asyncio.to_thread(application.start_process, ...)`"
    )
    assert program.said == [
        f"sleep light_sleep {hint}light_sleep(...)`",
        f"reply wait_for_reply {hint}wait_for_reply(...)`",
        f"result wait_for_reply {hint}wait_for_reply(...)`",
        "mailman mailman is for threads: the loop hands an asyncio process its mail",
        "mailbox open_mailbox needs a thread that reads: run the process in mode thread or fork",
        f"order start_process {hint}start_process(...)`",
        f"stop stop_process {hint}stop_process(...)`",
        f"again restart_process {hint}restart_process(...)`",
        f"locks get_locks {hint.replace('await', 'async with')}get_locks(...)`",
        f"names process_names {hint}process_names(...)`",
        f"pids active_subprocesses {hint}active_subprocesses(...)`",
        f"level set_log_level {hint}set_log_level(...)`",
        f"frame frequency_sleep {hint}frequency_sleep(...)`",
        f"whole {application}",
        f"count {application}",
        "still here",
        "death worker",
        "gone 'worker' died before it answered 'forget'",
    ]
    assert f"RuntimeError: light_sleep {hint}light_sleep(...)`" in program.complaints()


def test_who_waits_for_a_lock_holds_up_nobody_on_the_loop_nor_the_stop(start: Any) -> None:
    program = start(
        HEAD
        + """
class Robot(LoudOnLoop):
    async def birth(self):
        self.add_locks("arm")
        self.is_held, self.goes_on = threading.Event(), threading.Event()
        self.add_child_thread("holder", self.hold)
        await asyncio.to_thread(self.is_held.wait, 20.0)
        self.add_child_task("wants", self.want("first", 20.0))
        self.add_child_task("gives up", self.give_up())
        self.add_filter(subject="^go$", callback=lambda m: self.goes_on.set())
    def hold(self):
        with self.get_locks("arm"):
            self.is_held.set()
            self.goes_on.wait(20.0)
    async def want(self, name, timeout):
        async with self.get_locks("arm", timeout=timeout):
            say(name, "has it")
            self.add_child_task("waits as it ends", self.want("nobody", 60.0))
            self.send("main", "it is held")
            await asyncio.sleep(60.0)
    async def give_up(self):
        try:
            async with self.get_locks("arm", timeout=0.01):
                pass
        except CallTimeoutError as error:
            say("gave up", error)
            self.send("other", "tell")
class Other(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^tell$", callback=self.on_tell)
    async def on_tell(self, message):
        say("the loop goes on")
        self.send(message.sender, "go")
class Main(Process):
    def birth(self):
        self.add_filter(subject="^it is held$", callback=lambda m: self.die())
def build(app):
    app.add_process("other", Other, mode="asyncio")
    app.add_process("robot", Robot, mode="asyncio", depends=["other"])
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said == [
        "gave up the lock 'arm' stayed taken for 0.01 s",
        "the loop goes on",
        "first has it",
        "death robot",
        "death other",
    ]


def test_orders_are_awaited_and_the_loop_goes_on(start: Any) -> None:
    program = start(
        HEAD
        + """
class Slow(Loud):
    def birth(self):
        self.go = self.parameter("go")
        assert self.go.wait(20)
class Worker(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^go$", callback=self.on_go)
    async def on_go(self, message):
        self.add_child_task("meanwhile", self.meanwhile())
        await self.start_process("slow")
        await self.restart_process("slow")
        await self.stop_process("slow")
        say("stopped", "slow" in self.recipients())
        await asyncio.to_thread(self.application.start_process, "slow")
        say("pill", await self.poison_pill("slow"))
        for order in (lambda: self.start_process("nobody"), lambda: self.stop_process("main"),
                      lambda: self.poison_pill("nobody")):
            try:
                await order()
            except GatewayError as error:
                say("refused", type(error).__name__)
        try:
            self.poison_pill(self.name)
        except ValueError as error:
            say("refused", error)
        self.reply(message)
    async def meanwhile(self):
        say("the loop goes on")
        self.parameter("go").set()
class Main(Process):
    def life(self):
        self.wait_for_reply(self.send("worker", "go"), 30)
        self.die()
def build(app):
    go = threading.Event()
    app.add_process("slow", Slow, autostart=False, parameters={"go": go})
    app.add_process("worker", Worker, mode="asyncio", parameters={"go": go})
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert [line for line in program.said if "slow" not in line] == [
        "the loop goes on",
        "stopped False",
        "pill it ended by itself",
        "refused RefusedError",
        "refused RefusedError",
        "refused AddressError",
        "refused 'worker' takes no poison of its own: use die()",
        "death worker",
    ]


def test_a_full_mailbox_holds_up_the_coroutine_that_writes_and_nobody_else(start: Any) -> None:
    program = start(
        HEAD
        + """
class Slow(Process):
    def birth(self):
        self.go = threading.Event()
        self.heard = []
        self.add_filter(subject="^wait$", callback=self.on_wait)
        self.add_filter(subject="^n$", callback=lambda m: self.heard.append(m.body))
        self.add_filter(subject="^heard$", callback=lambda m: self.reply(m, self.heard))
    def on_wait(self, message):
        self.reply(message)
        while not os.path.exists(SOCKETS + ".go"):
            self.light_sleep(0.005)
class Writer(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^write$", callback=self.on_write)
    async def on_write(self, message):
        before = time.monotonic()
        await self.ask(message.body, "wait", timeout=20)
        say("answered at once", time.monotonic() - before < 5.0)
        self.send(message.body, "n", 1)
        before = time.monotonic()
        try:
            # In another OS process ten letters lie in its socket.
            for _ in range(100):
                self.send(message.body, "n", 1)
        except MailboxFullError:
            say("full at once", time.monotonic() - before < 5.0)
        try:
            await self.send_patiently(message.body, "n", 1, timeout=0.05)
        except MailboxFullError:
            say("full after a while")
        patient = asyncio.create_task(self.send_patiently(message.body, "n", 2, timeout=20))
        await asyncio.sleep(0.01)
        say("neighbour", (await self.ask("neighbour", "echo", 5)).body)
        open(SOCKETS + ".go", "w").close()
        await patient
        heard = (await self.ask(message.body, "heard")).body
        say("heard", heard[0], heard[-1], len(set(heard)))
        os.unlink(SOCKETS + ".go")
        self.reply(message)
class Neighbour(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="echo", callback=lambda m: self.reply(m, m.body))
class Main(Process):
    def life(self):
        for slow in ("near", "far"):
            self.wait_for_reply(self.send("writer", "write", slow), 30)
        # A porter that has arrived ends in a moment.
        patience = time.monotonic() + 10.0
        while (left := self.threads()) and time.monotonic() < patience:
            continue
        say("left", left)
        self.die()
    def threads(self):
        return self.wait_for_reply(self.send("writer", "$statistics")).body["threads"]
def build(app):
    app.add_process("near", Slow, mailbox_size=1)
    app.add_process("far", Slow, mode="fork", mailbox_size=1)
    app.add_process("writer", Writer, mode="asyncio")
    app.add_process("neighbour", Neighbour, mode="asyncio")
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    one = [
        "answered at once True",
        "full at once True",
        "full after a while",
        "neighbour 5",
        "heard 1 2 2",
    ]
    assert program.said[:10] == one * 2
    assert program.said[10] == "left []", "no thread stays behind"


def test_a_question_leaves_other_mail_in_its_order_and_before_the_door(start: Any) -> None:
    program = start(
        HEAD
        + """
class Worker(LoudOnLoop):
    async def birth(self):
        self.order = []
        self.add_filter(subject="^begin$", callback=self.on_begin)
        self.add_filter(subject="^n$", callback=lambda m: self.order.append(m.body))
        self.add_filter(subject="^order$", callback=lambda m: self.reply(m, self.order))
    async def on_begin(self, message):
        self.order.append((await self.ask("main", "question", b"x" * 300000, timeout=20)).body)
class Main(Process):
    def birth(self):
        self.add_filter(subject="question", callback=self.on_question)
    def on_question(self, message):
        for n in range(4):
            self.send("worker", "n", n)
        try:
            self.send("worker", "n", "too much", timeout=0.05)
        except MailboxFullError:
            say("full")
        self.reply(message, len(message.body))
        say(self.wait_for_reply(self.send("worker", "order")).body)
        self.die()
    def life(self):
        if self.current_frame == 1:
            self.send("worker", "begin")
def build(app):
    app.add_process("worker", Worker, mode="asyncio", mailbox_size=4)
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said[:2] == ["full", "[300000, 0, 1, 2, 3]"]


def test_who_asks_learns_at_once_that_the_other_died(start: Any) -> None:
    program = start(
        HEAD
        + """
class Mortal(Process):
    def birth(self):
        self.add_filter(subject="kill", callback=lambda m: os.kill(os.getpid(), 9))
        self.add_filter(subject="silence", callback=lambda m: None)
class Asker(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^go$", callback=self.on_go)
    async def on_go(self, message):
        # Whoever serves the mail is one, a child task another.
        self.add_child_task("beside", self.beside())
        for subject in ("silence", "kill"):
            try:
                await self.ask("mortal", subject, timeout=20 if subject == "kill" else 0.05)
            except GatewayError as error:
                say(subject, type(error).__name__)
        await asyncio.sleep(0.01)
        self.reply(message)
    async def beside(self):
        try:
            await self.ask("mortal", "silence", timeout=20)
        except GatewayError as error:
            say("beside", type(error).__name__)
class Main(Process):
    def life(self):
        self.wait_for_reply(self.send("asker", "go"), 20)
        self.die()
def build(app):
    app.add_process("mortal", Mortal, mode="fork", restart=ONCE)
    app.add_process("asker", Asker, mode="asyncio")
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said[0] == "silence CallTimeoutError"
    assert sorted(program.said[1:3]) == ["beside RecipientGoneError", "kill RecipientGoneError"]


def test_a_child_thread_waits_by_result_and_an_error_of_a_child_task_kills(start: Any) -> None:
    program = start(
        HEAD
        + """
class Worker(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))
        self.add_filter(subject="^bug$", callback=lambda m: self.add_child_task("bug", self.bug()))
        self.launch_threads()
    def _thread_asks(self):
        letter = self.send("other", "echo", "from a thread")
        say(self.wait_for_reply(letter).result(20).body, self.light_sleep(0.001).result())
        self.send("main", "said")
    async def bug(self):
        raise KeyError("lost")
class Main(Process):
    def birth(self):
        self.subscribe("processes/worker/state", self.on_state)
        self.add_filter(subject="said", callback=lambda m: self.send("worker", "bug"))
    def on_state(self, message):
        if message.body["state"] == "failed":
            say("failed", message.body["cause"])
            self.die()
class Other(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))
def build(app):
    app.add_process("other", Other, mode="asyncio")
    app.add_process("worker", Worker, mode="asyncio", restart=ONCE, depends=["other"])
"""
        + RUN
    )
    program.wait_for("from a thread True")
    assert program.wait_for("failed") == "KeyError: 'lost'"
    assert program.end() == 0, program.complaints()


def test_sleepers_wake_at_the_stop_and_who_does_not_is_cancelled_at_the_deadline(
    start: Any,
) -> None:
    program = start(
        HEAD
        + """
AT_MOST = 1.0
class Sleeper(LoudOnLoop):
    async def birth(self):
        self.add_child_task("beside", self.beside())
    async def beside(self):
        self.send("main", "asleep")
        say("goes on", await self.light_sleep(60))
    async def life(self):
        self.send("main", "asleep")
        say("goes on", await self.light_sleep(float("inf")))
class Stubborn(LoudOnLoop):
    async def life(self):
        self.send("main", "asleep")
        await asyncio.sleep(60)
    async def death(self):
        await asyncio.sleep(0.01)
        say("stubborn death", time.monotonic() - Main.began >= 0.9)
class Main(Process):
    def birth(self):
        self.asleep = 0
        self.add_filter(subject="asleep", callback=self.on_asleep)
    def on_asleep(self, message):
        self.asleep += 1
        if self.asleep == 3:
            Main.began = time.monotonic()
            self.die()
def build(app):
    app.add_process("sleeper", Sleeper, mode="asyncio", frequency=100)
    app.add_process("stubborn", Stubborn, mode="asyncio", frequency=100)
"""
        + RUN
    )
    assert program.wait_for("stubborn death") == "True", "not before the deadline"
    assert program.said[:3] == ["goes on False"] * 2 + ["death sleeper"]
    assert program.end() == 0, program.complaints()
    assert "stubborn does not end: it is cancelled" in program.complaints()


def test_one_that_is_cancelled_twice_has_not_ended_in_time(start: Any) -> None:
    program = start(
        HEAD
        + """
AT_MOST = 1.0
class Stubborn(LoudOnLoop):
    async def life(self):
        try:
            self.send("main", "asleep")
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await asyncio.sleep(600)
class Main(Process):
    def birth(self):
        self.add_filter(subject="asleep", callback=lambda message: self.die())
def build(app):
    app.add_process("stubborn", Stubborn, mode="asyncio")
"""
        + RUN
    )
    program.wait_for("death stubborn")
    assert program.end() == 1, program.complaints()
    assert "it is cancelled once more" in program.complaints()


def test_a_coroutine_that_never_yields_is_named_at_the_stop_and_left_behind(start: Any) -> None:
    program = start(
        HEAD
        + """
AT_MOST = 1.0
class Stuck(LoudOnLoop):
    async def life(self):
        self.send("main", "stuck")
        while True:
            time.sleep(0.01)
class Main(Process):
    def birth(self):
        self.start_process("innocent")
        self.start_process("stuck", timeout=60)
        self.add_filter(subject="stuck", callback=lambda m: self.die())
def build(app):
    app.add_process("innocent", LoudOnLoop, mode="asyncio")
    app.add_process("stuck", Stuck, mode="asyncio", frequency=100, autostart=False)
"""
        + RUN
    )
    assert program.end() == 1, "as where a thread is left behind"
    complaints = program.complaints()
    assert "stuck does not end and blocks its loop; its thread is left behind" in complaints
    assert "innocent cannot end: 'stuck' blocks its loop; its thread is left" in complaints
    assert "innocent cannot end: 'stuck' blocks its loop: it is cancelled" in complaints
    assert "asyncio is blocked and left behind; it stands here:" in complaints
    assert "time.sleep(0.01)" in complaints


def test_events_and_subscriptions_take_coroutines(start: Any) -> None:
    program = start(
        HEAD
        + """
class Worker(LoudOnLoop):
    async def birth(self):
        await self.register_callbacks("+", connected=self.on_connected)
        self.register_callbacks(own=self.on_own)
        self.add_filter(subject="own", callback=lambda m: self.callback_event("own", n=1))
    async def on_connected(self, event):
        await asyncio.sleep(0)
        say("connected", event.source)
        self.send("main", "done")
    async def on_own(self, event):
        await asyncio.sleep(0)
        say("own", event.details)
        self.send("main", "publish")
class Main(Process):
    def birth(self):
        self.add_filter(subject="publish", callback=self.on_publish)
        self.add_filter(subject="done", callback=lambda m: self.die())
    def on_publish(self, message):
        self.publish("devices/wheels/events/connected")
    def life(self):
        if self.current_frame == 1:
            self.send("worker", "own")
def build(app):
    app.add_process("worker", Worker, mode="asyncio")
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said[:2] == ["own {'n': 1}", "connected wheels"]


def test_a_task_that_exits_ends_its_process_and_nobody_else_on_the_loop(start: Any) -> None:
    program = start(
        HEAD
        + """
class Leaver(LoudOnLoop):
    async def birth(self):
        self.add_child_task("leaves", self.leave())
    async def leave(self):
        sys.exit("enough")
class Stayer(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="echo", callback=lambda m: self.reply(m, m.body))
class Main(Process):
    def birth(self):
        self.subscribe("processes/leaver/state", self.on_state)
    def on_state(self, message):
        if message.body["state"] == "failed":
            say(message.body["cause"])
            say(self.wait_for_reply(self.send("stayer", "echo", 1)).body)
            self.die()
def build(app):
    app.add_process("leaver", Leaver, mode="asyncio", restart=ONCE)
    app.add_process("stayer", Stayer, mode="asyncio")
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said == ["death leaver", "it called exit('enough')", "1", "death stayer"]


def test_a_reply_to_a_slow_reader_waits_beside_the_loop_and_arrives(start: Any) -> None:
    program = start(
        HEAD
        + """
class Echo(LoudOnLoop):
    async def birth(self):
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))
class Asker(Process):
    def birth(self):
        self.add_filter(subject="^go$", callback=self.on_go)
    def on_go(self, message):
        # More than the ten that lie in its socket, before one is read.
        asked = [self.send("echo", "echo", n) for n in range(40)]
        self.send("main", "asked")
        while not os.path.exists(SOCKETS + ".go"):
            time.sleep(0.005)
        os.unlink(SOCKETS + ".go")
        self.reply(message, [self.wait_for_reply(letter).body for letter in asked])
class Main(Process):
    def birth(self):
        self.add_filter(subject="asked", callback=self.on_asked)
        self.letter = self.send("asker", "go")
    def on_asked(self, message):
        echo = self.wait_for_reply(self.send("echo", "echo", "still here"))
        open(SOCKETS + ".go", "w").close()
        say(echo.body, self.wait_for_reply(self.letter, 20).body == list(range(40)))
        self.die()
def build(app):
    app.add_process("echo", Echo, mode="asyncio")
    app.add_process("asker", Asker, mode="fork")
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said[0] == "still here True"
