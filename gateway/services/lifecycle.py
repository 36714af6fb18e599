"""Who carries out a simulation's phases, where it stands, and how it is told to stop.

One thread at a time conducts: it carries out the hooks, and heeds, when one has
returned, that somebody wanted a stop. Whoever wants one and finds nobody conduct
carries it out himself, so that a stop comes in every state. What was begun is put
back once, however it ended.

Refused (`RefusedError`): a phase that does not come now, a second conductor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.clock import Clock
from gateway.errors import RefusedError
from gateway.services.interruption import Interruptible, Interruption
from gateway.services.profile import Profile
from gateway.services.simulation_state import Event, State, move

NOBODY, SOMEBODY = 0, -1
"""Who conducts, where that is no thread's number: none, and one that has yet to begin."""


class Lifecycle:
    """The states of one simulation, and who may move it; see the module's head."""

    def __init__(self, name: str, put_back: Callable[[], object]) -> None:
        """``put_back`` is what gives back what it holds."""
        self.name = name
        self.state = State.CREATED
        self.error: BaseException | None = None
        """What a hook has raised."""
        self.profile = Profile()
        self._put_back_hook = put_back
        self._is_put_back = False
        self._hook = Interruptible()
        self._phase = ""
        self._changed = threading.Condition()
        self._conductor = NOBODY
        self._wants_stop = self._wants_end = False
        self._gate = threading.Lock()
        self._gate.acquire()

    # Conducting

    @contextmanager
    def conducting(self) -> Iterator[None]:
        """Have this thread conduct for as long as the ``with`` lasts; it may do so already."""
        me = threading.get_ident()
        if self._conductor == me:
            yield
            return
        self.claim(me)
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def at_rest(self) -> Iterator[bool]:
        """Conduct, where nobody does and nothing is being carried out; give whether it is so."""
        with self._changed:
            is_at_rest = self._is_at_rest()
            before = self._conductor
            if is_at_rest:
                self._conductor = threading.get_ident()
        try:
            yield is_at_rest
        finally:
            if is_at_rest and before == NOBODY:
                self.release()

    def claim(self, conductor: int = SOMEBODY) -> None:
        """Keep others from conducting; raise `RefusedError` where somebody does."""
        with self._changed:
            if self._conductor != NOBODY:
                raise RefusedError(f"{self.name} is {self.state}, run by another thread: wait")
            self._conductor = conductor

    def adopt(self) -> None:
        """Conduct on this thread what was claimed for it."""
        self._conductor = threading.get_ident()

    def release(self) -> None:
        """Heed what was wanted meanwhile, and let others conduct."""
        try:
            while not self._let_go(heeding=True):
                self._stop()
        except BaseException:
            self._let_go(heeding=False)
            raise

    def _let_go(self, *, heeding: bool) -> bool:
        with self._changed:
            if heeding and self._wants_stop:
                return False
            self._conductor = NOBODY
            self._changed.notify_all()
            return True

    def is_within_hook(self) -> bool:
        """Whether this is the code of a hook."""
        return bool(self._phase) and self._conductor == threading.get_ident()

    def _is_at_rest(self) -> bool:
        return self._conductor in (NOBODY, threading.get_ident()) and not self._phase

    # Carrying out

    def carry_out(self, event: Event, hook: Callable[[], Any], phase: str = "") -> Any:
        """Carry out one hook and return what it returns; raise what it raises.

        Returns None where it was ended, since somebody wanted the end at once.
        ``phase`` is what it is called in the profile, where not as the event.
        """
        with self._changed:
            self.state = move(self.state, event, self.name)
            if event is Event.INIT:
                self.error = None
                self._is_put_back = False
                self._gate.acquire(blocking=False)
            self._phase = phase or event

        def carried() -> Any:
            # Who wanted the end just now may have found nothing to interrupt yet.
            if self._wants_end:
                raise Interruption
            return hook()

        how, result = Event.RAISED, None
        try:
            with self.profile.timed(self._phase):
                result = self._hook.run(carried)
            how = Event.DONE
        except Interruption:
            how = Event.ENDED
        except BaseException as bug:
            self.error = bug
            raise
        finally:
            self._settle(how)
        if how is Event.ENDED:
            self._put_back()
        return result

    def _settle(self, how: Event) -> None:
        with self._changed:
            self.state = move(self.state, how, self.name)
            self._phase = ""
            self._changed.notify_all()

    # Stopping

    def stop(self, *, terminate: bool) -> None:
        """Have it stop: after what is being carried out, or, to ``terminate``, at once."""
        if self.is_within_hook():
            # No lock here: somebody else may interrupt this thread anywhere.
            self._wants_stop = True
            if terminate:
                self._wants_end = True
                raise Interruption
            return
        with self._changed:
            self._wants_stop = True
            self._wants_end |= terminate
            self._changed.notify_all()
            if terminate and self._phase:
                # Shut again by who slept, or when it is initialized next.
                if self._gate.locked():
                    self._gate.release()
                self._hook.interrupt()
        with self.at_rest() as mine:
            if mine:
                self.heeds_stop()

    def heeds_stop(self) -> bool:
        """Stop where that is wanted, and tell whether it was; for who conducts."""
        if not self._wants_stop:
            return False
        self._stop()
        return True

    def _stop(self) -> None:
        with self._changed:
            is_idle = self.state in (State.CREATED, State.STOPPED) or self._is_put_back
            self.state = move(self.state, Event.STOP, self.name)
            if is_idle:
                self._wants_stop = self._wants_end = False
                self._changed.notify_all()
                return
        self._put_back()

    def _put_back(self) -> None:
        """Have it give back what it holds; it is stopping, or has failed."""
        with self._changed:
            self._phase = Event.STOP
            self._is_put_back = True
        how = Event.RAISED
        try:
            with self.profile.timed(Event.STOP):
                self._put_back_hook()
            how = Event.DONE
        except BaseException as bug:
            self.error = self.error or bug
            raise
        finally:
            self._wants_stop = self._wants_end = False
            self._settle(how)

    # Waiting

    def sleep(self, seconds: float, clock: Clock) -> None:
        """Sleep in a hook; ends at once where somebody wants the end."""
        due = clock.monotonic() + seconds
        while (left := due - clock.monotonic()) > 0:
            # One call, and no lock of ours: it may be interrupted anywhere.
            self._gate.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            if self._wants_end and self._phase != Event.STOP:
                raise Interruption

    def pause(self, due: float, clock: Clock) -> None:
        """Sleep between two hooks until ``due``, or until somebody wants a stop."""
        with self._changed:
            while not self._wants_stop and (left := due - clock.monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

    def wait_until_over(self, timeout: float) -> bool:
        """Wait until nothing comes by itself any more; tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._conductor == NOBODY and self.state.is_over, timeout
            )
