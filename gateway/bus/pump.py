"""What found a full socket and does not have its writer wait, and the thread that sends it on.

A subscriber in another OS process that is slow gets its publications from a
bounded queue here, one for each, and loses the oldest when that is full, what
is retained for last; each loss is counted. So do letters to a mailbox whose
policy is to drop the oldest.
The thread runs only while something waits.

Where descriptors or memory are short nothing is lost of that alone: it waits as well, and is
tried again.

Other letters never come here: their writers wait themselves. **Bounces** do of what was accepted
and failed later, of which a reader that ends has many at once. They wait apart from the mail, go
first, and have some time left when everything else is over.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from time import sleep

from gateway.bus.conflation import dispensable
from gateway.bus.ledger import UNSENT, WITHHELD, empty_row
from gateway.bus.wire import Lane, Outlet
from gateway.errors import BodyError, GatewayError, MailboxFullError, RecipientGoneError, reason_of
from gateway.mail.message import Message

log = logging.getLogger(__name__)

DEPTH = 256
"""Publications and letters that wait for one mailbox at the most."""

BOUNCES = 4 * DEPTH
"""Bounces that wait for one mailbox at the most."""

LAST = 0.1
"""Seconds that bounces have in the end, where who is to be told reads nothing.

Then whoever takes stock of their OS process tells what is in its book (`gateway.bus.receipt_book`).
"""

AGAIN = 0.1
"""Seconds after which it is tried again, where descriptors or memory were short."""


_Queues = dict[Outlet, deque[tuple[Message, bytes]]]
"""What waits, with how it is packed, by who is to get it."""


class Pump:
    """Sends what had to wait, in order, to whoever has room. Thread-safe."""

    def __init__(
        self,
        undeliverable: Callable[[Message, GatewayError], None] = lambda message, error: None,
        left: Callable[[Message], None] = lambda bounce: None,
    ) -> None:
        """``undeliverable`` is told of each letter that is lost here, and why.

        ``left`` is told of each bounce that has left, or has nobody any more to go to.
        """
        self._undeliverable = undeliverable
        self._left = left
        self.counts = empty_row()
        """Where what is lost here, and what waits, is counted besides."""
        self.dropped_by: Counter[str] = Counter()
        """Publications lost here, by the mailbox that they were for."""
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._bounces: _Queues = {}
        self._waiting: _Queues = {}
        self._thread: threading.Thread | None = None
        self._settled = self._stopped = False

    @property
    def dropped(self) -> int:
        """Publications lost here in all."""
        return sum(self.dropped_by.copy().values())

    def send(self, outlet: Outlet, message: Message, packed: bytes) -> None:
        """Send now where there is room and nothing older waits, else queue."""
        if not (self._stopped or outlet in self._queues_for(message)):
            try:
                if outlet.try_send(message, _lane_of(message), packed):
                    self._is_over(message)
                    return
            except (RecipientGoneError, BodyError) as error:
                with self._lock:
                    self._lose_mail(outlet, [message])
                self._is_over(message, error)
                return
            except OSError as error:
                why = reason_of(error)
                log.warning("what is for %s waits, and is tried again: %s", outlet.name, why)
        self.queue(outlet, message, packed)

    def queue(self, outlet: Outlet, message: Message, packed: bytes) -> None:
        """Send as soon as there is room, after what waits already."""
        lost: Message | None
        with self._lock:
            if self._stopped and message.kind == "bounce":
                # It is left to whoever takes stock of this OS process.
                return
            if self._settled and message.kind != "bounce":
                lost, why = message, "its writer ends"
                self._lose(outlet, 1)
            else:
                lost, why = self._line_up(outlet, message, packed), "it gave way to a newer letter"
        if lost is not None:
            self._is_over(lost, MailboxFullError(why))

    def _line_up(self, outlet: Outlet, message: Message, packed: bytes) -> Message | None:
        """Put ``message`` behind what waits, lock held; return what has no place any more."""
        given_way: Message | None = None
        queue = self._queues_for(message).setdefault(outlet, deque())
        if len(queue) >= (BOUNCES if message.kind == "bounce" else DEPTH):
            self._lose(outlet, 1)
            at: int | None = 0
            if queue[0][0].retain and message.kind == "publication":
                at = dispensable([each for each, _ in queue], message)
            if at is None:
                return message
            given_way, _ = queue[at]
            del queue[at]
            self.counts[WITHHELD] -= 1
        queue.append((message, packed))
        self.counts[WITHHELD] += 1
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="pump", daemon=True)
            # Where the machine has no thread left, what comes next tries again.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread
        return given_way

    def holds(self, outlet: Outlet) -> bool:
        """Tell whether mail waits for the mailbox behind ``outlet``."""
        return outlet in self._waiting

    def settle(self) -> None:
        """Drop what waits, and take nothing more, but bounces."""
        with self._lock:
            self._settled = True
            self._drop(self._waiting)

    def stop(self, timeout: float = 2.0) -> None:
        """Drop what still waits and end the thread; wait for it ``timeout`` seconds at most.

        Bounces have a moment before.
        """
        with self._lock:
            if self._thread is not None:
                self._told.wait_for(lambda: not self._bounces, min(timeout, LAST))
            self._settled = self._stopped = True
            self._drop(self._waiting)
            self._bounces.clear()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _drop(self, queues: _Queues) -> None:
        """Lose all that waits in ``queues``, lock held."""
        for outlet, queue in queues.items():
            self._lose(outlet, len(queue))
            self.counts[WITHHELD] -= len(queue)
        queues.clear()

    def _is_over(self, message: Message, error: GatewayError | None = None) -> None:
        """Tell that nothing more is to be done for ``message``: it has left, or failed."""
        if message.kind == "bounce":
            self._left(message)
        if error is not None:
            self._undeliverable(message, error)

    def _lose_mail(self, outlet: Outlet, messages: Iterable[Message]) -> None:
        """Count these as lost, lock held, but for bounces: who is gone needs none."""
        if mail := sum(message.kind != "bounce" for message in messages):
            self._lose(outlet, mail)

    def _lose(self, outlet: Outlet, letters: int) -> None:
        """Count what is lost for the mailbox behind ``outlet``, lock held."""
        self.dropped_by[outlet.name] += letters
        self.counts[UNSENT] += letters

    def _queues_for(self, message: Message) -> _Queues:
        return self._bounces if message.kind == "bounce" else self._waiting

    def _run(self) -> None:
        while True:
            with self._lock:
                waiting = [
                    (queues, outlet)
                    for queues in (self._bounces, self._waiting)
                    for outlet in queues
                ]
                if not waiting:
                    self._thread = None
                    return
            poller = select.poll()
            ready = []
            for queues, outlet in waiting:
                lane: Lane = "urgent" if queues is self._bounces else "mail"
                try:
                    poller.register(outlet.socket_for(lane), select.POLLOUT)
                except OSError:
                    ready.append(outlet)
            # A subscriber that joins the queue meanwhile waits this long at most.
            if not ready:
                poller.poll(100)
            short = [outlet for queues, outlet in waiting if self._is_short(queues, outlet)]
            if short:
                sleep(AGAIN)

    def _is_short(self, queues: _Queues, outlet: Outlet) -> bool:
        """Send what waits for ``outlet``; tell whether descriptors or memory were short."""
        while True:
            with self._lock:
                queue = queues.get(outlet)
                if not queue:
                    queues.pop(outlet, None)
                    self._told.notify_all()
                    return False
                message, packed = queue[0]
                over: list[Message] = [message]
                error: GatewayError | None = None
                try:
                    if not outlet.try_send(message, _lane_of(message), packed):
                        return False
                except RecipientGoneError as gone:
                    over, error = [each for each, _ in queue], gone.with_traceback(None)
                except BodyError as refused:
                    # It is too large for anybody; what waits behind it is not.
                    error = refused.with_traceback(None)
                except OSError:
                    return True
                if error is not None:
                    self._lose_mail(outlet, over)
                for _ in over:
                    queue.popleft()
                self.counts[WITHHELD] -= len(over)
            for each in over:
                self._is_over(each, error)


def _lane_of(message: Message) -> Lane:
    return "urgent" if message.kind == "bounce" else "mail"
