"""Who writes and who answers in the test of two gateways that are killed: run by ``[crew.…]``.

Both keep a file with a line for each letter, written before anything else is done with
it, so that what happened can be held against what was said.
"""

from __future__ import annotations

from pathlib import Path

from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.process import Process

PATIENCE = 2.0
"""Seconds that a writer waits for an answer."""


def note(path: str, line: str) -> None:
    """Add a line to a file."""
    with Path(path).open("a") as file:
        file.write(line + "\n")


class Echo(Process):
    """Notes the number that each letter bears, and answers with it."""

    def birth(self) -> None:
        """Take whatever comes."""
        self.add_filter(callback=self.on_letter, subject="^count$")

    def on_letter(self, message: Message) -> None:
        """Note first, then answer."""
        note(self.parameter("file"), str(message.body))
        self.reply(message, message.body)


class Writer(Process):
    """Writes numbers to ``echo@kitchen-pi``, one after the other, and notes how each ended."""

    def birth(self) -> None:
        """Write on a thread of its own."""
        self.add_child_thread("writer", self._write)

    def _write(self) -> None:
        number = 0
        while self.is_active:
            number += 1
            note(self.parameter("file"), f"{number} {self._one(number)}")

    def _one(self, number: int) -> str:
        try:
            letter = self.send("echo@kitchen-pi", "count", number, receipt=True)
        except GatewayError as error:
            self.light_sleep(0.1)
            return f"unsent {error.code}"
        try:
            answer = self.wait_for_reply(letter, PATIENCE)
        except GatewayError as error:
            self.light_sleep(0.02)
            return f"failed {error.code}"
        return "answered" if answer.body == number else "confused"
