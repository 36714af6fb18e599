"""A lasting session with one broker: connects, says who is there, comes back.

A network thread of its own owns the connection (`routes.mqtt.network_loop`);
everybody else puts letters into a bounded outbox and goes on. Every
connection begins clean and is announced by the retained birth message,
followed by all retained values as they are now; when it breaks, the broker
publishes the will.

Not here: what topics and payloads mean, and any durable storage. Refused by
`publish`: payloads over ``max_payload`` (counted), topics that nobody can
publish to (`ValueError`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from random import Random

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.mail.topic import check_topic
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.exchange import Exchange, SessionStatistics
from routes.mqtt.incoming import Incoming
from routes.mqtt.letter import Letter
from routes.mqtt.network_loop import Calling, NetworkLoop, Status
from routes.mqtt.outbox import Outbox
from routes.mqtt.properties import NONE, Properties
from routes.mqtt.settings import SessionSettings

log = logging.getLogger(__name__)


class Session:
    """A connection that lasts, to one broker.

    ``on_message`` and ``on_state`` are called on the network thread and must
    not block it; what they raise is logged and counted as a fault, and costs
    the connection (``on_message``) or nothing (``on_state``). Start once,
    stop once; thread and descriptors are gone when `stop` returns True.
    """

    def __init__(
        self,
        settings: SessionSettings,
        *,
        client_id: str,
        status: Status,
        clock: Clock,
        random: Random,
        subscriptions: Sequence[str] = (),
        on_message: Callable[[Incoming], None] = lambda incoming: None,
        on_state: Callable[[ConnectionState], None] = lambda state: None,
    ) -> None:
        self._url = settings.url
        self._status = status
        self._clock = clock
        outbox = Outbox(
            size=settings.queue_size,
            size_bytes=settings.queue_bytes,
            retained_size=1 + settings.retained_size,  # the birth beside them
            spooled_window=settings.in_flight,
        )
        first = ConnectionState("connecting", str(self._url), "not tried yet", clock.time())
        self._exchange = Exchange(outbox, first, max_payload=settings.max_payload)
        self._loop = NetworkLoop(
            settings,
            self._exchange,
            calling=Calling(
                client_id=settings.client_id or client_id,
                status=status,
                subscriptions=tuple(subscriptions),
                on_message=on_message,
                on_state=on_state,
            ),
            clock=clock,
            backoff=Backoff(settings.retry_first, settings.retry_ceiling, random),
            throttle=Backoff(settings.retry_first, settings.retry_ceiling, random),
        )
        self._thread: threading.Thread | None = None
        # First of all retained values, and so the first word on each connection.
        self.publish(status.topic, status.online, qos=1, retain=True, urgent=True)

    @property
    def state(self) -> ConnectionState:
        """How things stand with the broker now."""
        return self._exchange.state

    def start(self) -> None:
        """Start the network thread; the broker need not be there."""
        if self._thread is not None:
            raise RuntimeError("a session is started once")
        self._exchange.open()
        self._thread = threading.Thread(
            target=self._loop.run, name=f"mqtt {self._url.place}", daemon=True
        )
        self._thread.start()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        urgent: bool = False,
        properties: Properties = NONE,
        settled: Callable[[], None] | None = None,
    ) -> bool:
        """Queue one message and return at once; from any thread.

        False where it was refused: for its size, or because the session is
        stopping. ``urgent`` letters go before the others and are dropped
        after them; a retained one is forgotten after them. One with ``settled``
        is never dropped; that is called, from any thread, once the broker has
        it or never will. Of ``properties``, ``expires_in`` holds under any
        MQTT, and the rest is left out under 3.1.1.
        Raises `ValueError` on a topic with wildcards or half a surrogate pair
        and on a QoS other than 0 and 1.
        """
        check_topic(topic)
        topic.encode()
        if qos not in (0, 1):
            raise ValueError(f"QoS {qos} is not offered: use 0 or 1")
        lasts = properties.expires_in
        deadline = None if lasts is None else self._clock.monotonic() + lasts
        return self._exchange.put(
            Letter(topic, payload, qos, retain, urgent, properties, settled, deadline)
        )

    def together(self) -> AbstractContextManager[None]:
        """Publish several messages at the cost of one wake-up of the network thread."""
        return self._exchange.together()

    def recorded(self, letters: int) -> None:
        """So many letters whose ``settled`` was called are known as such where they are kept.

        Without this word no more than ``in_flight`` of those go out.
        """
        self._exchange.recorded(letters)

    def statistics(self) -> SessionStatistics:
        """Return the counts, as one consistent picture."""
        return self._exchange.statistics()

    def wait_for_state(
        self, accepts: Callable[[ConnectionState], bool], timeout: float
    ) -> ConnectionState | None:
        """Wait up to ``timeout`` s for a state that ``accepts`` takes; None if none came."""
        return self._exchange.wait_for_state(accepts, timeout)

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` s until the broker has all that was published; say if so."""
        return self._exchange.wait_until_empty(timeout)

    def stop(self, deadline: float) -> bool:
        """Flush, say offline, close: all within ``deadline`` seconds.

        What the broker has not taken by then stays unsent and shows in the
        statistics; where that is the farewell itself, the broker publishes
        the will instead. False where the thread is still held up in a
        connection attempt; it ends by itself as soon as that has timed out.
        """
        thread = self._thread
        if thread is None:
            return True
        limit = self._clock.monotonic() + deadline
        if not self._exchange.stopping.is_set():
            farewell = Letter(self._status.topic, self._status.offline, 1, retain=True, urgent=True)
            # A part of the time is kept for the farewell, and for the thread to end.
            until = limit - deadline * 0.1
            self._exchange.leave(
                farewell, deadline * 0.6, lambda: max(0.0, until - self._clock.monotonic())
            )
        thread.join(max(0.05, limit - self._clock.monotonic()))
        if thread.is_alive():
            log.warning("%s: still held up in a connection attempt while stopping", self._url)
        return not thread.is_alive()
