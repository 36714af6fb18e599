"""Who orders what somebody else has ordered as well is answered as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.testing.stage import play


class Slow(Process):
    """Its birth takes until it is let go, from the second life on."""

    lives = 0
    begun = Event()
    release = Event()

    def birth(self) -> None:
        Slow.lives += 1
        if Slow.lives > 1:
            self.begun.set()
            self.release.wait(20.0)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    Slow.lives = 0
    Slow.begun.clear()
    Slow.release.clear()
    yield
    Slow.release.set()


@pytest.mark.parametrize("first", ["start", "restart"])
def test_a_restart_in_the_midst_of_another_order_fulfils_both(first: str) -> None:
    def scene(main: Process) -> list[Message]:
        main.start_process("slow")
        if first == "start":
            main.stop_process("slow")
        orders = [main._tell_boss(first, "slow")]
        assert Slow.begun.wait(20.0)
        orders.append(main._tell_boss("restart", "slow"))
        Slow.release.set()
        answers = [main.wait_for_reply(order, 20.0) for order in orders]
        assert "slow" in main.recipients()
        assert main.application.statistics()["orders_open"] == 0
        return answers

    assert [answer.body for answer in play(scene, slow=Slow)] == [None, None]
    assert Slow.lives == 3
