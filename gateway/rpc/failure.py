"""What raised, as it crosses to who called.

A `GatewayError` crosses as itself, anything else as a `RemoteError` with its
class, its message and where it happened.
"""

from __future__ import annotations

import traceback

from gateway.errors import GatewayError, RemoteError, reason_of, remote_error, writable

DEEPEST = 8_000
"""Characters of a traceback that cross at the most; its end tells most."""


def as_gateway_error(bug: BaseException) -> GatewayError:
    """Return ``bug`` as an error that a letter can tell of.

    >>> error = as_gateway_error(ValueError("too heavy"))
    >>> error.code, error.remote_type, str(error)
    ('remote', 'ValueError', 'too heavy')
    """
    if isinstance(bug, GatewayError):
        return bug
    where = "".join(traceback.format_exception(bug))[-DEEPEST:]
    reason = reason_of(bug)
    if isinstance(bug, KeyError) and len(bug.args) == 1:
        reason = f"no {reason}"
    made: RemoteError = remote_error(type(bug).__name__, reason, writable(where))
    return made
