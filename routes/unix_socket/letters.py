"""Letters that clients wrote, until each has its answer, its bounce or no more time.

Nothing here waits for a recipient. A letter that finds no room holds its
client, which is read no further, and is tried again until its deadline; an
answer is found by the id of its letter; a recipient's death ends what it was
asked. How many letters a client may have is the router's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.bus.directory import Book
from gateway.clock import Clock
from gateway.errors import (
    AddressError,
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    RecipientGoneError,
)
from gateway.mail.json_lines import Id
from gateway.mail.message import Message, error_in
from routes.unix_socket.connection import Connection
from routes.unix_socket.protocol import Send


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
    ) -> Message:
        """Deliver a letter and return it, or raise a `GatewayError`."""
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
        answer: Callable[[Connection, Id, Any], None],
        fail: Callable[[Connection, Id, GatewayError], None],
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._answer = answer
        self._fail = fail
        self._calls: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def send(self, client: Connection, request: Send) -> None:
        """Write a letter; raise what `Process.send` raises, but for want of room."""
        self._send(client, request, self._clock.monotonic() + request.timeout)

    def try_held(self, client: Connection) -> None:
        """Write the letter that found no room before, if there is some now."""
        if client.held is None:
            return
        (request, deadline), client.held = client.held, None
        try:
            self._send(client, request, deadline)
        except GatewayError as error:
            self._fail(client, request.id, error)

    def take(self, message: Message) -> None:
        """Hand an answer or a bounce to whoever asked; one that came too late is nobody's."""
        call = self._remove(message.in_reply_to)
        if call is None:
            return
        if message.kind == "bounce":
            self._fail(call.client, call.request.id, error_in(message))
        else:
            self._answer(call.client, call.request.id, message.body)

    def end_due(self, now: float, book: Book) -> None:
        """End what has no more time, and what was asked of those who are not in ``book``."""
        for call in list(self._calls.values()):
            to, subject = call.request.to, call.request.subject
            if call.deadline <= now:
                within = f"{call.request.timeout:g} s"
                reason = f"{to!r} did not answer {subject!r} within {within}"
                self._end(call, CallTimeoutError(reason))
            elif _is_gone(call.letter, book):
                # An answer that was written before the death may lie in our mailbox.
                if call.doubted:
                    reason = f"{to!r} died before it answered {subject!r}"
                    self._end(call, RecipientGoneError(reason))
                call.doubted = True

    def end_all(self) -> None:
        """Tell everybody who waits that the gateway stops."""
        for call in list(self._calls.values()):
            self._end(call, RecipientGoneError("the gateway stops"))

    def forget(self, client: Connection) -> None:
        """Forget what ``client`` waited for: it has gone."""
        for message_id, call in list(self._calls.items()):
            if call.client is client:
                self._remove(message_id)

    def _send(self, client: Connection, request: Send, deadline: float) -> None:
        left = deadline - self._clock.monotonic()
        try:
            letter = self._sender.send(
                request.to,
                request.subject,
                request.body,
                timeout=0.0,
                expires_in=left,
                receipt=True,
            )
        except MailboxFullError:
            if left <= 0:
                raise
            client.held = (request, deadline)
        else:
            self._calls[letter.message_id] = _Call(client, request, letter, deadline)
            client.calls += 1

    def _end(self, call: _Call, error: GatewayError) -> None:
        if self._remove(call.letter.message_id) is not None:
            self._fail(call.client, call.request.id, error)

    def _remove(self, message_id: str | None) -> _Call | None:
        call = self._calls.pop(message_id or "", None)
        if call is not None:
            call.client.calls -= 1
        return call


def _is_gone(letter: Message, book: Book) -> bool:
    try:
        _, incarnation = book.look_up(letter.recipient)
    except AddressError:
        return True
    return incarnation != letter.incarnation
