"""A letter has one of three priorities, whoever it is for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BodyError
from gateway.mail.message import Message
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.testing.stage import play


class Prompt(Process):
    def birth(self) -> None:
        self.add_filter(callback=self.tell)

    def tell(self, message: Message) -> None:
        self.reply(message, message.priority)


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_any_other_is_refused_alike_in_every_mode(mode: Mode) -> None:
    def scene(main: Process) -> None:
        refused: list[Any] = [7, 3, -1, -3, 2**40, 2**70, -(2**70), True, 1.0, None, "1"]
        for priority in refused:
            with pytest.raises(BodyError, match="a priority is"):
                main.send("prompt", "again", priority=priority)
        for priority in (0, 1, 2):
            sent = main.send("prompt", "again", priority=priority)
            assert main.wait_for_reply(sent).body == priority

    play(scene, prompt=(Prompt, mode))
