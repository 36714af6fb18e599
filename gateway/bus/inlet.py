"""Reads the datagrams of one bound socket: letters, and large bodies beside them.

The kernel drops a descriptor for which this OS process has no room. So what may have one is
looked at first, and taken out of the socket once its body is here; where there is no room a
descriptor is given up that is kept for that (`gateway.bus.reserve`), and where other threads
were faster the letter is known by its headers, and is sent back (`NoBodyError`).

Refused (`ProtocolError`): what is no letter, memory files that are not sealed or
too large, datagrams that were cut short. Nothing here is ever unpickled.
"""

from __future__ import annotations

import array
import logging
import mmap
import os
import socket
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic, sleep

from msgspec.structs import replace

from gateway.bus.parcels import contents
from gateway.bus.reserve import Reserve
from gateway.bus.ring import TRIES
from gateway.bus.wire import ANNOUNCEMENT, BELL, BESIDE
from gateway.errors import ProtocolError, ShortageError, described
from gateway.mail.codec import BROKEN, decode, decode_body, unpack
from gateway.mail.message import Message

log = logging.getLogger(__name__)

_ANCILLARY = socket.CMSG_SPACE(4 * array.array("i").itemsize)
# As plain integers: arithmetic on enum flags costs more than reading a datagram.
_NO_DESCRIPTOR = int(socket.MSG_CTRUNC)
_TOO_LONG = int(socket.MSG_TRUNC)
_CUT = _TOO_LONG | _NO_DESCRIPTOR
_LOOK = int(socket.MSG_CMSG_CLOEXEC) | int(socket.MSG_PEEK)


_Ancillary = list[tuple[int, int, bytes]]

WITHIN, AGAIN = 0.1, 0.001
"""Seconds for which a descriptor is looked for where there is none, and between two looks."""

BUFFER = 128 * 1024
"""Bytes that are kept for what a datagram may hold."""


def new_buffer() -> mmap.mmap:
    """Return a buffer that is nobody else's; pages in which no letter lay yet cost nothing."""
    return mmap.mmap(-1, BUFFER, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class NoBodyError(ProtocolError):
    """A letter came, and no descriptor was left for its body; ``letter`` has none."""

    def __init__(self, letter: Message, reason: ShortageError) -> None:
        super().__init__(str(reason))
        self.letter = letter
        self.reason = reason


class Inlet:
    """One bound socket, read into a buffer that is kept: a fresh one costs more than the letter.

    ``heard`` is called with the ring and the letter that a bell is about (`gateway.bus.ring`);
    without it there are no rings. One thread reads at a time. The socket is owned, and closed
    by `close`. ``reserve`` lends a descriptor where there is none left. Who reads on where
    somebody else has read before is ``wary``: a descriptor may come unannounced.
    """

    __slots__ = (
        "_awaited",
        "_buffer",
        "_buffers",
        "_failed",
        "_heard",
        "_is_short",
        "_receive",
        "_reserve",
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
        reserve: Reserve | None = None,
        wary: bool = False,
    ) -> None:
        self.source = source
        self.fd = source.fileno()
        self._buffer = buffer
        self._buffers = [buffer]
        self._view = memoryview(buffer)
        self._receive = source.recv_into
        self._heard = heard
        self._reserve = reserve or Reserve()
        self._is_short = False
        self._failed = 0
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
                size, ancillary, flags = self._look()
            except (BlockingIOError, InterruptedError):
                return None
            if ancillary or flags & _NO_DESCRIPTOR:
                return self._read_large(size, ancillary, flags)
            self._receive(self._buffer)
            data = self._view[:size]
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

    def _look(self) -> tuple[int, _Ancillary, int]:
        """Return size, descriptors and flags of the next datagram, which stays where it is."""
        return self.source.recvmsg_into(self._buffers, _ANCILLARY, _LOOK)[:3]

    def _read_large(self, size: int, ancillary: _Ancillary, flags: int) -> Message:
        if ancillary:
            return self._take_out(size, ancillary, flags)
        with self._reserve.lent():
            deadline = monotonic() + WITHIN
            while True:
                looked = self._look()
                if looked[1] or monotonic() >= deadline:
                    return self._take_out(*looked)
                # Another thread was faster, as one that reads a large body, and gives it back.
                sleep(AGAIN)

    def _take_out(self, size: int, ancillary: _Ancillary, flags: int) -> Message:
        """Return what was looked at, with its body, and take it out of the socket."""
        is_done = is_letter = False
        try:
            message = self._with_large_body(self._view[:size], ancillary, flags)
            is_done = is_letter = True
        except ProtocolError as error:
            # Garbage uses up nobody's announcement.
            is_done, is_letter = True, isinstance(error, NoBodyError)
            raise
        except Exception as error:
            # It lies there still: what a signal's handler raised does not come again.
            self._failed += 1
            is_done = self._failed >= TRIES
            if not is_done:
                raise
            raise ProtocolError("a large body cannot be read") from error
        finally:
            if is_done:
                self._receive(self._buffer)
                self._awaited = max(0, self._awaited - is_letter)
                self._failed = 0
        return message

    def _with_large_body(self, envelope: memoryview, ancillary: _Ancillary, flags: int) -> Message:
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        try:
            if (flags & _CUT and (descriptors or flags & _TOO_LONG)) or len(descriptors) > 1:
                raise ProtocolError("a letter with a large body was cut short")
            try:
                message = unpack(envelope)
            except BROKEN as error:
                raise _no_letter(len(envelope), error) from error
            match message.body:
                case [int(size), bool(as_it_is)] if message.body_type.startswith(BESIDE):
                    if not descriptors:
                        return self._without_body(message, size)
                    packed = contents(descriptors[0], size)
                    body_type = message.body_type.removeprefix(BESIDE)
                    body = packed if as_it_is else decode_body(packed, body_type)
                    self._is_short = False
                    return replace(message, body=body, body_type=body_type)
            raise ProtocolError("a large body came without its size")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _without_body(self, message: Message, size: int) -> Message:
        """Return what tells whoever waits that the answer could not be read, or raise."""
        reason = ShortageError(
            f"{message.recipient!r} had no descriptor left for a body of {size / 1e6:.2g} MB:"
            " raise LimitNOFILE= in its unit (ulimit -n)"
        )
        if not self._is_short:
            self._is_short = True
            log.error("%r from %s is not read: %s", message.subject, message.sender, str(reason))
        if message.kind in ("reply", "bounce"):
            return replace(message, kind="bounce", body=described(reason), body_type="")
        raise NoBodyError(replace(message, body=None, body_type=""), reason)

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
            except NoBodyError as error:
                yield error.letter
                continue
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
