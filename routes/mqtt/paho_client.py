"""paho's client with what it lacks: limits, a count and a memory.

`BoundedClient` hangs up on a packet that is too large, instead of collecting
up to 256 MB of it, and on what nobody asked for at all; it counts packets,
gives no identifier away that is still in use, and goes to the socket once for
many packets. `Ear` keeps the exception that paho logs where it should raise,
since that one knows why the connection broke. Nothing else of paho is changed.
This is the one place that leans on paho's inside; tests hold it against the
real one.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Callable, Container
from time import monotonic
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from routes.mqtt.login import Login, Will
from routes.mqtt.packets import PUBACK, cut_puback, pack_publish
from routes.mqtt.protocol_choice import Version
from routes.mqtt.reason import Reason

_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}

_PUBLISH, _PUBREL = 0x30, 0x60
_QOS_2 = 0x04

AT_ONCE = 64 << 10
"""Bytes that are read from the socket, or kept for it, at a time."""

_TAKEN = (0x00, 0x10)
"""Success, and success without anybody who listens (MQTT 5.0, section 3.4.2.1)."""

_UNREADABLE = (MQTTException, ValueError, LookupError, TypeError, struct.error)
"""What paho stumbles over when a packet is not what it says it is."""


class BoundedClient(Client):
    """Hangs up before it reads a packet that is too large.

    paho offers no limit, and under 3.1.1 none can be told to the broker.
    Messages of QoS 2, for which nobody subscribes here, would be kept until
    the broker releases them, 65,535 at once.
    """

    packet_limit = 0
    oversized = 0
    packets = 0
    """Packets that came, of whatever kind."""
    violation = ""
    """What came that may not come, or cannot be read; empty where nothing did."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_acknowledged: Callable[[int, Reason | None], None] = lambda identifier, reason: None
        self.in_use: Container[int] = ()
        """Identifiers of what the broker has not acknowledged."""
        # What has been read, and how far that was looked at: nothing is copied for a byte.
        self._arrived, self._at = b"", 0
        self._leaving = bytearray()
        self._corked = self._stuck = False

    def send_publish(
        self, topic: bytes, payload: bytes, *, qos: int, retain: bool, properties: bytes
    ) -> int:
        """Send a PUBLISH and return its identifier; see `routes.mqtt.packets`.

        ``on_acknowledged`` is called with that, and with a reason where the broker denies it.
        """
        identifier = self._mid_generate() if qos else 0
        self._leaving += pack_publish(
            topic,
            payload,
            qos=qos,
            retain=retain,
            identifier=identifier,
            properties=properties,
        )
        if not self._corked or len(self._leaving) >= AT_ONCE:
            self._send_kept()
        return identifier

    def take_acknowledgements(self) -> None:
        """Take note of what has been read, as long as that is acknowledgements."""
        before = self._at
        # Unless paho is in the middle of a packet.
        while self._in_packet["command"] == 0 and not self.violation:
            found = cut_puback(self._arrived, self._at)
            if found is None:
                break
            self._at = found.end
            self.packets += 1
            self._acknowledge(found.identifier, found.rest)
        if self._at > before:
            self._last_msg_in = monotonic()

    def _acknowledge(self, identifier: int, rest: bytes) -> None:
        if not rest or rest[0] in _TAKEN:
            self.on_acknowledged(identifier, None)
            return
        try:
            # paho's types have no annotations.
            code: Any = ReasonCode(PacketTypes.PUBACK)
            properties: Any = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]
            code.unpack(rest[:1])
            if len(rest) > 1:
                properties.unpack(rest[1:])
        except _UNREADABLE as error:
            self.violation = f"a packet that cannot be read ({str(error)[:100]})"
        else:
            self.on_acknowledged(identifier, Reason.of(code, properties))

    def has_more(self) -> bool:
        """Tell whether something has been read that was not looked at."""
        return self._at < len(self._arrived)

    def cork(self) -> None:
        """Keep what is sent from here on, up to `AT_ONCE` bytes, until `uncork`."""
        self._corked = True

    def uncork(self) -> None:
        """Send what was kept, as far as the socket takes it; `want_write` tells of the rest."""
        self._corked = False
        self._send_kept()

    def want_write(self) -> bool:
        """Tell whether something waits for room in the socket."""
        return super().want_write() or (bool(self._leaving) and (self._stuck or not self._corked))

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.packet_limit:
            self.oversized = bufsize
            raise OSError(errno.EMSGSIZE, f"a packet of {bufsize} bytes")
        if not self.has_more():
            self._arrived, self._at = super()._sock_recv(AT_ONCE), 0
            sock: Any = self.socket()
            if sock is not None:
                # Brokers hold a second acknowledgement back until the first has been
                # confirmed (Nagle), and the kernel confirms it after 40 ms (tcp(7)).
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        taken = self._arrived[self._at : self._at + bufsize]
        self._at += len(taken)
        return taken

    def _sock_send(self, buf: bytes | bytearray) -> int:
        if self._corked and not self._stuck:
            self._leaving += buf
            if len(self._leaving) >= AT_ONCE:
                self._send_kept()
            return len(buf)
        if self._leaving:
            raise BlockingIOError  # it has its place behind what was kept
        return super()._sock_send(buf)

    def _packet_write(self) -> MQTTErrorCode:
        if self._leaving and not self._corked:
            self._send_kept()
            if self._leaving:
                return MQTTErrorCode.MQTT_ERR_AGAIN
        return super()._packet_write()

    def _send_kept(self) -> None:
        while self._leaving:
            try:
                sent = super()._sock_send(self._leaving)
            except BlockingIOError:
                break
            except OSError:
                # Whoever reads next finds the connection gone, and says why.
                self._leaving.clear()
                break
            del self._leaving[:sent]
            self._last_msg_out = monotonic()
        self._stuck = bool(self._leaving)

    def _packet_handle(self) -> MQTTErrorCode:
        self.packets += 1
        command = self._in_packet["command"]
        if (command & 0xF0 == _PUBLISH and command & _QOS_2) or command & 0xF0 == _PUBREL:
            self.violation = "a message of QoS 2, for which nobody asked"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if command == PUBACK and len(self._in_packet["packet"]) >= 2:
            packet = bytes(self._in_packet["packet"])
            self._acknowledge(int.from_bytes(packet[:2], "big"), packet[2:])
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            done = super()._packet_handle()
        except _UNREADABLE as error:
            self.violation = f"a packet that cannot be read ({str(error)[:100]})"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if done == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            self.violation = f"a packet of type {command >> 4}, which has no place here"
        return done

    def _mid_generate(self) -> int:
        # After 65,535 messages the first identifier comes again: were it still
        # in use, its acknowledgement would pass for that of another message.
        while (identifier := super()._mid_generate()) in self.in_use:
            pass
        return identifier


def make_client(version: Version, login: Login, will: Will | None, *, logger: Ear) -> BoundedClient:
    """Return a client that is ready to connect, but for its limits and callbacks."""
    client = BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=login.client_id,
        clean_session=None if version == "5" else True,
        protocol=_PROTOCOLS[version],
        # paho would go down to MQTT 3.1 by itself, in the middle of a read.
        reconnect_on_failure=False,
    )
    # None of its own: it would look through all that are in flight at each acknowledgement.
    client.max_inflight_messages_set(0)
    client.max_queued_messages_set(65_535)
    client.enable_logger(logger)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    if login.username:
        client.username_pw_set(login.username, login.password)
    if login.tls is not None:
        client.tls_set_context(login.tls)
    client.on_socket_open = _send_at_once
    return client


def _send_at_once(_client: Client, _data: Any, sock: Any) -> None:
    # An acknowledgement and the answer behind it are two small packets: Nagle
    # would hold the second back until the broker's delayed TCP ACK, some 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Ear(logging.Logger):
    """Keeps the exception that paho logs instead of raising; writes no log."""

    def __init__(self) -> None:
        super().__init__("paho", logging.ERROR)
        self.heard: BaseException | None = None

    def handle(self, record: logging.LogRecord) -> None:
        """Remember the exception among the record's arguments."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, BaseException):
                self.heard = argument
