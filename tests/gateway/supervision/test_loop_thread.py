"""One loop on one thread, and a machine that has no thread to give."""

from __future__ import annotations

import threading

import pytest

from gateway.supervision.loop_thread import LoopThread


def test_a_loop_that_could_not_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = LoopThread("lives")
    ran = threading.Event()

    async def live() -> None:
        ran.set()

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            lives.start("one", live)
    lives.start("two", live)
    assert ran.wait(20.0)
    assert lives.stop(20.0)
