"""A foreign MQTT client: what it sees at the broker is proof, for it knows no bus.

amqtt's client, so that the gateway's own way to the broker is not its own
witness. Everything here runs on one asyncio loop. What goes wrong is a
`LinkLostError` that says what to look at.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, NamedTuple

from amqtt.client import MQTTClient
from amqtt.errors import AMQTTError, ClientError, ConnectError, MQTTError, NoDataError
from amqtt.mqtt.constants import QOS_1

from gateway.errors import LinkLostError

log = logging.getLogger(__name__)

CONNECT_WITHIN = 3.0
LEAVE_WITHIN = 1.0
QUIET = 0.3
"""Seconds without another message after which a broker has said all that it retained."""

_BROKEN = (AMQTTError, ClientError, MQTTError, NoDataError, OSError)
_FAILURE = 0x80
"""What stands in a SUBACK where a subscription was refused (MQTT 3.1.1, section 3.9.3)."""


class Heard(NamedTuple):
    """One message as the broker delivered it; ``at`` is of the monotonic clock."""

    topic: str
    payload: bytes
    retained: bool
    at: float

    def body(self) -> Any:
        """Return the payload as JSON; None where it is none."""
        try:
            return json.loads(self.payload)
        except ValueError:
            return None


class Witness:
    """Hears what is published under one pattern, and calls over MQTT."""

    def __init__(self, url: str, on_message: Callable[[Heard], None]) -> None:
        """``on_message`` is called on the loop and must not block it."""
        self._url = url
        self._on_message = on_message
        self._client: MQTTClient | None = None
        self._listening: asyncio.Task[None] | None = None
        self._awaited: dict[str, asyncio.Future[Heard]] = {}

    async def connect(self, pattern: str) -> None:
        """Connect and subscribe to ``pattern``."""
        self._client = await _connect(self._url)
        await _subscribe(self._client, pattern, self._url)
        self._listening = asyncio.create_task(self._listen(self._client))

    async def call(self, topic: str, payload: bytes, reply_topic: str) -> tuple[Heard, float]:
        """Publish a call; return the next message on ``reply_topic`` and how many s it took."""
        client = self._client
        if client is None:
            raise LinkLostError(f"the witness is not connected to {self._url}")
        reply = self._awaited[reply_topic] = asyncio.get_running_loop().create_future()
        try:
            began = monotonic()
            await client.publish(topic, payload, qos=QOS_1)
            heard = await reply
        except _BROKEN as error:
            raise LinkLostError(f"the witness lost {self._url}: {error}") from error
        finally:
            del self._awaited[reply_topic]
        return heard, heard.at - began

    async def retained(self, topic: str) -> Heard:
        """Return what the broker has kept for ``topic``, as a client that comes now is told."""
        async with _connected(self._url) as newcomer:
            await _subscribe(newcomer, topic, self._url)
            while True:
                heard = await _next(newcomer)
                if heard.topic == topic and heard.retained:
                    return heard

    async def close(self) -> None:
        """Say goodbye."""
        client, self._client = self._client, None
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if client is not None:
            await _leave(client)

    async def _listen(self, client: MQTTClient) -> None:
        with suppress(LinkLostError):
            while True:
                heard = await _next(client)
                awaited = self._awaited.get(heard.topic)
                if awaited is not None and not awaited.done():
                    awaited.set_result(heard)
                self._on_message(heard)


async def sweep(url: str, pattern: str) -> int:
    """Have the broker forget all that it retains under ``pattern``; return how many that were."""
    async with _connected(url) as client:
        await _subscribe(client, pattern, url)
        kept: set[str] = set()
        with suppress(TimeoutError):
            while True:
                heard = await asyncio.wait_for(_next(client), QUIET)
                if heard.retained and heard.payload:
                    kept.add(heard.topic)
        for topic in kept:
            await client.publish(topic, b"", qos=QOS_1, retain=True)
        return len(kept)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[MQTTClient]:
    client = await _connect(url)
    try:
        yield client
    finally:
        await _leave(client)


async def _connect(url: str) -> MQTTClient:
    settings = {"auto_reconnect": False, "keep_alive": 60, "plugins": {}}
    client = MQTTClient(config=settings)
    try:
        await asyncio.wait_for(client.connect(url, cleansession=True), CONNECT_WITHIN)
    except TimeoutError:
        raise LinkLostError(_why_silent(url)) from None
    except ConnectError as error:
        if isinstance(error.__cause__, asyncio.CancelledError):  # amqtt's word for the time-out
            raise LinkLostError(_why_silent(url)) from None
        raise LinkLostError(f"no broker at {url}: {_why(error)}") from error
    except _BROKEN as error:
        raise LinkLostError(f"no broker at {url}: {error}") from error
    return client


def _why_silent(url: str) -> str:
    return f"{url} has said nothing for {CONNECT_WITHIN:g} s: does a broker live on that port?"


def _why(error: ConnectError) -> str:
    """Say what to look at; amqtt wraps what happened."""
    inner = error.args[0] if error.args else error
    if isinstance(inner, ConnectionRefusedError):
        return "nobody listens there. Is it running, is the port right?"
    if error.return_code in (4, 5):
        return "it admits nobody without a name and a password, and the demonstration has none"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or "it hung up"


async def _subscribe(client: MQTTClient, pattern: str, url: str) -> None:
    try:
        granted = await asyncio.wait_for(client.subscribe([(pattern, QOS_1)]), CONNECT_WITHIN)
    except (TimeoutError, *_BROKEN) as error:
        raise LinkLostError(f"{url} does not take a subscription: {error}") from error
    if _FAILURE in granted:
        raise LinkLostError(f"{url} lets nobody subscribe to {pattern}: check its access list")


async def _next(client: MQTTClient) -> Heard:
    try:
        message = await client.deliver_message()
    except _BROKEN as error:
        raise LinkLostError(f"the witness lost its broker: {error}") from error
    if message is None:
        raise LinkLostError("the witness lost its broker")
    return Heard(message.topic, bytes(message.data), bool(message.retain), monotonic())


async def _leave(client: MQTTClient) -> None:
    """Disconnect; a broker that is gone or hangs need not be told."""
    with suppress(TimeoutError, *_BROKEN):
        await asyncio.wait_for(client.disconnect(), LEAVE_WITHIN)
