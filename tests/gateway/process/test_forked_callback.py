"""Only a function at the top of a module can be named to another OS process."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gateway.mail.message import Message
from gateway.process.forked_callback import function_at, path_of
from gateway.process.process import Process
from gateway.testing.stage import play


def answer(message: Message) -> Any:
    return message.body


async def later(message: Message) -> None: ...


class Holder:
    def method(self, message: Message) -> None: ...

    @staticmethod
    def static(message: Message) -> None: ...

    def __call__(self, message: Message) -> None: ...


def nested() -> Any:
    def inner(message: Message) -> None: ...

    return inner


renamed = lambda message: None  # noqa: E731 - what is meant


def test_a_function_is_found_again_by_its_path() -> None:
    path = path_of(answer)
    assert path.endswith("test_forked_callback:answer")
    assert function_at(path) is answer
    assert function_at("textwrap:dedent").__name__ == "dedent", "imported where it is not"


@pytest.mark.parametrize(
    "callback",
    [
        renamed,
        Holder().method,
        Holder.static,
        Holder(),
        Holder,
        nested(),
        partial(answer),
        later,
        print,
        None,
    ],
)
def test_anything_else_is_refused_when_the_filter_is_added(callback: Any) -> None:
    def scene(main: Process) -> None:
        for given in (callback, [answer, callback]):
            with pytest.raises(ValueError, match="at the top of a module"):
                main.add_filter(callback=given, run="fork")
        assert main.list_filters() == []

    play(scene)
