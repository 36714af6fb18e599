"""A flood into a reader that sleeps: in each policy, nothing is lost without being counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

WRITERS = 4
LETTERS = 25_000

FLOOD = f"""
    import json
    from gateway.errors import MailboxFullError

    WRITERS, LETTERS = {WRITERS}, {LETTERS}

    class Reader(Process):
        def birth(self):
            self.handled = 0
            self.last = {{}}
            self.disorder = 0
            self.add_filter(subject="^flood$", callback=self.on_letter)
            self.add_filter(subject="^handled$", callback=self.on_handled)
        def on_letter(self, message):
            self.handled += 1
            self.disorder += message.body <= self.last.get(message.sender, -1)
            self.last[message.sender] = message.body
        def on_handled(self, message):
            self.reply(message, {{"handled": self.handled, "disorder": self.disorder}})
        def life(self):
            self.light_sleep(0.002)

    class Writer(Process):
        def birth(self):
            self.sent = self.refused = 0
            self.add_filter(subject="^sent$", callback=self.on_sent)
        def on_sent(self, message):
            dropped = self.statistics()["dropped_at_sender"]
            self.reply(message, [self.sent, self.refused, dropped])
        def life(self):
            if self.sent + self.refused < LETTERS:
                for number in range(LETTERS):
                    try:
                        self.send("reader", "flood", number, timeout=30.0)
                        self.sent += 1
                    except MailboxFullError:
                        self.refused += 1

    class Main(Process):
        def life(self):
            asked = [self.send(f"writer{{n}}", "sent", timeout=60.0) for n in range(WRITERS)]
            answers = [self.wait_for_reply(each, 60.0).body for each in asked]
            sent, refused, at_sender = map(sum, zip(*answers))
            while True:
                try:
                    asked = self.send("reader", "handled", timeout=60.0)
                except MailboxFullError:
                    self.light_sleep(0.001)
                    continue
                seen = self.wait_for_reply(asked, 60.0).body
                (reader,) = [each for each in self.crew() if each["name"] == "reader"]
                found = reader["ledger"]
                # What still waits at a sender gets there in a moment.
                waits = sum(
                    self.wait_for_reply(self.send(f"writer{{n}}", "sent"), 60.0).body[2]
                    for n in range(WRITERS)
                )
                if seen["handled"] + found["dropped"] + waits >= sent:
                    break
            say("flood", json.dumps({{
                "sent": sent, "refused": refused, "dropped_at_sender": waits, **seen,
                "ledger": found,
            }}))
            self.die()
        def crew(self):
            return self.wait_for_reply(self._tell_boss("ps", None), 60.0).body

    class App(Application):
        def build(self):
            self.add_process("reader", Reader, mode=MODE, mailbox_policy=POLICY, frequency=400)
            for n in range(WRITERS):
                self.add_process(f"writer{{n}}", Writer, mode=MODE, depends=["reader"])
    sys.exit(App(main=Main, sockets=SOCKETS).run())
"""


@pytest.mark.parametrize("mode", ["thread", "fork"])
@pytest.mark.parametrize("policy", ["block", "reject", "drop_oldest"])
def test_a_flood_is_accounted_for_to_the_letter(start: Any, mode: str, policy: str) -> None:
    program = start(f"    MODE, POLICY = {mode!r}, {policy!r}\n{FLOOD}")
    found = json.loads(program.wait_for("flood"))
    assert program.end() == 0, program.complaints()
    ledger = found["ledger"]
    assert found["sent"] + found["refused"] == WRITERS * LETTERS
    if policy == "block":
        assert found["refused"] == ledger["dropped"] == 0
    if policy != "reject":
        assert found["refused"] == 0
    if policy == "drop_oldest":
        assert ledger["dropped"] + found["dropped_at_sender"] > 0, "it was no flood"
    else:
        assert ledger["dropped"] == found["dropped_at_sender"] == 0
    assert found["handled"] == found["sent"] - ledger["dropped"] - found["dropped_at_sender"]
    # The questions at the end are letters as well: they were delivered, and none is queued.
    asked = ledger["accepted"] - (found["sent"] - found["dropped_at_sender"])
    assert ledger["delivered"] == found["handled"] + asked
    assert ledger["lost_with_reader"] == ledger["queued"] == ledger["in_doubt"] == 0
    assert found["disorder"] == 0
