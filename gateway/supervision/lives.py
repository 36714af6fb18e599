"""The lives in the main OS process: on threads of their own, on event loops, and the main one.

The boss says when one begins; each tells it how it ended. The main life is only
made ready here: the thread that runs the application lives it.

Refused: nothing; what a machine that has no thread left refuses is left to rise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.bus.office import Office
from gateway.process.context import Context, Mode, RunLevel
from gateway.process.process import Process
from gateway.process.wakeup import Wakeup
from gateway.rpc.serving import serve_commands
from gateway.supervision.child import tell_end
from gateway.supervision.life import end_of
from gateway.supervision.member import Member
from gateway.supervision.simulation import Simulation
from gateway.supervision.temporary import folder_of

if TYPE_CHECKING:
    from gateway.supervision.loop_life import Loops

LOOPS: tuple[Mode, ...] = ("asyncio", "external")
"""The modes whose lives run on an event loop."""


class Lives:
    """Begins lives and runs them; `main` is the main one, once it may be lived."""

    def __init__(
        self,
        office: Office,
        application: Any,
        *,
        main: str,
        on_main: Callable[[], None],
        interrupt: Callable[[], bool] | None = None,
        make_wakeup: Callable[[], Wakeup] = Wakeup,
        temporary: Path | None = None,
        simulation: Simulation | None = None,
    ) -> None:
        """Call ``on_main`` when the process called ``main`` may be lived.

        ``interrupt`` tears that one out of what it does, for any thread, and tells whether it
        could; ``make_wakeup`` makes what ends its sleeps.
        """
        self._office = office
        self._application = application
        self._main_name = main
        self._on_main = on_main
        self._interrupt = interrupt
        self._make_wakeup = make_wakeup
        self._temporary = temporary
        self._simulation = simulation
        self._loops: Loops | None = None
        self._main_is_stopped = False
        self.main: tuple[Member, Context] | None = None

    def start(self, member: Member) -> threading.Thread | None:
        """Start one life on a thread; the main one on the thread that waits for it."""
        context = self._context_for(member)
        if member.spec.name == self._main_name:
            member.interrupt = self._interrupt
            self.main = (member, context)
            self._on_main()
            return None
        if member.spec.mode in LOOPS:
            # One that was added at run time may be the first that wants a loop.
            (self._loops or self.make_loops()).start(member, context)
            return None
        thread = context.make_thread(
            target=self.run, args=(member, context), name=member.spec.name, daemon=True
        )
        thread.start()
        return thread

    def stop_main(self) -> None:
        """Have the main life end; one that has not begun ends as soon as it is born."""
        self._main_is_stopped = True
        if self.main is not None and (process := self.main[0].process) is not None:
            process.die()

    def make(self, member: Member, context: Context) -> Process:
        """Make the process of one life."""
        process = member.process = member.spec.make(context)
        is_main = member.spec.name == self._main_name
        if member.told_to_die or (is_main and self._main_is_stopped):
            process.die()
        return process

    def run(self, member: Member, context: Context) -> str:
        """Live one life to its end; return what went wrong, or ``""``."""
        error = end_of(context.name, lambda: self.make(member, context))
        if error and self._simulation is not None:
            self._simulation.note_failure(context.name, error)
        self.tell_end(context, error)
        return error

    def tell_end(self, context: Context, error: str) -> None:
        """Close the mailbox of a life that is over, and tell the boss how it went."""
        self._office.close(context.mailbox)
        tell_end(self._office, context.mailbox, error)

    def make_loops(self) -> Loops:
        """Make the event loops, which begin when they are first wanted."""
        # Here, since who has no loop should not pay for loading asyncio.
        from gateway.supervision.loop_life import Loops

        self._loops = Loops(self._office)
        return self._loops

    def stop_loops(self) -> None:
        """End the event loops, if there are any."""
        if self._loops is not None:
            self._loops.stop(1.0)

    def _context_for(self, member: Member) -> Context:
        spec = member.spec
        assert member.box is not None
        office, box = self._office, member.box

        def report(level: RunLevel) -> None:
            office.tell_boss(box, "level", level)

        folder = None
        if spec.temporary_folder:
            assert self._temporary is not None
            folder = folder_of(self._temporary, spec.name, box.incarnation)
        context = Context(
            spec.name,
            office,
            box,
            spec.mode,
            spec.frequency,
            spec.route,
            spec.parameters,
            self._application,
            report,
            folder,
            serve_commands=serve_commands,
        )
        if spec.name == self._main_name:
            context = replace(context, make_wakeup=self._make_wakeup)
        if self._simulation is None:
            return context
        return replace(
            context,
            random=self._simulation.random(f"{spec.name}.{member.incarnation}"),
            make_thread=self._simulation.make_thread,
            make_lock=self._simulation.make_lock,
            make_wakeup=self._simulation.make_wakeup,
        )
