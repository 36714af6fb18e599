"""Every error that the gateway raises on purpose, in one tree.

::

    GatewayError
     ├── ConfigError         (and ValueError)       the configuration cannot stand
     ├── AddressError        (and LookupError)      nobody has that address
     ├── BodyError           (and TypeError)        that cannot be written in a letter
     ├── MailboxFullError    (and TimeoutError)     full until the deadline
     │    └── ShortageError                         no descriptor or memory to carry it
     ├── RecipientGoneError  (and ConnectionError)  was there, died; is away
     ├── CallTimeoutError    (and TimeoutError)     no answer until the deadline
     ├── RefusedError        (and PermissionError)  the recipient read it and said no
     │    └── UnknownApiError (and LookupError)     it has nothing of that name to call
     ├── CallCancelledError                         who called wants no answer any more
     ├── RemoteError                                what was called raised something else
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

import builtins
from functools import cache
from typing import TypeVar

_Error = TypeVar("_Error", bound="GatewayError")


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


class ShortageError(MailboxFullError):
    """No descriptor, memory or room is left to carry a letter; the text says what to do.

    It is its sender's OS process that is short, or in a bounce its reader's.
    """

    code = "shortage"


class RecipientGoneError(GatewayError, ConnectionError):
    """The recipient was there and has died or been stopped, or is known and away."""

    code = "recipient_gone"


class CallTimeoutError(GatewayError, TimeoutError):
    """No answer arrived before the deadline."""

    code = "timeout"


class RefusedError(GatewayError, PermissionError):
    """The recipient read the letter and declined it; the text says why."""

    code = "refused"


class UnknownApiError(RefusedError, LookupError):
    """Nothing of that name can be called there; the text says what can."""

    code = "unknown_api"


class CallCancelledError(GatewayError):
    """The call was taken back by who made it, or nobody waits for its answer any more."""

    code = "cancelled"


class RemoteError(GatewayError):
    """What was called raised something that is no `GatewayError`.

    ``remote_type`` is the class's name over there, such as ``ValueError``;
    ``remote_traceback`` is where it happened, empty for who calls from outside.
    One that stands for a builtin is caught as that builtin as well (`remote_error`).
    """

    code = "remote"

    def __init__(self, reason: str = "", remote_type: str = "", remote_traceback: str = "") -> None:
        super().__init__(reason)
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        # Not as KeyError has it, which shows its argument's repr.
        return str(self.args[0]) if self.args else ""


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


def remote_error(remote_type: str, reason: str, remote_traceback: str = "") -> RemoteError:
    """Return the error for an exception of the class ``remote_type`` over there.

    >>> try:
    ...     raise remote_error("ZeroDivisionError", "division by zero")
    ... except ArithmeticError as error:
    ...     type(error).__name__, str(error), isinstance(error, RemoteError)
    ('RemoteZeroDivisionError', 'division by zero', True)
    """
    return _remote_class(remote_type)(reason, remote_type, remote_traceback)


# Whoever catches these takes them for the end of a loop of its own.
_END_LOOPS = (StopIteration, StopAsyncIteration)


def _remote_class(name: str) -> type[RemoteError]:
    builtin = getattr(builtins, name, None)
    if not isinstance(builtin, type) or not issubclass(builtin, Exception):
        return RemoteError
    return RemoteError if issubclass(builtin, _END_LOOPS) else _made_class(name)


# Of builtins alone: others may send any number of names.
@cache
def _made_class(name: str) -> type[RemoteError]:
    builtin: type[Exception] = getattr(builtins, name)
    try:
        made: type[RemoteError] = type(f"Remote{name}", (RemoteError, builtin), {})
        # One that wants more than a reason, as UnicodeDecodeError does, shows it here.
        made("")
    except TypeError:
        return RemoteError
    return made


def described(error: GatewayError, *, inside: bool = False) -> dict[str, str]:
    """Return what is written of ``error``: its code and reason, the class of what raised.

    Where it happened is for who is ``inside``.

    >>> described(RefusedError("not now"))
    {'code': 'refused', 'reason': 'not now'}
    """
    told = {"code": error.code, "reason": reason_of(error)}
    if isinstance(error, RemoteError):
        told["type"] = error.remote_type
        if inside:
            told["traceback"] = error.remote_traceback
    return told


def reason_of(error: BaseException) -> str:
    r"""Return what ``error`` says, so that a letter can carry it; its class where it cannot say it.

    >>> reason_of(FileNotFoundError("no file '\udcff'"))
    "no file '\\udcff'"
    """
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - whoever hears of the error is told at least its class
        said = ""
    return writable(said) or type(error).__name__


LONGEST = 4000
"""Characters of what a bug says that are told and logged at the most."""


def in_words(bug: BaseException) -> str:
    """Return the class of ``bug`` and what it says; its class where it says nothing, or cannot.

    What is longer than `LONGEST` characters is cut.

    >>> in_words(ValueError("too heavy")), in_words(KeyboardInterrupt())
    ('ValueError: too heavy', 'KeyboardInterrupt')
    """
    kind, said = type(bug).__name__, reason_of(bug)
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]}… (cut: it has {len(said)} characters)"
    return kind if said == kind else f"{kind}: {said}"


def writable(text: str) -> str:
    """Return ``text`` with what is no Unicode, such as half of a surrogate pair, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def error_from(told: object) -> GatewayError:
    """Return the error that `described` wrote of; one that makes no sense is a `GatewayError`.

    >>> error_from({"code": "refused", "reason": "not now"})
    RefusedError('not now')
    """
    words = told if isinstance(told, dict) else {}
    code, reason = str(words.get("code", "")), str(words.get("reason", "no reason given"))
    if code == RemoteError.code:
        return remote_error(str(words.get("type", "")), reason, str(words.get("traceback", "")))
    return error_for(code, reason)


def known(error: type[_Error]) -> type[_Error]:
    """Let an error of your own cross to who called, as itself; use as a decorator.

    Both sides have it imported. It inherits from `GatewayError`, has a ``code``
    of its own, and can be made of its reason alone, which is all that crosses;
    `ValueError` else::

        @known
        class GripError(GatewayError):
            code = "grip"
    """
    if not issubclass(error, GatewayError):
        raise ValueError(f"{error.__name__} is no GatewayError: inherit from it")
    taken = _BY_CODE.get(error.code, GatewayError)
    if error.code == GatewayError.code or taken.__qualname__ not in (
        "GatewayError",
        error.__qualname__,
    ):
        raise ValueError(f"{error.__name__} needs a code of its own, not {error.code!r}")
    try:
        error("a reason")
    except TypeError as problem:
        raise ValueError(
            f"{error.__name__} has to be made of its reason alone where it arrives: {problem}"
        ) from None
    _BY_CODE[error.code] = error
    return error


_BY_CODE: dict[str, type[GatewayError]] = {
    kind.code: kind
    for kind in (
        ConfigError,
        AddressError,
        BodyError,
        MailboxFullError,
        ShortageError,
        RecipientGoneError,
        CallTimeoutError,
        RefusedError,
        UnknownApiError,
        CallCancelledError,
        RemoteError,
        ExpiredError,
        SpoolError,
        LinkLostError,
        LinkAbsentError,
        LinkTakenError,
        ProtocolError,
    )
}
