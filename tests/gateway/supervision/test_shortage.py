"""Processes that run out of descriptors: what they open is opened whole, or not at all."""

from __future__ import annotations

import json
from inspect import getsource
from textwrap import indent
from typing import Any

from tests.gateway.descriptors import none_left, open_descriptors

FEW = indent(
    "import contextlib, json, resource\nfrom collections.abc import Iterator\n"
    + getsource(open_descriptors)
    + getsource(none_left),
    "    ",
)


def test_a_further_mailbox_for_which_there_is_no_descriptor_leaves_nothing_behind(
    start: Any,
) -> None:
    program = start(f"""{FEW}
    from gateway.errors import ShortageError
    class Router(Process):
        def birth(self):
            self.add_filter(subject="^open$", callback=self.on_open)
        def on_open(self, message):
            before, told, most = open_descriptors(), [], 0
            for free in range(20):
                try:
                    with none_left(free):
                        box = self.open_mailbox("near")
                except ShortageError as error:
                    told.append(str(error))
                else:
                    break
                most = max(most, open_descriptors() - before)
            left = [name for name in os.listdir(SOCKETS + "/bus") if "near" in name]
            letter = self.send("near@router", "hello")
            found = box.get(5.0)
            told.append(found.subject)
            self.close_mailbox(box)
            self.reply(message, [free, most, len(left), told])
    class Main(Process):
        def life(self):
            asked = self.send("router", "open")
            say(json.dumps(self.wait_for_reply(asked, timeout=15.0).body))
            self.die()
    class App(Application):
        def build(self):
            self.add_process("router", Router, mode="fork")
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    free, most, left, told = json.loads(program.said[0])
    assert free == 5, "two sockets, two epolls and a bell"
    assert most == 0
    assert left == 2
    assert told[-1] == "hello"
    said = "no descriptor is left for the mailbox 'near@router': raise LimitNOFILE= in the unit"
    assert {each.removesuffix(" (ulimit -n)") for each in told[:-1]} == {said}


def test_an_answer_for_which_there_is_no_descriptor_is_told_of_once_there_is(start: Any) -> None:
    program = start(f"""{FEW}
    from gateway.errors import ShortageError
    class Short(Process):
        def birth(self):
            self.want = contextlib.ExitStack()
            self.add_filter(subject="^ask$", callback=self.on_ask)
            self.add_filter(subject="^again$", callback=lambda m: self.reply(m, "well"))
        def on_ask(self, message):
            self.want.enter_context(none_left())
            self.reply(message, "well")  # to whom it has never written
        def life(self):
            if self.statistics()["refused"]:
                self.want.close()
    class Main(Process):
        def life(self):
            asked = self.send("short", "ask")
            try:
                self.wait_for_reply(asked, timeout=10.0)
            except ShortageError as error:
                say(error)
            say(self.wait_for_reply(self.send("short", "again")).body)
            self.die()
    class App(Application):
        def build(self):
            self.add_process("short", Short, mode="fork")
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    said = (
        "no descriptor is left for a letter to 'main': raise LimitNOFILE= in the unit (ulimit -n)"
    )
    assert program.said == [said, "well"]
