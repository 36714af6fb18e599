"""What the caller of one call is told: its result, or the error that came instead.

A result that no letter carries as it is goes by reference, where the process knows
any. Events are answered to nobody. What nobody can be told is counted, and logged.

Refused, at the caller: references from outside, and to the outside (`RefusedError`).
"""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from typing import Any

from gateway.errors import (
    BodyError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
    RemoteError,
    reason_of,
)
from gateway.mail.message import Message, is_solicited
from gateway.process.process import Process
from gateway.rpc.references import MARK, References, check_references, found_in, plain

log = logging.getLogger(__name__)


class Answers:
    """Answers calls for one process, and counts how they ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._answered = 0
        self.references: References | None = None
        """Who knows what references stand for; without, none are taken and none given."""

    def found_in(self, body: dict[str, Any], message: Message) -> dict[str, Any]:
        """Return the arguments ``body`` with what its references stand for."""
        if self.references is None or message.route:
            raise RefusedError(
                f"{self._process.name!r} takes no proxies and no remote functions:"
                " it needs gateway.services.Services(process), and whoever calls is to be inside"
            )
        found = {name: value for name, value in body.items() if name != MARK}
        made: dict[str, Any] = found_in(found, self.references.find)
        return made

    def give_plain(self, message: Message, result: Any) -> None:
        """Answer what was asked inside with plain data, on the process's own thread."""
        try:
            self._process.reply(message, result)
        except RecipientGoneError:
            self.count("unheard")
        except BodyError as error:
            self._give_by_reference(message, result, "", error)
        else:
            # Written by the process's own thread alone.
            self._answered += 1

    def give(self, message: Message, result: Any, subject: str = "") -> bool:
        """Answer with ``result``; tell whether it is on its way, and not an error instead."""
        if not is_solicited(message):
            self.count("told")
            return False
        try:
            self._process.reply(message, result, subject=subject)
        except RecipientGoneError:
            self.count("unheard")
        except BodyError as error:
            self._give_by_reference(message, result, subject, error)
        except GatewayError as error:
            self.fail(message, error)
        else:
            self.count("answered")
            return True
        return False

    def _give_by_reference(
        self, message: Message, result: Any, subject: str, error: BodyError
    ) -> None:
        """Answer with what no letter carries as it is: what stays here, or has another shape."""
        if self.references is None or subject:
            self.fail(message, error)
            return
        try:
            what = f"what {message.subject!r} returned"
            result, refers = plain(result, what, self.references)
            if refers:
                check_references(result, refers, what)
            if refers and message.route:
                raise RefusedError(f"{message.subject!r} returns what is for the inside alone")
            self._process.reply(message, result, subject=MARK if refers else "")
        except GatewayError as failure:
            self.fail(message, failure)
        else:
            self.count("answered")

    def fail(self, message: Message, error: GatewayError) -> None:
        """Answer with ``error``."""
        self.count(error.code)
        level = logging.WARNING if isinstance(error, RemoteError) else logging.INFO
        log.log(
            level,
            "%s: %s, called by %s, raised %s: %s",
            self._process.name,
            message.subject,
            message.sender,
            getattr(error, "remote_type", "") or type(error).__name__,
            reason_of(error),
        )
        self._process.bounce(message, error)

    def count(self, how: str) -> None:
        """Count a call that ended as ``how`` says."""
        with self._lock:
            self._counts[how] += 1

    def statistics(self) -> dict[str, int]:
        """Return how many calls ended, by how."""
        with self._lock:
            counts = Counter(self._counts)
        counts["answered"] += self._answered
        return dict(counts)
