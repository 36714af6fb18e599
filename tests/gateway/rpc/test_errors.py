"""Errors cross to whoever called, with what they were over there."""

from __future__ import annotations

import gc
from itertools import starmap
from typing import Any

import msgspec
import pytest

from gateway import Process
from gateway.errors import (
    BodyError,
    GatewayError,
    RemoteError,
    _made_class,
    known,
    remote_error,
)
from gateway.mail.message import Message, bounce_of, error_in
from gateway.rpc import command, later, remote
from gateway.testing.stage import play
from tests.gateway.rpc.robot import GripError, Robot

MODES = pytest.mark.parametrize("mode", ["thread", "fork"])


def error_of(kind: str, mode: Any) -> RemoteError:
    def scene(main: Process) -> Any:
        with pytest.raises(GatewayError) as raised:
            remote(main, "robot").fail(kind=kind)
        assert remote(main, "robot").ping() == "pong"
        return raised.value

    found: RemoteError = play(scene, robot=(Robot, mode))
    return found


@MODES
@pytest.mark.parametrize(
    ("kind", "builtin", "reason"),
    [
        ("value", ValueError, "too heavy"),
        ("key", KeyError, "no 'left'"),
        ("zero", ZeroDivisionError, "division by zero"),
        ("late", TimeoutError, "TimeoutError"),
    ],
)
def test_a_builtin_error_is_caught_as_that_builtin_and_as_a_remote_one(
    kind: str, builtin: type[Exception], reason: str, mode: Any
) -> None:
    error = error_of(kind, mode)
    assert isinstance(error, builtin)
    assert isinstance(error, RemoteError)
    assert (error.remote_type, str(error)) == (builtin.__name__, reason)


@MODES
def test_an_error_of_an_unknown_kind_becomes_a_remote_error(mode: Any) -> None:
    error = error_of("strange", mode)
    assert type(error) is RemoteError
    assert (error.remote_type, str(error)) == ("NobodyKnowsError", "what is this")


@MODES
def test_an_error_that_both_sides_know_crosses_as_itself(mode: Any) -> None:
    assert type(error_of("own", mode)).__name__ == GripError.__name__


@MODES
def test_whoever_is_inside_sees_where_it_happened(mode: Any) -> None:
    error = error_of("value", mode)
    assert "in fail" in error.remote_traceback
    assert "ValueError: too heavy" in error.remote_traceback


def test_who_calls_from_outside_does_not_see_where_it_happened() -> None:
    error = remote_error("ValueError", "too heavy", "Traceback in the house")
    inside = Message("1", "1", 1, 0.0, "main", "robot", "fail", receipt=True)
    outside = msgspec.structs.replace(inside, sender="main@attic-pi", route="mqtt")
    told = {"code": "remote", "reason": "too heavy", "type": "ValueError"}
    assert bounce_of(outside, "2", 0.0, error).body == told
    seen = error_in(bounce_of(inside, "2", 0.0, error))
    assert isinstance(seen, RemoteError)
    assert seen.remote_traceback == "Traceback in the house"


def test_what_cannot_be_sent_back_is_an_error_of_the_caller() -> None:
    def scene(main: Process) -> None:
        robot = remote(main, "robot")
        with pytest.raises(BodyError, match="body is a object"):
            robot.unsendable()
        with pytest.raises(BodyError):
            later(robot.unsendable)().result()

    play(scene, robot=(Robot, "fork"))


@pytest.mark.parametrize("name", ["UnicodeDecodeError", "print", "SystemExit", "", "no such"])
def test_what_cannot_stand_for_a_builtin_is_a_plain_remote_error(name: str) -> None:
    assert type(remote_error(name, "why")) is RemoteError


def test_every_builtin_error_can_be_made_or_is_plain() -> None:
    import builtins

    for name in dir(builtins):
        error = remote_error(name, "why")
        assert isinstance(error, RemoteError)
        assert str(error) == "why"


def test_an_error_of_ones_own_needs_a_code_of_its_own() -> None:
    class NoCodeError(GatewayError):
        pass

    class TakenError(GatewayError):
        code = "refused"

    for wrong in (NoCodeError, TakenError):
        with pytest.raises(ValueError, match="needs a code of its own"):
            known(wrong)
    with pytest.raises(ValueError, match="is no GatewayError"):
        known(ValueError)  # type: ignore[type-var]
    # The same class imported twice is no clash.
    assert known(GripError) is GripError


class OddError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


class Odd(Process):
    @command
    def silent(self) -> None:
        raise OddError

    @command
    def silent_of_ours(self) -> None:
        raise type("SilentError", (GatewayError,), {"__str__": OddError.__str__})

    @command
    def half_a_character(self) -> None:
        raise FileNotFoundError("no file \udcff")

    @command
    def exhausted(self) -> None:
        raise StopIteration("nothing more")


@MODES
def test_an_error_that_cannot_say_what_it_is_kills_nobody(mode: Any) -> None:
    def scene(main: Process) -> list[Any]:
        odd = remote(main, "odd", timeout=20)
        told = []
        for method in (odd.silent, odd.silent_of_ours):
            with pytest.raises(GatewayError) as caught:
                method()
            told.append(str(caught.value))
        return told

    assert play(scene, odd=(Odd, mode)) == ["OddError", "SilentError"]


@MODES
def test_an_error_whose_words_are_no_unicode_is_told_all_the_same(mode: Any) -> None:
    def scene(main: Process) -> None:
        with pytest.raises(FileNotFoundError, match=r"no file \\udcff"):
            remote(main, "odd", timeout=20).half_a_character()

    play(scene, odd=(Odd, mode))


def test_an_error_that_ends_loops_ends_none_of_the_callers() -> None:
    def scene(main: Process) -> None:
        exhausted = remote(main, "odd").exhausted
        with pytest.raises(RemoteError, match="nothing more") as caught:
            list(starmap(exhausted, [()] * 3))
        assert caught.value.remote_type == "StopIteration"

    play(scene, odd=Odd)


def test_names_of_errors_from_outside_are_not_kept() -> None:
    kept = len(gc.get_objects())
    for number in range(1_000):
        assert type(remote_error(f"Made{number}Error", "up")) is RemoteError
    assert len(gc.get_objects()) - kept < 500
    assert _made_class.cache_info().currsize < 200


def test_an_error_of_ones_own_is_made_of_what_crosses() -> None:
    with pytest.raises(ValueError, match="its reason alone"):

        @known
        class ForceError(GatewayError):
            """Needs more than arrives."""

            code = "force"

            def __init__(self, newton: int, limit: int) -> None:
                super().__init__(f"{newton} of {limit} N")
