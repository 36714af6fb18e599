"""What ``[routes.mqtt.manage]`` may hold: what may be done to this gateway from afar.

Without that table, or with nothing under ``allow``, nothing may. Refused: unknown keys,
commands that there are not, sections of the configuration that are code or keys to the
house (``crew`` and ``gateway``).
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Command = Literal["processes", "restart", "config", "configure", "updates", "log", "tail"]

COMMANDS: tuple[str, ...] = get_args(Command)


class ManageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of ``[routes.mqtt.manage]``.

    ``allow`` are the commands that are carried out; ``tail`` shows the mail with whatever
    is secret in it. ``sections`` are the tables that
    ``configure`` may touch. ``settle`` (s) is how long the devices that were connected
    before a change have to come back after it; then it is taken back. ``audit_file`` keeps
    a line for each command beside the log, within ``audit_bytes`` and as many again of the
    time before.
    """

    allow: tuple[Command, ...] = ()
    sections: tuple[Literal["devices", "routes"], ...] = ("devices",)
    settle: Annotated[float, Meta(ge=0.5, le=600)] = 30.0
    audit_file: Annotated[str, Meta(pattern=r"^(/[^\0]*)?\Z", max_length=4000)] = ""
    audit_bytes: Annotated[int, Meta(ge=4096, le=1 << 28)] = 1 << 20
