"""Requests of many threads over one connection, each with its own answer.

Whoever waits, reads: of several that wait one leads, and hands each answer to whose it
is; the others sleep until they have theirs, or until the lead is free. So nothing runs
while nobody waits. Answers come in any order, and are found by the id of their request.

A connection that ended ends what was asked over it, as it may have been done or not;
what comes next is asked over a new one. Only what the gateway cannot have read is
written once more by itself.

Refused: nothing of its own; each wait ends at its deadline, in monotonic seconds.
"""

from __future__ import annotations

from _thread import LockType, allocate_lock
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from gateway.client_asked import Asked, Session
from gateway.client_line import Line
from gateway.errors import CallTimeoutError, GatewayError, RecipientGoneError, error_from

FAREWELL = 1.0
"""Seconds in which a gateway that hangs up is to say why."""

SWEEP = 64
"""Requests that nobody waits for at the least, before those that are overdue are swept out."""


UNREAD = 8
"""Requests under way beyond which answers are read when the next one is written."""


class Exchange:
    """Asks the gateway at ``path``; ``timeout`` is how long it may take to let us in, in s."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._ids = count(1)
        self._lock = allocate_lock()
        self._writing = allocate_lock()
        self._session: Session | None = None
        self._sweep_at = SWEEP
        self.unasked = 0
        """Answers that nobody waits for any more."""

    def __len__(self) -> int:
        with self._lock:
            return 0 if self._session is None else len(self._session.asked)

    # Asking

    def ask(self, request: dict[str, Any], deadline: float) -> Any:
        """Return the body of the answer to ``request``; raise what came instead."""
        asked = self.post(request, deadline)
        if not self.wait(asked, deadline):
            self.forget(asked)
            raise CallTimeoutError(f"nothing came from the gateway at {self._path} in time")
        return asked.body()

    def post(
        self,
        request: dict[str, Any],
        deadline: float,
        on_end: Callable[[], object] | None = None,
    ) -> Asked:
        """Write ``request``, and return what its answer will be found in."""
        if not self._writing.acquire(timeout=max(0.0, deadline - monotonic())):
            raise CallTimeoutError(f"the gateway at {self._path} takes no requests: it is stuck")
        try:
            if self._write(asked := Asked(next(self._ids), deadline, on_end), request):
                return asked
            # Whoever listened earlier is gone, and has not read this.
            if self._write(asked := Asked(next(self._ids), deadline, on_end), request):
                return asked
            raise self._gone()
        finally:
            self._writing.release()

    def _write(self, asked: Asked, request: dict[str, Any]) -> bool:
        session = self._session
        if session is None:
            session = Session(Line(self._path, self._timeout))
            with self._lock:
                self._session = session
        with self._lock:
            # The answer may be here before we have looked up from the paper.
            asked.session = session
            session.asked[asked.id] = asked
            overdue = self._overdue(session)
        _end_all(overdue, CallTimeoutError("nobody has asked for the answer in time"))
        try:
            # First of all the id, so that a line that is too long can be told from others.
            if session.line.write({"id": asked.id, **request}, asked.deadline):
                if len(session.asked) > UNREAD:
                    # Nobody may be waiting, and what is not read is in the gateway's way.
                    self.look(asked)
                return True
        except CallTimeoutError as late:
            # Half a line is written: what follows would be read as its other half.
            self._end(session, late)
            raise
        except GatewayError:
            self.forget(asked)
            raise
        self.wait(asked, min(asked.deadline, monotonic() + FAREWELL))
        self._end(session, self._gone())
        if session.farewell is not None:
            raise session.farewell
        return False

    def _overdue(self, session: Session) -> list[Asked]:
        """Take out what is overdue, now and then; lock held."""
        if len(session.asked) < self._sweep_at:
            return []
        now = monotonic()
        found = [each for each in session.asked.values() if each.deadline < now]
        for each in found:
            del session.asked[each.id]
        self._sweep_at = max(SWEEP, 2 * len(session.asked))
        return found

    # Waiting

    def wait(self, asked: Asked, deadline: float) -> bool:
        """Read, or sleep while another thread does, until ``asked`` has ended; tell whether."""
        session = asked.session
        while session is not None and not asked.is_done:
            turn: LockType | None = None
            with self._lock:
                if asked.is_done or session.is_over:
                    break
                if session.is_led:
                    turn = allocate_lock()
                    turn.acquire()
                    session.sleepers.append((turn, asked))
                else:
                    session.is_led = True
            if turn is None:
                try:
                    self._lead(session, asked, deadline)
                finally:
                    self._hand_over(session)
            else:
                turn.acquire(timeout=max(0.0, deadline - monotonic()))
                with self._lock:
                    if (turn, asked) in session.sleepers:
                        session.sleepers.remove((turn, asked))
            if deadline <= monotonic():
                break
        if session is not None:
            with self._lock:
                # The lead may have been handed to us just now, who want it no more.
                _wake_next(session)
        return asked.is_done

    def look(self, asked: Asked) -> bool:
        """Read what is here, without waiting; tell whether ``asked`` has ended."""
        return self.wait(asked, 0.0)

    def _lead(self, session: Session, asked: Asked, deadline: float) -> None:
        try:
            while not asked.is_done and not session.is_over:
                left = deadline - monotonic()
                self._sort(session, session.line.read_all(left))
                if left <= 0:
                    return
        except GatewayError as error:
            self._end(session, session.farewell or error)

    def _hand_over(self, session: Session) -> None:
        with self._lock:
            session.is_led = False
            _wake_next(session)
            is_over = session.is_over
        if is_over:
            session.line.close()

    def _sort(self, session: Session, lines: list[dict[str, Any]]) -> None:
        """Hand each answer to whose it is."""
        for said in lines:
            id = said.get("id")
            with self._lock:
                if id is None:
                    session.farewell = error_from(said.get("error"))
                    # It is about a line that could not be read; or why nobody is let in.
                    id = next(iter(session.asked)) if len(session.asked) == 1 else None
                else:
                    session.farewell = None
                asked = session.asked.pop(id, None) if isinstance(id, int) else None
            if asked is None:
                self.unasked += 1
                continue
            asked.said = said
            self._finish(session, [asked])

    def _finish(self, session: Session, ended: list[Asked]) -> None:
        for asked in ended:
            asked.is_done = True
        with self._lock:
            kept = []
            for turn, asked in session.sleepers:
                if asked.is_done:
                    turn.release()
                else:
                    kept.append((turn, asked))
            session.sleepers = kept
        for asked in ended:
            if asked.on_end is not None:
                asked.on_end()

    # Ending

    def token(self) -> Asked:
        """Return what is asked of nobody, and ends by `ring`: for who waits for many."""
        made = Asked(0, 0.0)
        made.session = self._session
        return made

    def ring(self, token: Asked) -> None:
        """End ``token``; whoever waits for it goes on."""
        if token.session is None:
            token.is_done = True
            return
        self._finish(token.session, [token])
        with self._lock:
            # Who waits for it may be the one who reads.
            if token.session.is_led and not token.session.is_over:
                token.session.line.wake()

    def forget(self, asked: Asked) -> None:
        """Wait no longer for the answer to ``asked``."""
        with self._lock:
            if asked.session is not None:
                asked.session.asked.pop(asked.id, None)

    def close(self, why: str = "this program hung up") -> None:
        """Hang up; what is under way ends, and the next request connects again."""
        session = self._session
        if session is not None:
            self._end(session, RecipientGoneError(why))

    def _end(self, session: Session, error: GatewayError) -> None:
        with self._lock:
            session.is_over = True
            ended = list(session.asked.values())
            for asked in ended:
                asked.error, asked.is_done = error, True
            session.asked.clear()
            if self._session is session:
                self._session = None
            is_led = session.is_led
        session.line.hang_up()
        if not is_led:
            # Else by who leads: its descriptor must not become another's while it sleeps there.
            session.line.close()
        self._finish(session, ended)
        with self._lock:
            # Those who wait for a token look again.
            for turn, _ in session.sleepers:
                turn.release()
            session.sleepers = []

    def _gone(self) -> RecipientGoneError:
        why = "it was stopped, or this program read too slowly"
        return RecipientGoneError(f"the gateway at {self._path} hung up: {why}")


def _wake_next(session: Session) -> None:
    """Let the first who sleeps take the lead, where it is free; lock held."""
    if session.sleepers and not session.is_led:
        turn, _ = session.sleepers.pop(0)
        turn.release()


def _end_all(overdue: list[Asked], error: GatewayError) -> None:
    for asked in overdue:
        asked.error, asked.is_done = error, True
        if asked.on_end is not None:
            asked.on_end()
