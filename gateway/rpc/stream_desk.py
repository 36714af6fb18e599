"""Where the pulls of the streams that one process has open are answered.

The call that opens a stream is answered with its first batch, each pull with the
next. A stream one batch of which nobody could be given is closed.

Refused, at the caller (`RefusedError`): a pull that does not say how many parts it
wants, and what `gateway.rpc.streams` refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.errors import GatewayError, RefusedError
from gateway.mail.message import Message, is_solicited
from gateway.process.process import Process
from gateway.rpc.answers import Answers
from gateway.rpc.call import Call, Desk, doing
from gateway.rpc.catalogue import Served
from gateway.rpc.in_hand import InHand, Owner, owner_of
from gateway.rpc.open_stream import OpenStream
from gateway.rpc.stream import Stream
from gateway.rpc.streams import Streams

Execute = Callable[[Served | None, Callable[[Message], None], Message], None]
"""Has work on a letter done by the workers of an API, or in place where it has none."""


class StreamDesk:
    """Opens, steps and closes the streams of one process, for its desk."""

    def __init__(
        self, process: Process, desk: Desk, in_hand: InHand, answers: Answers, execute: Execute
    ) -> None:
        self._process = process
        self._desk = desk
        self._in_hand = in_hand
        self._answers = answers
        self._execute = execute
        self._streams = Streams(process._clock.monotonic, self._soon)
        self._looks_for_idle = False

    def open(self, stream: OpenStream) -> None:
        """Answer the call that made ``stream`` with its first batch; it is in hand until then."""
        message = stream.message
        if not is_solicited(message):
            stream.shut()
            self._answers.count("told")
            self._in_hand.end(message)
            return
        try:
            self._streams.open(stream)
        except GatewayError:
            stream.shut()
            raise
        if self._in_hand.is_taken_back(message):
            self.close(stream.id, stream.owner)
        self._step(stream, 1, message)
        if message.route and not self._looks_for_idle:
            self._look_for_idle()

    def pull(self, message: Message) -> None:
        """Answer ``message``, which asks for the next parts of a stream."""
        body = message.body if isinstance(message.body, dict) else {}
        try:
            stream = self._streams.find(body.get("stream"), owner_of(message))
            most = body.get("most")
            if not isinstance(most, int) or most < 1:
                raise RefusedError("a pull says how many parts it wants: most, 1 or more")
        except GatewayError as error:
            self._answers.fail(message, error)
            return
        self._execute(stream.served, partial(self._step, stream, most), message)

    def _step(self, stream: OpenStream, most: int, message: Message) -> None:
        before = doing.set((Stepped(self._desk, stream), message))
        try:
            told = self._streams.next(stream, most)
        except GatewayError as error:
            self._answers.fail(message, error)
        else:
            self._tell(stream, told, message)
        finally:
            doing.reset(before)
            self._in_hand.end(message)

    def _tell(self, stream: OpenStream, told: dict[str, Any], message: Message) -> None:
        """Answer with a batch; a stream of which nobody heard, or can hear, is over."""
        if not self._answers.give(message, told, Stream.SUBJECT):
            self.close(stream.id, stream.owner)

    def close(self, id: str, owner: Owner) -> None:
        """Close the stream that the call ``id`` of ``owner`` opened, where there is one."""
        self._streams.close(id, owner)

    def close_of(self, sender: str, incarnation: int) -> None:
        """Close what one life of ``sender`` has opened."""
        self._streams.close_of(sender, incarnation)

    def close_all(self) -> None:
        """Close everything, here and now."""
        self._streams.close_all()

    def _look_for_idle(self) -> None:
        left = self._streams.close_idle()
        self._looks_for_idle = left is not None
        if left is not None:
            self._process.call_later(left, self._look_for_idle)

    def _soon(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called where generators are closed."""
        self._process.call_soon(callback)

    def __len__(self) -> int:
        return len(self._streams)


class Stepped:
    """A desk as a handler that yields sees it, which is stepped for one pull after the other."""

    def __init__(self, desk: Desk, stream: OpenStream) -> None:
        self._desk = desk
        self._stream = stream

    def call_of(self, message: Message) -> Call:
        """Return the call that opened the stream, wanted as long as the pull ``message`` is."""
        opened = self._desk.call_of(self._stream.message)
        return opened._replace(expires=message.expiry, look=partial(self.is_unwanted, message))

    def is_unwanted(self, message: Message) -> bool:
        """Tell whether nobody waits for what the pull ``message`` asks for any more."""
        return self._desk.is_unwanted(message) or self._stream.is_closed
