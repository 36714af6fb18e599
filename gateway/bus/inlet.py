"""Reads the datagrams of one bound socket: letters, and large bodies beside them.

Refused (`ProtocolError`): what is no letter, memory files that are not sealed or
too large, datagrams that were cut short. Nothing here is ever unpickled.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
from collections.abc import Callable, Iterator
from math import inf

from msgspec.structs import replace

from gateway.bus.parcels import contents
from gateway.bus.wire import ANNOUNCEMENT, BELL, BESIDE
from gateway.errors import ProtocolError
from gateway.mail.codec import BROKEN, decode, decode_body, unpack
from gateway.mail.message import Message

_ANCILLARY = socket.CMSG_SPACE(4 * array.array("i").itemsize)
# As plain integers: arithmetic on enum flags costs more than reading a datagram.
_NO_DESCRIPTOR = int(socket.MSG_CTRUNC)
_CUT = int(socket.MSG_TRUNC) | _NO_DESCRIPTOR
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)


BUFFER = 128 * 1024
"""Bytes that are kept for what a datagram may hold."""


def new_buffer() -> mmap.mmap:
    """Return a buffer that is nobody else's; pages in which no letter lay yet cost nothing."""
    return mmap.mmap(-1, BUFFER, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Inlet:
    """One bound socket, read into a buffer that is kept: a fresh one costs more than the letter.

    ``heard`` is called with the ring and the letter that a bell is about (`gateway.bus.ring`);
    without it there are no rings. One thread reads at a time. The socket is owned, and closed
    by `close`. Who reads on where somebody else has read before is ``wary``: a descriptor may
    come unannounced.
    """

    __slots__ = (
        "_awaited",
        "_buffer",
        "_buffers",
        "_heard",
        "_receive",
        "_view",
        "fd",
        "source",
    )

    def __init__(
        self,
        source: socket.socket,
        buffer: mmap.mmap,
        *,
        heard: Callable[[int, int], None] | None = None,
        wary: bool = False,
    ) -> None:
        self.source = source
        self.fd = source.fileno()
        self._buffer = buffer
        self._buffers = [buffer]
        self._view = memoryview(buffer)
        self._receive = source.recv_into
        self._heard = heard
        # A writer that was killed after its announcement leaves one: looking for
        # descriptors from then on costs time alone.
        self._awaited = inf if wary else 0

    def read(self) -> Message | None:
        """Return the next letter that waits, None where there is none.

        Raises `ProtocolError` for a datagram that is no whole letter.
        """
        if self._awaited:
            return self._read_with_descriptors()
        while True:
            try:
                size = self._receive(self._buffer)
            except (BlockingIOError, InterruptedError):
                return None
            data = self._view[:size]
            try:
                message = unpack(data)
            except BROKEN as error:
                if data == ANNOUNCEMENT:
                    self._awaited += 1
                    return self._read_with_descriptors()
                if self._is_bell(data):
                    continue
                raise _no_letter(size, error) from error
            return _restored(message, data) if message.body_type else message

    def _read_with_descriptors(self) -> Message | None:
        while True:
            try:
                size, ancillary, flags, _ = self.source.recvmsg_into(
                    self._buffers, _ANCILLARY, _CLOSE_ON_EXEC
                )
            except (BlockingIOError, InterruptedError):
                return None
            data = self._view[:size]
            if ancillary or flags & _NO_DESCRIPTOR:
                message = _with_large_body(data, ancillary, flags)
                # Garbage uses up nobody's announcement.
                self._awaited = max(0, self._awaited - 1)
                return message
            if flags & _CUT:
                raise ProtocolError("a letter was cut short: too long")
            if data == ANNOUNCEMENT:
                self._awaited += 1
                continue
            try:
                message = unpack(data)
            except BROKEN as error:
                if self._is_bell(data):
                    continue
                raise _no_letter(size, error) from error
            return _restored(message, data) if message.body_type else message

    def _is_bell(self, data: memoryview) -> bool:
        """Hear the bell that ``data`` is; tell whether it is one."""
        if self._heard is None or len(data) != BELL.size or data[:1] != ANNOUNCEMENT:
            return False
        _, ring, letter = BELL.unpack(data)
        self._heard(ring, letter)
        return True

    def refuse(self) -> None:
        """Take nothing more in, so that what is read from here on is all there was."""
        self.source.shutdown(socket.SHUT_RD)

    def rest(self) -> Iterator[Message | None]:
        """Refuse what comes from now on; go through all there was, None for what is no letter."""
        self.refuse()
        while True:
            try:
                message = self.read()
            except ProtocolError:
                yield None
                continue
            if message is None:
                return
            yield message

    def close(self) -> None:
        """Give the socket back."""
        self.source.close()


def _restored(message: Message, data: memoryview) -> Message:
    """Return ``message`` with the Struct that its body is."""
    if message.body_type.startswith(BESIDE):
        raise ProtocolError("a letter came without its large body")
    return decode(data)


def _no_letter(size: int, error: Exception) -> ProtocolError:
    return ProtocolError(f"{size} bytes that are no letter: {error}")


def _with_large_body(
    envelope: memoryview, ancillary: list[tuple[int, int, bytes]], flags: int
) -> Message:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if flags & _CUT or len(descriptors) != 1:
            raise ProtocolError("a letter with a large body was cut short, or out of descriptors")
        try:
            message = unpack(envelope)
        except BROKEN as error:
            raise _no_letter(len(envelope), error) from error
        match message.body:
            case [int(size), bool(as_it_is)] if message.body_type.startswith(BESIDE):
                packed = contents(descriptors[0], size)
                body_type = message.body_type.removeprefix(BESIDE)
                body = packed if as_it_is else decode_body(packed, body_type)
                return replace(message, body=body, body_type=body_type)
        raise ProtocolError("a large body came without its size")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
