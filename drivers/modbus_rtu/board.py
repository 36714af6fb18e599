"""A line of Modbus RTU slaves in Python: bytes in, bytes out, the clock handed in.

Written after the standard and upon neither pymodbus nor the driver's framing, so
that each can show the other's mistakes. A slave has the public functions 1 to 6,
15 and 16, answers with exceptions as the standard says, is silent where it is not
meant or the CRC is wrong, and obeys broadcasts without a word.

A request is known by its length; silence within one throws it away. What real
lines do worse (echoes, collisions, slaves that answer late) is the wire's affair.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.clock import Clock

BROADCAST = 0
_SILENCE = 0.02
"""Seconds after which what was begun is no request any more."""
_LONGEST = 256
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

Word = int | Callable[[float], int]
"""What an input register holds: a number, or one that depends on seconds since power-up."""


@dataclass
class Slave:
    """What one slave holds, by address; what is not there is an illegal address."""

    holding: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, Word] = field(default_factory=dict)
    coils: dict[int, bool] = field(default_factory=dict)
    discretes: dict[int, bool] = field(default_factory=dict)
    busy: bool = False
    """It answers everything with the exception "busy"."""
    silent: bool = False
    """It answers nothing, as one without power."""


def example() -> dict[int, Slave]:
    """Return the slaves that the README's configuration is for: a heater and a door."""
    heater = Slave(
        holding={0: 215, 1: 0, 2: 0x4148, 3: 0x0000},  # 21.5 °C, off, 12.5 kW
        inputs={0: _temperature, 1: 0, 2: 1234},
        coils={0: False, 1: False},
        discretes={0: True, 1: False},
    )
    door = Slave(holding={10: 0}, discretes={0: False})
    return {1: heater, 2: door}


class Line:
    """Slaves by their number, all on one pair of wires."""

    def __init__(self, slaves: Mapping[int, Slave] | None = None, *, clock: Clock) -> None:
        """Put ``slaves`` on the line; the `example` unless said."""
        self.slaves = dict(example() if slaves is None else slaves)
        self._clock = clock
        self.requests: list[bytes] = []
        """Requests with a right CRC, the newest last; the last hundred."""
        self.reset()

    def reset(self) -> None:
        """Do what power off and on does; what the slaves hold is kept, as in their memory."""
        self._since = self._last = self._clock.monotonic()
        self._begun = b""

    @property
    def wake(self) -> float | None:
        """Slaves speak when they are spoken to."""
        return None

    def poll(self) -> bytes:
        """Return nothing: slaves speak when they are spoken to."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the line and return the answer to what they complete."""
        now = self._clock.monotonic()
        if now - self._last > _SILENCE:
            self._begun = b""
        self._last = now
        self._begun = (self._begun + data)[-_LONGEST:]
        said = b""
        while (length := _length_of(self._begun)) and len(self._begun) >= length:
            request, self._begun = self._begun[:length], self._begun[length:]
            if crc(request[:-2]) != request[-2:]:
                self._begun = b""  # out of step: only silence helps
                break
            self.requests = [*self.requests[-99:], request]
            said += self._answer(request[0], request[1:-2])
        return said

    def _answer(self, unit_id: int, pdu: bytes) -> bytes:
        if unit_id == BROADCAST:
            for each in self.slaves.values():
                self._carry_out(each, pdu)
            return b""
        slave = self.slaves.get(unit_id)
        if slave is None or slave.silent:
            return b""
        said = bytes([pdu[0] | 0x80, 6]) if slave.busy else self._carry_out(slave, pdu)
        frame = bytes([unit_id]) + said
        return frame + crc(frame)

    def _carry_out(self, slave: Slave, pdu: bytes) -> bytes:
        """Return the PDU of the answer."""
        function = pdu[0]
        address, second = struct.unpack(">HH", pdu[1:5])
        try:
            match function:
                case 1 | 2:
                    bits = slave.coils if function == 1 else slave.discretes
                    values = _few(bits, address, second, 2000)
                    packed = bytearray((second + 7) // 8)
                    for place, bit in enumerate(values):
                        packed[place // 8] |= bool(bit) << place % 8
                    return bytes([function, len(packed)]) + packed
                case 3 | 4:
                    held = slave.holding if function == 3 else slave.inputs
                    words = [self._now(word) for word in _few(held, address, second, 125)]
                    return struct.pack(f">BB{second}H", function, 2 * second, *words)
                case 5:
                    if second not in (0x0000, 0xFF00):
                        return bytes([function | 0x80, ILLEGAL_VALUE])
                    _few(slave.coils, address, 1, 1)
                    slave.coils[address] = second == 0xFF00
                    return pdu
                case 6:
                    _few(slave.holding, address, 1, 1)
                    slave.holding[address] = second
                    return pdu
                case 15:
                    _few(slave.coils, address, second, 1968)
                    for place in range(second):
                        slave.coils[address + place] = bool(pdu[6 + place // 8] >> place % 8 & 1)
                    return pdu[:5]
                case 16:
                    _few(slave.holding, address, second, 123)
                    words = list(struct.unpack(f">{second}H", pdu[6 : 6 + 2 * second]))
                    slave.holding.update(enumerate(words, address))
                    return pdu[:5]
        except (ValueError, IndexError, struct.error):
            return bytes([function | 0x80, ILLEGAL_VALUE])
        except KeyError:
            return bytes([function | 0x80, ILLEGAL_ADDRESS])
        return bytes([function | 0x80, ILLEGAL_FUNCTION])

    def _now(self, word: Word) -> int:
        return word if isinstance(word, int) else word(self._clock.monotonic() - self._since)


def crc(data: bytes) -> bytes:
    """Return the CRC, low byte first (Modbus over serial line V1.02, 6.2.2).

    >>> crc(bytes.fromhex("11 03 00 6b 00 03")).hex(" ")
    '76 87'
    """
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xA001 if register & 1 else 0)
    return struct.pack("<H", register)


def _length_of(begun: bytes) -> int:
    """Return how long the request is that has begun; 0 where that cannot be told yet."""
    if len(begun) < 2:
        return 0
    if begun[1] in (15, 16):
        return 9 + begun[6] if len(begun) > 6 else 0
    return 8


def _few(held: Mapping[int, Word], address: int, count: int, most: int) -> list[Word]:
    """Return what is held; `ValueError` for a wrong count, `KeyError` for an address."""
    if not 1 <= count <= most:
        raise ValueError(count)
    return [held[address + place] for place in range(count)]


def _temperature(seconds: float) -> int:
    """Return tenths of a degree that go from 18 to 22 and back in 80 s."""
    phase = seconds % 80.0 / 40.0
    return 180 + round(40 * (phase if phase < 1.0 else 2.0 - phase))
