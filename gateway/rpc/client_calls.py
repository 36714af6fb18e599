"""The calls of a program outside the gateway, over its connection.

What a process does with letters (`gateway.rpc.calls`) is done here with requests: each
has its own answer, deadline and end, many threads may call at a time, and whoever gives
up takes back what was asked. Nothing runs meanwhile but whoever waits; only where a
callback is to be called, or a semaphore to be released, a thread reads until that is done.

Refused: nothing of its own; errors come from the gateway and from the other side.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from gateway.errors import CallTimeoutError, GatewayError, RefusedError
from gateway.mail.body import checked
from gateway.mail.message import UNSOLICITED
from gateway.rpc.attended import Attended
from gateway.rpc.client_attendant import LAST, Attendant
from gateway.rpc.stream import Answer, Batch, Stream
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction, TransactionId, releasing

T = TypeVar("T")

log = logging.getLogger(__name__)


class Said(NamedTuple):
    """What came back, as an `Answer`."""

    subject: str
    body: Any


def calls_of_client(client: Any) -> ClientCalls:
    """Return the calls of ``client``, a `gateway.Client`, from now on the same ones."""
    found: ClientCalls | None = client.calls
    if found is None:
        found = client.calls = ClientCalls(client.exchange)
    return found


class ClientCalls:
    """The line of a `gateway.Client`; `statistics` tells how its calls ended."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.attendant = Attendant(exchange)
        """Reads for those who are to be told, and read nothing."""

    # Calling

    def call(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> T:
        """Call and wait on this thread; raise the error that came instead of an answer."""
        deadline = monotonic() + terms.timeout
        try:
            asked = self._exchange.post(_request(address, path, body, terms.timeout), deadline)
            if not self._exchange.wait(asked, deadline):
                self.take_back(asked)
                raise _late(address, path)
            answer = Said(asked.said.get("subject", path), asked.body())
        except GatewayError as error:
            self._count(error.code)
            raise
        self._count("answered")
        return take(answer)

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> UnderWay[T]:
        """Call, and return at once the transaction that its result is asked of."""
        deadline = monotonic() + terms.timeout
        made: UnderWay[T] = UnderWay(self, address, path, deadline, take)
        if terms.callback is not None:
            made.add_done_callback(terms.callback)
        if terms.release is not None:
            made.add_done_callback(releasing(terms.release))
        made.combine = terms.combine
        request = _request(address, path, body, terms.timeout)
        try:
            made.stand(self._exchange.post(request, deadline, made.note_end))
        except GatewayError as error:
            self._count(error.code)
            raise
        return made

    def tell(self, address: str, path: str, body: Any, terms: Terms) -> None:
        """Call without an answer; returns once it is delivered, or raises why it is not."""
        request = {**_request(address, path, body, terms.timeout), "headers": UNSOLICITED}
        try:
            self._exchange.ask(request, monotonic() + terms.timeout)
        except GatewayError as error:
            self._count(error.code)
            raise
        self._count("told")

    def stream(self, address: str, terms: Terms, answer: Answer) -> Stream:
        """Return what follows after ``answer``, the first batch of a stream."""

        # Who is to be told of the call, and what joins its parts, is none of a pull's.
        pulls = Terms(timeout=terms.timeout)
        pulled: UnderWay[Batch] | None = None

        def pull(stream: str) -> Transaction[Batch]:
            nonlocal pulled
            asked = {"stream": stream, "most": terms.window}
            pulled = self.begin(address, Stream.NEXT, asked, pulls, Batch.of)
            return pulled

        def cancel(stream: str) -> None:
            if pulled is not None:
                # Nobody reads what it would bring.
                pulled.forget()
            self._cancel({"stream": stream})

        return Stream(Batch.of(answer), pull, cancel)

    def found(self, body: Any) -> Any:
        """Refuse references: nothing is found from outside."""
        raise RefusedError("what came stands for something inside the gateway, where it stays")

    def take_back(self, asked: Any) -> None:
        """Wait no longer for ``asked``, and have it ended over there."""
        self.forget(asked)
        self._cancel({"request": asked.id})

    def _cancel(self, what: dict[str, Any]) -> None:
        # Who cannot be told need not be: all that a connection asked ends with it.
        with contextlib.suppress(GatewayError):
            asked = self._exchange.post({"op": "cancel", **what}, monotonic() + LAST)
            self._exchange.look(asked)
            self._exchange.forget(asked)

    # How they end

    def statistics(self) -> dict[str, Any]:
        """Return how many calls are under way, and how the others ended, by kind."""
        with self._lock:
            return {"under_way": len(self._exchange), **self._counts}

    def look(self, asked: Any) -> bool:
        """Read what is here; tell whether ``asked`` has ended."""
        return bool(self._exchange.look(asked))

    def wait(self, asked: Any, deadline: float) -> None:
        """Read until ``asked`` has ended, or the deadline."""
        self._exchange.wait(asked, deadline)

    def forget(self, asked: Any) -> None:
        """Wait no longer for ``asked``."""
        self._exchange.forget(asked)

    def _count(self, how: str) -> None:
        with self._lock:
            self._counts[how] += 1

    def count_end(self, error: BaseException | None) -> None:
        """Note how a call ended."""
        self._count("answered" if error is None else getattr(error, "code", "error"))

    def close(self) -> None:
        """Wait until what was to be told of ends has been told; the connection is closed."""
        self.attendant.close()


class UnderWay(Attended[T]):
    """One call of a program outside."""

    def __init__(
        self,
        calls: ClientCalls,
        address: str,
        path: str,
        deadline: float,
        take: Callable[[Answer], T],
    ) -> None:
        super().__init__(TransactionId("client", os.getpid(), ""), path, deadline, monotonic)
        self._calls = calls
        self._address = address
        self._take = take
        self._asked: Any = None
        self._settling = threading.Lock()

    def stand(self, asked: Any) -> None:
        """Take over what was asked; it may have ended by now."""
        self.id = self.id._replace(letter=str(asked.id))
        self._asked = asked
        if self._callbacks:
            self._calls.attendant.attend(self)
            if asked.is_done:
                self._calls.attendant.note_end(self)

    def note_end(self) -> None:
        """See that it has ended; called by whoever reads, who is not to be held up."""
        self._calls.attendant.note_end(self)

    def add_done_callback(self, callback: Callable[[Transaction[T]], object]) -> None:
        """Have ``callback(self)`` called when it has ended, on a thread of the connection."""
        super().add_done_callback(callback)
        if self._asked is not None and not self._is_done:
            self._calls.attendant.attend(self)
            if self._asked.is_done:
                self._calls.attendant.note_end(self)

    def done(self) -> bool:
        """Whether it has ended; reads what is here, but waits for nothing."""
        if not self._is_done and (self._calls.look(self._asked) or self._now() >= self.deadline):
            self.finish()
        return self._is_done

    def is_due(self, now: float) -> bool:
        """Tell whether it has ended, or is to end now."""
        return self._is_done or self._asked.is_done or self.deadline <= now

    def finish(self) -> None:
        """End it if there is an answer, an error, or no time left."""
        # Of two that finish it one makes the result.
        with self._settling:
            if not self._is_done:
                self._settle()

    def _settle(self) -> None:
        asked = self._asked
        result: Any = None
        failure: BaseException | None = None
        if asked.is_done:
            try:
                result = self._take(Said(asked.said.get("subject", self.path), asked.body()))
            except Exception as error:  # noqa: BLE001 - whoever asks for the result is told
                failure = error
        elif self._now() >= self.deadline:
            self._take_back()
            failure = _late(self._address, self.path)
        else:
            return
        if self._end(result, failure):
            self._calls.count_end(failure)

    def cancel(self) -> bool:
        """End it now, here and over there; tell whether it had not ended yet."""
        if not super().cancel():
            return False
        self._calls.count_end(self._error)
        self._calls.attendant.leave(self)
        return True

    def forget(self) -> None:
        """Leave its answer to nobody."""
        self._calls.forget(self._asked)

    def _attend(self, timeout: float) -> None:
        self._calls.wait(self._asked, self._now() + timeout)
        self.finish()

    def _call_back(self, callback: Callable[[Transaction[T]], object]) -> None:
        try:
            callback(self)
        except Exception:  # the others are to be told all the same
            log.exception("the callback of %s raised", self)

    def _take_back(self) -> None:
        self._calls.take_back(self._asked)


def _request(address: str, path: str, body: Any, timeout: float) -> dict[str, Any]:
    return {
        "op": "send",
        "to": address,
        "subject": path,
        "body": checked(body)[0],
        "timeout": timeout,
    }


def _late(address: str, path: str) -> CallTimeoutError:
    return CallTimeoutError(f"{address!r} did not answer {path!r} in time")
