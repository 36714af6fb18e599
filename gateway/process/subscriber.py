"""A correspondent who also publishes, and subscribes to what others publish.

A topic has one owner, who numbers what is to be retained; the boss keeps that,
and who subscribed. `publish` may be called from any thread; `subscribe`,
`unsubscribe` and the callbacks belong to the one that reads.

Refused: what is no topic or no pattern, a coroutine where there is no loop
(`ValueError`), bodies that no letter can carry (`BodyError`).
"""

from __future__ import annotations

import contextlib
from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import GatewayError
from gateway.mail.body import check_flag, checked
from gateway.mail.codec import decode, encode
from gateway.mail.filters import Callback
from gateway.mail.message import NORMAL, Message
from gateway.mail.topic import check_pattern, check_topic
from gateway.process.correspondent import Correspondent
from gateway.process.subscription import Subscription
from gateway.timeout import in_seconds

if TYPE_CHECKING:
    from gateway.bus.spool import SpoolReader


class Subscriber(Correspondent):
    """One mailbox, and the topics that it publishes and hears; see the module's head."""

    def __init__(self, name: str, office: Office, mailbox: Mailbox, route: str = "") -> None:
        super().__init__(name, office, mailbox, route)
        # One row for all topics: it rises on each of them, and none has to be remembered.
        # Any thread may draw from it.
        self._stamps = count(1)

    def publish(self, topic: str, body: Any = None, *, retain: bool = False) -> None:
        """Hand ``body`` to whoever subscribed to ``topic``; never waits for a slow one.

        With ``retain`` the boss keeps it for those who subscribe later; a
        retained None ends that. What a slow subscriber missed is counted, by
        its name, in `statistics` as ``publications_dropped``.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.publish("weather", {"celsius": 21.5}, retain=True)
        ...     main.subscribe("weather", lambda message: print(message.body))
        >>> play(scene)
        {'celsius': 21.5}
        """
        body, body_type = checked(body)
        check_topic(topic)
        check_flag(retain, "retain")
        office = self._office
        message_id = office.new_id()
        message = Message(
            message_id,
            message_id,
            next(self._stamps) if retain else 1,
            self._clock.time(),
            self.name,
            "",
            topic,
            body,
            NORMAL,
            None,
            None,
            "publication",
            0,
            self._box.incarnation,
            False,
            retain,
            self._route,
            body_type,
        )
        office.catch_up()
        version = office.book.version
        office.publish(message)
        if retain:
            self._inform_boss("retain", {"version": version, "message": encode(message)})

    def subscribe(
        self,
        pattern: str,
        callback: Callback,
        *,
        spool: SpoolTerms | None = None,
        timeout: float = 5.0,
    ) -> None:
        """Call ``callback`` with each publication under ``pattern`` (MQTT's ``+`` and ``#``).

        Returns once the subscription stands, within ``timeout`` seconds; what
        is retained under the pattern has been handed to ``callback`` by then,
        on this thread. What ``callback`` raises is a bug, a `GatewayError`
        too: there is nobody to whom a publication could bounce.

        With a ``spool`` only what is retained comes to ``callback``. The rest waits in
        files on those terms until `open_spool`'s reader has done with it: also while
        this process is dead, and until it unsubscribes. Name the pattern with ``spools``
        in `Application.add_process` as well, or have the module of the class import
        `gateway.bus.spool`: then SQLite is loaded once, before the first fork, and not
        once more (2 MB, 20 ms) in each OS process that publishes there.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.subscribe("rooms/+/light", lambda message: print(message.subject))
        ...     main.publish("rooms/kitchen/light", True)
        ...     main.mailman()
        >>> play(scene)
        rooms/kitchen/light
        """
        timeout = in_seconds(timeout)
        check_pattern(pattern)
        self._refuse_coroutines(callback)
        subscription = Subscription(pattern, callback)
        waits_already, stands = self._has_spool(pattern), False
        try:
            self._subscriptions = (*self._subscriptions, subscription)
            asked = self._tell_boss("subscribe", {"pattern": pattern, "spool": to_builtins(spool)})
            snapshot = self._box.wait_for(asked, timeout).body
            stands = True
            self._given_up.discard(pattern)
            self._offer(subscription, snapshot)
        except BaseException as error:
            # A bug of the callback's ends nothing that stands.
            if not (stands and isinstance(error, Exception)):
                self._undo(subscription, waits_already)
            raise

    def follow(self, pattern: str, callback: Callback) -> None:
        """Subscribe, in every mode alike: where that is awaited, it stands a little later."""
        self.subscribe(pattern, callback)

    def open_spool(self, terms: SpoolTerms) -> SpoolReader:
        """Return the reader of what waits for this process in files; close it in the end.

        ``terms`` are those of `subscribe`. Raises `SpoolError` where another reader
        is open, or the folder cannot be used.

        >>> from gateway.bus.spool_terms import SpoolTerms
        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     terms = SpoolTerms(limit=1 << 20)
        ...     main.subscribe("weather", print, spool=terms)
        ...     reader = main.open_spool(terms)
        ...     main.publish("weather", "rain")
        ...     (taken,) = reader.take(10)
        ...     reader.confirm([taken])
        ...     reader.close()
        ...     return taken.message.body
        >>> play(scene)
        'rain'
        """
        # SQLite is nothing that every gateway has to load.
        from gateway.bus.spool import SpoolReader

        return SpoolReader(self._office.spool_folder(self.name), terms)

    def _offer(self, subscription: Subscription, snapshot: list[bytes]) -> None:
        for packed in snapshot:
            subscription.offer(decode(packed))

    def unsubscribe(self, pattern: str, callback: Callback | None = None) -> int:
        """End the subscriptions to ``pattern``; return how many there were.

        With ``callback`` only its own end. No callback is called afterwards,
        also for what lies in the mailbox by then.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.subscribe("weather", lambda message: print(message.body))
        ...     main.publish("weather", "rain")
        ...     return main.unsubscribe("weather"), main.mailman()
        >>> play(scene)
        (1, 1)
        """
        ended = [
            known
            for known in self._subscriptions
            if known.pattern == pattern and callback in (None, known.callback)
        ]
        self._end(ended)
        if ended and all(known.pattern != pattern for known in self._subscriptions):
            if self._has_spool(pattern):
                # The book will say so a moment later.
                self._given_up.add(pattern)
            self._inform_boss("unsubscribe", pattern)
        return len(ended)

    def _end(self, ended: list[Subscription]) -> None:
        self._subscriptions = tuple(known for known in self._subscriptions if known not in ended)
        for subscription in ended:
            # Who walks the old tuple may still offer to it.
            subscription.end()

    def _has_spool(self, pattern: str) -> bool:
        """Tell whether what comes under ``pattern`` waits in files, as for an earlier life."""
        return pattern not in self._given_up and any(
            known.spool is not None and (known.mailbox, known.pattern) == (self.name, pattern)
            for known in self._office.book.subscriptions
        )

    def _undo(self, subscription: Subscription, keeps_row: bool) -> None:
        """Forget a subscription that came to nothing; the boss may have it, or get it soon.

        With ``keeps_row`` it has the boss go on as before: what waited for an earlier life
        in files is to wait for the next one too.
        """
        self._end([subscription])
        pattern = subscription.pattern
        if not keeps_row and all(known.pattern != pattern for known in self._subscriptions):
            self._given_up.add(pattern)
            with contextlib.suppress(GatewayError):
                self._tell_boss("unsubscribe", pattern)

    def declare_will(self, topic: str, body: Any) -> None:
        """Have ``body`` published, retained, on ``topic`` should this process die.

        A ``since`` in a dict body is set to the time of death, in seconds
        since 1970.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.declare_will("arm/state", {"state": "failed", "since": None})
        >>> play(scene)
        """
        check_topic(topic)
        self._tell_boss("will", {"topic": topic, "body": checked(body)[0]})
