"""One connection to one broker, from CONNECT to its end, over paho.

paho's own thread is not used: it dies of an exception in a callback while
``is_connected()`` stays true. Here the owner calls `turn` in its own loop, so
whatever paho or a callback raises comes out of `turn`. A `Connection` lives
once; the next one begins with a fresh paho client, and so with nothing left
over from the last. What is not yet acknowledged is the owner's to keep: paho
is handed a message only when the socket took the one before.

Not for several threads: whoever opened it turns and closes it. Refused, by
cutting the connection: an incoming packet larger than ``packet_limit``, of
which paho would otherwise collect up to 256 MB.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.incoming import Incoming
from routes.mqtt.letter import Letter
from routes.mqtt.paho_client import BoundedClient, Ear
from routes.mqtt.properties import NONE, Packed
from routes.mqtt.protocol_choice import Version
from routes.mqtt.tls import Context

_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class Will(NamedTuple):
    """What the broker says for us, retained, when we fall silent."""

    topic: str
    payload: bytes


class Login(NamedTuple):
    """As whom we come; ``tls`` is None for a plain socket."""

    client_id: str
    username: str = ""
    password: str | None = None
    tls: Context | None = None


class Reason(NamedTuple):
    """An MQTT reason code (MQTT 5.0, section 2.4) and its name."""

    code: int
    name: str


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
        self.denied_subscriptions: list[str] = []
        self.acknowledged = 0
        self.receive_maximum = 65_535
        self.packet_maximum = 268_435_455
        self._url = url
        self._keepalive = keepalive
        self._packet_limit = packet_limit
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged
        self._awaiting: dict[int, Letter] = {}
        self._subscribing: dict[int, Sequence[str]] = {}
        self._maximum_qos = 2
        self._retain_available = True
        self._ear = Ear()
        self._is_5 = version == "5"
        self._is_probe = will is None
        self._tls = login.tls
        self._client = self._make_client(version, login, will, connect_timeout)

    @property
    def error(self) -> BaseException | None:
        """The last exception that paho swallowed, or None."""
        return self._ear.heard

    @property
    def oversized(self) -> int:
        """Bytes of the incoming packet over which we hung up, or 0."""
        return self._client.oversized

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
            self._client.connect(host, port, self._keepalive)
            return
        properties = None
        if not self._is_probe:
            properties = _properties(PacketTypes.CONNECT)
            properties.MaximumPacketSize = self._packet_limit
        # What was meant for us while we were away is stale by now.
        self._client.connect(host, port, self._keepalive, clean_start=True, properties=properties)

    def turn(self, timeout: float, wake: int) -> bool:
        """Move what can be moved, wait up to ``timeout`` s; False once it is over.

        ``wake`` is a descriptor that ends the wait by becoming readable; it
        is not read here.
        """
        sock: Any = self._client.socket()
        if sock is None:
            return False
        poll = select.poll()
        writing = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock.fileno(), select.POLLIN | writing)
        poll.register(wake, select.POLLIN)
        decrypted = self._url.tls and sock.pending() > 0
        ready = dict(poll.poll(0 if decrypted else max(0, timeout) * 1000))
        events = ready.get(sock.fileno(), 0)
        readable = decrypted or events & ~select.POLLOUT
        if readable and self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        if events & select.POLLOUT and self.is_open:
            self._client.loop_write()
        if self.is_open:
            self._client.loop_misc()
        return self.is_open

    def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for ``topics`` at QoS 1, without the echo of what we publish (MQTT 5)."""
        if not topics:
            return
        if self._is_5:
            options = SubscribeOptions(qos=1, noLocal=True)
            _, identifier = self._client.subscribe([(topic, options) for topic in topics])
        else:
            _, identifier = self._client.subscribe([(topic, 1) for topic in topics])
        if identifier is not None:
            self._subscribing[identifier] = topics

    def send(self, letter: Letter, now: float) -> None:
        """Hand ``letter`` to the socket at ``now`` (monotonic s); only while `can_send`.

        Under QoS 1 its acknowledgement comes later, under QoS 0 at once.
        """
        properties = None
        if self._is_5 and letter.properties is not NONE:
            left = None if letter.deadline is None else letter.deadline - now
            properties = Packed(letter.properties.pack(left))
        packed = 1 if properties is None else len(properties.pack())
        # Nine bytes at the most for the header, the lengths and the identifier.
        if len(letter.payload) + len(letter.topic.encode()) + packed + 9 > self.packet_maximum:
            self._on_acknowledged(letter, Reason(0x95, "Packet too large"))
            return
        qos = min(letter.qos, self._maximum_qos)
        handed = self._client.publish(
            letter.topic,
            letter.payload,
            qos,
            letter.retain and self._retain_available,
            properties,
        )
        if qos:
            self._awaiting[handed.mid] = letter
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

    def _make_client(
        self, version: Version, login: Login, will: Will | None, connect_timeout: float
    ) -> BoundedClient:
        client = BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            clean_session=None if version == "5" else True,
            protocol=_PROTOCOLS[version],
            # paho would go down to MQTT 3.1 by itself, in the middle of a read.
            reconnect_on_failure=False,
        )
        client.packet_limit = self._packet_limit
        client.connect_timeout = connect_timeout
        client.max_inflight_messages_set(65_535)
        client.max_queued_messages_set(65_535)
        client.enable_logger(self._ear)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        if login.username:
            client.username_pw_set(login.username, login.password)
        if login.tls is not None:
            client.tls_set_context(login.tls)
        client.on_socket_open = _send_at_once
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        return client

    def _connected(
        self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if code.is_failure:
            self.refusal = Reason(code.value, code.getName())
            return
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self.packet_maximum = getattr(properties, "MaximumPacketSize", self.packet_maximum)
        self._maximum_qos = getattr(properties, "MaximumQoS", 2)
        self._retain_available = bool(getattr(properties, "RetainAvailable", 1))
        self.admitted = True

    def _disconnected(
        self, _client: Client, _data: Any, flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        # A broker that hangs makes paho call this twice: the first knew why.
        # "Unspecified error" of paho's own making says less than the silence.
        own = not flags.is_disconnect_packet_from_server
        if self.ending is None and not (own and code.value == 0x80):
            self.ending = Reason(code.value, code.getName())

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._on_message(Incoming.of(message))

    def _published(
        self, _client: Client, _data: Any, identifier: int, code: ReasonCode, _properties: Any
    ) -> None:
        letter = self._awaiting.pop(identifier, None)
        if letter is not None:
            self.acknowledged += 1
            denied = code.value if code.is_failure else None
            self._on_acknowledged(letter, Reason(denied, code.getName()) if denied else None)

    def _subscribed(
        self, _client: Client, _data: Any, identifier: int, codes: list[ReasonCode], _p: Any
    ) -> None:
        topics = self._subscribing.pop(identifier, ())
        self.denied_subscriptions += [
            topic for topic, code in zip(topics, codes, strict=False) if code.is_failure
        ]


def _send_at_once(_client: Client, _data: Any, sock: Any) -> None:
    # An acknowledgement and the answer behind it are two small packets: Nagle
    # would hold the second back until the broker's delayed TCP ACK, some 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]
