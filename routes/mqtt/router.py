"""The mqtt route: what happens on the bus, told at a broker, and calls from there.

Out: what is published on the bus (`routes.mqtt.telemetry`); a letter to
``some/topic@mqtt`` goes to that topic. What is not retained waits in the spool
for the broker, and for this route should it be killed. In: whatever one of the
route's `Inlet`s has subscribed to: calls (`routes.mqtt.calls`), foreign topics
(`routes.mqtt.listening`), and what an earlier run has left (`routes.mqtt.leftovers`).
Home Assistant is told of the devices (`routes.mqtt.discovery_announcing`).

The broker is talked to on the session's own thread. What it brings is judged
there; only what may become a letter is handed to the process's thread, through
a bounded tray.

Refused, with a bounce: letters out while there is no broker, since nobody wants
them late; letters to this gateway's own topics. Refused at the start: two
subscriptions under which the same topic falls, since it may then come twice.
"""

from __future__ import annotations

import logging
import re
from random import Random
from typing import Any, ClassVar

import msgspec

from gateway import __version__
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import ConfigError, LinkLostError, RefusedError, SpoolError
from gateway.mail.address import Address
from gateway.mail.codec import to_json
from gateway.mail.message import Message
from gateway.mail.topic import matches
from gateway.routing.carrier import Carrier
from routes.mqtt.calls import Calls
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.discovery import Announcer
from routes.mqtt.discovery_announcing import Announcing
from routes.mqtt.fleet import Fleet
from routes.mqtt.forwarder import Forwarder
from routes.mqtt.in_tray import InTray
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Inlet
from routes.mqtt.leftovers import PATIENCE, Leftovers
from routes.mqtt.listening import Listening
from routes.mqtt.mail import Mail
from routes.mqtt.manage import Manage
from routes.mqtt.network_loop import Status
from routes.mqtt.properties import of_message
from routes.mqtt.session import Session
from routes.mqtt.settings import Settings
from routes.mqtt.telemetry import OUTWARD, STOPPED, Telemetry
from routes.mqtt.topics import Topics, refuse_overlaps

log = logging.getLogger(__name__)

LEAVE = 2.0
"""Seconds that the farewell may take."""

TICK = 10.0
"""Hertz at which what waits for a moment is looked at, while there is any."""


class MqttRouter(Carrier):
    """Carries telemetry to a broker and calls from it."""

    Settings: ClassVar[type[msgspec.Struct]] = Settings
    Fleet: ClassVar[type[Fleet]] = Fleet
    """What ``gateway fleet`` asks a broker with."""

    _session: Session | None = None
    _forwarder: Forwarder | None = None
    _heeds_writers = False
    _mail: Mail | None = None
    _manage: Manage | None = None
    _was_connected = False
    _connected_since: float | None = None
    """Since when there is a connection of which the forwarder has not been told."""

    @classmethod
    def spools(cls, name: str, settings: Any) -> dict[str, SpoolTerms]:
        """Return what is told at the broker, which waits as ``spool`` says."""
        terms: SpoolTerms | None = settings.spool.terms(name)
        return {} if terms is None else dict.fromkeys(OUTWARD, terms)

    def start(self) -> None:
        """Begin to talk to the broker, which need not be there."""
        settings: Settings = self.settings
        self.frequency = 0.0
        self._topics = Topics(self.node)
        self._tray = InTray(settings.max_calls)
        self._calls = Calls(
            settings,
            self._topics,
            clock=self._clock,
            tray=self._tray,
            admit=self.admit,
            say=self._say,
        )
        self._mail = self._open_mail()
        self._manage = self._make_manage()
        self._leftovers = Leftovers(
            self._topics,
            configured=self.parameter("configured", ()),
            say=self._say,
            ring=self._tray.ring,
            clock=self._clock,
            patience=self.parameter("patience", PATIENCE),
            room=self._room,
        )
        self._announcing = self._make_announcing()
        self._listening = [
            Listening(rule, send=self.send, tray=self._tray, clock=self._clock)
            for rule in settings.listen
        ]
        self._inlets: tuple[Inlet, ...] = (
            self._calls,
            *(self._mail.inlets() if self._mail else ()),
            *([self._manage] if self._manage else ()),
            self._leftovers,
            *(self._announcing.inlets if self._announcing else ()),
            *self._listening,
        )
        try:
            refuse_overlaps(each.subscription for each in self._inlets)
        except ConfigError:
            self._tray.close()
            raise
        self._session = Session(
            settings,
            client_id=f"gateway-{self.node}",
            status=self._status(),
            clock=self._clock,
            random=self.parameter("random") or Random(),
            subscriptions=[each.subscription for each in self._inlets],
            on_message=self._on_message,
            on_state=self._on_state,
        )
        self._telemetry = Telemetry(settings, self._topics, self._session, self._clock)
        self.watch(self._tray.fileno(), self._on_bell)
        self.add_filter(
            callback=self._calls.on_answer,
            id="answers",
            recipient=rf"^{re.escape(self.name)}\Z",
            kind="^(reply|bounce)$",
        )
        # The devices are known before the first call can come.
        terms = settings.spool.terms(self.name)
        for pattern in OUTWARD:
            self.subscribe(pattern, self._on_publication, spool=terms)
        if terms is not None:
            self._forwarder = Forwarder(
                self.open_spool(terms),
                self._telemetry.say,
                self._session,
                self._tray.ring,
                self._clock,
                replay_rate=settings.spool.replay_rate,
                window=terms.window,
                in_flight=settings.in_flight,
            )
            self._heed_writers()
            self._forwarder.carry()
        if self._manage is not None:
            self._manage.open()
        self._set_frequency()
        self._session.start()

    def stop(self) -> None:
        """Answer who still waits, say goodbye, give back thread and descriptors."""
        session = self._session
        if session is None:
            self._close_mail()
            return
        if self._manage is not None:
            self._manage.close()
        self._calls.close()
        self._tray.empty()
        self._telemetry.take_back()
        self._session = None
        session.stop(LEAVE)
        if self._manage is not None:
            self._manage.seal()
        forwarder, self._forwarder = self._forwarder, None
        if forwarder is not None:
            if self._heeds_writers:
                self.unwatch(forwarder.fileno())
            forwarder.close()
        self.unwatch(self._tray.fileno())
        self._tray.close()
        self._close_mail()

    def life(self) -> None:
        """Give up the calls whose time is over; keep the spool's house; do what else is due."""
        self._calls.expire()
        if self._forwarder is not None:
            if self._forwarder.is_busy:
                self._forward(self._forwarder)
            self._forwarder.keep_house(connected=self._was_connected)
            self._heed_writers()
        self._tick()
        self._set_frequency()

    def outbound(self, message: Message) -> None:
        """Publish the body of a letter to ``topic@mqtt``, at QoS 1; confirm that it is queued."""
        session = self._session
        if session is None or not session.state.is_connected:
            cause = session.state.cause if session else "the route is stopping"
            raise LinkLostError(f"no broker: {cause}")
        topic = Address.parse(message.recipient).local
        if not self._topics.may_answer_to(topic):
            raise RefusedError(f"no letter can go to the topic {topic!r}")
        properties = of_message(message, self._clock.monotonic())
        body = to_json(message.body)
        if not session.publish(topic, body, qos=1, urgent=True, properties=properties):
            raise RefusedError(f"the body is over max_payload = {self.settings.max_payload} bytes")
        self.reply(message)

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts, the session's, and refused calls by kind."""
        session = self._session
        return {
            **super().statistics(),
            **self._calls.statistics(),
            **self._telemetry.statistics(),
            **self._leftovers.statistics(),
            **(self._announcing.statistics() if self._announcing else {}),
            "listening": {each.subscription: each.statistics() for each in self._listening},
            "spool": self._forwarder.statistics() if self._forwarder else None,
            "mail_between_gateways": self._mail.statistics() if self._mail else None,
            "manage": self._manage.statistics() if self._manage else None,
            "session": msgspec.to_builtins(session.statistics()) if session else None,
        }

    def _on_publication(self, message: Message) -> None:
        if matches("devices/+/info", message.subject):
            self._calls.note_info(message)
            if self._announcing is not None:
                self._announcing.note_info(message)
        elif self._manage is not None and matches("devices/+/state", message.subject):
            self._manage.note(message)
        if message.retain and message.subject.startswith("devices/"):
            self._leftovers.note(message)
        self._telemetry.say(message)

    def _on_bell(self, _events: int) -> None:
        self._tray.empty()
        if self._forwarder is not None:
            self._forward(self._forwarder)
            self._heed_writers()
        self._tick()
        self._set_frequency()

    def _heed_writers(self) -> None:
        """Listen to the writers' bell, unless the session has enough to do as it is."""
        forwarder = self._forwarder
        if forwarder is not None and self._heeds_writers == forwarder.has_enough:
            self._heeds_writers = not forwarder.has_enough
            if self._heeds_writers:
                self.watch(forwarder.fileno(), self._on_bell)
            else:
                self.unwatch(forwarder.fileno())

    def _set_frequency(self) -> None:
        """Look at the clock as often as is needed now."""
        forwarder = self._forwarder
        if self._is_busy() or (forwarder is not None and forwarder.is_busy):
            wanted = TICK
        else:
            wanted = 6 / self.settings.spool.window if forwarder is not None else 0.0
        if self.frequency != wanted:
            self.frequency = wanted

    def _forward(self, forwarder: Forwarder) -> None:
        since, self._connected_since = self._connected_since, None
        if since is not None:
            forwarder.begin(since)
        else:
            forwarder.carry()

    def _tick(self) -> None:
        self._leftovers.tick()
        if self._announcing is not None:
            self._announcing.tick()
        if self._mail is not None:
            self._mail.turn()

    def _is_busy(self) -> bool:
        return (
            bool(len(self._calls))
            or self._leftovers.is_waiting
            or (self._announcing is not None and self._announcing.is_waiting)
            or (self._mail is not None and self._mail.is_busy)
        )

    def _room(self) -> int:
        """Return how many more topics can be retained, and told to the broker, now."""
        settings: Settings = self.settings
        session = self._session
        if session is None or not session.state.is_connected:
            return 0
        # The birth lies beside them.
        return 1 + settings.retained_size - session.statistics().outbox.retained

    def _make_announcing(self) -> Announcing | None:
        settings = self.settings
        if settings.discovery is None:
            return None
        return Announcing(
            settings.discovery,
            Announcer(settings.discovery, self._topics, node=self.node, version=__version__),
            self._leftovers,
            say=self._say,
            ring=self._tray.ring,
            allows=self.access.allows,
            max_payload=settings.max_payload,
            clock=self._clock,
            random=self.parameter("random") or Random(),
        )

    # On the session's thread

    def _on_message(self, incoming: Incoming) -> None:
        for inlet in self._inlets:
            if matches(inlet.subscription, incoming.topic):
                inlet.hear(incoming)
                return
        self._calls.hear(incoming)  # who refuses it, and counts

    def _on_state(self, state: ConnectionState) -> None:
        if self._mail is not None:
            self._mail.note(state)
        if self._session is not None:
            # A throttling broker changes the cause of one connection.
            if state.is_connected and not self._was_connected:
                self._connected_since = state.since
                self._tray.ring()
            self._was_connected = state.is_connected
            self.set_connection("connected" if state.is_connected else "waiting", state.cause)

    # From either thread

    def _say(self, topic: str, payload: bytes, **options: Any) -> bool:
        session = self._session
        return session is not None and session.publish(topic, payload, **options)

    def _open_mail(self) -> Mail | None:
        settings = self.settings
        if settings.mail is None:
            return None
        mail: Mail | None = None
        try:
            mail = Mail(
                settings.mail,
                self,
                file=self.memory_folder / "letters",
                clock=self._clock,
                say=self._say,
                max_payload=settings.max_payload,
            )
            mail.open()
        except (RefusedError, SpoolError) as error:
            log.error("%s carries no mail between gateways: %s", self.name, str(error))
            if mail is not None:
                mail.close()
            return None
        self.watch(mail.fileno(), self._on_bell)
        return mail

    def _make_manage(self) -> Manage | None:
        settings = self.settings
        if settings.manage is None:
            return None
        return Manage(
            settings.manage,
            self,
            self._topics,
            clock=self._clock,
            say=self._say,
            max_payload=settings.max_payload,
        )

    def _close_mail(self) -> None:
        mail, self._mail = self._mail, None
        if mail is not None:
            self.unwatch(mail.fileno())
            mail.close()

    def _status(self) -> Status:
        now = self._clock.time()

        def body(**fields: Any) -> bytes:
            return to_json({**fields, "node": self.node, "version": __version__})

        return Status(
            topic=self._topics.status,
            online=body(online=True, cause="it was started", since=now),
            offline=body(online=False, cause=STOPPED),
            lost=body(online=False, cause="the gateway fell silent: its power or its network?"),
        )
