"""What a subscriber wants of its spool; it travels with the subscription."""

from __future__ import annotations

from typing import Literal

import msgspec


class SpoolTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How publications wait in files for a subscriber, and what may be lost.

    ``limit`` is how many bytes may wait in memory for each OS process that
    publishes; with ``policy`` ``drop_oldest`` the oldest give way there, with
    ``reject`` what is new is left out. A killed process loses nothing.

    With ``flash``, a folder, a power cut loses nothing that is older than ``window``
    seconds: what waits longer is moved there, up to ``flash_limit`` bytes, and at
    most ``flash_daily`` bytes are written to it in a day. What is published on one
    of the patterns ``always`` is there before `publish` returns.

    What is older than ``max_age`` seconds is not wanted any more. Order holds
    within a topic; on those that match ``live_first`` what is new goes out before
    what has waited.
    """

    limit: int
    policy: Literal["drop_oldest", "reject"] = "drop_oldest"
    flash: str = ""
    flash_limit: int = 64 << 20
    flash_daily: int = 200 << 20
    window: float = 10.0
    max_age: float = 7 * 86400.0
    always: tuple[str, ...] = ()
    live_first: tuple[str, ...] = ()
