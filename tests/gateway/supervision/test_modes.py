"""One scenario, lived in every mode: whoever writes to a process cannot tell which it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTE = """
NOTES = os.path.join(os.path.dirname(SOCKETS), "notes")

def note(*words):
    with open(NOTES, "a") as notes:
        notes.write(" ".join(words) + "\\n")
"""

PLAIN = """
class Worker(Process):
    def birth(self):
        note("birth", self.name)
        self.news = None
        self.add_filter(subject="^ask$", callback=self.on_ask)
        self.add_filter(subject="^news$", callback=lambda m: self.reply(m, self.news))
        self.add_filter(subject="^refuse$", callback=self.on_refuse)
        self.add_filter(subject="^bug$", callback=self.on_bug)
        self.subscribe("news/#", self.on_news)
    def on_ask(self, message):
        answer = self.wait_for_reply(self.send("echo", "echo", message.body))
        self.reply(message, answer.body)
    def on_refuse(self, message):
        raise RefusedError("not on a Sunday")
    def on_bug(self, message):
        raise ZeroDivisionError
    def on_news(self, message):
        self.news = [message.subject, message.body]
    def death(self):
        note("death", self.name)
"""

COROUTINES = """
class Worker(Process):
    async def birth(self):
        note("birth", self.name)
        self.news = None
        self.add_filter(subject="^ask$", callback=self.on_ask)
        self.add_filter(subject="^news$", callback=lambda m: self.reply(m, self.news))
        self.add_filter(subject="^refuse$", callback=self.on_refuse)
        self.add_filter(subject="^bug$", callback=self.on_bug)
        await self.subscribe("news/#", self.on_news)
    async def on_ask(self, message):
        answer = await self.ask("echo", "echo", message.body)
        self.reply(message, answer.body)
    async def on_refuse(self, message):
        raise RefusedError("not on a Sunday")
    async def on_bug(self, message):
        raise ZeroDivisionError
    async def on_news(self, message):
        self.news = [message.subject, message.body]
    async def death(self):
        note("death", self.name)
"""

PROGRAM = """
import json, os, socket, sys
name = os.environ["GATEWAY_NAME"]
NOTES = os.environ["NOTES"]

def note(*words):
    with open(NOTES, "a") as notes:
        notes.write(" ".join(words) + "\\n")

def tell(**said):
    gateway.sendall(json.dumps(said).encode() + b"\\n")

note("birth", name)
gateway = socket.socket(fileno=int(os.environ["GATEWAY_SOCKET_FD"]))
news, asked = None, {}
tell(op="subscribe", pattern="news/#")
for line in gateway.makefile("rb"):
    said = json.loads(line)
    subject, letter = said.get("subject"), said.get("message_id")
    if said.get("op") == "publication":
        news = [said["topic"], said["body"]]
    elif subject == "ask":
        asked["question"] = letter
        tell(op="ask", id="question", to="echo", subject="echo", body=said["body"])
    elif said.get("id") == "question":
        tell(op="reply", message_id=asked["question"], body=said["body"])
    elif subject == "news":
        tell(op="reply", message_id=letter, body=news)
    elif subject == "refuse":
        tell(op="refuse", message_id=letter, reason="not on a Sunday")
    elif subject == "bug":
        note("death", name)
        raise ZeroDivisionError
    elif said.get("op") == "die":
        break
note("death", name)
"""

MAIN = """
class Echo(Process):
    def birth(self):
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))

class Main(Process):
    def ask(self, subject, body=None):
        return self.wait_for_reply(self.send("worker", subject, body), 20).body

    def birth(self):
        self.publish("news/today", {"n": 1}, retain=True)
        self.subscribe("processes/worker/state", self.on_state)

    def on_state(self, message):
        if message.body["state"] == "living" and message.body["restarts"]:
            say("again", self.ask("ask", 7))
            self.die()

    def life(self):
        if self.current_frame > 1:
            return
        say("answer", self.ask("ask", {"x": [1, 2.5, "é", None]}))
        self.publish("news/today", {"n": 2})
        while self.ask("news") != ["news/today", {"n": 2}]:
            time.sleep(0.01)
        say("news")
        for subject in ("refuse", "bug"):
            try:
                self.ask(subject)
            except GatewayError as error:
                say(subject, type(error).__name__, error)
"""

APPLICATION = """
class App(Application):
    def build(self):
        self.add_process("echo", Echo)
        self.add_process("worker", {how}, restart=SOON)
        self.add_process("second", {how}, restart=SOON, depends=["worker"])

sys.exit(App(main=Main, sockets=SOCKETS).run())
"""

HOW = {
    "thread": (PLAIN, 'Worker, mode="thread"'),
    "fork": (PLAIN, 'Worker, mode="fork"'),
    "asyncio": (COROUTINES, 'Worker, mode="asyncio"'),
    "external": (
        "from gateway import Program\n",
        'mode="external", command=Program([sys.executable, PROGRAM], environment={"NOTES": NOTES})',
    ),
}


@pytest.mark.parametrize("mode", HOW)
def test_a_life_is_the_same_in_every_mode(start: Any, tmp_path: Path, mode: str) -> None:
    worker, how = HOW[mode]
    path = tmp_path / "worker.py"
    path.write_text(PROGRAM)
    program = start(
        f"PROGRAM = {str(path)!r}\n" + NOTE + worker + MAIN + APPLICATION.format(how=how)
    )
    assert program.end() == 0, program.complaints()
    assert program.said == [
        "answer {'x': [1, 2.5, 'é', None]}",
        "news",
        "refuse RefusedError not on a Sunday",
        "bug RecipientGoneError 'worker' died before it answered 'bug'",
        "again 7",
    ]
    complaints = program.complaints()
    assert "ZeroDivisionError" in complaints, "the bug's traceback is in the log"
    assert "restarted in" in complaints
    notes = (tmp_path / "notes").read_text().splitlines()
    assert notes.count("birth worker") == notes.count("death worker") == 2
    assert notes[-2:] == ["death second", "death worker"], "who depends on others ends before them"
