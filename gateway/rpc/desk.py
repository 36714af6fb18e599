"""Where the calls to one process are answered.

Each letter is shown to the desk first; one whose subject is a path of an API
that is served here is a call. It is carried out in place, on the process's own
thread, or by workers where its API has some, and is answered exactly once: with
what the handler returned, with the error that it raised, or with a batch of what
it yields. An event is carried out like any other call, and nobody is told.

What a handler raises is its caller's affair: the process goes on.

Refused, at the caller: paths that nobody handles (`UnknownApiError`), arguments
that do not fit, one call too many for the workers (`MailboxFullError`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isasyncgen, isawaitable, iscoroutine, isgenerator
from typing import Any

from gateway.errors import (
    CallCancelledError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.message import MAP, Message
from gateway.process.process import Process
from gateway.process.whereabouts import handles_letters
from gateway.rpc.answers import Answers
from gateway.rpc.api import Api, unknown
from gateway.rpc.call import Call, doing
from gateway.rpc.catalogue import Catalogue, Served
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.handler import Handler, Unhandled, arguments
from gateway.rpc.in_hand import InHand, Owner, owner_of
from gateway.rpc.open_stream import OpenStream
from gateway.rpc.references import MARK, References
from gateway.rpc.stream import CANCEL, Stream
from gateway.rpc.stream_desk import StreamDesk
from gateway.rpc.transaction import TransactionId

WAITING = 64
"""Calls that wait for a worker of their API at the most, unless said otherwise."""

LATE = 0.25
"""Seconds after its expiry in which a caller that lives takes a call back itself."""

_ORDINARY = frozenset({type(None), bool, int, float, str, bytes, dict, list})
"""What a handler returns and is answered as it is, for certain."""


class Desk:
    """Answers the calls to one process; `statistics` tells how they ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._catalogue = Catalogue()
        self._in_hand = InHand()
        self._answers = Answers(process)
        self._streams = self._stream_desk()
        process._box.obey_also(self.obey)
        process._box.on_gone = self._gone

    def _stream_desk(self) -> StreamDesk:
        return StreamDesk(self._process, self, self._in_hand, self._answers, self._execute)

    @property
    def references(self) -> References | None:
        """Who knows what references stand for; without, none are taken and none given."""
        return self._answers.references

    @references.setter
    def references(self, known: References) -> None:
        self._answers.references = known

    def serve(self, api: Api, at: str = "", *, workers: int = 0, waiting: int = WAITING) -> None:
        """Answer calls of what ``api`` has, under the path ``at``.

        With ``workers`` up to so many are carried out at a time, on threads, and
        ``waiting`` others wait for one. Raises `ValueError` for a place that is taken.
        """
        self._catalogue.refuse_taken(at)
        pool = self._process.worker_threads(at or "call", workers, waiting) if workers else None
        self._catalogue.add(api, at, pool)

    def at(self, path: str) -> Api | None:
        """Return what is served at ``path``, None for nothing."""
        return self._catalogue.at(path)

    # Taking calls

    def take(self, message: Message) -> bool:
        """Carry ``message`` out, or have it carried out; False where it is no call."""
        subject = message.subject
        if self._in_hand.was_early(message):
            taken_back = CallCancelledError(f"{subject!r} was taken back before it began")
            self._answers.fail(message, taken_back)
            return True
        catalogue = self._catalogue
        quick = catalogue.quick
        handler = quick.get(subject)
        if handler is not None:
            self._carry_out_here(handler, message)
            return True
        if subject.startswith("$"):
            return self._take_own(message)
        found = catalogue.find(subject)
        if found is None:
            return False
        catalogue.remember(quick, subject, found)
        handlers, served = found
        self._execute(served, partial(self._carry_out, handlers, served), message, handlers)
        return True

    def _execute(
        self,
        served: Served | None,
        work: Callable[[Message], Any],
        message: Message,
        handlers: tuple[Handler, ...] = (),
    ) -> None:
        """Have ``work`` done here, or by the workers of ``served``."""
        if served is None or served.workers is None:
            work(message)
            return
        # From here on it can be taken back.
        self._in_hand.begin(message)
        try:
            served.workers.wrap(work)(message)
        except GatewayError as error:
            self._in_hand.end(message)
            self._answers.fail(message, error)

    def _take_own(self, message: Message) -> bool:
        """Take what is for the desk itself."""
        if message.subject == MAP and self._catalogue:
            self._answers.give(message, self._catalogue.describe())
        elif message.subject == Stream.NEXT:
            self._streams.pull(message)
        elif message.subject == CANCEL:
            self._cancel(message.body, owner_of(message))
        else:
            return False
        return True

    def refusal(self, message: Message) -> GatewayError | None:
        """Return why ``message`` is no call either; None where nothing is served here."""
        return self._unknown(message) if self._catalogue else None

    def _unknown(self, message: Message) -> GatewayError:
        return unknown(self._process.name, message.subject, self._catalogue.paths())

    # Carrying out

    @handles_letters
    def _carry_out_here(self, handler: Handler, message: Message) -> None:
        """Carry out what most calls are: one checked handler, on the process's own thread."""
        self._in_hand.begin(message)
        before = doing.set((self, message))
        is_over = True
        try:
            body = message.body
            if type(body) is dict and MARK in body:
                body = self._answers.found_in(body, message)
            result = handler.function(**handler.check(body))  # type: ignore[misc]
            if message.headers is None and type(result) in _ORDINARY:
                self._answers.give_plain(message, result)
            else:
                is_over = self._answer_with(result, message, None)
        except GatewayError as error:
            self._answers.fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._answers.fail(message, as_gateway_error(bug))
        finally:
            doing.reset(before)
            if is_over:
                self._in_hand.end(message)

    @handles_letters
    def _carry_out(self, handlers: tuple[Handler, ...], served: Served, message: Message) -> None:
        self._in_hand.begin(message)
        before = doing.set((self, message))
        is_over = True
        try:
            is_over = self._answer_with(self._result_of(handlers, message), message, served)
        except GatewayError as error:
            self._answers.fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._answers.fail(message, as_gateway_error(bug))
        finally:
            doing.reset(before)
            if is_over:
                self._in_hand.end(message)

    def _answer_with(self, result: Any, message: Message, served: Served | None) -> bool:
        """Answer with what a handler returned, or with what comes of it; tell whether that was all.

        Otherwise it stays in hand, of whoever is given the rest of it.
        """
        if isgenerator(result):
            self._streams.open(OpenStream(message, result, served))
            return False
        if isawaitable(result) or isasyncgen(result):
            self._await(result, message, served)
            return False
        self._answers.give(message, result)
        return True

    def _await(self, result: Any, message: Message, served: Served | None) -> None:
        """Refuse what is to be awaited: there is no loop here."""
        if iscoroutine(result):
            result.close()
        raise RefusedError(
            f"{message.subject!r} is a coroutine, and {self._process.name!r} has no loop: add the"
            " process with mode='asyncio'"
        )

    def _result_of(self, handlers: tuple[Handler, ...], message: Message) -> Any:
        self._in_hand.refuse_unwanted(message, self._process._clock.monotonic())
        body = message.body
        if type(body) is dict and MARK in body:
            body = self._answers.found_in(body, message)
        for handler in handlers:
            result = (
                handler.function(self.call_of(message)) if handler.raw else handler.invoke(body)
            )
            if type(result) is not Unhandled:
                return result
        raise self._unknown(message)

    # Taking back

    def obey(self, message: Message) -> bool:
        """See control mail, on whatever thread read it; tell whether it was for the desk."""
        if message.subject != CANCEL:
            return False
        self._cancel(message.body, owner_of(message))
        return True

    def _cancel(self, id: object, owner: Owner) -> None:
        if not isinstance(id, str):
            return
        # Only who called takes back.
        if self._in_hand.take_back(id, owner):
            self._taken_back(id)
        self._streams.close(id, owner)

    def _gone(self, name: str, incarnation: int) -> None:
        """Take back what somebody called who is dead by now."""
        for id in self._in_hand.take_back_for(name, incarnation):
            self._taken_back(id)
        self._streams.close_of(name, incarnation)

    def _taken_back(self, id: str) -> None:
        """Have the handler that carries ``id`` out learn that nobody wants it."""
        self._answers.count("taken_back")

    def is_unwanted(self, message: Message) -> bool:
        """Tell whether nobody waits for the answer to ``message`` any more."""
        if not self._in_hand.is_taken_back(message):
            # Whoever runs in place has to look at the mail itself.
            self._process._box.read_replies()
        return self._in_hand.is_taken_back(message) or (
            message.expiry is not None and message.expiry + LATE <= self._process._clock.monotonic()
        )

    def call_of(self, message: Message) -> Call:
        """Return the call that ``message`` is, as its handler sees it."""
        positional, named = arguments(message.body)
        return Call(
            TransactionId(message.sender, message.sender_incarnation, message.message_id),
            message.subject,
            message.sender,
            message.route,
            named,
            positional,
            message.expiry,
            partial(self.is_unwanted, message),
        )

    # The rest

    def statistics(self) -> dict[str, Any]:
        """Return how many calls are being carried out, and how the others ended, by kind."""
        under_way = {"running": len(self._in_hand), "streams": len(self._streams)}
        return {**under_way, **self._answers.statistics()}

    def close(self) -> None:
        """End what is under way: streams are closed, and who waits for a worker is told."""
        for id in self._in_hand.take_all_back():
            self._taken_back(id)
        self._streams.close_all()
        ended = RecipientGoneError("its process ended before it was begun")
        for pool in self._catalogue.pools():
            for message in pool.close():
                self._answers.fail(message, ended)
