"""Every error that the gateway raises on purpose, in one tree.

::

    GatewayError
     ├── ConfigError         (and ValueError)       the configuration cannot stand
     ├── AddressError        (and LookupError)      nobody has that address
     ├── BodyError           (and TypeError)        that cannot be written in a letter
     ├── MailboxFullError    (and TimeoutError)     full until the deadline
     ├── RecipientGoneError  (and ConnectionError)  was there, died
     ├── CallTimeoutError    (and TimeoutError)     no answer until the deadline
     ├── RefusedError        (and PermissionError)  the recipient read it and said no
     ├── ExpiredError        (and TimeoutError)     too old when its turn came
     ├── SpoolError          (and OSError)          a file of letters cannot be used
     ├── LinkLostError       (and ConnectionError)  the channel to a device broke
     │    ├── LinkAbsentError (and FileNotFoundError) the port is not there: a normal state
     │    └── LinkTakenError  the port was given to somebody else: a normal state
     └── ProtocolError       (and ValueError)       checked, yet nonsense

Leaves also inherit the builtin that people catch anyway. Each carries a
``code``, the word that stands for it in bounces, replies and counters.

Beside the tree stands `SimulationError`, a `RuntimeError`: it tells of a bug in
what is simulated, which is no letter's fault and must not end up in a bounce.
"""

from __future__ import annotations


class GatewayError(Exception):
    """The root: something outside the code went wrong, and was foreseen."""

    code = "error"


class ConfigError(GatewayError, ValueError):
    """The configuration cannot stand; the text says what would be right."""

    code = "config"


class AddressError(GatewayError, LookupError):
    """Nobody on this machine has that address, or it is no address at all."""

    code = "unknown_address"


class BodyError(GatewayError, TypeError):
    """The body holds something that no letter can carry."""

    code = "bad_body"


class MailboxFullError(GatewayError, TimeoutError):
    """The recipient's mailbox stayed full until the deadline."""

    code = "mailbox_full"


class RecipientGoneError(GatewayError, ConnectionError):
    """The recipient was there and has died or been stopped."""

    code = "recipient_gone"


class CallTimeoutError(GatewayError, TimeoutError):
    """No answer arrived before the deadline."""

    code = "timeout"


class RefusedError(GatewayError, PermissionError):
    """The recipient read the letter and declined it; the text says why."""

    code = "refused"


class ExpiredError(GatewayError, TimeoutError):
    """The letter was older than its expiry when its turn came."""

    code = "expired"


class SpoolError(GatewayError, OSError):
    """The file of a durable mailbox cannot be written or read; the text says why."""

    code = "spool"


class LinkLostError(GatewayError, ConnectionError):
    """The channel to a device broke, or could not be opened."""

    code = "link_lost"


class LinkAbsentError(LinkLostError, FileNotFoundError):
    """The port does not exist: nothing is plugged in there. Not a fault."""

    code = "link_absent"


class LinkTakenError(LinkLostError):
    """The port is there, and somebody else has it for a while, as was allowed. Not a fault."""

    code = "link_taken"


class ProtocolError(GatewayError, ValueError):
    """A frame or letter passed its checks and still makes no sense."""

    code = "protocol"


class SimulationError(RuntimeError):
    """A simulation cannot go on; the text names the process at which it stopped."""


def error_for(code: str, reason: str) -> GatewayError:
    """Return the error that ``code`` stands for, as a bounce carries it.

    An unknown code (a newer peer's) becomes a plain `GatewayError`.

    >>> error_for("recipient_gone", "wheels died")
    RecipientGoneError('wheels died')
    """
    return _BY_CODE.get(code, GatewayError)(reason)


_BY_CODE: dict[str, type[GatewayError]] = {
    kind.code: kind
    for kind in (
        ConfigError,
        AddressError,
        BodyError,
        MailboxFullError,
        RecipientGoneError,
        CallTimeoutError,
        RefusedError,
        ExpiredError,
        SpoolError,
        LinkLostError,
        LinkAbsentError,
        LinkTakenError,
        ProtocolError,
    )
}
