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
from itertools import repeat
from math import inf
from time import monotonic

from msgspec.structs import replace

from gateway.bus.parcels import contents
from gateway.bus.wire import ANNOUNCEMENT, BELL, BESIDE
from gateway.errors import ProtocolError
from gateway.mail.codec import BROKEN, decode, decode_body, unpack
from gateway.mail.message import Message

_Received = tuple[int, list[tuple[int, int, bytes]], int, object]
"""A datagram's size, what came beside it, flags, and whose it is."""

TRIES, TRIED = 5, 1.0
"""After how many times, and seconds, a datagram is given up in the midst of which something is
raised each time: that is no signal's handler."""

_DESCRIPTOR = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(4 * _DESCRIPTOR)
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

    A signal's handler may raise wherever something is called. What was received by then is
    `held`, and received once more, until who has queued it sets that to None.
    """

    __slots__ = ("_arrivals", "_awaited", "_heard", "_parcels", "_view", "fd", "held", "source")

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
        self.held: int | _Received | _Datagram | None = None
        """The datagram in the buffer: its size, or what else is known of it."""
        self._view = memoryview(buffer)
        # No handler gets in between these and where a loop stores what they return.
        self._arrivals = map(source.recv_into, repeat(buffer))
        self._parcels: Iterator[_Received] = map(
            source.recvmsg_into, repeat([buffer]), repeat(_ANCILLARY), repeat(_CLOSE_ON_EXEC)
        )
        self._heard = heard
        # A writer that was killed after its announcement leaves one: looking for
        # descriptors from then on costs time alone.
        self._awaited = inf if wary else 0

    def read(self) -> Message | None:
        """Return the next letter that waits, None where there is none; hold nothing.

        Raises `ProtocolError` for a datagram that is no whole letter.
        """
        message = self.receive()
        self.held = None
        return message

    def receive(self) -> Message | None:
        """Return the next letter that waits, as `read` does, and hold it."""
        if self._awaited or self.held is not None:
            return self._receive_with_descriptors()
        while True:
            try:
                for size in self._arrivals:
                    self.held = size
                    break
            except (BlockingIOError, InterruptedError):
                return None
            data = self._view[:size]
            try:
                message = unpack(data)
            except BROKEN as error:
                if data == ANNOUNCEMENT:
                    self._awaited += 1
                    self.held = None
                    return self._receive_with_descriptors()
                is_bell = self._is_bell(data)
                self.held = None
                if is_bell:
                    continue
                raise _no_letter(len(data), error) from error
            if message.body_type:
                try:
                    return _restored(message, data)
                except ProtocolError:
                    self.held = None
                    raise
            return message

    def _receive_with_descriptors(self) -> Message | None:
        """Go on with what is held, then look for descriptors beside what comes."""
        while True:
            if self.held is None:
                try:
                    for received in self._parcels:
                        self.held = received
                        break
                except (BlockingIOError, InterruptedError):
                    return None
            held = self.held
            if not isinstance(held, _Datagram):
                assert held is not None
                held = _Datagram(held)
                self.held = held
            try:
                message = self._opened(held)
            except ProtocolError:
                held.close()
                self.held = None
                raise
            if message is not None:
                return message
            self.held = None

    def _opened(self, held: _Datagram) -> Message | None:
        """Return the letter in ``held``; None where it is a bell, or an announcement."""
        held.tries += 1
        if held.tries > TRIES and monotonic() - held.since > TRIED:
            raise ProtocolError(f"whoever read it was interrupted {held.tries - 1} times")
        data = self._view[: held.size]
        if held.is_parcel:
            if held.message is None:
                held.message = _with_large_body(data, held)
                # Garbage uses up nobody's announcement.
                if self._awaited:
                    self._awaited -= 1
            held.close()
            return held.message
        if held.flags & _CUT:
            raise ProtocolError("a letter was cut short: too long")
        if data == ANNOUNCEMENT:
            self._awaited += 1
            self.held = None
            return None
        try:
            message = unpack(data)
        except BROKEN as error:
            if self._is_bell(data):
                return None
            raise _no_letter(held.size, error) from error
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


def _with_large_body(envelope: memoryview, held: _Datagram) -> Message:
    if held.flags & _CUT or len(held.descriptors) != 1:
        raise ProtocolError("a letter with a large body was cut short, or out of descriptors")
    try:
        message = unpack(envelope)
    except BROKEN as error:
        raise _no_letter(len(envelope), error) from error
    match message.body:
        case [int(size), bool(as_it_is)] if message.body_type.startswith(BESIDE):
            packed = contents(held.descriptors[0], size)
            body_type = message.body_type.removeprefix(BESIDE)
            body = packed if as_it_is else decode_body(packed, body_type)
            return replace(message, body=body, body_type=body_type)
    raise ProtocolError("a large body came without its size")


class _Datagram:
    """What came with a datagram that is in the buffer, and what was made of it so far."""

    __slots__ = ("descriptors", "flags", "is_parcel", "message", "since", "size", "tries")

    def __init__(self, received: int | _Received) -> None:
        self.size, ancillary, self.flags, _ = (
            (received, [], 0, None) if isinstance(received, int) else received
        )
        self.descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR])
        self.is_parcel = bool(ancillary or self.flags & _NO_DESCRIPTOR)
        self.message: Message | None = None
        self.tries, self.since = 0, monotonic()

    def close(self) -> None:
        """Give its descriptors back, each once, whatever interrupts that."""
        while self.descriptors:
            descriptor = self.descriptors[-1]
            del self.descriptors[-1]
            os.close(descriptor)
