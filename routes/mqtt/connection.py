"""One connection to one broker, from CONNECT to its end, over paho.

paho's own thread is not used: it dies of an exception in a callback while
``is_connected()`` stays true. Here the owner calls `turn` in its own loop, so
whatever paho or a callback raises comes out of `turn`. A `Connection` lives
once; the next one begins with a fresh paho client, and so with nothing left
over from the last. What is not yet acknowledged is the owner's to keep: paho
is handed a message only when the socket took the one before.

The owner's callbacks are not called by paho but after it, so that what they
raise is told from what paho stumbles over.

Not for several threads: whoever opened it turns and closes it. Refused, by
cutting the connection: an incoming packet larger than ``packet_limit``, of
which paho would otherwise collect up to 256 MB; whatever MQTT forbids a broker
to send (see `violation`). A broker that reads nothing is not read either.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import OwnToo
from routes.mqtt.letter import Letter
from routes.mqtt.login import Login, Will
from routes.mqtt.paho_client import Ear, make_client
from routes.mqtt.properties import NONE
from routes.mqtt.protocol_choice import Version
from routes.mqtt.reason import PACKET_TOO_LARGE, Reason

_PACKETS = 32
"""Times that paho is asked to read before something else has its turn."""

_CLOGGED = 100
"""Times that a broker is listened to while it reads nothing of ours."""


class Connection:
    """A paho client that is driven by its owner.

    ``on_message(incoming)`` and ``on_acknowledged(letter, reason)`` are
    called inside `turn` and `send`; the reason is None where the broker took
    the letter. Without a will this is a probe: its CONNECT bears nothing that
    an older broker could stumble over.
    """

    def __init__(
        self,
        url: BrokerUrl,
        *,
        version: Version,
        login: Login,
        will: Will | None,
        keepalive: int,
        connect_timeout: float,
        packet_limit: int,
        on_message: Callable[[Incoming], None],
        on_acknowledged: Callable[[Letter, Reason | None], None],
    ) -> None:
        self.admitted = False
        self.refusal: Reason | None = None
        self.ending: Reason | None = None
        self.said_goodbye = False
        """Whether it was the broker that named the `ending`."""
        self.denied_subscriptions: list[str] = []
        self.acknowledged = 0
        self.receive_maximum = 65_535
        self.packet_maximum = 268_435_455
        self.keepalive = keepalive
        """Seconds; the broker may ask for another one than ours."""
        self._url = url
        self._packet_limit = packet_limit
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged
        self._awaiting: dict[int, Letter] = {}
        self._arrived: list[Incoming] = []
        self._answered: list[tuple[Letter, Reason | None]] = []
        self._violation = ""
        self._clogged = 0
        self._subscribing: dict[int, Sequence[str]] = {}
        self._maximum_qos = 2
        self._retain_available = True
        self._ear = Ear()
        self._is_5 = version == "5"
        self._is_probe = will is None
        self._tls = login.tls
        self._client = make_client(version, login, will, logger=self._ear)
        self._client.packet_limit = packet_limit
        self._client.connect_timeout = connect_timeout
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received
        self._client.on_acknowledged = self._acknowledged
        self._client.in_use = self._awaiting
        self._client.on_subscribe = self._subscribed

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has answered every subscription."""
        return not self._subscribing

    @property
    def error(self) -> BaseException | None:
        """The last exception that paho swallowed, or None."""
        return self._ear.heard

    @property
    def oversized(self) -> int:
        """Bytes of the incoming packet over which we hung up, or 0."""
        return self._client.oversized

    @property
    def violation(self) -> str:
        """What the broker sent that MQTT forbids it to send; empty where it did not."""
        return self._violation or self._client.violation

    @property
    def packets(self) -> int:
        """Packets that nobody waited for: all but acknowledgements."""
        return self._client.packets - self.acknowledged

    @property
    def is_open(self) -> bool:
        """Tell whether there is a socket."""
        return self._client.socket() is not None

    @property
    def in_flight(self) -> int:
        """QoS 1 letters that the broker has not acknowledged."""
        return len(self._awaiting)

    @property
    def can_send(self) -> bool:
        """Tell whether a letter would go to the socket, not into paho's memory."""
        return (
            self.admitted
            and self.is_open
            and len(self._awaiting) < self.receive_maximum
            and not self._client.want_write()
        )

    def open(self) -> None:
        """Connect the socket and send CONNECT; raise what the socket raises.

        Takes up to ``connect_timeout`` seconds per address of the host, and
        as long again for TLS.
        """
        host, port = self._url.host, self._url.port
        if not self._is_5:
            self._client.connect(host, port, self.keepalive)
            return
        properties = None
        if not self._is_probe:
            properties = _properties(PacketTypes.CONNECT)
            properties.MaximumPacketSize = self._packet_limit
        # What was meant for us while we were away is stale by now.
        self._client.connect(host, port, self.keepalive, clean_start=True, properties=properties)

    def turn(self, timeout: float, wake: int) -> bool:
        """Move what can be moved, wait up to ``timeout`` s; False once it is over.

        ``wake`` is a descriptor that ends the wait by becoming readable; it
        is not read here.
        """
        sock: Any = self._client.socket()
        if sock is None:
            return False
        poll = select.poll()
        writing = self._client.want_write()
        if not writing:
            self._clogged = 0
        # Each acknowledgement that a broker does not read waits in our memory.
        reading = self._clogged < _CLOGGED
        poll.register(
            sock.fileno(),
            (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0),
        )
        poll.register(wake, select.POLLIN)
        here = reading and (self._client.has_more() or (self._url.tls and sock.pending() > 0))
        ready = dict(poll.poll(0 if here else max(0, timeout) * 1000))
        events = ready.get(sock.fileno(), 0)
        if here or events & ~select.POLLOUT:
            read = self._read()
            if read == MQTTErrorCode.MQTT_ERR_PROTOCOL and not self.violation:
                self._violation = "what is no packet"
            self._clogged += writing
            self._tell()
            if read != MQTTErrorCode.MQTT_ERR_SUCCESS or self.violation:
                return False
        if events & select.POLLOUT and self.is_open:
            self._client.loop_write()
        if self.is_open:
            self._client.loop_misc()
        return self.is_open

    def _read(self) -> MQTTErrorCode:
        """Read what is there: all that came with it, but for a flood."""
        for _ in range(_PACKETS):
            read = self._client.loop_read()
            self._client.take_acknowledgements()
            if read != MQTTErrorCode.MQTT_ERR_SUCCESS or not self._client.has_more():
                break
            if self.violation or not self.is_open or self._client.want_write():
                break
        return read

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what is handed over inside in one go, as far as the socket takes it."""
        self._client.cork()
        try:
            yield
        finally:
            self._client.uncork()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for ``topics`` at QoS 1; without our own echo (MQTT 5), unless `OwnToo`."""
        if not topics:
            return
        if self._is_5:
            asked = [
                (topic, SubscribeOptions(qos=1, noLocal=not isinstance(topic, OwnToo)))
                for topic in topics
            ]
            _, identifier = self._client.subscribe(asked)
        else:
            _, identifier = self._client.subscribe([(topic, 1) for topic in topics])
        if identifier is not None:
            self._subscribing[identifier] = topics

    def send(self, letter: Letter, now: float) -> None:
        """Hand ``letter`` to the socket at ``now`` (monotonic s); only while `can_send`.

        Under QoS 1 its acknowledgement comes later, under QoS 0 at once.
        """
        topic, packed = letter.topic.encode(), b""
        if self._is_5:
            left = None if letter.deadline is None else letter.deadline - now
            packed = b"\0" if letter.properties is NONE else letter.properties.pack(left)
        # Nine bytes at the most for the header, the lengths and the identifier.
        if len(letter.payload) + len(topic) + len(packed) + 9 > self.packet_maximum:
            self._on_acknowledged(letter, Reason(PACKET_TOO_LARGE, "Packet too large"))
            return
        qos = min(letter.qos, self._maximum_qos)
        identifier = self._client.send_publish(
            topic,
            letter.payload,
            qos=qos,
            retain=letter.retain and self._retain_available,
            properties=packed,
        )
        if qos:
            self._awaiting[identifier] = letter
        elif self.is_open:
            self._on_acknowledged(letter, None)

    def disconnect(self) -> None:
        """Take leave of the broker, which then keeps the will to itself."""
        if self.is_open:
            self._client.disconnect()

    def close(self) -> None:
        """Cut the socket if it is still there; never raises."""
        sock: Any = self._client.socket()
        if sock is not None:
            # paho closes its socket when it reads the end of it; nothing that
            # is public closes it without a word to the broker.
            sock.close()
        if self._tls is not None:
            self._tls.close_last()
        self._client.on_disconnect = None

    def _connected(
        self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if self.admitted:
            self._violation = "a second answer to CONNECT"
            return
        if code.is_failure:
            self.refusal = Reason.of(code, properties)
            return
        self.keepalive = getattr(properties, "ServerKeepAlive", self.keepalive)
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self.packet_maximum = getattr(properties, "MaximumPacketSize", self.packet_maximum)
        self._maximum_qos = getattr(properties, "MaximumQoS", 2)
        self._retain_available = bool(getattr(properties, "RetainAvailable", 1))
        self.admitted = True

    def _disconnected(
        self, _client: Client, _data: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        # A broker that hangs makes paho call this twice: the first knew why.
        # "Unspecified error" of paho's own making says less than the silence.
        own = not flags.is_disconnect_packet_from_server
        if self.ending is None and not (own and code.value == 0x80):
            self.ending, self.said_goodbye = Reason.of(code, properties), not own

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if self.admitted:
            self._arrived.append(Incoming.of(message))
        else:
            self._violation = "a message before its answer to CONNECT"

    def _acknowledged(self, identifier: int, denied: Reason | None) -> None:
        letter = self._awaiting.pop(identifier, None)
        if letter is not None:
            self.acknowledged += 1
            self._answered.append((letter, denied))

    def _tell(self) -> None:
        """Call the owner with what paho has brought."""
        answered, self._answered = self._answered, []
        for letter, denied in answered:
            self._on_acknowledged(letter, denied)
        arrived, self._arrived = self._arrived, []
        for incoming in arrived:
            self._on_message(incoming)

    def _subscribed(
        self, _client: Client, _data: Any, identifier: int, codes: list[ReasonCode], _p: Any
    ) -> None:
        topics = self._subscribing.pop(identifier, ())
        self.denied_subscriptions += [
            topic for topic, code in zip(topics, codes, strict=False) if code.is_failure
        ]


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]
