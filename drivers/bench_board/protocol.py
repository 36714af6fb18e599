"""The words that the bench board and its driver exchange, as payloads of checked lines.

One rule tells answers apart. A success begins with the request itself
(``L1`` → ``L1``, ``R7`` → ``R7 1250,512``), a refusal is ``N<reason>`` with
the request behind it, and what nobody asked for begins with ``A``, ``B`` or
``E``, letters that no request has. So a late answer to an earlier request is
never taken for the answer to this one, as long as the requests differ; those
without an argument carry a tag of the sender's choice.

Pure: no link, no clock. Refused, as `ProtocolError`: a line whose checksum
was right and whose content still makes no sense.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import GatewayError, ProtocolError, RefusedError

MODEL = "bench-board"
LINE_LIMIT = 64
"""Bytes of the longest line that the board takes: its checksum counts, its end does not."""
PAYLOAD_LIMIT = LINE_LIMIT - 3
MAX_HZ = 200
MAX_FAULT = 3
FULL_SCALE_VOLTS = 5.0
STEPS = 1024

IDENTIFY = b"ID"
PING = b"P"
COUNTERS = b"C"
FAULTS_OFF = b"F0"
HANG = b"FH"
SILENCE = b"FS"

READING, BOOTED, FAULT, REFUSAL = b"A", b"B", b"E", b"N"
"""The first letters of what the board says without, or against, a request."""

UNKNOWN, ARGUMENT, CHECKSUM, LONG = b"unknown", b"argument", b"checksum", b"long"
"""The reasons of a refusal. The last two come without the request, which is not believed."""

_REASONS = {
    UNKNOWN: "the board does not know this request",
    ARGUMENT: "the board does not take this argument",
    CHECKSUM: "the request reached the board damaged",
    LONG: f"the board takes lines of up to {LINE_LIMIT} bytes",
}


class Reading(NamedTuple):
    """One sample of ADC0, 0 to 1023, at ``milliseconds`` of the board's own clock."""

    milliseconds: int
    raw: int


class Counters(NamedTuple):
    """What the board has counted since its reset; each wraps at 65536."""

    accepted: int
    bad_checksums: int
    long_lines: int
    refused: int
    overruns: int
    unsent: int


def set_led(on: bool) -> bytes:
    """Return the request that lights the LED, or puts it out."""
    return b"L1" if on else b"L0"


def set_stream(hz: int) -> bytes:
    """Return the request for ``hz`` readings a second, 0 to 200."""
    if not 0 <= hz <= MAX_HZ:
        raise ValueError(f"the board streams at 0 to {MAX_HZ} Hz, not at {hz}")
    return b"S%d" % hz


def read_analogue(tag: int) -> bytes:
    """Return the request for one reading, told from others by its ``tag``."""
    return b"R%d" % tag


def corrupt_every(lines: int) -> bytes:
    """Return the request to spoil the checksum of every so many lines (0: of none)."""
    if not 0 <= lines <= 255:
        raise ValueError(f"the board can corrupt every 1st to 255th line (0: none), not {lines}")
    return b"FC%d" % lines


def report_fault(code: int) -> bytes:
    """Return the request to report the device fault ``code``, 1 to 3."""
    if not 1 <= code <= MAX_FAULT:
        raise ValueError(f"the board knows the faults 1 to {MAX_FAULT}, not {code}")
    return b"FE%d" % code


def is_answer(request: bytes, frame: bytes) -> bool:
    """Say whether ``frame`` ends the wait for the answer to ``request``.

    >>> is_answer(b"R7", b"R7 1250,512"), is_answer(b"R7", b"R71 1250,512")
    (True, False)
    >>> is_answer(b"L7", b"Nargument L7"), is_answer(b"L7", b"Nchecksum")
    (True, True)
    """
    if frame == request or frame.startswith(request + b" "):
        return True
    if not frame.startswith(REFUSAL):
        return False
    reason, _, refused = frame[1:].partition(b" ")
    return refused == request or reason in (CHECKSUM, LONG)


def result(request: bytes, answer: bytes) -> bytes:
    """Return what ``answer`` says behind the ``request`` that it repeats.

    Raises `RefusedError` where the board refuses it, and `ProtocolError`
    where the request was damaged on its way or the answer is another's.

    >>> result(b"R7", b"R7 1250,512")
    b'1250,512'
    """
    if answer == request or answer.startswith(request + b" "):
        return answer[len(request) + 1 :]
    if is_answer(request, answer):
        raise refusal(answer)
    raise ProtocolError(f"{answer!r} is no answer to {request!r}")


def refusal(frame: bytes) -> GatewayError:
    """Return the error that the refusal ``frame`` stands for.

    >>> refusal(b"Nargument S201")
    RefusedError('S201: the board does not take this argument')
    """
    reason, _, request = frame[1:].partition(b" ")
    text = _REASONS.get(reason, f"refused: {_text(reason)}")
    if request:
        text = f"{_text(request)}: {text}"
    return ProtocolError(text) if reason == CHECKSUM else RefusedError(text)


def parse_identity(values: bytes) -> tuple[str, str, str]:
    """Return model, firmware version and serial number.

    >>> parse_identity(b"bench-board 1.0.0 BB-0001")
    ('bench-board', '1.0.0', 'BB-0001')
    """
    words = _text(values).split(" ")
    if len(words) != 3 or not all(words):
        raise ProtocolError(f"an identity is model, firmware and serial number, not {values!r}")
    return words[0], words[1], words[2]


def parse_reading(values: bytes) -> Reading:
    """Return the reading that ``values`` (``milliseconds,raw``) spell.

    >>> parse_reading(b"1250,512")
    Reading(milliseconds=1250, raw=512)
    """
    numbers = _numbers(values, len(Reading._fields))
    reading = Reading(*numbers)
    if reading.raw >= STEPS:
        raise ProtocolError(f"a reading is 0 to {STEPS - 1}, not {reading.raw}")
    return reading


def parse_counters(values: bytes) -> Counters:
    """Return the counters that ``values`` spell, six numbers with commas between."""
    return Counters(*_numbers(values, len(Counters._fields)))


def parse_fault(frame: bytes) -> tuple[int, str]:
    """Return code and text of the device fault that ``frame`` reports.

    >>> parse_fault(b"E2 supply voltage low")
    (2, 'supply voltage low')
    """
    code, _, text = frame[1:].partition(b" ")
    return _numbers(code, 1)[0], _text(text)


def volts(raw: int) -> float:
    """Return the voltage of a reading (data sheet DS40002061, 24.7: Vin = raw Vref / 1024).

    >>> volts(512)
    2.5
    """
    return raw * FULL_SCALE_VOLTS / STEPS


def _numbers(values: bytes, count: int) -> list[int]:
    words = values.split(b",")
    # isdigit() alone: int() would also take "+5", " 5" and "1_0".
    if len(words) != count or not all(word.isdigit() for word in words):
        raise ProtocolError(f"expected {count} numbers with commas between, not {values!r}")
    return [int(word) for word in words]


def _text(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")
