"""The first use of a type by several threads at once, which msgspec does not survive by itself.

In a process of their own, since what goes wrong is a segmentation fault.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_ONCE = """
import sys, threading
from typing import Annotated
import msgspec
from msgspec import Meta

sys.setswitchinterval(1e-6)

def at_once(function):
    barrier = threading.Barrier(4)
    def run():
        barrier.wait()
        function()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

COMMANDS = """
from gateway.mail.signature import Command

names = [f"f{n}" for n in range(30)]
exec(f"def grip(self, {', '.join(f'{n}: Annotated[int, Meta(ge=0)] = 0' for n in names)}): ...")
for _ in range(300):
    command = Command("grip", grip)
    at_once(lambda: command.check({"f29": 3}))
"""

BODIES = """
from gateway.mail.body import checked, register

fields = [(f"f{n}", Annotated[int, Meta(ge=0)], 0) for n in range(30)]
for number in range(300):
    struct = register(msgspec.defstruct(f"Body{number}", fields, frozen=True))
    at_once(lambda: checked(struct(f29=3)))
"""

MEMBERS = """
from gateway.supervision.recruit import spec_of

at_once(lambda: spec_of({"name": "arm", "process": "robot:Arm"}))
"""


@pytest.mark.parametrize("scene", [COMMANDS, BODIES, MEMBERS], ids=["command", "body", "member"])
def test_a_type_may_be_used_first_by_several_threads_at_once(scene: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE + scene],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
