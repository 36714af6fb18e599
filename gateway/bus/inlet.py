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
from itertools import repeat
from math import inf
from time import monotonic, sleep

from msgspec.structs import replace

from gateway.bus.attempts import Attempts
from gateway.bus.parcels import contents
from gateway.bus.reserve import Reserve
from gateway.bus.wire import ANNOUNCEMENT, BELL, BESIDE
from gateway.errors import ProtocolError, ShortageError, described
from gateway.mail.codec import BROKEN, decode, decode_body, unpack
from gateway.mail.message import Message

log = logging.getLogger(__name__)

_DESCRIPTOR = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(4 * _DESCRIPTOR)
# As plain integers: arithmetic on enum flags costs more than reading a datagram.
_NO_DESCRIPTOR = int(socket.MSG_CTRUNC)
_TOO_LONG = int(socket.MSG_TRUNC)
_CUT = _TOO_LONG | _NO_DESCRIPTOR
_LOOK = int(socket.MSG_CMSG_CLOEXEC) | int(socket.MSG_PEEK)

_Looked = tuple[int, list[tuple[int, int, bytes]], int, object]
"""A datagram's size, what came beside it, flags, and whose it is."""

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

    A signal's handler may raise wherever something is called. What was taken out of the socket by
    then is `held`, and received once more, until who has queued it sets that to None.
    """

    __slots__ = (
        "_arrivals",
        "_awaited",
        "_failed",
        "_heard",
        "_is_short",
        "_looks",
        "_reserve",
        "_view",
        "fd",
        "held",
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
        self.held: int | _Looked | _Datagram | None = None
        """The datagram in the buffer: its size, or what else is known of it."""
        self._view = memoryview(buffer)
        # No handler gets in between these and where a loop stores what they return.
        self._arrivals = map(source.recv_into, repeat(buffer))
        self._looks: Iterator[_Looked] = map(
            source.recvmsg_into, repeat([buffer]), repeat(_ANCILLARY), repeat(_LOOK)
        )
        self._heard = heard
        self._reserve = reserve or Reserve()
        self._is_short = False
        self._failed = Attempts()
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
                raise _no_letter(size, error) from error
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
                    for looked in self._looks:
                        self.held = looked
                        break
                except (BlockingIOError, InterruptedError):
                    return None
            try:
                message = self._opened()
            except BaseException as error:
                self._let_go(error)
                raise
            if message is not None:
                return message
            self.held = None

    def _opened(self) -> Message | None:
        """Return the letter that is held; None where it is a bell, or an announcement."""
        held = self._tried()
        if held.message is None and held.is_parcel:
            if held.descriptors:
                self._open_parcel(held)
            else:
                held = self._with_reserve()
        self._take_out(held)
        if held.message is not None:
            held.close()
            return held.message
        data = self._view[: held.size]
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

    def _tried(self) -> _Datagram:
        """Return what is held, and count the attempt to make a letter of it."""
        held = self._as_datagram()
        if held.attempts.are_over():
            raise ProtocolError("whoever read it was interrupted each time")
        return held

    def _as_datagram(self) -> _Datagram:
        """Return what is held with all that is known of it."""
        held = self.held
        assert held is not None
        if not isinstance(held, _Datagram):
            held = _Datagram(held)
            self.held = held
        return held

    def _take_out(self, held: _Datagram) -> None:
        """Take what was looked at out of the socket, unless it is."""
        if not held.is_taken:
            for _ in self._arrivals:
                held.is_taken = True
                # Garbage uses up nobody's announcement.
                if held.is_letter and self._awaited:
                    self._awaited -= 1
                break

    def _let_go(self, error: BaseException) -> None:
        """Drop what is held and lies in the socket still, and what is no letter."""
        if self.held is None or isinstance(self.held, int):
            return
        held = self._as_datagram()
        is_refused = isinstance(error, ProtocolError)
        if is_refused:
            held.is_letter = isinstance(error, NoBodyError)
            self._take_out(held)
        if is_refused or not held.is_taken:
            self.held = None
            held.close()

    def _with_reserve(self) -> _Datagram:
        """Look again with a descriptor that is kept for that; return what was found."""
        with self._reserve.lent():
            # No loop in here: see `Intake._drain`.
            held = self._looked_at_again()
            try:
                self._open_parcel(held)
            finally:
                held.close()
        return held

    def _looked_at_again(self) -> _Datagram:
        deadline = monotonic() + WITHIN
        while True:
            for looked in self._looks:
                self.held = looked
                break
            held = self._tried()
            if held.descriptors or monotonic() >= deadline:
                return held
            # Another thread was faster, as one that reads a large body, and gives it back.
            sleep(AGAIN)

    def _open_parcel(self, held: _Datagram) -> None:
        try:
            held.message = self._with_large_body(self._view[: held.size], held)
            held.is_letter = True
        except ProtocolError:
            raise
        except Exception as error:
            # It lies there still.
            if not self._failed.are_over():
                raise
            self._failed.forget()
            raise ProtocolError("a large body cannot be read") from error
        self._failed.forget()

    def _with_large_body(self, envelope: memoryview, held: _Datagram) -> Message:
        flags, descriptors = held.flags, held.descriptors
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

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self.source.fileno() >= 0

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


class _Datagram:
    """What came with a datagram that is in the buffer, and what was made of it so far."""

    __slots__ = (
        "attempts",
        "descriptors",
        "flags",
        "is_letter",
        "is_parcel",
        "is_taken",
        "message",
        "size",
    )

    def __init__(self, found: int | _Looked) -> None:
        self.is_taken = isinstance(found, int)
        self.size, ancillary, self.flags, _ = (
            (found, [], 0, None) if isinstance(found, int) else found
        )
        self.descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR])
        self.is_parcel = bool(ancillary or self.flags & _NO_DESCRIPTOR)
        self.is_letter = False
        self.message: Message | None = None
        self.attempts = Attempts()

    def close(self) -> None:
        """Give its descriptors back, each once, whatever interrupts that."""
        while self.descriptors:
            descriptor = self.descriptors[-1]
            del self.descriptors[-1]
            os.close(descriptor)
