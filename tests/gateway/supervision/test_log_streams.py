"""The boss has the log streamed, and ends that by itself."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
import pytest

from gateway.errors import ConfigError, ProtocolError
from gateway.process.log_stream import LogCopies, LogStream
from gateway.process.process import Process
from gateway.testing.stage import play

DEADLINE = 20.0


def order(main: Process, stream: Any, seconds: Any) -> Any:
    asked = main._tell_boss("log-stream", {"stream": stream, "seconds": seconds})
    return main._box.wait_for(asked, DEADLINE)


def is_streamed() -> bool:
    return any(isinstance(each, LogCopies) for each in logging.getLogger().handlers)


def test_a_stream_that_nobody_ends_is_ended_by_the_boss() -> None:
    def scene(main: Process) -> tuple[bool, float]:
        began = time.monotonic()
        order(main, msgspec.to_builtins(LogStream("error")), 1.0)
        at_first = is_streamed()
        while is_streamed():
            assert time.monotonic() - began < DEADLINE
            main.light_sleep(0.01)
        return at_first, time.monotonic() - began

    at_first, lasted = play(scene)
    assert at_first
    assert lasted >= 1.0


@pytest.mark.parametrize(
    ("stream", "seconds", "error"),
    [
        ({"level": "loud"}, 1.0, ConfigError),
        ({"level": "info"}, 1e9, ConfigError),
        ({"level": 3}, 1.0, ProtocolError),
        ({"level": "info"}, "long", ProtocolError),
        (None, 1.0, ProtocolError),
    ],
)
def test_an_order_that_makes_no_sense_is_bounced_and_the_boss_lives_on(
    stream: Any, seconds: Any, error: type[Exception]
) -> None:
    def scene(main: Process) -> list[str]:
        with pytest.raises(error):
            order(main, stream, seconds)
        return main.recipients()

    assert play(scene) == ["boss", "main"]
    assert not is_streamed()
