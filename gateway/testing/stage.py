"""A whole application for the length of one scene: real processes, real mail.

For an author's tests, and for the examples in the docstrings of `Process`. The
scene is played by the main process, on the calling thread; around it run the
processes that are named. When the scene is over the application ends, and what
the scene returned, or raised, comes back.

Refused: roles whose names clash with the application's own (`ConfigError`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.application import Application
from gateway.errors import ConfigError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.context import Mode
from gateway.process.process import Process

T = TypeVar("T")

LONGEST = 3600.0
"""Seconds that a scene on a loop may take."""

Role = type[Process] | tuple[type[Process], Mode]
"""A process class, in thread mode or in the mode beside it."""


def play(scene: Callable[[Process], T], **roles: Role) -> T:
    """Return what ``scene(main)`` returns, played in an application with the ``roles``.

    What it sends to a role that is not born yet waits for it. An
    `AssertionError` says so where the application failed after the scene.

    >>> def scene(main):
    ...     return main.wait_for_reply(main.send("echo", "say", "hello")).body
    >>> play(scene, echo=(Echo, "fork"))
    'hello'
    """

    def build(application: Application) -> None:
        for name, role in roles.items():
            factory, mode = role if isinstance(role, tuple) else (role, "thread")
            application.add_process(name, factory, mode=mode)

    status, result = play_in(build, scene)
    assert status == 0, "the application failed after the scene; the log says how"
    return result


def play_in(build: Callable[[Application], None], scene: Callable[[Process], T]) -> tuple[int, T]:
    """Return the status of the application that ``build`` fills, and what the scene returned.

    For roles that need more than a name, and for what fails on purpose.

    >>> def build(application):
    ...     application.add_process("echo", Echo, depends=[])
    >>> play_in(build, lambda main: main.wait_for_reply(main.send("echo", "say", "hello")).body)
    (0, 'hello')
    """
    results: list[T] = []
    failures: list[BaseException] = []

    class Main(Process):
        def birth(self) -> None:
            try:
                results.append(scene(self))
            except BaseException as failure:  # noqa: BLE001 - raised where the scene was played
                failures.append(failure)
            self.die()

    class Play(Application):
        def build(self) -> None:
            build(self)

    status = Play(main=Main).run()
    if failures:
        raise failures[0]
    return status, results[0]


def play_on_loop(scene: Callable[[AsyncProcess], Awaitable[T]], **roles: Role) -> T:
    """Return what ``await scene(actor)`` returns, played by an asyncio process called actor.

    Otherwise as `play`. What the actor failed of meanwhile is raised as well, as where the
    scene drops what is to be awaited.

    >>> async def scene(actor):
    ...     return (await actor.ask("echo", "say", "hello")).body
    >>> play_on_loop(scene, echo=(Echo, "fork"))
    'hello'
    """
    results: list[T] = []
    failures: list[BaseException] = []
    actors: list[AsyncProcess] = []

    class Actor(AsyncProcess):
        async def birth(self) -> None:
            actors.append(self)
            self.add_filter(subject="^play$", callback=self.on_play)

        async def on_play(self, message: Message) -> None:
            try:
                results.append(await scene(self))
                if self._child_error is not None:
                    failures.append(self._child_error)
            except BaseException as failure:  # noqa: BLE001 - raised where the scene was played
                failures.append(failure)
            self.reply(message)

    if "actor" in roles:
        raise ConfigError("the actor plays the scene on the loop: call this role otherwise")

    def watch(main: Process) -> None:
        main.wait_for_reply(main.send("actor", "play"), LONGEST)

    play(watch, actor=(Actor, "asyncio"), **roles)
    failures += [actor._dropped for actor in actors if actor._dropped is not None]
    if failures:
        raise failures[0]
    return results[0]


class Echo(Process):
    """Answers every letter with its body."""

    def birth(self) -> None:
        """Take everything."""
        self.add_filter(callback=self._answer, kind="^letter$", fallthrough=True)

    def _answer(self, message: Message) -> None:
        self.reply(message, message.body)
