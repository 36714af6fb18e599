"""External programs: started, fed, held to the protocol, restarted and stopped."""

from __future__ import annotations

import os
import re
import select
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.mail.json_lines import Refusal
from gateway.process.neighbour import told_of
from gateway.supervision.external_protocol import Ebrake, done, parse

PAGE = Path(__file__).parents[3] / "docs" / "external.md"

HEAD = """
from gateway import Program
logging.getLogger().setLevel(logging.INFO)

SPEAK = '''
import json, os, signal, socket, sys, time
gateway = socket.socket(fileno=int(os.environ["GATEWAY_SOCKET_FD"]))
incoming = gateway.makefile("rb")
def tell(**said):
    gateway.sendall(json.dumps(said).encode() + b"\\\\n")
def hear():
    return json.loads(incoming.readline())
assert hear()["op"] == "hello"
'''

def python(source, **how):
    return Program([sys.executable, "-c", SPEAK + source], **how)
"""

RUN = """
class App(Application):
    shutdown_timeout = globals().get("AT_MOST", 20.0)
    def build(self):
        build(self)
sys.exit(App(main=Main, sockets=SOCKETS).run())
"""


def example(language: str) -> str:
    """Return the last example of the documentation in ``language``."""
    examples: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return examples[-1]


@pytest.mark.parametrize(
    ("language", "command"), [("python", "[sys.executable, PATH]"), ("sh", '["sh", PATH]')]
)
def test_the_documented_examples_run(
    start: Any, tmp_path: Path, language: str, command: str
) -> None:
    path = tmp_path / "example"
    path.write_text(example(language))
    program = start(
        f"PATH = {str(path)!r}\n"
        + HEAD
        + f"""
class Main(Process):
    def birth(self):
        self.subscribe("counter/state", self.on_state)
    def on_state(self, message):
        say(message.sender, message.body)
        say([self.wait_for_reply(self.send("counter", "add", n)).body for n in (1, 20, 300)])
        self.die()
def build(app):
    app.add_process("counter", mode="external", command={command})
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said == ["counter ready", "[1, 21, 321]"]


def test_bad_lines_cost_an_error_line_and_a_count(start: Any) -> None:
    program = start(
        HEAD
        + """
BAD = '''
letter = hear()["message_id"]
said = []
for line in (b"sing", b"[]", b"{}", b'{"op":"sing","id":1}', b'{"op":"send","id":2}', b"\\\\xff",
             b'{"op":"publish","topic":"a","extra":1,"id":"x"}', b"[" * 100000, b"1" * 3000000,
             b'{"op":"publish","topic":"a","id":3,"body":123456789012345678901234567890}',
             b'{"op":"publish","topic":"a","id":4,"body":{"$bytes":"!!"}}',
             b'{"op":"publish","topic":"a","id":5,"body":' + b"[" * 40 + b"]" * 40 + b"}",
             b'{"op":"publish","topic":"a","id":123456789012345678901234567890}'):
    gateway.sendall(line + b"\\\\n")
    said.append(hear())
for request in (
    {"op": "reply", "id": 10, "message_id": "?"},
    {"op": "publish", "topic": "a/+"},
    {"op": "subscribe", "id": 12, "pattern": "#/a"},
    {"op": "send", "id": 13, "to": "nobody", "subject": "s"},
    {"op": "ask", "id": 14, "to": "main", "subject": "silence", "timeout": 0.01},
):
    tell(**request)
    said.append(hear())
assert all(each["ok"] is False and each["error"]["reason"] for each in said), said
tell(op="send", id=15, to="main", subject="fine")
assert hear()["ok"] is True
tell(op="reply", message_id=letter, body=[[each["id"], each["error"]["code"]] for each in said])
hear()
'''
class Main(Process):
    def life(self):
        if self.current_frame > 1:
            return
        for number, code in self.wait_for_reply(self.send("bad", "begin"), 20).body:
            say(number, code)
        counts = self.wait_for_reply(self.send("bad", "$statistics")).body
        say("bad lines", counts["bad_lines"], counts["pid"] > 0)
        self.die()
def build(app):
    app.add_process("bad", mode="external", command=python(BAD))
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said == [
        *["None protocol"] * 3,
        "1 protocol",
        "2 protocol",
        "None protocol",
        "x protocol",
        *["None protocol"] * 2,
        "3 protocol",
        "4 protocol",
        "5 protocol",
        "None protocol",
        "10 protocol",
        "None protocol",
        "12 protocol",
        "13 unknown_address",
        "14 timeout",
        "bad lines 13 True",
    ]


def test_a_subscription_is_answered_once_whatever_is_published(start: Any) -> None:
    program = start(
        HEAD
        + """
HEARER = '''
assert hear()["subject"] == "begin"
tell(op="subscribe", id=24, pattern="weather/#")
said = [hear(), hear(), hear()]
tell(op="send", to="main", subject="go")
tell(op="send", to="main", subject="told", body=[*said, hear()])
hear()
'''
class Main(Process):
    def birth(self):
        self.publish("weather/fine", 1, retain=True)
        self.publish("weather/odd", float("nan"), retain=True)
        self.add_filter(subject="^go$", callback=self.on_go)
        self.add_filter(subject="^told$", callback=self.on_told)
        self.send("hearer", "begin")
    def on_go(self, message):
        self.publish("weather/odd", float("inf"))
    def on_told(self, message):
        *told, answer, late = message.body
        for each in sorted(told, key=str):
            say(each.get("op"), each["id"], each.get("error", {}).get("reason"))
        say(answer)
        say(late["id"], late["error"]["code"], late["error"]["reason"])
        self.die()
def build(app):
    app.add_process("hearer", mode="external", command=python(HEARER))
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    refused = "no line can tell what was published on 'weather/odd': body['body'] is"
    assert program.said == [
        f"None None {refused} nan: JSON has no such number",
        "publication 24 None",
        "{'id': 24, 'ok': True}",
        f"None bad_body {refused} inf: JSON has no such number",
    ]


def test_a_program_that_reads_nothing_holds_up_its_own_writers_alone(start: Any) -> None:
    program = start(
        HEAD
        + """
DEAF = "time.sleep(100)"
ECHO = '''
while (said := hear())["op"] == "letter":
    tell(op="reply", message_id=said["message_id"], body=said["body"])
'''
class Main(Process):
    def life(self):
        self.start_process("deaf")
        try:
            for n in range(100):
                self.send("deaf", "n", "x" * 100000, timeout=0.2)
        except MailboxFullError:
            say("full after less than", 100 if n > 4 else n)
        say(self.wait_for_reply(self.send("echo", "echo", {"raw": b"x"})).body)
        try:
            self.wait_for_reply(self.send("echo", "echo", float("nan")))
        except BodyError as error:
            say(error)
        self.die()
def build(app):
    app.add_process("deaf", mode="external", command=python(DEAF), mailbox_size=4)
    app.add_process("echo", mode="external", command=python(ECHO), mailbox_size=4)
"""
        + RUN
    )
    began = monotonic()
    assert program.end() == 0, program.complaints()
    assert program.said == [
        "full after less than 100",
        "{'raw': b'x'}",
        "body['body'] is nan: JSON has no such number",
    ]
    assert monotonic() - began < 10


def test_a_slow_program_misses_nothing(start: Any) -> None:
    program = start(
        HEAD
        + """
SLOW = '''
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.005)
found = []
while (said := hear())["subject"] == "n":
    found.append(int(said["body"].strip("x")))
tell(op="reply", message_id=said["message_id"], body=found)
hear()
'''
class Main(Process):
    def life(self):
        for n in range(20):
            self.send("slow", "n", f"{n}" + "x" * 100000)
        open(SOCKETS + ".go", "w").close()
        say(self.wait_for_reply(self.send("slow", "found"), 20).body == list(range(20)))
        self.die()
def build(app):
    command = python(SLOW, environment={"GO": SOCKETS + ".go"})
    app.add_process("slow", mode="external", command=command)
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert program.said == ["True"]


def test_who_does_not_end_is_terminated_and_killed_with_what_it_started(start: Any) -> None:
    program = start(
        HEAD
        + """
AT_MOST = 1.0
STUBBORN = '''
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    time.sleep(100)
tell(op="send", to="main", subject="pids", body=[os.getpid(), child])
while True:
    print("heard", incoming.readline() or time.sleep(1), flush=True)
'''
class Main(Process):
    def birth(self):
        self.add_filter(subject="pids", callback=self.on_pids)
    def on_pids(self, message):
        say("pids", *message.body)
        self.die()
def build(app):
    app.add_process("stubborn", mode="external", command=python(STUBBORN, patience=60))
"""
        + RUN
    )
    pidfds = [os.pidfd_open(int(pid)) for pid in program.wait_for("pids").split()]
    try:
        assert program.end() == 1, program.complaints()
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], 10)[0]
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    complaints = program.complaints()
    assert 'stubborn: heard b\'{"op":"die"}' in complaints, "stdout is in the log with its name"
    assert "killed by SIGKILL" in complaints


def test_a_program_ends_with_a_gateway_that_was_killed(start: Any) -> None:
    program = start(
        HEAD
        + """
IDLE = '''
tell(op="send", to="main", subject="pid", body=os.getpid())
time.sleep(100)
'''
class Main(Process):
    def birth(self):
        self.add_filter(subject="pid", callback=lambda m: say("pid", m.body))
def build(app):
    app.add_process("idle", mode="external", command=python(IDLE))
"""
        + RUN
    )
    pidfd = os.pidfd_open(int(program.wait_for("pid")))
    try:
        program.signal(signal.SIGKILL)
        assert select.select([pidfd], [], [], 10)[0]
    finally:
        os.close(pidfd)
    program.end()


TELLS_THE_END = """
class Main(Process):
    def birth(self):
        self.subscribe("processes/brief/state", self.on_state)
    def on_state(self, message):
        if message.body["state"] in ("failed", "stopped", "stopping"):
            say(message.body["cause"])
            self.die()
"""


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("sys.exit(3)", "exit status 3"),
        ("sys.exit(0)", "it ended by itself"),
        ("incoming.close(); gateway.close(); time.sleep(100)", "it closed its socket and runs on"),
        ('tell(op="die"); assert hear()["op"] == "die"', "it ended by itself"),
        ('tell(op="ebrake", reason="fire"); hear()', "the application stops"),
        ('tell(op="ebrake", reason="fire\\udce9"); hear()', "the application stops"),
    ],
)
def test_how_it_ended_is_told(start: Any, source: str, cause: str) -> None:
    program = start(
        HEAD
        + TELLS_THE_END
        + f"""
def build(app):
    app.add_process("brief", mode="external", command=python({source!r}), restart=ONCE)
app = type("App", (Application,), dict(build=build, shutdown_timeout=1.0))(
    main=Main, sockets=SOCKETS
)
app.run()
say("brake", app.brake)
"""
    )
    assert program.end() == 0, program.complaints()
    if "ebrake" in source:
        assert program.said[-1].startswith("brake brief: fire")
    else:
        assert program.said[0] == cause


@pytest.mark.parametrize(("status", "cause"), [(0, "it ended by itself"), (3, "exit status 3")])
def test_one_that_ended_before_it_was_greeted_is_told_by_its_status(
    start: Any, status: int, cause: str
) -> None:
    program = start(
        HEAD
        + TELLS_THE_END
        + f"""
from gateway.supervision.external import External
say_at_once = External._say
async def say_late(self, line):
    await self._running.exited.wait()
    await say_at_once(self, line)
External._say = say_late
def build(app):
    app.add_process("brief", mode="external", command=["sh", "-c", "exit {status}"], restart=ONCE)
sys.exit(type("App", (Application,), dict(build=build, shutdown_timeout=1.0))(
    main=Main, sockets=SOCKETS
).run())
"""
    )
    assert program.end() == 0, program.complaints()
    assert program.said[0] == cause


@pytest.mark.parametrize(
    ("said", "brake"),
    [
        (r'{"op":"ebrake","reason":"caf\udce9"}', r"caf\udce9"),
        (b'{"op":"ebrake","reason":"caf\xe9","id":5}', r"caf\udce9"),
        (r'{"op":"ebrake","reason":5,"id":"\udce9"}', "5"),
        ('{"op":"ebrake","reason":NaN,"id":{}}', "nan"),
        ('{"op":"ebrake"}', "it says no reason"),
        ('{"op":"ebrake","reason":"loose","what":"arm"}', "loose"),
    ],
)
def test_a_brake_works_whatever_the_reason(said: str | bytes, brake: str) -> None:
    found = parse(said if isinstance(said, bytes) else said.encode())
    assert isinstance(found, Ebrake)
    assert told_of(found.reason) == brake
    assert done(found.id), "it can be answered"


@pytest.mark.parametrize(
    "said",
    [
        b"ebrake",
        b'["ebrake"]',
        b'{"op":"die","reason":"ebrake \xe9"}',
        b'{"op":"ebrake","reason":' + b"[" * 100_000,
    ],
)
def test_what_only_speaks_of_the_brake_pulls_none(said: bytes) -> None:
    assert isinstance(parse(said), Refusal)


def test_what_cannot_be_run_fails_by_name_and_leaves_nothing_open(start: Any) -> None:
    program = start(
        HEAD
        + """
class Main(Process):
    def birth(self):
        self.seen = set()
        for name in ("nowhere", "folder"):
            self.subscribe(f"processes/{name}/state", self.on_state)
        self.add_filter(subject="descriptors", callback=self.on_descriptors)
    def on_state(self, message):
        if message.body["state"] == "failed":
            say(message.body["cause"])
            self.seen.add(message.subject)
        self.look()
    def on_descriptors(self, message):
        say("descriptors", message.body)
        self.seen.add("descriptors")
        self.look()
    def look(self):
        if len(self.seen) == 3:
            self.die()
LIST = '''
found = [os.open("/dev/null", 0)]
found += [fd for fd in range(100) if fd != found[0] and os.path.lexists(f"/proc/self/fd/{fd}")]
tell(op="send", to="main", subject="descriptors", body=found)
hear()
'''
def build(app):
    app.add_process("nowhere", mode="external", command=["/nowhere/x"], restart=ONCE)
    app.add_process(
        "folder", mode="external", command=Program(["true"], folder="/nowhere"), restart=ONCE
    )
    app.add_process("lists", mode="external", command=python(LIST), restart=ONCE)
"""
        + RUN
    )
    assert program.end() == 0, program.complaints()
    assert "descriptors [4, 0, 1, 2, 3]" in program.said, "4 is the first that is free"
    causes = "\n".join(program.said)
    assert "there is no program '/nowhere/x' that could be run" in causes
    assert "it cannot be started: [Errno 2] No such file or directory: '/nowhere'" in causes
