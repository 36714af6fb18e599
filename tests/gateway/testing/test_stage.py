"""A scene is played by a real application, and what it returns or raises comes back."""

from __future__ import annotations

import threading

import pytest

from gateway.errors import ConfigError
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.testing.stage import Echo, play, play_on_loop


def test_it_runs_on_the_calling_thread_and_returns_what_the_scene_returns() -> None:
    assert play(lambda main: threading.current_thread()) is threading.current_thread()


def test_what_the_scene_raises_is_raised_and_the_roles_have_ended() -> None:
    ended = threading.Event()

    class Mortal(Process):
        def death(self) -> None:
            ended.set()

    def scene(main: Process) -> None:
        raise ZeroDivisionError("in the scene")

    with pytest.raises(ZeroDivisionError, match="in the scene"):
        play(scene, mortal=Mortal)
    assert ended.is_set()


def test_what_a_scene_on_a_loop_raises_is_raised_and_the_roles_have_ended() -> None:
    ended = threading.Event()

    class Mortal(Process):
        def death(self) -> None:
            ended.set()

    async def scene(actor: AsyncProcess) -> None:
        raise ZeroDivisionError("in the scene")

    with pytest.raises(ZeroDivisionError, match="in the scene"):
        play_on_loop(scene, mortal=Mortal)
    assert ended.is_set()


def test_an_application_that_fails_fails_the_play() -> None:
    with pytest.raises(AssertionError, match="failed after the scene"):
        play(lambda main: main.ebrake("loose"))


def test_a_name_of_the_applications_own_is_refused() -> None:
    with pytest.raises(ConfigError):
        play(lambda main: None, boss=Echo)


def test_the_actor_of_a_scene_on_a_loop_is_nobody_else() -> None:
    async def scene(actor: AsyncProcess) -> None:
        pass

    with pytest.raises(ConfigError, match="call this role otherwise"):
        play_on_loop(scene, actor=Echo)
