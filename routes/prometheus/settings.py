"""What is configured for the prometheus route: ``[routes.prometheus]``.

Whoever reaches the port may read; nobody is asked for a password and nothing is
encrypted, so it listens on this machine alone unless told otherwise.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``host`` is an address of this machine; 0.0.0.0 and :: are all it has.

    ``port`` 0 has the system choose one. ``most_names`` bounds how many routes, devices and
    processes become label values each; what is left out is told as
    ``gateway_metrics_left_out``.
    """

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 9812
    most_names: Annotated[int, Meta(ge=1, le=10_000)] = 200
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 16
