"""Levels that are changed while an application runs, and records that say where they come from."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from tests.gateway.supervision.conftest import PATIENCE, Start

TALKERS = """
    from gateway.process.logbook import start_logging

    log = logging.getLogger("talk.show")

    class Talker(Process):
        def birth(self):
            self.add_filter(callback=self.on_talk, subject="^talk$")
            self.add_filter(callback=self.on_crash, subject="^crash$")
            self.subscribe("talk", lambda message: None)
            self.send("main", "ready", self.name)
        def on_talk(self, message):
            log.debug("%s", message.body)
            self.reply(message)
        def on_crash(self, message):
            os.kill(os.getpid(), signal.SIGKILL)

    class Main(Process):
        def birth(self):
            self.add_filter(callback=self.on_ready, subject="^ready$")
            self.ready = 0
        def on_ready(self, message):
            self.ready += 1
        def life(self):
            if self.ready < 3:
                return
            self.talk("before")
            self.set_log_level("debug", "forked")
            self.talk("forked")
            self.ready = 0
            self.send("forked", "crash")
            while not self.ready:
                self.mailman(1.0)
            self.talk("restarted")
            self.set_log_level("default", "forked")
            self.set_log_level("debug", "thread")
            self.talk("thread")
            self.set_log_level("default", "thread")
            self.set_log_level("debug", "talk")
            self.talk("logger")
            for level, name in (("loud", ""), ("debug", "nobody")):
                try:
                    self.set_log_level(level, name)
                except GatewayError as error:
                    say("refused", type(error).__name__)
            say("levels", self.set_log_level("default", "talk"))
            self.talk("after")
            self.die()
        def talk(self, what):
            for name in ("forked", "other", "thread"):
                asked = self.send(name, "talk", what)
                self.wait_for_reply(asked, 10.0)

    class Show(Application):
        global_frequency = 50.0
        def build(self):
            self.add_process("forked", Talker, mode="fork", restart=SOON)
            self.add_process("other", Talker, mode="fork")
            self.add_process("thread", Talker)

    start_logging("warning", form="json")
    raise SystemExit(Show(main=Main, sockets=SOCKETS).run())
"""


def test_levels_reach_forks_threads_and_those_that_are_restarted(start: Start) -> None:
    show = start(TALKERS)
    assert show.wait_for("levels") == "{'default': '', 'loggers': {}, 'processes': {}}"
    assert show.end() == 0
    records: list[dict[str, Any]] = [json.loads(line) for line in show.complaints().splitlines()]
    said = [record for record in records if record["logger"] == "talk.show"]
    assert [(record["message"], record["process"]) for record in said] == [
        ("forked", "forked"),
        ("restarted", "forked"),
        ("thread", "thread"),
        ("logger", "forked"),
        ("logger", "other"),
        ("logger", "thread"),
    ]
    # Each on the thread of the letter that was handled.
    threads = [record["thread"] for record in said]
    assert all(threads)
    assert len(set(threads)) == len(threads)
    assert [line for line in show.said if line.startswith("refused")] == [
        "refused ConfigError",
        "refused AddressError",
    ]


ON_A_LOOP = """
    import asyncio
    from gateway import AsyncProcess
    from gateway.process.logbook import start_logging

    log = logging.getLogger("talk.show")

    class Talker(AsyncProcess):
        async def birth(self):
            self.add_filter(callback=self.on_talk, subject="^talk$")
        async def on_talk(self, message):
            await asyncio.sleep(0)
            log.debug(message.thread_id)
            self.reply(message)

    class Main(Process):
        def birth(self):
            for level in ("default", "debug", "default"):
                self.set_log_level(level, "one")
                for name in ("one", "other"):
                    self.wait_for_reply(self.send(name, "talk"), 10.0)
            self.die()

    # It says something, and reads until it is told to die.
    PROGRAM = "echo it is cold here >&2; head -n 2 <&$GATEWAY_SOCKET_FD >/dev/null"

    class Show(Application):
        def build(self):
            self.add_process("program", mode="external", command=["sh", "-c", PROGRAM])
            self.add_process("one", Talker, mode="asyncio")
            self.add_process("other", Talker, mode="asyncio")

    start_logging("warning", form="json")
    raise SystemExit(Show(main=Main, sockets=SOCKETS).run())
"""


def test_those_on_a_loop_have_levels_and_names_of_their_own(start: Start) -> None:
    show = start(ON_A_LOOP)
    assert show.end() == 0
    records: list[dict[str, Any]] = [json.loads(line) for line in show.complaints().splitlines()]
    (said,) = [record for record in records if record["logger"] == "talk.show"]
    assert (said["process"], said["thread"]) == ("one", said["message"])
    (cold,) = [record for record in records if record["message"] == "program: it is cold here"]
    assert cold["process"] == "program"


JOURNAL = """
    from gateway.process.logbook import start_logging

    class Talker(Process):
        def birth(self):
            if self.name == "two":
                # One that a library started: it knows of no process.
                thread = threading.Thread(target=self.speak)
                thread.start()
                thread.join()
            else:
                self.speak()
            self.send("main", "spoke")
        def speak(self):
            logging.getLogger("talk").warning("hello")

    class Main(Process):
        def birth(self):
            self.spoke = 0
            self.add_filter(callback=self.on_spoke, subject="^spoke$")
        def on_spoke(self, message):
            self.spoke += 1
            if self.spoke == 3:
                logging.getLogger("talk").error("all of them")
                self.die()

    class Show(Application):
        def build(self):
            for name in ("one", "two"):
                self.add_process(name, Talker, mode="fork")
            self.add_process("three", Talker)

    start_logging("warning", journal=sys.argv[1] + ".journal", form="journal")
    raise SystemExit(Show(main=Main, sockets=SOCKETS).run())
"""


def test_forked_children_write_to_the_journal_by_their_own_names(
    start: Start, sockets: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(f"{sockets}.journal")
        journald.settimeout(PATIENCE)
        show = start(JOURNAL)
        records = [journald.recv(65536).decode() for _ in range(4)]
        assert show.end() == 0
    os.unlink(f"{sockets}.journal")
    said = {
        dict(line.split("=", 1) for line in record.splitlines())["GATEWAY_PROCESS"]: record
        for record in records
    }
    assert said.keys() == {"one", "two", "three", "main"}
    assert "MESSAGE=all of them\nPRIORITY=3\n" in said["main"]
    assert "MAIL_THREAD=" in said["main"]
    assert "MAIL_THREAD=" not in said["one"]
    assert show.complaints() == ""


def test_without_a_journal_the_same_records_are_on_stderr(start: Start) -> None:
    show = start(JOURNAL)
    assert show.end() == 0
    assert sorted(show.complaints().splitlines()) == [
        "<3>all of them",
        "<4>hello",
        "<4>hello",
        "<4>hello",
    ]
