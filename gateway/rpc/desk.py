"""Where the calls to one process are answered.

Each letter is shown to the desk first; one whose subject is a path of an API
that is served here is a call. It is carried out in place, on the process's own
thread, or by workers where its API has some, and is answered exactly once: with
what the handler returned, with the error that it raised, or with a batch of what
it yields. An event is carried out like any other call, and nobody is told.

What a handler raises is its caller's affair: the process goes on. What nobody
can be told is counted, and logged.

Refused, at the caller: paths that nobody handles (`UnknownApiError`), arguments
that do not fit, one call too many for the workers (`MailboxFullError`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import isasyncgen, isawaitable, iscoroutine, isgenerator
from threading import Lock
from typing import Any

from gateway.errors import (
    BodyError,
    CallCancelledError,
    ExpiredError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
    RemoteError,
    reason_of,
)
from gateway.mail.message import Message, is_solicited
from gateway.process.callback_threads import CallbackThreads
from gateway.process.process import Process
from gateway.process.whereabouts import handles_letters
from gateway.rpc.api import MAP, Api, unknown
from gateway.rpc.call import Call, doing
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.handler import Handler, Unhandled, arguments
from gateway.rpc.in_hand import InHand, Owner, owner_of
from gateway.rpc.references import MARK, References, check_references, found_in, plain
from gateway.rpc.stream import CANCEL, Stream
from gateway.rpc.streams import OpenStream, Streams
from gateway.rpc.transaction import TransactionId

log = logging.getLogger(__name__)

WAITING = 64
"""Calls that wait for a worker of their API at the most, unless said otherwise."""


LATE = 0.25
"""Seconds after its expiry in which a caller that lives takes a call back itself."""

_ORDINARY = frozenset({type(None), bool, int, float, str, bytes, dict, list})
"""What a handler returns and is answered as it is, for certain."""


class Served:
    """An API, where it hangs, and who carries its calls out."""

    def __init__(self, api: Api, at: str, workers: CallbackThreads | None) -> None:
        self.api = api
        self.at = at
        self.workers = workers

    def within(self, subject: str) -> str | None:
        """Return the path within this API, None where ``subject`` is none of its."""
        if not self.at:
            return subject
        return subject[len(self.at) + 1 :] if subject.startswith(f"{self.at}.") else None


class Desk:
    """Answers the calls to one process; `statistics` tells how they ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._served: tuple[Served, ...] = ()
        self._plain: dict[str, Handler] = {}
        self._lock = Lock()
        self._in_hand = InHand()
        self._streams = Streams(process._clock.monotonic, self._soon)
        self._looks_for_idle = False
        self._counts: Counter[str] = Counter()
        self._answered = 0
        self.references: References | None = None
        """Who knows what references stand for; without, none are taken and none given."""
        process._box.obey_also(self._obey)
        process._box.on_gone = self._gone

    def serve(self, api: Api, at: str = "", *, workers: int = 0, waiting: int = WAITING) -> None:
        """Answer calls of what ``api`` has, under the path ``at``.

        With ``workers`` up to so many are carried out at a time, on threads, and
        ``waiting`` others wait for one. Raises `ValueError` for a place that is taken.
        """
        if any(known.at == at for known in self._served):
            raise ValueError(f"something is served at {at or 'the root'!r} already")
        pool = self._process.worker_threads(at or "call", workers, waiting) if workers else None
        served = (*self._served, Served(api, at, pool))
        # The nearest to a path is asked first, the root last.
        self._served = tuple(sorted(served, key=lambda each: -len(each.at)))
        self._forget_handlers()
        api.on_change(self._forget_handlers)

    def at(self, path: str) -> Api | None:
        """Return what is served at ``path``, None for nothing."""
        return next((served.api for served in self._served if served.at == path), None)

    def _forget_handlers(self) -> None:
        self._plain = {}

    # Taking calls

    def take(self, message: Message) -> bool:
        """Carry ``message`` out, or have it carried out; False where it is no call."""
        subject = message.subject
        if self._in_hand.was_early(message):
            taken_back = CallCancelledError(f"{subject!r} was taken back before it began")
            self._fail(message, taken_back)
            return True
        # Taken before it is looked for elsewhere: a change throws the whole table away.
        plain = self._plain
        handler = plain.get(subject)
        if handler is not None:
            self._carry_out_here(handler, message)
            return True
        if subject.startswith("$"):
            return self._take_own(message)
        handlers: tuple[Handler, ...] = ()
        first: Served | None = None
        for served in self._served:
            path = served.within(subject)
            found = served.api.find(path) if path else ()
            # Who has it first says who carries it out; what they leave goes to the next.
            first = first or (served if found else None)
            handlers += found
        if first is None:
            return False
        only = handlers[0] if len(handlers) == 1 else None
        if only is not None and only.check is not None and first.workers is None:
            plain[subject] = only
        carry_out = partial(self._carry_out, handlers, served=first)
        self._execute(first, carry_out, message, handlers)
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
            self._fail(message, error)

    def _take_own(self, message: Message) -> bool:
        """Take what is for the desk itself."""
        if message.subject == MAP and self._served:
            self._answer(message, self.describe())
        elif message.subject == Stream.NEXT:
            self._pull(message)
        elif message.subject == CANCEL:
            self._cancel(message.body, owner_of(message))
        else:
            return False
        return True

    def describe(self) -> dict[str, Any]:
        """Return the map of everything that is served here."""
        return {
            f"{served.at}.{path}" if served.at else path: told
            for served in self._served
            for path, told in served.api.describe().items()
        }

    def refusal(self, message: Message) -> GatewayError | None:
        """Return why ``message`` is no call either; None where nothing is served here."""
        if not self._served:
            return None
        return unknown(self._process.name, message.subject, self._paths())

    def _paths(self) -> list[str]:
        return [
            f"{served.at}.{path}" if served.at else path
            for served in self._served
            for path in served.api.paths()
        ]

    # Carrying out

    @handles_letters
    def _carry_out_here(self, handler: Handler, message: Message) -> None:
        """Carry out what most calls are: one checked handler, on the process's own thread."""
        self._in_hand.begin(message)
        before = doing.set((self, message))
        try:
            body = message.body
            if type(body) is dict and MARK in body:
                body = self._found_in(body, message)
            result = handler.function(**handler.check(body))  # type: ignore[misc]
            if message.headers is None and type(result) in _ORDINARY:
                self._answer_here(message, result)
            else:
                self._answer_with(result, message, None)
        except GatewayError as error:
            self._fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._fail(message, as_gateway_error(bug))
        finally:
            doing.reset(before)
            self._in_hand.end(message)

    def _answer_here(self, message: Message, result: Any) -> None:
        try:
            self._process.reply(message, result)
        except RecipientGoneError:
            self._count("unheard")
        except BodyError as error:
            self._answer_by_reference(message, result, "", error)
        else:
            # Written by the process's own thread alone.
            self._answered += 1

    @handles_letters
    def _carry_out(
        self, handlers: tuple[Handler, ...], message: Message, served: Served | None = None
    ) -> None:
        self._in_hand.begin(message)
        before = doing.set((self, message))
        try:
            self._answer_with(self._result_of(handlers, message), message, served)
        except GatewayError as error:
            self._fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._fail(message, as_gateway_error(bug))
        finally:
            doing.reset(before)
            self._in_hand.end(message)

    def _answer_with(self, result: Any, message: Message, served: Served | None) -> None:
        """Answer with what a handler returned, or with what comes of it."""
        if isgenerator(result):
            self._begin_stream(OpenStream(message, result, served), message)
        elif isawaitable(result) or isasyncgen(result):
            self._await(result, message, served)
        else:
            self._answer(message, result)

    def _await(self, result: Any, message: Message, served: Served | None) -> None:
        """Refuse what is to be awaited: there is no loop here."""
        if iscoroutine(result):
            result.close()
        raise RefusedError(
            f"{message.subject!r} is a coroutine, and {self._process.name!r} has no loop: add the"
            " process with mode='asyncio'"
        )

    def _result_of(self, handlers: tuple[Handler, ...], message: Message) -> Any:
        if message.expiry is not None and message.expiry <= self._process._clock.time():
            raise ExpiredError("too old when its turn came")
        if self._in_hand.is_taken_back(message):
            raise CallCancelledError(f"{message.subject!r} was taken back before it began")
        body = message.body
        if type(body) is dict and MARK in body:
            body = self._found_in(body, message)
        for handler in handlers:
            result = (
                handler.function(self.call_of(message)) if handler.raw else handler.invoke(body)
            )
            if type(result) is not Unhandled:
                return result
        raise unknown(self._process.name, message.subject, self._paths())

    def _found_in(self, body: dict[str, Any], message: Message) -> dict[str, Any]:
        if self.references is None or message.route:
            raise RefusedError(
                f"{self._process.name!r} takes no proxies and no remote functions:"
                " it needs gateway.services.Services(process), and whoever calls is to be inside"
            )
        found = {name: value for name, value in body.items() if name != MARK}
        made: dict[str, Any] = found_in(found, self.references.find)
        return made

    def _answer(self, message: Message, result: Any, subject: str = "") -> bool:
        """Answer with ``result``; tell whether it is on its way, and not an error instead."""
        if not is_solicited(message):
            self._count("told")
            return False
        try:
            self._process.reply(message, result, subject=subject)
        except RecipientGoneError:
            self._count("unheard")
        except BodyError as error:
            self._answer_by_reference(message, result, subject, error)
        except GatewayError as error:
            self._fail(message, error)
        else:
            self._count("answered")
            return True
        return False

    def _answer_by_reference(
        self, message: Message, result: Any, subject: str, error: BodyError
    ) -> None:
        """Answer with what no letter carries as it is: what stays here, or has another shape."""
        if self.references is None or subject:
            self._fail(message, error)
            return
        try:
            what = f"what {message.subject!r} returned"
            result, refers = plain(result, what, self.references)
            if refers:
                check_references(result, refers, what)
            if refers and message.route:
                raise RefusedError(f"{message.subject!r} returns what is for the inside alone")
            self._process.reply(message, result, subject=MARK if refers else "")
        except GatewayError as failure:
            self._fail(message, failure)
        else:
            self._count("answered")

    def _fail(self, message: Message, error: GatewayError) -> None:
        self._count(error.code)
        level = logging.WARNING if isinstance(error, RemoteError) else logging.INFO
        log.log(
            level,
            "%s: %s, called by %s, raised %s: %s",
            self._process.name,
            message.subject,
            message.sender,
            getattr(error, "remote_type", "") or type(error).__name__,
            reason_of(error),
        )
        self._process.bounce(message, error)

    # Streams

    def _begin_stream(self, stream: OpenStream, message: Message) -> None:
        if not is_solicited(message):
            stream.shut()
            self._count("told")
            return
        try:
            self._streams.open(stream)
        except GatewayError:
            stream.shut()
            raise
        if self._in_hand.is_taken_back(message):
            self._streams.close(stream.id, stream.owner)
        self._step(stream, 1, message)
        if message.route and not self._looks_for_idle:
            self._look_for_idle()

    def _look_for_idle(self) -> None:
        left = self._streams.close_idle()
        self._looks_for_idle = left is not None
        if left is not None:
            self._process.call_later(left, self._look_for_idle)

    def _soon(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called on the process's own thread."""
        self._process.call_soon(callback)

    def _pull(self, message: Message) -> None:
        body = message.body if isinstance(message.body, dict) else {}
        try:
            stream = self._streams.find(body.get("stream"), owner_of(message))
            most = body.get("most")
            if not isinstance(most, int) or most < 1:
                raise RefusedError("a pull says how many parts it wants: most, 1 or more")
        except GatewayError as error:
            self._fail(message, error)
            return
        self._execute(stream.served, partial(self._step, stream, most), message)

    def _step(self, stream: OpenStream, most: int, message: Message) -> None:
        before = doing.set((Stepped(self, stream), message))
        try:
            told = self._streams.next(stream, most)
        except GatewayError as error:
            self._fail(message, error)
        else:
            self._tell(stream, told, message)
        finally:
            doing.reset(before)
            self._in_hand.end(message)

    def _tell(self, stream: OpenStream, told: dict[str, Any], message: Message) -> None:
        """Answer with a batch; a stream of which nobody heard, or can hear, is over."""
        if not self._answer(message, told, Stream.SUBJECT):
            self._streams.close(stream.id, stream.owner)

    # Taking back

    def _obey(self, message: Message) -> bool:
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
        self._count("taken_back")

    def is_unwanted(self, message: Message) -> bool:
        """Tell whether nobody waits for the answer to ``message`` any more."""
        if not self._in_hand.is_taken_back(message):
            # Whoever runs in place has to look at the mail itself.
            self._process._box.read_replies()
        return self._in_hand.is_taken_back(message) or (
            message.expiry is not None and message.expiry + LATE <= self._process._clock.time()
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
        with self._lock:
            counts = Counter(self._counts)
        counts["answered"] += self._answered
        return {"running": len(self._in_hand), "streams": len(self._streams), **counts}

    def close(self) -> None:
        """End what is under way: streams are closed, and who waits for a worker is told."""
        for id in self._in_hand.take_all_back():
            self._taken_back(id)
        self._streams.close_all()
        for served in self._served:
            for message in served.workers.close() if served.workers is not None else ():
                self._fail(message, RecipientGoneError("its process ended before it was begun"))

    def _count(self, how: str) -> None:
        with self._lock:
            self._counts[how] += 1


class Stepped:
    """A desk as a handler that yields sees it, which is stepped for one pull after the other."""

    def __init__(self, desk: Desk, stream: OpenStream) -> None:
        self._desk = desk
        self._stream = stream

    def call_of(self, message: Message) -> Call:
        """Return the call that opened the stream, wanted as long as the pull ``message`` is."""
        opened = self._desk.call_of(self._stream.message)
        return opened._replace(expires=message.expiry, look=partial(self._is_unwanted, message))

    def _is_unwanted(self, message: Message) -> bool:
        return self._desk.is_unwanted(message) or self._stream.is_closed
