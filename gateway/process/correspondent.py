"""Whoever has a mailbox: writes, answers, waits for replies, and handles what comes.

Mail goes to the callbacks that `add_filter` names. An exception from one: a
`GatewayError` bounces to the sender and is counted; anything else is a bug, and
is left to rise, as is all that the callback of a subscription raises.

What no filter takes is sent back to whoever waits for the answer, or asked for a receipt;
to others it says nothing, but for one line in the log a subject.

What is written may be written on any thread (`gateway.process.writer`);
`mailman` and the callbacks belong to the one that reads.

Refused (`ValueError`): filters that cannot stand, and callbacks that cannot run where
they are to run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Protocol

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import GatewayError, MailboxFullError, UnknownApiError
from gateway.mail.filters import (
    Callback,
    FilterTable,
    FilterView,
    Run,
    check_words,
    in_short,
    in_turn,
)
from gateway.mail.message import MAP, UNSOLICITED, Message, bounce_of, is_solicited
from gateway.process.agenda import Agenda, Alarm
from gateway.process.stray import end_stray
from gateway.process.subscription import Subscription
from gateway.process.whereabouts import handles_letters
from gateway.process.writer import Writer
from gateway.timeout import FAR, in_seconds

log = logging.getLogger(__name__)

STATISTICS = "$statistics"
"""The subject to which every process answers with its `statistics`."""

UNTAKEN = 64
"""Subjects that are logged at the most as what nobody takes, once each.

As many letters that nobody took wait at the most to be sent back."""

TRIES, AGAIN = 10, 0.05
"""How often it is tried again to tell who may be waiting, and after how many seconds."""


class Desk(Protocol):
    """Who answers calls."""

    def take(self, message: Message) -> bool:
        """Answer ``message`` where it is a call of something that is known here; tell whether."""
        ...

    def obey(self, message: Message) -> bool:
        """Obey ``message``, which is control mail, where it is for the desk; tell whether."""
        ...

    def refusal(self, message: Message) -> GatewayError | None:
        """Return why a letter that nobody took is no call either; None where nothing is served."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return the counts of the calls."""
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


class Correspondent(Writer):
    """One mailbox and the mail that goes in and out of it; see the module's head."""

    def __init__(self, name: str, office: Office, mailbox: Mailbox, route: str = "") -> None:
        super().__init__(name, office, mailbox, route)
        self._agenda = Agenda()
        self.desk: Desk | None = None
        """Who answers calls here, and sees each letter first; see `gateway.rpc`."""
        self.calls: Any = None
        """The calls that this process has made of others, if any; see `gateway.rpc`."""
        self.services: Any = None
        """What this process knows of services, if anything; see `gateway.services`."""
        self._filters = FilterTable()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._given_up: set[str] = set()
        """Patterns under which nothing waits in files any more, since this life has said so."""
        self._untaken: set[str] = set()
        self._untold: list[tuple[Message, int]] = []

    def mailman(self, timeout: float = 0.0) -> int:
        """Handle the mail that is here and return how many letters.

        For the first it waits up to ``timeout`` seconds. A process calls this
        by itself between frames; what calls it is a life that does not return.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=lambda letter: print(letter.subject))
        ...     main.send("main", "one")
        ...     main.send("main", "two")
        ...     return main.mailman()
        >>> play(scene)
        one
        two
        2
        """
        timeout = in_seconds(timeout)
        handled = 0
        while (
            message := self._box.get(self._until_due(timeout) if not handled else 0.0)
        ) is not None:
            self._handle(message)
            handled += 1
        if self._agenda.is_busy:
            self._do_what_is_due()
        return handled

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` on this process's thread, between letters; for any thread.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.call_soon(lambda: print("between letters"))
        ...     return main.mailman()
        >>> play(scene)
        between letters
        0
        """
        self._refuse_coroutines(callback)
        self._agenda.add_soon(callback)
        self._have_looked_at()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Call ``callback()`` on this process's thread in ``seconds``; for any thread.

        What comes back is for `Alarm.cancel`. A life that does not return, and
        calls no `mailman`, is late.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.call_later(0.01, lambda: print("it is time"))
        ...     main.call_later(60, print).cancel()
        ...     return main.mailman(timeout=5.0)
        >>> play(scene)
        it is time
        0
        """
        self._refuse_coroutines(callback)
        seconds = in_seconds(seconds, "a delay", FAR)
        alarm = self._agenda.add(self._clock.monotonic() + seconds, callback)
        self._have_looked_at()
        return alarm

    def _refuse_coroutines(self, *callbacks: Any) -> None:
        """Raise `ValueError` for a coroutine: without a loop nobody would await it."""
        if any(map(iscoroutinefunction, callbacks)):
            raise ValueError(
                f"{self.name!r} has no loop for a coroutine: add the process with mode='asyncio'"
            )

    def _have_looked_at(self) -> None:
        """Have the reader look at its agenda before it sleeps on."""
        self._box.rouse()

    def _until_due(self, timeout: float) -> float:
        """Return ``timeout`` in seconds, or less where something is due before."""
        if not self._agenda.is_busy:
            return timeout
        left = self._agenda.left(self._clock.monotonic())
        return timeout if left is None else min(timeout, left)

    def _do_what_is_due(self) -> None:
        """Call what `call_soon` and `call_later` left, of what is due now."""
        now = self._clock.monotonic()
        for _ in range(self._agenda.most_due() or 1):
            callback = self._agenda.take(now)
            if callback is None:
                return
            callback()

    def add_filter(
        self,
        *,
        callback: Callback | Sequence[Callback],
        id: str = "",
        run: Run = "here",
        route: str | None = None,
        fallthrough: bool = False,
        description: str = "",
        **patterns: str,
    ) -> str:
        """Call ``callback`` with each letter whose headers match; return the filter's id.

        ``patterns`` are regular expressions by header name, of the letter
        (``sender``, ``subject``, ``kind``; see `Message`) or your own; all must
        be found (``subject=r"(?i)^stop$"``). With ``route`` it takes mail that a router
        of that name brought in, and no other; with ``route=""`` mail from
        inside alone. A ``fallthrough`` filter takes what no other took.

        Several callbacks are called in turn; the first that raises ends it.
        They run in place, or with ``run="thread"`` on a thread of this
        process, four at a time while 64 letters wait, or with ``run="fork"``
        each in an OS process that is forked for this letter, and ends with it,
        four at a time in the whole application while 64 letters wait there:
        then they are functions at the top of a module, and what they return,
        unless None, is the reply. One letter more than may wait bounces
        (`MailboxFullError`). What runs elsewhere keeps no order between
        letters. Raises `ValueError` for what cannot stand, and `TypeError` for
        a header that is nearly one of the letter's, as ``subjct``, or ``body``,
        and for an ``id`` or a ``route`` that is no text.

        >>> from gateway import Process
        >>> from gateway.testing.stage import play
        >>> class Arm(Process):
        ...     def birth(self):
        ...         self.add_filter(subject=r"(?i)^stop$", callback=self.on_stop, run="thread")
        ...     def on_stop(self, message):
        ...         self.reply(message, "stopped")
        >>> play(lambda main: main.wait_for_reply(main.send("arm", "STOP")).body, arm=Arm)
        'stopped'
        """
        check_words(id=id, route=route)
        callbacks = callback if isinstance(callback, Sequence) else [callback]
        if route is not None:
            patterns["route"] = rf"^{re.escape(route)}\Z"
        return self._filters.add(
            self._carried(callbacks, run),
            id=id,
            fallthrough=fallthrough,
            description=description,
            run=run,
            **patterns,
        )

    def _carried(self, callbacks: Sequence[Callback], run: Run) -> Callback:
        """Return what the filter calls: ``callbacks``, or what has them run elsewhere."""
        if run != "here":
            raise ValueError(f"{self.name!r} has no {run} for its callbacks: it is no Process")
        return in_turn(callbacks)

    def remove_filters(self, *ids: str) -> int:
        """Remove filters by id; return how many were there.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=print, id="stop", subject="^stop$")
        ...     return main.remove_filters("stop", "nobody")
        >>> play(scene)
        1
        """
        return self._filters.remove(*ids)

    def list_filters(self) -> list[FilterView]:
        """Return the filters, in the order in which they are tried.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=print, description="stops", subject="^stop$")
        ...     return [(view.id, view.description, view.hits) for view in main.list_filters()]
        >>> play(scene)
        [('filter-1', 'stops', 0)]
        """
        return list(self._filters)

    def _close_ends(self) -> None:
        """End what is under way: calls that are answered here, and calls of others."""
        for end in (self.desk, self.calls):
            if end is not None:
                end.close()

    # Information

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        calls = {} if self.desk is None else {"calls": self.desk.statistics()}
        return {
            **self._mail_counts,
            **calls,
            "mail": self._box.statistics()._asdict(),
            **self._office.statistics(),
        }

    # Handling

    @handles_letters
    def _handle(self, message: Message) -> None:
        kind = message.kind
        if kind == "letter":
            if message.subject == STATISTICS and self._is_for_us(message):
                # Before any filter: who catches everything is to be looked into as well.
                self._call(self._tell_statistics, message)
                return
            if self.desk is not None and self.desk.take(message):
                return
        elif kind == "publication":
            for subscription in self._subscriptions:
                subscription.offer(message)
            return
        elif kind == "control":
            # It came before there was a desk, which obeys as soon as it is read.
            if self.desk is not None:
                self.desk.obey(message)
            return
        elif kind == "bounce" and not is_solicited(message):
            # For who waited. Nobody does, or not yet: then the mailbox remembers it.
            return
        found = self._filters.matching(message)
        if not found:
            self._unmatched(message)
        for known in found:
            self._call(known.callback, message)

    @handles_letters
    def _call(self, callback: Callback, message: Message) -> None:
        try:
            callback(message)
        except GatewayError as error:
            # Of a child of os.fork() it is no answer: its parent gives that.
            end_stray(self._box, error)
            log.info("%s refused %r of %s: %s", self.name, message.subject, message.sender, error)
            self.bounce(message, error)

    def _tell_statistics(self, message: Message) -> None:
        self.reply(message, self.statistics())

    def _unmatched(self, message: Message) -> None:
        self._mail_counts["unhandled"] += 1
        self._count_as_bounced(message)
        if message.kind != "letter" or not is_solicited(message):
            return
        refusal = None if self.desk is None else self.desk.refusal(message)
        if message.receipt:
            self.bounce(message, refusal or self._no_filter_for(message))
        elif not message.route and "@" not in message.sender:
            self._tell_who_waits(message, refusal or self._no_filter_for(message))

    def _tell_who_waits(self, message: Message, error: GatewayError) -> None:
        """Send back a letter of another process, which may be waiting for its answer."""
        if message.subject not in self._untaken and len(self._untaken) < UNTAKEN:
            self._untaken.add(message.subject)
            log.warning("%s wrote what nobody takes: %s", message.sender, str(error))
        # It holds up nobody here: who writes many of them, and reads nothing, is not waiting.
        id, time = self._office.new_id(), self._clock.time()
        self._mention(bounce_of(message, id, time, error, headers=UNSOLICITED), TRIES)

    def _mention(self, bounce: Message, tries: int) -> None:
        """Deliver a bounce to who may be waiting for it, after a moment where there is no room."""
        try:
            self._office.mention(bounce)
        except MailboxFullError:
            # Many wait there, one reads nothing, or descriptors are short.
            if tries > 0 and len(self._untold) < UNTAKEN:
                if not self._untold:
                    self.call_later(AGAIN, self._mention_again)
                self._untold.append((bounce, tries - 1))
        except GatewayError as failure:
            log.debug("%s could not bounce to %s: %s", self.name, bounce.recipient, failure)

    def _mention_again(self) -> None:
        untold, self._untold = self._untold, []
        for bounce, tries in untold:
            self._mention(bounce, tries)

    def _no_filter_for(self, message: Message) -> GatewayError:
        if message.subject == MAP:
            # Nobody who lists what can be called has written that word.
            return UnknownApiError(
                f"{self.name!r} serves no API: write it a letter (gateway send), or mark its"
                " methods with @command, so that they can be called"
            )
        # What there is, is nobody's business outside.
        known = "" if message.route else f"; {self._filters.in_words()}"
        subject = in_short(message.subject)
        return UnknownApiError(f"{self.name!r} has no filter for {subject}{known}")
