"""How things stand with the broker, for people and for the status topics."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["connecting", "connected", "disconnected"]


class ConnectionState(msgspec.Struct, frozen=True):
    """One state with its cause.

    ``connecting`` holds until the first attempt has come to its end;
    afterwards it is ``connected`` or, through all further attempts,
    ``disconnected`` with the cause of the last failure. ``since`` is in
    seconds since 1970 (UTC); while disconnected it is the moment the
    connection was lost. ``protocol`` is ``"5"`` or ``"3.1.1"``, empty
    without a connection. ``broker`` bears no user name and no password.
    """

    state: State
    broker: str
    cause: str
    since: float
    protocol: str = ""

    @property
    def is_connected(self) -> bool:
        """Tell whether the broker takes messages now."""
        return self.state == "connected"
