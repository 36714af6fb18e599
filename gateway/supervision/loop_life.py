"""The lives that run on event loops: asyncio processes, and what speaks for external programs.

Two loops, each started when it is first wanted: a coroutine of an author's
that blocks its loop must not hold up the programs on the other one. A bug is
caught here, as `gateway.supervision.life` does for threads.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from functools import partial

from gateway.bus.office import Office
from gateway.errors import in_words
from gateway.process.aio_process import AsyncProcess, with_loop
from gateway.process.aio_runner import run
from gateway.process.context import Context
from gateway.process.whereabouts import enter
from gateway.supervision.child import tell_end
from gateway.supervision.external import External
from gateway.supervision.life import exit_in_words, log_bug
from gateway.supervision.loop_thread import LoopThread
from gateway.supervision.member import Member
from gateway.supervision.program import ProgramError

log = logging.getLogger(__name__)


class Loops:
    """Both loops, and the lives on them."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._threads: Mapping[str, LoopThread] = {
            "asyncio": LoopThread("asyncio"),
            "external": LoopThread("external programs"),
        }

    def start(self, member: Member, context: Context) -> None:
        """Begin one life of ``member``; `Member.hurry` is what ends it against its will."""
        thread = self._threads[member.spec.mode]
        # What this life is pressed by; on the loop's thread alone.
        pressed: list[Callable[[signal.Signals], None]] = []

        def press(number: signal.Signals) -> None:
            for each in pressed:
                each(number)

        def hurry(number: signal.Signals) -> None:
            thread.call(partial(press, number))

        member.hurry = hurry
        member.call_soon = thread.call
        thread.start(member.spec.name, lambda: self._live(member, context, pressed))

    def stop(self, timeout: float) -> None:
        """End both loops within ``timeout`` seconds each."""
        for thread in self._threads.values():
            thread.stop(timeout)

    async def _live(
        self, member: Member, context: Context, pressed: list[Callable[[signal.Signals], None]]
    ) -> None:
        # Its task was made by the boss; what it starts itself is its own.
        enter(context.name)
        task = asyncio.current_task()
        assert task is not None

        def cancel(number: signal.Signals) -> None:
            task.cancel()

        pressed.append(cancel)
        error = ""
        try:
            process = _make(member, context)
            member.process, member.held_up_by = process, process.held_up_by
            if isinstance(process, External):
                # Its program is what must end, not who speaks for it.
                pressed[:] = [process.press]
            if member.told_to_die:
                process.die()
            await run(process)
        except asyncio.CancelledError:
            error = "it was cancelled: it did not end in time"
        except ProgramError as ended:
            error = str(ended)
            log.error("process %s ended: %s", context.name, error)
        except SystemExit as leaving:
            error = exit_in_words(context.name, leaving)
        except BaseException as bug:  # noqa: BLE001 - it is logged, and judged by the boss
            log_bug(context.name, bug)
            error = in_words(bug)
        finally:
            pressed.clear()
        self._office.close(context.mailbox)
        tell_end(self._office, context.mailbox, error)


def _make(member: Member, context: Context) -> AsyncProcess:
    spec = member.spec
    if spec.command is not None:
        return External(context, spec.command)
    return with_loop(spec.find_class())(context)
