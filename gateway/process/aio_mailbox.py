"""A mailbox that is read on an event loop and never blocks it.

The loop watches the mailbox's own pollers, which are descriptors themselves:
one has work for whoever wants mail, the other for whoever waits for a reply
alone. Mail is taken out when the process is ready for its next letter and not
before, so that a busy process holds up its writers as in every other mode.

One loop's thread reads alone. Refused, by never being called here: to wait in
`Mailbox.get` or `Mailbox.wait_for`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.mail.message import Message
from gateway.timeout import MOST, USUAL, in_seconds

IN_A_ROW = 16
"""Letters that one process handles before the others on its loop get a turn."""


class LoopMailbox:
    """Awaitable reading of one `Mailbox`; make and use it on the loop's thread."""

    def __init__(self, box: Mailbox) -> None:
        self._box = box
        self._loop = asyncio.get_running_loop()
        self._mail_fd, self._reply_fd = box.descriptors()
        self._watches_mail = False
        self._getter: asyncio.Future[None] | None = None
        self._callers = 0
        self._in_a_row = 0

    async def get(self, timeout: float | None) -> Message | None:
        """Return the next letter; None where none came in time, or something else wants a look.

        ``timeout`` is in seconds, None for as long as it takes.
        """
        self._in_a_row += 1
        if timeout == 0 or self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        if timeout != 0 and self._box.arm():
            self._in_a_row = 0
            await self._sleep(timeout)
        return self._box.get(0.0)

    async def _sleep(self, timeout: float | None) -> None:
        if not self._watches_mail:
            self._loop.add_reader(self._mail_fd, self._on_mail)
            self._watches_mail = True
        getter = self._getter = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(timeout, _wake, getter)
        try:
            await getter
        finally:
            self._getter = None
            if timer is not None:
                timer.cancel()

    def _on_mail(self) -> None:
        if self._getter is not None:
            _wake(self._getter)
        else:
            # Nobody wants it yet: watched on, it would keep the loop from sleeping.
            self._loop.remove_reader(self._mail_fd)
            self._watches_mail = False

    async def wait_for(self, message: Message, timeout: float) -> Message:
        """Return the reply to ``message``, within ``timeout`` seconds; other mail stays.

        Raises what `Mailbox.wait_for` raises.
        """
        # Mostly it is what is left of some seconds, or nobody has said how long.
        if timeout is not USUAL and (type(timeout) is not float or not 0.0 <= timeout <= MOST):
            timeout = in_seconds(timeout)
        box = self._box
        answered = self._loop.create_future()
        call = box.open_call(message, _Turn(self._loop, answered))
        try:
            if call.reply is None and not call.gone and not box.closed:
                self._watch_replies(1)
                timer = self._loop.call_later(timeout, _wake, answered)
                try:
                    await answered
                finally:
                    self._watch_replies(-1)
                    timer.cancel()
            if call.reply is None:
                # Whoever died may have answered first: the reply lies in the socket then.
                self._on_replies()
        finally:
            box.close_call(call)
        return box.outcome(call, timeout)

    def _watch_replies(self, change: int) -> None:
        self._callers += change
        if self._callers == change == 1:
            self._loop.add_reader(self._reply_fd, self._on_replies)
        elif not self._callers:
            self._loop.remove_reader(self._reply_fd)

    def _on_replies(self) -> None:
        self._box.read_replies()
        if self._getter is not None:
            # Some of it may be mail to whoever reads.
            _wake(self._getter)

    def close(self) -> None:
        """Watch nothing any more; do so before the mailbox is closed."""
        self._loop.remove_reader(self._mail_fd)
        self._loop.remove_reader(self._reply_fd)


class _Turn:
    """What the bus releases, on any thread, when a call has ended."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self._loop = loop
        self._future = future

    def release(self) -> None:
        self._loop.call_soon_threadsafe(_wake, self._future)


def _wake(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
