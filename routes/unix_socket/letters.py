"""Letters that clients wrote, until each has its answer, its bounce or no more time.

Nothing here waits for a recipient: a letter that finds no room is `Held` until its
deadline. An answer is found by the id of its letter; a recipient's death ends what it
was asked. What a client gave up, by saying so, by its deadline or by hanging up, is
taken back from whoever carries it out. How many letters a client may have is the
router's to say.

Refused: what belongs to another client (`RefusedError`). All of them write under
the route's name, so that whoever is written to cannot tell them apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.bus.directory import Book
from gateway.clock import Clock
from gateway.errors import (
    AddressError,
    CallCancelledError,
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.json_lines import Id
from gateway.mail.message import CANCEL, UNSOLICITED, Message, error_in, is_solicited
from gateway.rpc.stream import Stream
from routes.unix_socket.connection import Connection
from routes.unix_socket.held import Held, Waiting
from routes.unix_socket.protocol import Cancel, Send


class Sender(Protocol):
    """Who writes letters: the process."""

    def send(
        self,
        recipient: str,
        subject: str,
        body: Any = None,
        *,
        timeout: float = ...,
        expires_in: float | None = ...,
        receipt: bool = ...,
        headers: dict[str, str] | None = ...,
    ) -> Message:
        """Deliver a letter and return it, or raise a `GatewayError`."""
        ...

    def send_control(self, recipient: str, subject: str, body: Any = None) -> None:
        """Deliver what is obeyed at once, or raise a `GatewayError`."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> object:
        """Call ``callback`` in ``seconds``."""
        ...


class Answer(Protocol):
    """What writes an answer to a client."""

    def __call__(self, client: Connection, id: Id, body: Any, subject: str = "") -> None:
        """Write it; ``subject`` is empty where it is that of the request."""
        ...


@dataclass(eq=False)
class _Call:
    client: Connection
    request: Send
    letter: Message
    deadline: float
    doubted: bool = False
    """Whether its recipient was found dead; the answer may yet be on its way to us."""


class Letters:
    """The letters under way; ``answer`` and ``fail`` tell a client how one ended."""

    def __init__(
        self,
        sender: Sender,
        clock: Clock,
        *,
        most_streams: int,
        answer: Answer,
        fail: Callable[[Connection, Id, GatewayError], None],
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._most_streams = most_streams
        self._answer = answer
        self._fail = fail
        self._calls: dict[str, _Call] = {}
        self._held = Held(
            self._is_sent,
            lambda waits, error: fail(waits.client, waits.request.id, error),
            sender.call_later,
        )
        self.taken_back = 0
        """Calls and streams that were given up by their clients."""

    def __len__(self) -> int:
        return len(self._calls)

    # Writing

    def send(self, client: Connection, request: Send) -> None:
        """Write a letter; raise what `Process.send` raises, but for want of room."""
        waits = Waiting(client, request, self._clock.monotonic() + request.timeout)
        if request.to in self._held or not self._is_sent(waits):
            self._held.add(waits)

    def check_own(self, client: Connection, request: Send) -> None:
        """Raise `RefusedError` where ``request`` is for a stream that ``client`` did not open."""
        asked = request.body.get("stream") if isinstance(request.body, dict) else None
        if request.subject != Stream.NEXT or client.streams.get(str(asked)) != request.to:
            raise RefusedError("you have no such stream: it ended, or was closed")

    def _is_sent(self, waits: Waiting) -> bool:
        """Write a letter; False where there is no room for it, yet."""
        client, request, deadline = waits
        left = deadline - self._clock.monotonic()
        try:
            letter = self._sender.send(
                request.to,
                request.subject,
                request.body,
                timeout=0.0,
                expires_in=left,
                receipt=not is_unsolicited(request.headers),
                headers=dict(request.headers) or None,
            )
        except MailboxFullError:
            if left <= 0:
                raise
            return False
        if is_solicited(letter):
            self._calls[letter.message_id] = _Call(client, request, letter, deadline)
            client.calls += 1
        else:
            self._answer(client, request.id, None)
        return True

    # What comes back

    def take(self, message: Message) -> None:
        """Hand an answer or a bounce to whoever asked; one that came too late is nobody's."""
        # Whoever answers has read, and may have room.
        self._held.let_out(message.sender)
        call = self._remove(message.in_reply_to)
        is_stream = message.kind != "bounce" and message.subject == Stream.SUBJECT
        stream = _open_stream(message.body) if is_stream else ""
        if call is None:
            if stream:
                self._take_back(message.sender, stream)
            return
        client, request = call.client, call.request
        if request.subject == Stream.NEXT:
            asked = request.body["stream"]
            if not stream:
                client.streams.pop(asked, None)
            elif asked not in client.streams:
                # It was closed meanwhile, and who carries it out has been told.
                stream = ""
        if message.kind == "bounce":
            self._fail(client, request.id, error_in(message))
            return
        if stream and stream not in client.streams:
            if len(client.streams) >= self._most_streams:
                self._take_back(message.sender, stream)
                reason = f"{len(client.streams)} of your streams are open: read or close some"
                self._fail(client, request.id, MailboxFullError(reason))
                return
            client.streams[stream] = request.to
        self._answer(client, request.id, message.body, message.subject if is_stream else "")

    # Giving up

    def cancel(self, client: Connection, request: Cancel) -> bool:
        """Take back what ``client`` names of its own; tell whether there was something."""
        if request.stream:
            to = client.streams.pop(request.stream, None)
            if to is not None:
                self._take_back(to, request.stream)
            return to is not None
        error = CallCancelledError("you took it back")
        if self._held.take_out(
            lambda waits: waits.client is client and waits.request.id == request.request
        ):
            self._fail(client, request.request, error)
            return True
        for call in self._calls.values():
            if call.client is client and call.request.id == request.request:
                self._end(call, error)
                self._take_back(call.request.to, call.letter.message_id)
                return True
        return False

    def end_due(self, now: float, book: Book) -> bool:
        """End what has no more time, and what was asked of those who are not in ``book``.

        Tells whether the next look may end more: an answer that was written before
        its recipient died may lie in our mailbox yet.
        """
        doubts = False
        for call in list(self._calls.values()):
            to, subject = call.request.to, call.request.subject
            if call.deadline <= now:
                within = f"{call.request.timeout:g} s"
                reason = f"{to!r} did not answer {subject!r} within {within}"
                self._end(call, CallTimeoutError(reason))
                self._take_back(to, call.letter.message_id)
            elif _is_gone(call.letter, book):
                if call.doubted:
                    reason = f"{to!r} died before it answered {subject!r}"
                    self._end(call, RecipientGoneError(reason))
                else:
                    call.doubted = doubts = True
        return doubts

    def end_all(self) -> None:
        """Tell everybody who waits that the gateway stops."""
        for id, call in list(self._calls.items()):
            self._end(call, RecipientGoneError("the gateway stops"))
            self._take_back(call.request.to, id)
        for client, request, _ in self._held.take_out(lambda waits: True):
            self._fail(client, request.id, RecipientGoneError("the gateway stops"))

    def forget(self, client: Connection) -> None:
        """Take back what ``client`` waited for: it has gone."""
        for message_id, call in list(self._calls.items()):
            if call.client is client:
                self._remove(message_id)
                self._take_back(call.request.to, message_id)
        self._held.take_out(lambda waits: waits.client is client)
        for stream, to in client.streams.items():
            self._take_back(to, stream)
        client.streams.clear()

    def _take_back(self, to: str, id: str) -> None:
        """Tell whoever carries ``id`` out that nobody wants it; who cannot be told need not be."""
        self.taken_back += 1
        with contextlib.suppress(GatewayError):
            if "@" in to:
                # Control mail goes no further than this gateway's own processes.
                self._sender.send(to, CANCEL, id, timeout=0.0, headers=UNSOLICITED)
            else:
                self._sender.send_control(to, CANCEL, id)

    def _end(self, call: _Call, error: GatewayError) -> None:
        if self._remove(call.letter.message_id) is not None:
            self._fail(call.client, call.request.id, error)

    def _remove(self, message_id: str | None) -> _Call | None:
        call = self._calls.pop(message_id or "", None)
        if call is not None:
            call.client.calls -= 1
        return call


def is_unsolicited(headers: Mapping[str, str]) -> bool:
    """Tell whether a letter with ``headers`` wants no answer."""
    return headers.get("solicited") == UNSOLICITED["solicited"]


def _open_stream(body: object) -> str:
    """Return the id of the stream that ``body`` leaves open; empty for none."""
    if isinstance(body, dict) and body.get("more") is True:
        return str(body.get("stream", ""))
    return ""


def _is_gone(letter: Message, book: Book) -> bool:
    try:
        _, incarnation = book.look_up(letter.recipient)
    except (AddressError, RecipientGoneError):
        return True
    return incarnation != letter.incarnation
