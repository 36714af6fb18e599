"""Filters that are written above their method, and what becomes of them in subclasses."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import Message, Process, on
from gateway.process.marks import marks_of
from gateway.testing.stage import play


class Base(Process):
    """Takes two subjects with one method."""

    @on(subject="^stop$")
    @on(subject="^halt$", route="panel", id="from the panel")
    def stop(self, message: Message) -> None:
        """Stop at once.

        Whatever it does.
        """
        self.reply(message, "base")

    @on(subject="^go$", description="goes")
    def go(self, message: Message) -> None:
        self.reply(message, "base")


class Plain(Base):
    """Overrides a method, and takes its place under the same filters."""

    def stop(self, message: Message) -> None:
        self.reply(message, "plain")


class Marked(Base):
    """Marks it anew, and gives the other one up."""

    @on(subject="^wait$")
    def stop(self, message: Message) -> None:
        self.reply(message, "marked")

    go = None  # type: ignore[assignment]


def subjects(kind: type) -> list[tuple[str, str]]:
    return [(name, options["subject"]) for name, options in marks_of(kind)]


def test_marks_stand_in_the_order_in_which_they_are_written() -> None:
    assert subjects(Base) == [("stop", "^stop$"), ("stop", "^halt$"), ("go", "^go$")]
    found = [(mark["id"], mark["description"]) for _, mark in marks_of(Base)]
    assert found == [
        ("stop", "Stop at once."),
        ("from the panel", "Stop at once."),
        ("go", "goes"),
    ]


def test_they_are_inherited_replaced_and_given_up() -> None:
    assert subjects(Plain) == subjects(Base)
    assert subjects(Marked) == [("stop", "^wait$")]


def test_a_class_with_two_bases_has_the_marks_of_both_in_its_own_order() -> None:
    class Other(Process):
        @on(subject="^other$")
        def other(self, message: Message) -> None: ...

    class Both(Other, Plain):
        pass

    assert subjects(Both) == [*subjects(Base), ("other", "^other$")]


def test_they_are_there_without_a_birth_and_call_the_overriding_method() -> None:
    def scene(main: Process) -> list[Any]:
        return [
            main.wait_for_reply(main.send(name, subject)).body
            for name, subject in (("base", "stop"), ("plain", "stop"), ("plain", "go"))
        ]

    assert play(scene, base=Base, plain=(Plain, "fork")) == ["base", "plain", "base"]


def test_a_mark_with_a_thread_runs_there() -> None:
    class Threaded(Process):
        @on(subject="^ask$", run="thread")
        def ask(self, message: Message) -> None:
            self.reply(message, self.child_threads_alive())

    def scene(main: Process) -> list[str]:
        found: list[str] = main.wait_for_reply(main.send("threaded", "ask")).body
        return found

    assert play(scene, threaded=Threaded) == ["callback-1"]


def test_what_cannot_stand_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(ValueError, match="broken"):
        on(subject="(")
    with pytest.raises(ValueError, match="forked"):
        on(subject="^a$", run="fork")
