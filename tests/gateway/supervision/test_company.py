"""Several processes in one member: addresses of their own, one life, one end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import AddressError, ConfigError
from gateway.process.process import Process

MODULE = """
import os, signal, threading
from gateway.process.process import Process

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Wheel(Process):
    def birth(self):
        say("birth", self.name, self.parameter("side"), self.parameter("port"), self.frequency)
        self.add_filter(subject="^ask$", callback=self.on_ask)
        self.add_filter(subject="^fail$", callback=self.on_fail)
        self.add_filter(subject="^end$", callback=lambda letter: self.die())
        self.add_filter(subject="^hang$", callback=self.on_hang)
        self.subscribe("wind", lambda letter: say("wind", self.name, letter.body))
        self.declare_will(f"wheels/{self.name}", {"state": "failed"})
    def on_ask(self, message):
        other = "right" if self.name.startswith("left") else "left"
        if message.body == "other":
            answer = self.wait_for_reply(self.send(f"{other}@drive", "ask", "you")).body
            self.reply(message, answer)
        else:
            self.reply(message, [self.name, os.getpid(), message.sender])
    def on_fail(self, message):
        raise ZeroDivisionError("a flat tyre")
    def on_hang(self, message):
        while self.is_active:
            self._ending.wait(0.01)
    def death(self):
        say("death", self.name)

class Tidy(Wheel):
    def birth(self):
        super().birth()
        folder = self.temporary_folder
        say("folder", folder, oct(folder.stat().st_mode & 0o777), list(folder.iterdir()))
"""

APP = """
import sys
sys.path.insert(0, {folder!r})
DRIVE = {{
    "name": "drive", "mode": {mode!r}, "tock": 0.02, "parameters": {{"port": "usb"}},
    "restart": {{"first": 0.01, "ceiling": 0.01}},
    "processes": {{
        "left": {{"process": "wheels_module:{kind}", "parameters": {{"side": "l"}}}},
        "right": {{"process": "wheels_module:{kind}", "frequency": 5.0}},
    }},
    **{options!r},
}}
class App(Application):
    shutdown_timeout = 20.0
    def build(self):
        self.add_member(DRIVE)
class Main(Process):
    def ps(self):
        (found,) = [m for m in self.wait_for_reply(self.send("boss", "ps")).body
                    if m["name"] == "drive"]
        return found
    def wait_until(self, ready):
        while not ready():
            self.light_sleep(0.01)
    def life(self):
        self.wait_until(lambda: self.ps()["state"] == "living")
        self.scene()
        self.die()
{scene}
sys.exit(App(main=Main, sockets=SOCKETS).run())
"""


@pytest.fixture
def drive(start: Any, tmp_path: Path) -> Any:
    """Return a starter of an application whose main process plays a scene with the wheels."""
    (tmp_path / "wheels_module.py").write_text(MODULE)

    def play(scene: str, *, mode: str = "fork", kind: str = "Wheel", **options: Any) -> Any:
        return start(
            APP.format(folder=str(tmp_path), mode=mode, kind=kind, options=options, scene=scene)
        )

    return play


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_each_has_its_address_and_all_share_one_os_process(drive: Any, mode: str) -> None:
    program = drive(
        """
    def scene(self):
        here = self.recipients()
        say([name for name in here if "@" in name])
        first = self.wait_for_reply(self.send("left@drive", "ask")).body
        other = self.wait_for_reply(self.send("left@drive", "ask", "other")).body
        say("asked", first[0], other[0], other[2], first[1] == other[1], first[1] == os.getpid())
        self.publish("wind", "west")
        told = self.wait_for_reply(self.send("drive", "$statistics")).body
        say("told", told["processes"])
        self.wait_for_reply(self.send("left@drive", "ask"))
        self.wait_for_reply(self.send("right@drive", "ask"))
        try:
            self.wait_for_reply(self.send("middle@drive", "ask"))
        except AddressError as error:
            say("refused", error)
        say("ledger", self.ps()["ledger"]["accepted"] >= 5)
""",
        mode=mode,
    )
    assert program.end() == 0, program.complaints()
    assert "['left@drive', 'right@drive']" in program.said
    in_main = mode == "thread"
    assert f"asked left@drive right@drive left@drive True {in_main}" in program.said
    assert "birth left@drive l usb 50.0" in program.said
    assert "birth right@drive None usb 5.0" in program.said
    assert "told {'left@drive': 'living', 'right@drive': 'living'}" in program.said
    assert "ledger True" in program.said
    assert "refused nobody is called 'middle@drive', or it has ended" in program.said
    assert {"wind left@drive west", "wind right@drive west"} <= set(program.said)
    assert {"death left@drive", "death right@drive"} <= set(program.said)


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_one_that_fails_ends_them_all_in_order_and_the_policy_judges(drive: Any, mode: str) -> None:
    program = drive(
        """
    def scene(self):
        self.subscribe("wheels/#", lambda letter: say("will", letter.subject, letter.body))
        self.subscribe("processes/drive/state", lambda letter: say("state", letter.body["cause"]))
        self.send("right@drive", "fail")
        self.wait_until(lambda: (self.mailman(), self.ps())[1]["incarnation"] == 2)
        self.wait_until(lambda: self.ps()["state"] == "living")
        say("again", self.wait_for_reply(self.send("right@drive", "ask")).body[0])
        self.mailman()
""",
        mode=mode,
    )
    assert program.end() == 0, program.complaints()
    assert "state ZeroDivisionError: a flat tyre" in program.said
    assert "again right@drive" in program.said
    assert program.said.count("death left@drive") == program.said.count("death right@drive") == 2
    # Who ends in order closes its mailbox, and its will with it.
    assert "right@drive failed, and drive with it" in program.complaints()


def test_the_wills_of_a_killed_member_are_said(drive: Any) -> None:
    program = drive("""
    def scene(self):
        self.said = []
        self.subscribe("wheels/#", lambda letter: self.said.append(letter.subject))
        os.kill(self.active_subprocesses()["drive"], signal.SIGKILL)
        self.wait_until(lambda: (self.mailman(), len(self.said))[1] == 2)
        say(sorted(self.said))
""")
    assert program.end() == 0, program.complaints()
    assert "['wheels/left@drive', 'wheels/right@drive']" in program.said


def test_a_member_is_over_when_the_last_one_is(drive: Any) -> None:
    program = drive(
        """
    def scene(self):
        self.send("left@drive", "end")
        self.wait_until(lambda: "left@drive" not in self.recipients())
        say("meanwhile", self.ps()["state"], self.wait_for_reply(
            self.send("right@drive", "ask")).body[0])
        self.send("right@drive", "end")
        self.wait_until(lambda: self.ps()["state"] == "stopped")
        say("over", self.ps()["cause"])
""",
        restart={"kind": "temporary"},
    )
    assert program.end() == 0, program.complaints()
    assert "meanwhile living right@drive" in program.said
    assert "over it ended by itself" in program.said


def test_each_has_a_folder_within_that_of_its_member(drive: Any, sockets: Path) -> None:
    program = drive("    def scene(self): pass\n", kind="Tidy", temporary_folder=True)
    assert program.end() == 0, program.complaints()
    folders = [line.split() for line in program.said if line.startswith("folder")]
    assert sorted(folder[1] for folder in folders) == [
        f"{sockets}/temporary/drive.1/{name}" for name in ("left", "right")
    ]
    assert all(folder[2:] == ["0o700", "[]"] for folder in folders)
    assert not (sockets / "temporary").exists()


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_one_that_hangs_makes_its_member_stuck(drive: Any, mode: str) -> None:
    program = drive(
        """
    def scene(self):
        self.light_sleep(0.8)
        self.wait_until(lambda: not self.ps()["stuck"])
        say("well True")
        self.send("right@drive", "hang")
        self.wait_until(lambda: self.ps()["stuck"])
        say("stuck")
""",
        mode=mode,
        stuck_after=0.4,
    )
    assert program.end() == 0, program.complaints()
    assert "well True" in program.said
    assert "stuck" in program.said


def test_what_cannot_be_held_is_a_failure_that_names_it(drive: Any, tmp_path: Path) -> None:
    class Late(Application):
        def build(self) -> None:
            self.add_member(
                {
                    "name": "drive",
                    "bound_shutdown": True,
                    "processes": {"left": {"process": "gateway.errors:GatewayError"}},
                }
            )

    class Main(Process):
        def birth(self) -> None:
            with pytest.raises(AddressError):
                self.send("left@nobody", "ask")

    assert Late(main=Main).run() == 1
    with pytest.raises(ConfigError, match="mode fork or thread"):
        Application().add_member(
            {"name": "a", "mode": "asyncio", "processes": {"b": {"process": "a:B"}}}
        )
