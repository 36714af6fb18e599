"""The equation at its edges: what a reader sent back, what a writer had when it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

PS = """
    import json
    class Watcher(Process):
        def ledger(self, name):
            (found,) = [m for m in self.wait_for_reply(self.send("boss", "ps")).body
                        if m["name"] == name]
            return found["ledger"]
        def settled(self, name, count):
            while True:
                found = self.ledger(name)
                if found["delivered"] + found["dropped"] >= count and found["queued"] == 0:
                    return found
                self.light_sleep(0.01)
"""


HELD = """
    SENT = 700  # more than fit into the socket, the mailbox and the writer's queue
    class Reader(Process):
        def birth(self):
            self.add_filter(subject="^wait$", callback=self.on_wait)
            self.handled = 0
            self.add_filter(subject="^flood$", callback=self.on_flood)
            self.add_filter(subject="^handled$", callback=lambda m: self.reply(m, self.handled))
        def on_flood(self, message):
            self.handled += 1
        def on_wait(self, message):
            self.reply(message)
            while not os.path.exists(SOCKETS + "/go"):
                self.light_sleep(0.01)
"""
"""A reader that reads nothing until it may, and what is too much for it."""


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_letter_that_is_sent_back_is_bounced_and_not_delivered(start: Any, mode: str) -> None:
    program = start(f"""{PS}
    class Refuser(Process):
        def birth(self):
            self.add_filter(subject="^take$", callback=lambda m: self.reply(m))
            self.add_filter(subject="^refuse$", callback=self.refuse)
            self.add_filter(subject="^refuse$", callback=self.refuse)
        def refuse(self, message):
            raise RefusedError("not on a Sunday")
    class AsyncRefuser(Refuser):
        birth_of_thread = Refuser.birth
        async def birth(self):
            self.birth_of_thread()
    class Main(Watcher):
        def life(self):
            self.start_process("refuser")  # which lives from here on
            before = self.ledger("refuser")
            for subject in ("take", "refuse", "nobody wants this"):
                for receipt in (True, False):
                    asked = self.send("refuser", subject, receipt=receipt)
                    try:
                        if subject != "nobody wants this" or receipt:
                            self.wait_for_reply(asked)
                    except RefusedError:
                        pass
            while (after := self.ledger("refuser"))["bounced"] < 4:
                self.light_sleep(0.01)
            say("ledger", json.dumps({{key: after[key] - before[key] for key in after}}))
            self.die()
    class App(Application):
        def build(self):
            kind = AsyncRefuser if {mode!r} == "asyncio" else Refuser
            self.add_process("refuser", kind, mode={mode!r})
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    (line,) = program.said
    ledger = json.loads(line.removeprefix("ledger "))
    assert (ledger["accepted"], ledger["delivered"], ledger["bounced"]) == (6, 2, 4)


def test_what_a_writer_dropped_is_known_after_its_end(start: Any) -> None:
    program = start(f"""{PS}
{HELD}    class Writer(Process):
        def birth(self):
            self.wait_for_reply(self.send("reader", "wait"))
            for number in range(SENT):
                self.send("reader", "flood", number)
            self.die()
    class Main(Watcher):
        def life(self):
            while not any(m["name"] == "writer" and m["incarnation"] and m["state"] == "stopped"
                          for m in self.wait_for_reply(self.send("boss", "ps")).body):
                self.light_sleep(0.01)
            open(SOCKETS + "/go", "x").close()
            found = self.settled("reader", SENT + 1)
            handled = self.wait_for_reply(self.send("reader", "handled")).body
            unsent = self.ledger("writer")["unsent"]
            say("ledger", json.dumps({{**found, "handled": handled, "unsent": unsent}}))
            told = self.application.statistics()["dropped_by_the_ended"]
            say("told", json.dumps(told))
            self.die()
    class App(Application):
        def build(self):
            self.add_process("reader", Reader, mode="fork", mailbox_policy="drop_oldest",
                             mailbox_size=8)
            self.add_process("writer", Writer, mode="fork", restart=ONCE, depends=["reader"])
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    said = dict(line.split(" ", 1) for line in program.said)
    ledger, told = json.loads(said["ledger"]), json.loads(said["told"])
    assert told["reader"] > 0
    assert ledger["dropped"] >= told["reader"]
    assert ledger["handled"] + ledger["dropped"] == 700
    assert ledger["accepted"] == ledger["delivered"] + ledger["dropped"]
    assert ledger["unsent"] == 0, "it is in the reader's ledger now"


def test_what_a_writer_lost_is_known_while_it_lives_and_when_it_was_killed(start: Any) -> None:
    program = start(f"""{PS}
    import signal
{HELD}    class Writer(Process):
        def life(self):
            self.wait_for_reply(self.send("reader", "wait"))
            for number in range(SENT):
                self.send("reader", "flood", number)
            open(SOCKETS + "/sent", "x").close()
            while True:
                self.light_sleep(1.0)
    class Main(Watcher):
        def found(self, name):
            (found,) = [m for m in self.wait_for_reply(self.send("boss", "ps")).body
                        if m["name"] == name]
            return found
        def life(self):
            while not os.path.exists(SOCKETS + "/sent"):
                self.light_sleep(0.01)
            writer = self.found("writer")
            os.kill(writer["pid"], signal.SIGKILL)
            while (dead := self.found("writer"))["state"] != "failed":
                self.light_sleep(0.01)
            open(SOCKETS + "/go", "x").close()
            alive, dead = writer["ledger"]["unsent"], dead["ledger"]["unsent"]
            reader = self.settled("reader", SENT + 1 - dead)
            handled = self.wait_for_reply(self.send("reader", "handled")).body
            say("found", json.dumps([alive, dead, handled + reader["dropped"]]))
            self.die()
    class App(Application):
        def build(self):
            self.add_process("reader", Reader, mode="fork", mailbox_policy="drop_oldest",
                             mailbox_size=8)
            self.add_process("writer", Writer, mode="fork", restart=ONCE, depends=["reader"])
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    alive, dead, arrived = json.loads(program.said[0].removeprefix("found "))
    assert alive > 0
    assert dead == alive + 256, "what waited was lost with it"
    assert arrived + dead == 700


def test_what_lay_unread_in_a_further_mailbox_of_a_killed_process_is_counted(start: Any) -> None:
    program = start(f"""{PS}
    class Router(Process):
        def birth(self):
            self.far = self.open_mailbox("far", size=1)
            self.add_filter(subject="^read$", callback=self.on_read)
        def on_read(self, message):
            for _ in range(message.body):
                assert self.far.get(10.0) is not None
            self.reply(message)
    class Main(Watcher):
        def life(self):
            bounced = []
            self.add_filter(kind="^bounce$", callback=bounced.append)
            for round in range(3):
                self.start_process("router")
                before = self.ledger("router")
                for number in range(5):
                    self.send("far@router", "far", number, receipt=True)
                self.wait_for_reply(self.send("router", "read", 2))
                open_files = len(os.listdir("/proc/self/fd"))
                os.kill(self.active_subprocesses()["router"], signal.SIGKILL)
                while (after := self.ledger("router"))["lost_with_reader"] < before[
                    "lost_with_reader"
                ] + 3:
                    self.light_sleep(0.01)
                say("lost", after["lost_with_reader"] - before["lost_with_reader"],
                    sum(after[k] for k in ("delivered", "lost_with_reader", "bounced", "queued"))
                    == after["accepted"])
            self.mailman(0.1)
            say("bounced", len(bounced), {{letter.body["code"] for letter in bounced}})
            self.die()
    class App(Application):
        def build(self):
            self.add_process("router", Router, mode="fork", restart=SOON)
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    assert program.said[:3] == ["lost 3 True"] * 3
    assert program.said[3] == "bounced 9 {'recipient_gone'}"
