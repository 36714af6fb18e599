"""The bench board itself, in Python: bytes in, bytes out, the clock handed in.

It is written after the firmware's protocol and not upon the gateway's
framing, so that each can show the other's mistakes; the tests hold one
conversation with both. It behaves as the firmware does, down to the words of
its refusals, and leaves out what a pure function has no use for: the line's
rate, full buffers and lost bytes (the counters of those stay 0).

`Board.receive` takes what came in and `Board.poll` says what is due; both
return the bytes to send. Neither waits: `Board.wake` says when to poll next.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from drivers.bench_board import protocol
from gateway.clock import Clock

FAULT_TEXTS = {1: b"over-temperature", 2: b"supply voltage low", 3: b"sensor broken"}
_CATCH_UP = 200
"""Readings that a late `Board.poll` makes good at most."""


def slow_triangle(seconds: float) -> float:
    """Return volts that go from 0.5 to 4.5 and back in 20 s: something to look at."""
    phase = seconds % 20.0 / 10.0
    return 0.5 + 4.0 * (phase if phase < 1.0 else 2.0 - phase)


class Board:
    """One bench board. Reset it, and it says who it is, as after power-up."""

    def __init__(
        self,
        *,
        clock: Clock,
        voltage: Callable[[float], float] = slow_triangle,
        firmware: str = "1.0.0",
        serial_number: str = "BB-0001",
        start_hz: int = 0,
    ) -> None:
        """``voltage`` maps seconds since the reset to volts at ADC0.

        ``start_hz`` is for people who want to see something without asking;
        the real board starts with its stream off.
        """
        if not 0 <= start_hz <= protocol.MAX_HZ:
            raise ValueError(f"the stream's rate is 0 to {protocol.MAX_HZ} Hz, not {start_hz}")
        self._start_hz = start_hz
        self._clock = clock
        self._voltage = voltage
        self._identity = f"{protocol.MODEL} {firmware} {serial_number}".encode()
        self._outbox: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        """Do what power off and on does; the banner is due at once."""
        self._since = self._clock.monotonic()
        self._line = bytearray()
        self._skipping = False
        self._hz = self._start_hz
        self._stream_since = 0
        self._streamed = 0
        self._corrupt_every = 0
        self._since_corrupt = 0
        self._silent = False
        self._hung = False
        self._accepted = self._bad_checksums = self._long_lines = self._refused = 0
        self._outbox.clear()
        self.led = False
        self._say(b"B " + self._identity)

    @property
    def hz(self) -> int:
        """The stream's rate in readings a second."""
        return self._hz

    @property
    def wake(self) -> float | None:
        """When to `poll` next, in seconds of the clock's `monotonic`; None: not by itself."""
        if self._outbox:
            return self._clock.monotonic()
        if not self._hz or self._hung:
            return None
        due = self._stream_since + math.ceil((self._streamed + 1) * 1000 / self._hz)
        return self._since + due / 1000.0

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the wire and return the answers to the lines they complete."""
        for byte in data:
            if self._hung:
                break
            self._take(byte)
        return self.poll()

    def poll(self) -> bytes:
        """Return what is to be sent now: the readings that are due, and what went before."""
        now = self._milliseconds()
        if self._hz and not self._hung:
            due = (now - self._stream_since) * self._hz // 1000
            # A board that was stopped for an hour has not measured in it.
            self._streamed = max(self._streamed, due - _CATCH_UP)
            while self._streamed < due:
                self._streamed += 1
                at = self._stream_since + math.ceil(self._streamed * 1000 / self._hz)
                self._say(b"A" + self._reading(at))
        sent = b"".join(self._outbox)
        self._outbox.clear()
        return sent

    # What comes in.

    def _take(self, byte: int) -> None:
        if byte == 0x0A:
            line, skipped = bytes(self._line), self._skipping
            self._line.clear()
            self._skipping = False
            if not skipped:
                self._judge(line.removesuffix(b"\r"))
        elif not self._skipping:
            # One byte over the limit may be the \r of a line that is just long enough.
            if len(self._line) > protocol.LINE_LIMIT:
                self._skipping = True
                self._refuse_long()
            else:
                self._line.append(byte)

    def _judge(self, line: bytes) -> None:
        if not line:
            return
        if len(line) > protocol.LINE_LIMIT:
            self._refuse_long()
            return
        payload, mark, digits = line[:-3], line[-3:-2], line[-2:]
        if (
            mark != b"*"
            or digits.upper() != b"%02X" % _xor(payload)
            or any(byte < 0x20 for byte in payload)
        ):
            self._bad_checksums += 1
            self._say(b"Nchecksum")
            return
        self._accepted += 1
        self._obey(payload)

    def _refuse_long(self) -> None:
        self._long_lines += 1
        self._say(b"Nlong")

    def _obey(self, request: bytes) -> None:
        letter, argument = request[:1], request[1:]
        if request == protocol.IDENTIFY:
            self._say(b"ID " + self._identity)
        elif letter == b"P":
            self._say(request)
        elif letter == b"R":
            self._say(request + b" " + self._reading(self._milliseconds()))
        elif letter == b"L" and (on := _number(argument, 1)) is not None:
            self.led = bool(on)
            self._say(request)
        elif letter == b"S" and (hz := _number(argument, protocol.MAX_HZ)) is not None:
            self._say(request)
            self._hz = hz
            self._stream_since = self._milliseconds()
            self._streamed = 0
        elif request == protocol.COUNTERS:
            self._say(request + b" " + self._counters())
        elif letter == b"F" and self._fault(request):
            pass
        elif letter in (b"L", b"S", b"C", b"F"):
            self._refuse(protocol.ARGUMENT, request)
        else:
            self._refuse(protocol.UNKNOWN, request)

    def _fault(self, request: bytes) -> bool:
        """Switch a fault and answer, or return False: no such fault."""
        kind, number = request[1:2], request[2:]
        if request == protocol.FAULTS_OFF:
            self._silent = False
            self._corrupt_every = 0
            self._say(request)
        elif request == protocol.HANG:
            self._say(request)
            self._hung = True
        elif request == protocol.SILENCE:
            self._say(request)
            self._silent = True
        elif kind == b"C" and (every := _number(number, 255)) is not None:
            self._say(request)
            self._corrupt_every = every
            self._since_corrupt = 0
        elif kind == b"E" and (code := _number(number, protocol.MAX_FAULT)):
            self._say(request)
            self._say(b"E%d " % code + FAULT_TEXTS[code])
        else:
            return False
        return True

    # What goes out.

    def _refuse(self, reason: bytes, request: bytes) -> None:
        self._refused += 1
        self._say(b"N" + reason + b" " + request)

    def _say(self, payload: bytes) -> None:
        checksum = _xor(payload)
        if self._corrupt_every:
            self._since_corrupt += 1
            if self._since_corrupt >= self._corrupt_every:
                self._since_corrupt = 0
                checksum ^= 0xFF
        if not self._silent:
            self._outbox.append(b"%b*%02X\n" % (payload, checksum))

    def _milliseconds(self) -> int:
        # The grain of a float must not turn 3.0 ms into 2: `wake` names such moments.
        return int((self._clock.monotonic() - self._since) * 1000 + 1e-6)

    def _reading(self, milliseconds: int) -> bytes:
        level = self._voltage(milliseconds / 1000.0) / protocol.FULL_SCALE_VOLTS
        raw = max(0, min(protocol.STEPS - 1, int(level * protocol.STEPS)))
        return b"%d,%d" % (milliseconds % 2**32, raw)

    def _counters(self) -> bytes:
        counted = (self._accepted, self._bad_checksums, self._long_lines, self._refused, 0, 0)
        return b",".join(b"%d" % (count % 2**16) for count in counted)


def _xor(payload: bytes) -> int:
    checksum = 0
    for byte in payload:
        checksum ^= byte
    return checksum


def _number(text: bytes, limit: int) -> int | None:
    """Return the number of one to three digits up to ``limit``, or None."""
    if not text.isdigit() or len(text) > 3 or int(text) > limit:
        return None
    return int(text)
