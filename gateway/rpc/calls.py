"""The calls that one process makes: letters out, answers in, each ended once.

A call is a letter that asks for a receipt and expires with its deadline, so that
nothing is carried out for who gave up. Where its caller gives up earlier, the
other side is told (`CANCEL`). What is under way ends when it is answered, at its
deadline, or as soon as the other side is known to be dead; late answers are
known by the mailbox, and dropped.

Refused: nothing of its own; errors come from the bus and from the other side.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, ClassVar, TypeVar

from gateway.bus.lanes import Call
from gateway.errors import (
    CallTimeoutError,
    ExpiredError,
    GatewayError,
    RefusedError,
    reason_of,
)
from gateway.mail.message import UNSOLICITED, Message
from gateway.process.process import Process
from gateway.rpc.references import found_in
from gateway.rpc.stream import CANCEL, Answer, Batch, Stream
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction, releasing
from gateway.rpc.under_way import UnderWay, late

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTENDANT = "calls"
"""The name of the child thread that reads for those who wait for a semaphore."""


class Calls:
    """The client's side of one process; `statistics` tells how its calls ended."""

    is_awaited: ClassVar[bool] = False
    """Whether what would wait is awaited."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._box = process._box
        self._now = process._clock.monotonic
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._answered = 0
        self._open: dict[str, UnderWay[Any]] = {}
        # By the ids of their letters: what has ended is not to be kept until its deadline.
        self._deadlines: list[tuple[float, str]] = []
        self._alarm_at: float | None = None
        self._ended: deque[UnderWay[Any]] = deque()
        self._sweeps = False
        self._abandoned: deque[tuple[str, str]] = deque()
        self._attended: list[tuple[float, str]] = []
        self._attends = False
        self._is_closed = False

    # Calling

    def call(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> T:
        """Call and wait on this thread; raise the error that came instead of an answer."""
        if self._abandoned:
            self._cancel_abandoned()
        timeout = terms.timeout
        deadline = self._now() + timeout
        try:
            letter = self._send(address, path, body, timeout)
            try:
                answer = self._box.wait_for(letter, deadline - self._now())
            except CallTimeoutError:
                self.take_back(letter)
                raise
            except ExpiredError as error:
                # It was found too old over there a moment before it was here.
                raise late(address, path) from error
        except GatewayError as error:
            self._count(error.code)
            raise
        with self._lock:
            self._answered += 1
        return take(answer)

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Transaction[T]:
        """Call, and return at once the transaction that its result is asked of."""
        if self._ended:
            self._sweep()
        if self._abandoned:
            self._cancel_abandoned()
        release = None if terms.release is None else releasing(terms.release)
        timeout = terms.timeout
        deadline = self._now() + timeout
        try:
            letter = self._send(address, path, body, timeout)
        except GatewayError as error:
            self._count(error.code)
            raise
        made: UnderWay[T] = UnderWay(self, letter, deadline, take, release)
        made.combine = terms.combine
        if terms.callback is not None:
            made.add_done_callback(terms.callback)
        with self._lock:
            self._open[letter.message_id] = made
            heapq.heappush(self._deadlines, (deadline, letter.message_id))
            sooner = self._alarm_at is None or deadline < self._alarm_at
            if sooner:
                self._alarm_at = deadline
        made.stand(self._box.open_call(letter, made))
        if sooner:
            self._process.call_later(timeout, partial(self._end_overdue, deadline))
        if release is not None:
            self._attend(made)
        return made

    def _send(self, address: str, path: str, body: Any, timeout: float) -> Message:
        """Write the letter that is a call; nobody carries it out after ``timeout`` seconds."""
        return self._process.send(
            address, path, body, expires_in=timeout, timeout=timeout, receipt=True, awaited=True
        )

    def tell(self, address: str, path: str, body: Any, terms: Terms) -> None:
        """Write an event: a call that nobody answers."""
        self._process.send(
            address,
            path,
            body,
            expires_in=terms.timeout,
            timeout=terms.timeout,
            headers=UNSOLICITED,
        )
        self._count("told")

    def stream(self, address: str, terms: Terms, answer: Answer) -> Stream:
        """Return what follows after ``answer``, the first batch of a stream."""
        # Who is to be told of the call, and what joins its parts, is none of a pull's.
        pulls = Terms(timeout=terms.timeout)

        def pull(stream: str) -> Transaction[Batch]:
            asked = {"stream": stream, "most": terms.window}
            return self.begin(address, Stream.NEXT, asked, pulls, Batch.of)

        cancel, abandon = partial(self._tell_cancel, address), partial(self._abandon, address)
        return Stream(Batch.of(answer), pull, cancel, abandon)

    def _abandon(self, address: str, stream: str) -> None:
        # Whoever collects garbage may hold any lock of the bus, and of this.
        self._abandoned.append((address, stream))
        self._process.call_soon(self._cancel_abandoned)

    def _cancel_abandoned(self) -> None:
        while self._abandoned:
            with contextlib.suppress(IndexError):
                self._tell_cancel(*self._abandoned.popleft())

    def found(self, body: Any) -> Any:
        """Return an answer with what its references stand for; `RefusedError` for nobody's."""
        references = getattr(self._process.desk, "references", None)
        if references is None:
            raise RefusedError(
                f"{self._process.name!r} is answered with a proxy or a remote function, and takes"
                " none: it needs gateway.services.Services(process)"
            )
        return found_in(body, references.find)

    def take_back(self, letter: Message) -> None:
        """Tell whoever has ``letter`` that no answer to it is wanted."""
        self._tell_cancel(letter.recipient, letter.message_id)

    def _tell_cancel(self, address: str, id: str) -> None:
        """Have the call or the stream ``id`` ended; who cannot be told need not be."""
        try:
            if "@" in address:
                # Control mail goes no further than this gateway.
                self._process.send(address, CANCEL, id, timeout=0.0, headers=UNSOLICITED)
            else:
                self._process.send_control(address, CANCEL, id)
        except GatewayError:
            self._count("not_cancelled")

    # How they end

    def statistics(self) -> dict[str, Any]:
        """Return how many calls are under way, and how the others ended, by kind."""
        self._sweep()
        with self._lock:
            counts = self._counts + Counter(answered=self._answered)
            return {"under_way": len(self._open), **counts}

    def _count(self, how: str) -> None:
        with self._lock:
            self._counts[how] += 1

    def note_end(self, ended: UnderWay[Any], *, hurry: bool) -> None:
        """Have ``ended`` looked at soon; the mailbox's lock is held by whoever calls."""
        self._ended.append(ended)
        if not self._sweeps:
            self._sweeps = True
            self._process._agenda.add_soon(self._sweep_in_turn)
        if hurry:
            self._box.wake()

    def _sweep_in_turn(self) -> None:
        # Not where `begin` sweeps: the agenda holds this once, whoever else comes by.
        self._sweeps = False
        self._sweep()

    def _sweep(self) -> None:
        while self._ended:
            try:
                ended = self._ended.popleft()
            except IndexError:
                return
            ended.finish()

    def call_back(
        self, callback: Callable[[Transaction[Any]], object], made: Transaction[Any]
    ) -> None:
        """Call ``callback(made)``, on the process's own thread."""
        try:
            callback(made)
        except GatewayError as error:
            self.note_failed_callback(made, error)

    def note_failed_callback(self, made: Transaction[Any], error: GatewayError) -> None:
        """Count a callback that raised what was foreseen, as who asks for a result has to."""
        self._count("callback_failed")
        name = self._process.name
        log.warning("%s: the callback of %r raised %s", name, made.path, reason_of(error))

    def forget(self, call: Call, how: str) -> None:
        """Close a call that has ended, as ``how`` says."""
        self._box.close_call(call)
        # It is the transaction itself, which would keep its result until it is collected.
        call.turn = None
        with self._lock:
            self._counts[how] += 1
            self._open.pop(call.message.message_id, None)
            for heap in (self._deadlines, self._attended):
                if len(heap) > 64 + 2 * len(self._open):
                    heap[:] = [entry for entry in heap if entry[1] in self._open]
                    heapq.heapify(heap)

    def _end_overdue(self, deadline: float) -> None:
        """End what is overdue, and be called again for what is not."""
        now = self._now()
        overdue = []
        with self._lock:
            while self._deadlines:
                at, letter = self._deadlines[0]
                made = self._open.get(letter)
                if made is not None and at > now:
                    break
                heapq.heappop(self._deadlines)
                if made is not None:
                    overdue.append(made)
            if self._alarm_at == deadline:
                self._alarm_at = self._deadlines[0][0] if self._deadlines else None
                again = self._alarm_at
            else:
                again = None
        for each in overdue:
            each.finish()
        if again is not None:
            self._process.call_later(max(0.0, again - now), partial(self._end_overdue, again))

    # Who waits for a semaphore reads nothing: somebody has to

    def _attend(self, made: UnderWay[Any]) -> None:
        with self._lock:
            heapq.heappush(self._attended, (made.deadline, made.id.letter))
            if self._attends or self._is_closed:
                return
            self._attends = True
        self._process.remove_child_threads(ATTENDANT)
        self._process.add_child_thread(ATTENDANT, self._attend_all)

    def _attend_all(self) -> None:
        while True:
            with self._lock:
                if not self._attended or self._is_closed:
                    self._attends = False
                    return
                made = self._open.get(heapq.heappop(self._attended)[1])
            if made is not None:
                made.attend()

    def close(self) -> None:
        """End those calls whose end somebody waits for who reads nothing; the process ends."""
        with self._lock:
            self._is_closed = True
            attended = [made for made in self._open.values() if made.is_attended]
        for made in attended:
            made.give_up()
