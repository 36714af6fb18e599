"""What ``[routes.mqtt.spool]`` may hold: what waits for the broker, where, and for how long.

Refused: unknown keys, numbers out of their bounds, patterns that are none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import ConfigError
from gateway.mail.topic import check_pattern

LEAST = 1 << 20
"""Bytes below which a spool is not worth its files."""

AUTO = "auto"
"""Flash wherever systemd says that our state is kept: ``$STATE_DIRECTORY`` (systemd.exec(5))."""


class SpoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How telemetry waits for the broker; what is retained does not, only its newest value counts.

    ``bytes`` of it wait in memory for each OS process that publishes, and are not lost
    where this route is killed. A full file lets its oldest letters go, or leaves out
    what is new, as ``policy`` says. 0 has telemetry wait in the route's own memory,
    within ``queue_size``.

    ``flash`` is a folder for what a power cut is not to take, ``auto`` for one where
    systemd keeps our state, and empty for none. What waits longer than ``window``
    seconds lies there, in ``flash_bytes`` at the most; no more than ``flash_daily``
    bytes are written in a day. Topics of the bus under ``always`` are there before
    their publisher goes on: mind what that costs a card.

    After an outage ``replay_rate`` letters a second of what has waited go out beside
    what is new. Order holds within a topic, but on those under ``live_first`` what is
    new goes first. What is older than ``max_age`` seconds is let go.
    """

    bytes: Annotated[int, Meta(ge=0, le=1 << 34)] = 16 << 20
    policy: Literal["drop_oldest", "reject"] = "drop_oldest"
    flash: str = AUTO
    flash_bytes: Annotated[int, Meta(ge=LEAST, le=1 << 38)] = 64 << 20
    flash_daily: Annotated[int, Meta(ge=LEAST, le=1 << 40)] = 200 << 20
    window: Annotated[float, Meta(ge=1.0, le=3600.0)] = 10.0
    always: tuple[str, ...] = ()
    live_first: tuple[str, ...] = ()
    replay_rate: Annotated[float, Meta(ge=1.0, le=1e6)] = 1000.0
    max_age: Annotated[float, Meta(ge=1.0)] = 7 * 86400.0

    def __post_init__(self) -> None:
        if 0 < self.bytes < LEAST:
            raise ValueError(f"bytes is 0 for no spool, or at least {LEAST}, not {self.bytes}")
        for pattern in (*self.always, *self.live_first):
            check_pattern(pattern)
        if self.always and not (self.bytes and self.flash):
            raise ValueError("always needs flash, and bytes that are not 0")

    def terms(self, mailbox: str) -> SpoolTerms | None:
        """Return the terms for a mailbox's spool; None for no spool.

        `ConfigError` where something is ``always`` on flash, and there is none.
        """
        if not self.bytes:
            return None
        flash = os.environ.get("STATE_DIRECTORY", "") if self.flash == AUTO else self.flash
        if self.always and not flash:
            raise ConfigError(
                "[routes.mqtt.spool] has always, which needs flash: set flash to a folder, "
                "or StateDirectory= in the unit of systemd"
            )
        return SpoolTerms(
            limit=self.bytes,
            policy=self.policy,
            flash=str(Path(flash) / "spool" / quote(mailbox, safe="@")) if flash else "",
            flash_limit=self.flash_bytes,
            flash_daily=self.flash_daily,
            window=self.window,
            max_age=self.max_age,
            always=self.always,
            live_first=self.live_first,
        )
