"""The mail as it flows, published for a limited time for who asked by letter.

What ``gateway tail`` shows at the front door goes out on ``tail/<id>``
instead, so that whoever cannot stand at that door, as one behind a broker, can
follow it. The copies are those of `gateway.process.mail_tap`; so many a second
are published, and each says how many were ``missed`` before it. The last one of
all is ``{"end": why}``.

Bodies are shown, secrets included: whom a route lets write ``$tail`` here may
read all mail. Refused (`RefusedError`): more than `MOST` at a time, times
longer than an hour, and filters that are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.clock import Clock
from gateway.errors import RefusedError
from gateway.process.log_rate import LogRate
from gateway.process.mail_tap import Copy
from gateway.process.process import Process
from gateway.process.shared_tap import SharedTap
from gateway.watchdog.leases import checked_seconds

TOPIC = "tail"
"""The topics are ``tail/<id>``."""

MOST = 8

Glob = Annotated[str, Meta(min_length=1, max_length=1024)]


class TailRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for; ``seconds`` of 0 end the tail ``id``."""

    seconds: float
    id: str = ""
    sender: Glob = "*"
    recipient: Glob = "*"
    subject: Glob = "*"
    kinds: Annotated[
        tuple[Literal["letter", "reply", "bounce", "publication"], ...], Meta(max_length=4)
    ] = ()


class _Tail:
    def __init__(self, until: float) -> None:
        self.until = until
        self.missed = 0


class MailTails:
    """The tails of one gateway; all methods are for the thread of ``process``."""

    def __init__(self, process: Process, clock: Clock, rate: int) -> None:
        self._process = process
        self._clock = clock
        self._rate = LogRate(rate)
        self._tails: dict[str, _Tail] = {}
        self._tap = SharedTap(process, clock, self._on_copies)

    def __len__(self) -> int:
        return len(self._tails)

    def ask(self, body: object) -> dict[str, Any]:
        """Begin or end a tail as a letter's ``body`` says; return its id, topic and end."""
        try:
            request = msgspec.convert(body, TailRequest)
        except msgspec.ValidationError as error:
            raise RefusedError(
                f'this asks for no tail: {error}; write {{"seconds": 60}}, and as filters'
                " sender, recipient, subject, kinds"
            ) from error
        seconds = checked_seconds(request.seconds)
        if seconds <= 0:
            if request.id not in self._tails:
                raise RefusedError(f"there is no tail {request.id!r} to be ended")
            self._end(request.id, "it was asked to end")
            return {"id": request.id, "topic": f"{TOPIC}/{request.id}", "seconds": 0.0}
        if request.id:
            raise RefusedError("a tail that begins is given its id: ask for it without one")
        if len(self._tails) >= MOST:
            raise RefusedError(f"the mail is told {MOST} times already: wait until one has ended")
        return self._begin(request, seconds)

    def step(self, now: float) -> None:
        """End what is over, and renew the lease of the rest."""
        for id in [id for id, tail in self._tails.items() if now >= tail.until]:
            self._end(id, "its time is over")
        if not self._tap.renew(now):
            for id in list(self._tails):
                self._end(id, "the gateway was held up, and saw no mail meanwhile: ask again")

    def due(self) -> float | None:
        """Return when `step` is to be called at the latest, in monotonic seconds."""
        dues = [tail.until for tail in self._tails.values()]
        if (renewal := self._tap.due) is not None:
            dues.append(renewal)
        return min(dues, default=None)

    def close(self) -> None:
        """Tell no mail any more."""
        for id, tail in self._tails.items():
            self._publish_end(id, tail, "the gateway stops")
        # The boss ends the taps of who is gone by itself: to ask for each would be a flood
        # of new books, at the very moment at which everybody is told to end.
        self._tails = {}
        self._tap.close()

    def _begin(self, request: TailRequest, seconds: float) -> dict[str, Any]:
        id = self._tap.begin(
            sender=request.sender,
            recipient=request.recipient,
            subject=request.subject,
            kinds=request.kinds,
        )
        self._tails[id] = _Tail(self._clock.monotonic() + seconds)
        until = self._clock.time() + seconds
        return {"id": id, "topic": f"{TOPIC}/{id}", "seconds": seconds, "until": until}

    def _end(self, id: str, why: str) -> None:
        tail = self._tails.pop(id)
        self._tap.end(id)
        self._publish_end(id, tail, why)

    def _publish_end(self, id: str, tail: _Tail, why: str) -> None:
        self._process.publish(f"{TOPIC}/{id}", {"end": why, "missed": tail.missed})

    def _on_copies(self, copies: list[Copy]) -> None:
        publish: Callable[[str, Any], None] = self._process.publish
        for copy in copies:
            tail = self._tails.get(copy.id)
            if tail is None:
                continue
            tail.missed += copy.missed
            if not self._rate.lets(self._clock.monotonic()):
                tail.missed += 1
                continue
            missed, tail.missed = tail.missed, 0
            publish(f"{TOPIC}/{copy.id}", {**copy.content, "missed": missed})
