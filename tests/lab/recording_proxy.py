"""A wire between clients and a broker that writes down what passes, and can be cut or held.

::

    with RecordingProxy(broker.port) as proxy:
        …  # a client talks to proxy.url
        proxy.wait_until(lambda record: len(record.acknowledged) == 100)

It reads what clients publish at QoS 1 and what the broker acknowledges (MQTT 3.1.1 and
5.0, sections 3.3 and 3.4), and hands each byte on as it came. A PUBLISH counts as
acknowledged once its PUBACK has been written to the client's socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

DEADLINE = 20.0
T = TypeVar("T")

CONNECT, PUBLISH, PUBACK = 1, 3, 4


class Published(NamedTuple):
    """One PUBLISH at QoS 1 as it passed: over which connection, and what."""

    connection: int
    topic: str
    payload: bytes


@dataclass
class Record:
    """What has passed; looked at while the proxy's lock is held."""

    published: list[Published] = field(default_factory=list)
    acknowledged: list[Published] = field(default_factory=list)
    connections: int = 0


class RecordingProxy:
    """Listens on a free port of loopback; ``with`` ends it, and whatever goes through it."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._record = Record()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    @property
    def url(self) -> str:
        """The broker's address for whoever is to be watched."""
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut every connection, as a router does that forgets who was there."""
        self._do(self._cut())

    def hold(self) -> None:
        """Let nothing through until `go_on`, as a radio link that is out of reach."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def go_on(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def record(self) -> Record:
        """Return what has passed by now."""
        with self._changed:
            record = self._record
            return Record([*record.published], [*record.acknowledged], record.connections)

    def wait_until(self, done: Callable[[Record], bool], timeout: float = DEADLINE) -> bool:
        """Wait until the record is as wanted; tell whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: done(self._record), timeout)

    def _do(self, job: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(DEADLINE)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        self._flows.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(to_client)
        try:
            await self._carry(client, to_client)
        finally:
            self._writers.discard(to_client)
            self._tasks.discard(task)
            to_client.transport.abort()

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            return  # the broker is away
        self._writers.add(to_broker)
        with self._changed:
            self._record.connections += 1
            number = self._record.connections
        watched = _Watched(number)
        try:
            await asyncio.wait(
                [
                    asyncio.create_task(self._pump(client, to_broker, watched.sent)),
                    asyncio.create_task(self._pump(broker, to_client, watched.answered)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._writers.discard(to_broker)
            to_broker.transport.abort()
            to_client.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        note: Callable[[bytes, Record], None],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
                with self._changed:
                    note(data, self._record)
                    self._changed.notify_all()


class _Watched:
    """One connection: its packets, cut out of what passes."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_5 = False
        self._outward, self._inward = bytearray(), bytearray()
        self._awaiting: dict[int, Published] = {}

    def sent(self, data: bytes, record: Record) -> None:
        """Note what the client sent."""
        self._outward += data
        for first, body in _packets(self._outward):
            if first >> 4 == CONNECT:
                length = int.from_bytes(body[:2], "big")
                self._is_5 = body[2 + length] == 5
            elif first >> 4 == PUBLISH and first & 0b110:
                end = 2 + int.from_bytes(body[:2], "big")
                topic = body[2:end].decode()
                identifier = int.from_bytes(body[end : end + 2], "big")
                payload = body[end + 2 :]
                if self._is_5:
                    size, used = _varint(payload, 0)
                    payload = payload[used + size :]
                published = Published(self._number, topic, bytes(payload))
                self._awaiting[identifier] = published
                record.published.append(published)

    def answered(self, data: bytes, record: Record) -> None:
        """Note what the broker sent."""
        self._inward += data
        for first, body in _packets(self._inward):
            if first >> 4 == PUBACK:
                published = self._awaiting.pop(int.from_bytes(body[:2], "big"), None)
                if published is not None:
                    record.acknowledged.append(published)


def _packets(data: bytearray) -> list[tuple[int, bytes]]:
    """Cut whole packets off the head of ``data``: first byte and body."""
    found: list[tuple[int, bytes]] = []
    while len(data) >= 2:
        try:
            size, used = _varint(data, 1)
        except IndexError:
            break
        end = 1 + used + size
        if len(data) < end:
            break
        found.append((data[0], bytes(data[1 + used : end])))
        del data[:end]
    return found


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return a variable byte integer (MQTT 5.0, section 1.5.5) and how many bytes it takes."""
    value = used = 0
    while True:
        byte = data[at + used]
        value |= (byte & 0x7F) << (7 * used)
        used += 1
        if not byte & 0x80:
            return value, used
