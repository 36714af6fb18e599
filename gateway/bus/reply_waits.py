"""Waits for the replies to letters: each is handed over directly, other mail keeps its order.

Any thread may wait, and reads meanwhile. A wait ends with the reply, at its
deadline, or as soon as whoever was asked is known to be dead.

Refused: to wait without a deadline (`gateway.timeout`).
"""

from __future__ import annotations

from _thread import LockType, allocate_lock, get_ident
from collections.abc import Callable

from gateway.bus.intake import LOOK_EVERY, Intake
from gateway.bus.lanes import Call, Turn
from gateway.bus.leading import Standing, release
from gateway.bus.ledger import PASSED_ON, TAKING
from gateway.errors import CallTimeoutError, RecipientGoneError
from gateway.mail.message import Message, error_in
from gateway.timeout import MOST, USUAL, in_seconds


class ReplyWaits(Intake):
    """Who waits for replies at one mailbox, and what they are told."""

    on_gone: Callable[[str, int], None] | None = None
    """Is told of every life that is over, on whatever thread learns of it."""
    _owner = 0
    """The thread that reads the mail, as far as is known: see `Mailbox.own`."""

    def wait_for(self, message: Message, timeout: float, *, known: Call | None = None) -> Message:
        """Return the reply to ``message``; other mail stays in its order.

        Raises `CallTimeoutError` after ``timeout`` seconds, the error that a
        bounce tells of, and `RecipientGoneError` as soon as the recipient is
        known to be dead. ``known`` is the call where it is open already, and
        is to stay so.
        """
        lead, lanes, monotonic = self._lead, self._lanes, self._monotonic
        # Mostly nobody has said how long.
        if timeout is not USUAL and (type(timeout) is not float or not 0.0 <= timeout <= MOST):
            timeout = in_seconds(timeout)
        deadline = monotonic() + timeout
        call = known
        try:
            if call is None:
                call = Call(message)
                if not lanes.note_call(call, self._lock):
                    with self._lock:
                        call = lanes.open_call(message)
            # Without the lock, as in `get`: no other thread gets in where nothing is called.
            if not (lead.leader or call.reply or call.gone or self.closed):
                lead.leader = call
                lead.asleep = True
                # What is usual: nobody else waits, and the reply comes next.
                read = self._listen(timeout)
                if read is not None:
                    is_ours = read.in_reply_to == call.message.message_id
                    if is_ours and not (call.reply or call.turn):
                        self._source.held = None
                        lanes.counts[PASSED_ON] += 1
                        lanes.counts[TAKING] = 0
                        call.reply = read
                    else:
                        with self._lock:
                            self._sort(read)
                reply = call.reply
                if reply is not None and not (lead.followers or self.closed):
                    lead.leader = None
                    lead.asleep = False
                    if known is None:
                        lanes.calls.pop(message.message_id, None)
                    if reply.kind == "reply":
                        return reply
            self._wait_for(call, deadline)
            if known is None:
                self.close_call(call)
        except BaseException:
            self._step_back(call)
            if known is None:
                self.expect_no_more(message)
            raise
        return self.outcome(call, timeout)

    def wait_on(self, call: Call, timeout: float) -> Message:
        """Return the reply to what `open_call` noted, as `wait_for` does; the call stays open.

        For one thread at a time.
        """
        return self.wait_for(call.message, timeout, known=call)

    def _wait_for(self, call: Call, deadline: float) -> None:
        """Wait for the end of ``call``, where `wait_for` met with something unusual."""
        lead, lanes = self._lead, self._lanes
        read: Message | None = None
        last_look = False
        while True:
            with self._lock:
                if read is not None:
                    self._sort(read)
                if call.reply is not None or last_look or self.closed:
                    lead.leave(call)
                    break
                if lead.leader is call:
                    # It leads on. Were the lead to be handed on and taken again, this
                    # thread and a reader that follows would wake each other for ever.
                    lead.asleep = True
                    if lanes.queued or self._ready:
                        lead.wake_followers()
                else:
                    lead.leave(call)
                    lead.enter(call)
            left = deadline - self._monotonic()
            # Whoever died may have answered first: the reply lies in the socket then.
            last_look = left <= 0 or bool(call.gone)
            read = self._sleep(call, 0.0 if last_look else left)
        if self.closed:
            self._end()

    def outcome(self, call: Call, timeout: float) -> Message:
        """Return the reply that ended ``call``, or raise why there is none after ``timeout`` s."""
        if call.reply is not None:
            if call.reply.kind == "bounce":
                raise error_in(call.reply)
            return call.reply
        if call.gone:
            raise RecipientGoneError(call.gone)
        if self.closed:
            raise RecipientGoneError(f"{self.name!r} itself was closed")
        raise CallTimeoutError(_unanswered(call.message, timeout))

    def fail_calls(self, name: str, incarnation: int) -> bool:
        """End every wait for a reply of ``name``'s life ``incarnation``: it died.

        Tells whether there was any.
        """
        with self._lock:
            failed = self._lanes.end_of_life(name, incarnation)
            self._fail(failed, f"{name!r} died")
        if self.on_gone is not None:
            self.on_gone(name, incarnation)
        return bool(failed)

    def _fail(self, calls: list[Call], why: str) -> None:
        for call in calls:
            call.gone = f"{why} before it answered {call.message.subject!r}"
            call.end()
        if calls and self._lead.asleep:
            self._lead.strike()

    def read_replies(self) -> bool:
        """Read what lies in the urgent socket; mail stays where it holds up its own writers.

        False where another thread is at it.
        """
        lead, place = self._lead, Standing(reads=False)
        try:
            with self._lock:
                if lead.event < 0:
                    return True
                if lead.leader is not None:
                    return False
                lead.leader = place
            if self._is_torn:
                self._go_on()
            # No loop in here: see `Intake._drain`.
            self._drain_replies()
            with self._lock:
                lead.leader = None
                if self._lanes.queued and lead.asleep:
                    # A getter is armed, and what it waits for lies in no socket any more.
                    lead.strike()
                if lead.followers:
                    # Who came meanwhile leads now.
                    release(lead.followers[0].lock)
            if self.closed:
                self._end()
        except BaseException:
            self._step_back(place)
            raise
        return True

    def read_announcements(self) -> None:
        """Do what `read_replies` does, wherever this is called, also in a signal's handler."""
        # Who holds the lock may be the thread that the handler interrupted.
        if not self._lock.locked():
            self.read_replies()

    def _drain_replies(self) -> None:
        lead = self._lead
        for fd, _ in lead.replies.poll(0, 3):
            if fd in self._inlets:
                self._drain(self._inlets[fd], LOOK_EVERY)
            elif fd == lead.signals:
                lead.note_signal()

    @property
    def urgent_fd(self) -> int:
        """The descriptor of what `read_replies` reads; -1 where nobody writes from outside."""
        return self._urgent_fd

    def open_call(self, message: Message, turn: Turn) -> Call:
        """Note that the reply to ``message`` is waited for; ``turn`` is released when it ends."""
        with self._lock:
            call = self._lanes.open_call(message)
            call.turn = turn
        return call

    def give_up(self, call: Call) -> None:
        """End ``call`` before its time: this process itself ends, and waits no longer."""
        with self._lock:
            if call.reply is None and not call.gone:
                self._fail([call], f"{self.name!r} itself ended")

    def make_lock(self) -> LockType:
        """Return a lock for threads that wait beside the mail."""
        return allocate_lock()

    def expect(self, message: Message) -> None:
        """Note, before ``message`` leaves, that its reply will be waited for.

        Otherwise it may be here before anybody waits, and whoever reads the mail meanwhile
        is handed it as a letter. `wait_for` or `open_call` follows, or `expect_no_more`.
        """
        if get_ident() == self._owner:
            # Nobody but this thread takes mail out.
            return
        with self._lock:
            self._lanes.open_call(message)

    def expect_no_more(self, message: Message) -> None:
        """Take back what `expect` noted of a letter that could not leave."""
        with self._lock:
            self._lanes.close_call(message.message_id)

    def close_call(self, call: Call) -> None:
        """Forget a call; a reply that comes later is dropped."""
        with self._lock:
            self._lanes.close_call(call.message.message_id)


def _unanswered(asked: Message, timeout: float) -> str:
    who, what, within = repr(asked.recipient), repr(asked.subject), f"within {timeout:.3g} s"
    if asked.kind == "control" and isinstance(asked.body, str):
        # The boss is well; whoever the order is about takes its time.
        return f"{who} has not carried out {what} of {asked.body!r} {within}; the order stands"
    return f"{who} did not answer {what} {within}"
