"""What ``[routes.unix_socket]`` may hold.

Typed and bounded by msgspec, so that a mistake is found when the file is
read. Refused: unknown keys, numbers out of their bounds, a path that does not
begin at the root, users that are neither a name nor a number.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.routing.access import Rule

User = (
    Annotated[int, Meta(ge=0, le=2**32 - 2)]
    | Annotated[str, Meta(pattern=r"^[^\s:]+\Z", max_length=64, description="a user's name")]
)
"""A user of this machine, by number or by name."""


class Guest(Rule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Programs of ``user`` may write ``subject`` to ``to``; both are globs."""

    user: User


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of ``[routes.unix_socket]``.

    ``path`` is the socket's; empty, it is ``gateway.sock`` in the gateway's
    folder of sockets. Root and the gateway's own user may do everything;
    ``allow`` says who else may write to whom, ``observers`` who else may see
    the processes and what is published.

    Per client: ``max_calls`` letters may await their answer at once, and as many
    streams be open; ``max_line`` (bytes) bounds a request, ``max_outgoing`` (bytes) what waits
    to be read by it, once for answers and once for publications. There are
    ``max_clients`` at the most; one more takes the place of one that has been
    idle for ``idle_after`` (s). ``ps_timeout`` (s) is how long processes may
    take to give account of themselves.
    """

    path: Annotated[
        str, Meta(pattern=r"^(/[^\0]*[^/\0])?\Z", max_length=4000, description="a file's path")
    ] = ""
    allow: tuple[Guest, ...] = ()
    observers: tuple[User, ...] = ()
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 32
    max_calls: Annotated[int, Meta(ge=1, le=1000)] = 128
    max_line: Annotated[int, Meta(ge=256, le=1 << 20)] = 64 << 10
    max_outgoing: Annotated[int, Meta(ge=4096, le=64 << 20)] = 1 << 20
    idle_after: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    ps_timeout: Annotated[float, Meta(gt=0, le=60)] = 1.0
