"""Which MQTT to speak: 5 first, 3.1.1 where the broker knows no better.

A pure table. An old broker answers a CONNECT of MQTT 5 in one of three ways:

- its CONNACK says so: proof, and 3.1.1 is spoken from then on;
- it hangs up. So does a broker that is being stopped;
- it says nothing at all (amqtt, which stumbles over the will). So does a
  broker that hangs.

Where it is not proof, the next CONNECT is a **probe**: MQTT 5 with neither
will nor name, so plain that an old broker understands enough of it to refuse
the version. A probe that is answered otherwise says that MQTT 5 is spoken. A
probe that meets a second hang-up is worth a try of 3.1.1, for one connection;
when the same has led there twice, 3.1.1 is kept. Silence alone never leads
there: a broker that was frozen would be spoken down to when it thaws.

What is kept is forgotten as soon as 3.1.1 is refused or hung up on: then
another broker has moved in. Refuses nothing.
"""

from __future__ import annotations

from typing import Literal

Version = Literal["5", "3.1.1"]

HANG_UPS = 2
"""In a row on one version before the other is tried."""

FIRST_PATIENCE = 1.0
"""Seconds for the first CONNACK of all: a mute old broker is found out soon,
and a slow one is asked again with all the time there is."""


class ProtocolChoice:
    """What is known of one broker's age.

    The methods that tell of a failure return whether to try again at once.

    >>> choice = ProtocolChoice()
    >>> choice.refused(), choice.version
    (True, '3.1.1')
    """

    def __init__(self) -> None:
        self._version: Version = "5"
        self._probing = False
        self._kept = False
        self._hang_ups = 0
        self._detours = 0
        self._first = True

    @property
    def version(self) -> Version:
        """What the next CONNECT should speak."""
        return self._version

    @property
    def probing(self) -> bool:
        """Tell whether the next CONNECT is a probe."""
        return self._probing

    def patience(self, timeout: float) -> float:
        """Return the seconds to wait for the next CONNACK, ``timeout`` at most."""
        return min(FIRST_PATIENCE, timeout) if self._first else timeout

    def refused(self) -> bool:
        """The CONNACK said: unsupported version."""
        self._first = self._probing = False
        self._hang_ups = 0
        if self._version == "3.1.1":
            self._forget()
            return False
        self._version, self._kept = "3.1.1", True
        return True

    def silent(self) -> bool:
        """No CONNACK came in time."""
        self._first = False
        # After a probe that was met with silence too, nothing more is known.
        self._probing = self._version == "5" and not self._probing
        return self._probing

    def hung_up(self) -> bool:
        """The socket was closed before any CONNACK came."""
        self._first = False
        self._hang_ups += 1
        self._probing = self._version == "5" and self._hang_ups < HANG_UPS
        if self._hang_ups >= HANG_UPS:
            if self._version == "3.1.1":
                self._forget()
            else:
                self._version, self._hang_ups = "3.1.1", 0
        return self._probing

    def answered(self) -> None:
        """A CONNACK came, whatever it said of us: the version is understood."""
        self._first = self._probing = False
        self._hang_ups = 0

    def admitted(self) -> None:
        """The CONNACK said yes."""
        self.answered()
        if self._version == "5":
            self._detours = 0
        elif not self._kept:
            self._detours += 1
            self._kept = self._detours >= HANG_UPS

    def ended(self) -> None:
        """An admitted connection is over, or the broker cannot be reached."""
        self._probing = False
        self._hang_ups = 0
        if not self._kept:
            self._version = "5"

    def _forget(self) -> None:
        self._version, self._probing, self._kept = "5", False, False
        self._hang_ups = self._detours = 0
