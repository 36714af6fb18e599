"""A child of os.fork() that comes back from a callback takes no mail of its parent's."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from gateway import Application, AsyncProcess, Process
from gateway.errors import RefusedError

class Forking(Process):
    def birth(self):
        self.add_filter(subject="fork", callback=self.on_fork)
        self.add_filter(subject="thread", callback=self.on_fork, run="thread")
        self.add_filter(subject="count", callback=lambda message: self.reply(message, "here"))

    def on_fork(self, message):
        if (child := os.fork()) == 0:
            signal.alarm(20)
            if message.body == "leaves":
                print("it leaves")
                sys.exit(7)
            if message.body == "refuses":
                raise RefusedError("the child refuses")
            if message.body == "fails":
                raise LookupError("in the child")
            if message.body == "asks" and not isinstance(self, AsyncProcess):
                self.wait_for_reply(self.send("main", "anything"))
            return
        self.reply(message, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def death(self):
        print("death", flush=True)

class Main(Process):
    def birth(self):
        for body in ("comes back", "asks", "leaves", "fails", "refuses"):
            print(self.wait_for_reply(self.send("forking", "fork", body), 20.0).body, flush=True)
        for body in ("comes back", "refuses", "fails"):
            print(self.wait_for_reply(self.send("forking", "thread", body), 20.0).body, flush=True)
        for _ in range(20):
            self.wait_for_reply(self.send("forking", "count"))
        print("all answered", flush=True)
        self.die()

class House(Application):
    def build(self):
        self.add_process("forking", Forking, mode=sys.argv[1])

raise SystemExit(House(main=Main).run())
"""


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_child_that_comes_back_ends_and_is_named(mode: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.splitlines() == [
        *("1", "1", "it leaves", "7", "1", "1"),
        *("1", "1", "1"),
        *("all answered", "death"),
    ]
    assert run.returncode == 0
    told = [line for line in run.stderr.splitlines() if "has come back into 'forking'" in line]
    assert len(told) == 3
    assert "LookupError: in the child" in run.stderr
