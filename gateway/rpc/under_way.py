"""One call of a process that is under way, and how it ends.

The mailbox tells it, under its lock, that an answer or an error has come (`release`);
whoever comes by next makes the result of it: who asks for it, who sweeps up, or the
alarm at its deadline. One does, and nobody but who asks waits for that one.

Refused: nothing of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from gateway.bus.lanes import Call
from gateway.bus.mailbox import Mailbox
from gateway.errors import CallTimeoutError, ExpiredError, GatewayError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.rpc.attended import Attended
from gateway.rpc.stream import Answer
from gateway.rpc.transaction import Transaction, TransactionId

T = TypeVar("T")


class Calls(Protocol):
    """The calls of a process, as each of them sees them (`gateway.rpc.calls`)."""

    _process: Process
    _box: Mailbox
    _now: Callable[[], float]

    def note_end(self, ended: UnderWay[Any], *, hurry: bool) -> None:
        """Have ``ended`` looked at soon."""
        ...

    def forget(self, call: Call, how: str) -> None:
        """Close a call that has ended, as ``how`` says."""
        ...

    def take_back(self, letter: Message) -> None:
        """Tell whoever has ``letter`` that no answer to it is wanted."""
        ...

    def call_back(
        self, callback: Callable[[Transaction[Any]], object], made: Transaction[Any]
    ) -> None:
        """Call ``callback(made)``, on the process's own thread."""
        ...


class UnderWay(Attended[T]):
    """One call of a process; also what the mailbox releases when it has ended."""

    def __init__(
        self,
        calls: Calls,
        letter: Message,
        deadline: float,
        take: Callable[[Answer], T],
        release: Callable[[Any], object] | None,
    ) -> None:
        id = TransactionId(letter.sender, letter.sender_incarnation, letter.message_id)
        super().__init__(id, letter.subject, deadline, calls._now, calls._box.make_lock)
        self._calls = calls
        self._take = take
        self._let_go = release
        self._call = Call(letter)
        self._settling = calls._box.make_lock()
        self.is_attended = release is not None
        """Whether somebody waits for its end who reads nothing."""

    def stand(self, call: Call) -> None:
        """Take over what the mailbox knows of it; it may have ended by now."""
        self._call = call
        if call.reply is not None or call.gone:
            self.release()

    def release(self) -> None:
        """Note that it has ended; called by the mailbox, its lock held."""
        self._free()
        self._calls.note_end(self, hurry=bool(self._callbacks))

    def finish(self, patience: float = 0.0) -> None:
        """End it if there is an answer, an error, or no time left.

        Where somebody else does so already, this waits ``patience`` seconds for it.
        """
        call = self._call
        if self._is_done or (
            call.reply is None
            and not call.gone
            and self._now() < self.deadline
            and not self._calls._box.closed
        ):
            return
        # Of two that finish it one makes the result. To make it may mean to call again,
        # and to sweep up what others have under their hands: they are not waited for.
        if self._settling.acquire(timeout=patience):
            try:
                if not self._is_done:
                    self._settle(call)
            finally:
                self._settling.release()

    def _settle(self, call: Call) -> None:
        if call.reply is None:
            # Whoever died may have answered first: the reply lies in the socket then.
            self._calls._box.read_replies()
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self._take(self._calls._box.outcome(call, 0.0))
        except ExpiredError:
            failure = late(call.message.recipient, self.path)
        except Exception as error:  # noqa: BLE001 - whoever asks for the result is told
            failure = error
        if isinstance(failure, CallTimeoutError) and call.reply is None:
            failure = late(call.message.recipient, self.path)
            self._take_back()
            self._free()
        if self._end(result, failure):
            how = "answered" if failure is None else getattr(failure, "code", "error")
            self._calls.forget(call, how)

    def cancel(self) -> bool:
        """End it now, here and over there; tell whether it had not ended yet."""
        if not super().cancel():
            return False
        self._calls.forget(self._call, "cancelled")
        self._free()
        return True

    def _free(self) -> None:
        """Release who waits for a semaphore or an event, once."""
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go(self)

    def attend(self) -> None:
        """Read until it has ended, for somebody who does not."""
        with contextlib.suppress(CallTimeoutError):
            self._wait(None)

    def give_up(self) -> None:
        """End it before its time: its process ends."""
        self._calls._box.give_up(self._call)

    def _attend(self, timeout: float) -> None:
        until = self._now() + timeout
        # What became of it, `finish` says.
        with contextlib.suppress(GatewayError):
            self._calls._box.wait_on(self._call, timeout)
        self.finish(max(0.0, until - self._now()))

    def _take_back(self) -> None:
        self._calls.take_back(self._call.message)

    def _call_back(self, callback: Callable[[Transaction[T]], object]) -> None:
        self._calls._process.call_soon(partial(self._calls.call_back, callback, self))


def late(address: str, path: str) -> CallTimeoutError:
    """Return the error for a call that was not answered before its deadline."""
    return CallTimeoutError(f"{address!r} did not answer {path!r} in time")
