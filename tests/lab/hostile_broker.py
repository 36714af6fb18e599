"""A broker that does what a real one cannot be made to do: lie, flood, throttle, hang up.

::

    def flood(talk):
        while talk.say(publish("in/a", b"x")):
            pass

    with HostileBroker(flood, kind) as broker:
        ...

Each connection is answered with a CONNACK and handed to the next of the acts;
the last act plays on all further ones. An act ends by returning, and with it
the connection. `kind` is the act of a broker that behaves.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import NamedTuple

from tests.lab.mqtt_ends import Server

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14

GRANTED = 0
UNSUPPORTED = 0x84


class Packet(NamedTuple):
    """One MQTT packet: its type, its flags, and what follows the fixed header."""

    type: int
    flags: int
    body: bytes

    @property
    def identifier(self) -> int:
        """Of a PUBLISH of QoS 1: its packet identifier."""
        at = 2 + int.from_bytes(self.body[:2])
        return int.from_bytes(self.body[at : at + 2])

    @property
    def topic(self) -> str:
        """Of a PUBLISH: where it goes."""
        return self.body[2 : 2 + int.from_bytes(self.body[:2])].decode()

    @property
    def qos(self) -> int:
        """Of a PUBLISH: its quality of service."""
        return self.flags >> 1 & 3


class Talk:
    """One connection of a client, after its CONNECT."""

    def __init__(self, peer: socket.socket, over: socket.socket) -> None:
        self._peer = peer
        self._over = over
        self._read = b""
        self.level = 0

    def hear(self, patience: float = 30.0) -> Packet | None:
        """Return the client's next packet; None where it is gone or mute, or the test over."""
        while (packet := self._cut()) is None:
            ready, _, _ = select.select([self._peer, self._over], [], [], patience)
            if self._peer not in ready or self._over in ready:
                return None
            data = self._peer.recv(65_536)
            if not data:
                return None
            self._read += data
        return packet

    def say(self, data: bytes) -> bool:
        """Send ``data`` as far as the client reads it; False where the test is over first."""
        rest = memoryview(data)
        while rest:
            ready, writable, _ = select.select([self._over], [self._peer], [], 30.0)
            if ready or not writable:
                return False
            try:
                rest = rest[self._peer.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                continue
        return True

    def narrow(self) -> None:
        """Let little of what is not heard wait in our socket."""
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)

    def _cut(self) -> Packet | None:
        length = shift = 0
        for at, byte in enumerate(self._read[1:5], 1):
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                end = at + 1 + length
                if len(self._read) < end:
                    return None
                head, body = self._read[0], self._read[at + 1 : end]
                self._read = self._read[end:]
                return Packet(head >> 4, head & 15, body)
        return None


Act = Callable[[Talk], None]


def kind(talk: Talk) -> None:
    """Acknowledge all that asks for it."""
    while (packet := talk.hear()) is not None:
        talk.say(answer(packet, talk.level))


def answer(packet: Packet, level: int, code: int = 0) -> bytes:
    """Return what a broker says to ``packet``; ``code`` is for a PUBLISH under MQTT 5."""
    if packet.type == PUBLISH and packet.qos == 1:
        return acknowledgement(packet.identifier, level, code)
    if packet.type == SUBSCRIBE:
        none = b"\0" if level == 5 else b""
        return fixed(0x90, packet.body[:2] + none + b"\1")
    return b"\xd0\0" if packet.type == PINGREQ else b""


def acknowledgement(identifier: int, level: int, code: int = 0) -> bytes:
    """Return a PUBACK."""
    reason = bytes([code]) if level == 5 and code else b""
    return fixed(0x40, identifier.to_bytes(2) + reason)


def fixed(head: int, body: bytes) -> bytes:
    """Return a packet: its first byte, its length, its body."""
    length, encoded = len(body), b""
    while length > 127:
        encoded += bytes([length & 127 | 128])
        length >>= 7
    return bytes([head]) + encoded + bytes([length]) + body


def publish(topic: str, payload: bytes, *, level: int = 5, qos: int = 0, number: int = 1) -> bytes:
    """Return a PUBLISH without properties."""
    name = topic.encode()
    identifier = number.to_bytes(2) if qos else b""
    none = b"\0" if level == 5 else b""
    return fixed(0x30 | qos << 1, len(name).to_bytes(2) + name + identifier + none + payload)


class HostileBroker(Server):
    """Plays one act a connection; the last one for ever.

    ``level`` is the MQTT that it speaks (4 is 3.1.1), ``code`` what its CONNACK
    says, ``properties`` what goes with that under MQTT 5. With ``silent`` the
    act has to say CONNACK itself.
    """

    def __init__(
        self,
        *acts: Act,
        level: int = 5,
        code: int = GRANTED,
        properties: bytes = b"",
        silent: bool = False,
    ) -> None:
        super().__init__()
        self._acts = list(acts)
        self._level = level
        self._code = code
        self._properties = properties
        self._silent = silent

    def serve(self, peer: socket.socket) -> None:
        """Read CONNECT, answer it, act."""
        talk = Talk(peer, self._left)
        connect = talk.hear()
        if connect is None or connect.type != CONNECT:
            return
        talk.level = connect.body[6]
        if talk.level != self._level:
            talk.say(fixed(0x20, bytes([0, UNSUPPORTED, 0])))
            return
        if not self._silent:
            talk.say(self.connack())
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        act(talk)

    def connack(self) -> bytes:
        """Return the answer to a CONNECT of the right level."""
        length = bytes([len(self._properties)]) if self._level == 5 else b""
        return fixed(0x20, bytes([0, self._code]) + length + self._properties)
