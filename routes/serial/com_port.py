"""The client's half of RFC 2217: set the line of a port that hangs on another machine.

Each setting is asked for, and the server answers with what the line has now;
an answer that differs is a setting that the port cannot do. Many servers do
not answer ``SET-CONTROL``: they do as told, and that is noted, not held
against them, since the settings that come after it have been answered.

This module moves no bytes and reads no clock: `ComPort` says what to send, is
told what was heard, and says what is still to come and what is wrong. Refused:
nothing; a server that says nonsense has not answered.
"""

from __future__ import annotations

import struct

from routes.serial import telnet
from routes.serial.settings import SerialSettings
from routes.serial.telnet import Event, Negotiation, Subnegotiation

COM_PORT = 44

_BAUD, _DATA_SIZE, _PARITY, _STOP_SIZE, _CONTROL, _PURGE = 1, 2, 3, 4, 5, 12
_SUSPEND, _RESUME = 8, 9
_SERVER = 100
"""The server's words are the client's, and a hundred more."""
_PARITIES = {"N": 1, "O": 2, "E": 3, "M": 4, "S": 5}
_BREAK = (6, 5)
_DTR = (9, 8)
_RTS = (12, 11)
_BOTH_BUFFERS = b"\x03"


class ComPort:
    """One conversation with one server, from `begin` on."""

    def __init__(self, settings: SerialSettings) -> None:
        self._settings = settings
        self._options = telnet.Options((telnet.BINARY, telnet.SUPPRESS_GO_AHEAD, COM_PORT))
        self._awaited: dict[tuple[int, bytes], str] = {}
        self.agreed: bool | None = None
        """Whether the server speaks RFC 2217; None while it has not said."""
        self.suspended = False
        """Whether the server asks for silence, for its port takes no more."""
        self.mistakes: list[str] = []
        """Settings that the port cannot do, each with what it has instead."""
        self.unanswered: list[str] = []
        """Settings of which the server has not said that it took them."""

    def begin(self) -> bytes:
        """Return the first thing to send."""
        return self._options.begin()

    def set_up(self, baud: int) -> bytes:
        """Return what sets the whole line."""
        settings = self._settings
        # The controls first: what is answered after them shows that they were read.
        said = b"".join(self._control(name, code) for name, code in self._flow())
        if settings.dtr is not None:
            said += self._control("dtr", _DTR[settings.dtr])
        if settings.rts is not None:
            said += self._control("rts", _RTS[settings.rts])
        said += self._set("bytesize", _DATA_SIZE, bytes([settings.bytesize]))
        said += self._set("parity", _PARITY, bytes([_PARITIES[settings.parity]]))
        said += self._set("stopbits", _STOP_SIZE, bytes([settings.stopbits]))
        return said + self.set_rate(baud)

    def set_rate(self, baud: int) -> bytes:
        """Return what sets the rate, and throws away what came at another one."""
        purge = telnet.subnegotiation(COM_PORT, bytes([_PURGE]) + _BOTH_BUFFERS)
        return self._set("baud", _BAUD, struct.pack(">I", baud)) + purge

    def set_line(self, line: str, on: bool) -> bytes:
        """Return what raises or drops ``dtr`` or ``rts``, or holds the data line (``break``)."""
        codes = {"dtr": _DTR, "rts": _RTS, "break": _BREAK}[line]
        return telnet.subnegotiation(COM_PORT, bytes([_CONTROL, codes[on]]))

    @property
    def is_settled(self) -> bool:
        """Whether every setting that servers answer has been answered."""
        return all(word == _CONTROL for word, _ in self._awaited)

    def settle(self) -> None:
        """Wait for no more answers; what has none is in `unanswered`."""
        self.unanswered = list(self._awaited.values())
        self._awaited.clear()

    def obey(self, event: Event) -> bytes:
        """Take what was heard; return the answer to it, often none."""
        if isinstance(event, Negotiation):
            if event.option == COM_PORT and event.verb in (telnet.DO, telnet.DONT):
                self.agreed = event.verb == telnet.DO
            return self._options.answer(event)
        if event.option == COM_PORT and event.payload:
            self._hear(event)
        return b""

    def _hear(self, event: Subnegotiation) -> None:
        word, value = event.payload[0] - _SERVER, event.payload[1:]
        if word in (_SUSPEND, _RESUME):
            self.suspended = word == _SUSPEND
            return
        if word == _CONTROL:
            self._awaited.pop((word, value), None)
            return
        for (awaited, wanted), name in list(self._awaited.items()):
            if awaited == word:
                del self._awaited[awaited, wanted]
                if value != wanted:
                    self.mistakes.append(
                        f"{name}: the port server makes {_words(word, value)} of it"
                    )

    def _flow(self) -> list[tuple[str, int]]:
        settings = self._settings
        if settings.rtscts:
            return [("rtscts", 3)]
        if settings.xonxoff:
            return [("xonxoff", 2)]
        if settings.dsrdtr:
            return [("dsrdtr", 19), ("dsrdtr", 18)]
        return [("no flow control", 1)]

    def _control(self, name: str, code: int) -> bytes:
        return self._set(name, _CONTROL, bytes([code]))

    def _set(self, name: str, word: int, value: bytes) -> bytes:
        self._awaited[word, value] = name
        return telnet.subnegotiation(COM_PORT, bytes([word]) + value)


def _words(word: int, value: bytes) -> str:
    """Return what the server said, for a person."""
    if word == _PARITY and len(value) == 1:
        parities = {code: parity for parity, code in _PARITIES.items()}
        return parities.get(value[0], str(value[0]))
    return str(int.from_bytes(value, "big"))
