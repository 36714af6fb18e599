"""A pump that speaks lines, in Python: the board of the README's declaration.

========================  =====================================================
``*IDN?``                 ``ACME,Pump 3,SN-0042,1.7``
``SPEED 0`` to ``3000``   ``OK``, or ``ERR out of range``
``VALVE 0``, ``VALVE 1``  ``OK``
``T?``                    ``T=21.5``
``PING``                  ``PONG``
anything else             ``ERR unknown command``
========================  =====================================================

It says ``F=<litres a minute>,<rpm>`` once a second by itself.
"""

from __future__ import annotations

from gateway.clock import Clock

_LONGEST = 80


class Pump:
    """One pump; what it is told is in `speed` and `valve`."""

    def __init__(self, *, clock: Clock, ending: bytes = b"\r\n", model: str = "Pump 3") -> None:
        self._clock = clock
        self._ending = ending
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Do what power off and on does."""
        self.speed = 0
        self.valve = False
        self._since = self._clock.monotonic()
        self._told = 0
        self._line = b""

    @property
    def wake(self) -> float | None:
        """When it tells its flow next, in monotonic seconds."""
        return self._since + self._told + 1.0

    def receive(self, data: bytes) -> bytes:
        """Take bytes and return the answers to the lines that they complete."""
        *lines, self._line = (self._line + data.replace(b"\r", b"\n")).split(b"\n")
        self._line = self._line[-_LONGEST:]
        return b"".join(self._answer(line) + self._ending for line in lines if line)

    def poll(self) -> bytes:
        """Return the flow where that is due."""
        seconds = int(self._clock.monotonic() - self._since + 1e-6)
        if seconds <= self._told:
            return b""
        self._told = seconds
        return b"F=%.2f,%d" % (self.speed / 300, self.speed) + self._ending

    def _answer(self, line: bytes) -> bytes:
        word, _, argument = line.partition(b" ")
        if line == b"*IDN?":
            return f"ACME,{self._model},SN-0042,1.7".encode()
        if line == b"PING":
            return b"PONG"
        if line == b"T?":
            return b"T=21.5"
        if word == b"VALVE" and argument in (b"0", b"1"):
            self.valve = argument == b"1"
            return b"OK"
        if word == b"SPEED" and argument.isdigit() and len(argument) < 9:
            if int(argument) > 3000:
                return b"ERR out of range"
            self.speed = int(argument)
            return b"OK"
        return b"ERR unknown command"
