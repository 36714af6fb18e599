"""The process ``health``: looks after the gateway and tells, on the topic ``health``, how it is.

The report (`gateway.watchdog.health`) is published, retained, once a period and
as soon as something turns from well to unwell, but never two within the gap
that the settings name: whole on ``health/whole``, and on ``health``, which goes
far, in no more bytes than go through everywhere. To letters it answers:

- ``report``: the whole report, as it is now;
- ``$log_stream`` with ``{"level": "debug", "seconds": 600}``: the log of every OS
  process is published on ``log/<process>`` from that level on, for so long (an hour at
  the most). ``id`` tells several leases of one sender apart; ``"seconds": 0`` ends one;
- ``$tail`` with ``{"seconds": 60}`` and the filters of `gateway.watchdog.mail_tails`: the
  mail is published on ``tail/<id>``, for so long.

Runs on a thread of the main OS process. It waits for nobody but the boss. What
cannot be asked for is refused with `RefusedError`; a machine that cannot be read
is no failure but a problem in the report.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from gateway import __version__
from gateway.config.schema import HealthSettings
from gateway.errors import RefusedError
from gateway.mail.message import Message
from gateway.process.correspondent import STATISTICS
from gateway.process.log_stream import TOPIC as LOG
from gateway.process.log_stream import LogStream
from gateway.process.process import Process
from gateway.process.subscription import Subscription
from gateway.watchdog.ears import Ears
from gateway.watchdog.health import (
    BYTES,
    WHOLE_BYTES,
    Problem,
    Report,
    fitted,
    put_together,
)
from gateway.watchdog.judgement import Memory, is_worse, judge
from gateway.watchdog.leases import Leases, checked_seconds
from gateway.watchdog.machine import read_machine
from gateway.watchdog.mail_tails import MailTails
from gateway.watchdog.questions import Questions
from gateway.watchdog.reading import Reading

log = logging.getLogger(__name__)

TOPIC = "health"

WHOLE = "health/whole"

SETTLE = 0.25
"""Seconds after a move in which others are awaited before it is judged what they come to."""

ANSWERS = 1.0
"""Seconds that a report waits for the routes to say how they are."""

FRESH = 1.0
"""Seconds within which the machine is not read again for somebody who asks."""


class Health(Process):
    """See the module's head. Parameters: ``settings``, ``node``, ``sockets``, ``root``."""

    def birth(self) -> None:
        """Begin to listen, and report at once."""
        self._settings: HealthSettings = self.parameter("settings") or HealthSettings()
        self._root = Path(self.parameter("root", "/"))
        self._sockets: str = self.parameter("sockets", "/run")
        self._ears = Ears(self._settings.errors)
        self._memory = Memory()
        self._leases = Leases()
        self._streamed: tuple[str, float] | None = None
        self._tails = MailTails(self, self._clock, self._settings.tail_rate)
        self._questions = Questions(self._ask)
        self._machine: dict[str, Reading] = {}
        self._published: list[Problem] = []
        self._reports = 0
        now = self._clock.monotonic()
        self._read_at = now
        self._read_last = 0.0
        self._look_at: float | None = None
        self._publish_at: float | None = None
        self._earliest = now
        self.add_filter(callback=self._on_report, id="report", subject="^report$", kind="^letter$")
        self.add_filter(
            callback=self._on_log_stream, id="log", subject=r"^\$log_stream$", kind="^letter$"
        )
        self.add_filter(callback=self._on_tail, id="tail", subject=r"^\$tail$", kind="^letter$")
        self.add_filter(callback=self._on_answer, id="answers", kind="^(reply|bounce)$")
        # Lines of the log come straight to this mailbox, without a subscription that the
        # boss knows of: that would bring all that is streamed here as well.
        own = Subscription(f"{LOG}/+", self._on_line)
        self._subscriptions = (*self._subscriptions, own)
        for pattern in ("processes/+/state", "routes/+/state", "devices/+/state"):
            self.subscribe(pattern, self._on_state)
        self.subscribe("devices/+/moves", self._on_state)
        for event in ("stuck", "goes_on"):
            self.subscribe(f"processes/+/events/{event}", self._on_stuck)
        self._stream("", 1.0)
        self._plan()

    def life(self) -> None:
        """Do what is due: read, judge, publish, end leases."""
        now = self._clock.monotonic()
        if now >= self._read_at:
            self._read(now)
            self._read_at = max(self._read_at + self._settings.period, now)
            self._publish_at = now + ANSWERS if len(self._questions) else now
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self._hurry_if_worse(now)
        if self._publish_at is not None and now >= max(self._publish_at, self._earliest):
            self._publish()
        self._tails.step(now)
        self._keep_streaming(now)
        self._plan()

    def death(self) -> None:
        """End what was asked for; what the boss keeps for this process ends with it."""
        self._tails.close()

    def statistics(self) -> dict[str, Any]:
        """Return the process's counts, and what is kept and published."""
        return {
            **super().statistics(),
            "reports": self._reports,
            "problems": len(self._published),
            "log_leases": len(self._leases),
            "tails": len(self._tails),
            "kept": self._ears.counts(),
        }

    # What is read and asked

    def _read(self, now: float) -> None:
        self._machine = read_machine(
            self._root, now, state=self._settings.state, sockets=self._sockets
        )
        self._read_last = now
        for route, reason in self._questions.ask(self._running_routes(), now).items():
            self._ears.miss_statistics(route, now, f"cannot be asked: {reason}")
        for route in self._questions.silent(now):
            self._ears.miss_statistics(route, now, "does not answer: it is busy or stuck")

    def _running_routes(self) -> dict[str, object]:
        """Return the routes that live, and since when each does: a life of its own."""
        known = self._ears.processes
        return {
            name: known[name].body.get("since")
            for name in self._ears.routes
            if name in known and known[name].body.get("state") == "living"
        }

    def _ask(self, route: str) -> str:
        return self.send(route, STATISTICS, timeout=0.0).message_id

    # What is heard

    def _on_state(self, message: Message) -> None:
        self._ears.hear(message, self._clock.monotonic())
        self._look_soon()

    def _on_stuck(self, message: Message) -> None:
        self._ears.hear_stuck(message, self._clock.monotonic())
        self._look_soon()

    def _look_soon(self) -> None:
        if self._look_at is None:
            self._look_at = self._clock.monotonic() + SETTLE
            self._plan()

    def _on_line(self, message: Message) -> None:
        self._ears.hear_error(message.body)

    def _on_answer(self, message: Message) -> None:
        route = self._questions.take(message)
        if route is None:
            return
        if message.kind == "reply":
            self._ears.hear_statistics(route, message.body, self._clock.monotonic())
        else:
            self._ears.miss_statistics(
                route, self._clock.monotonic(), f"has no answer: {message.body}"
            )
        if not len(self._questions) and self._publish_at is not None:
            self._publish_at = self._clock.monotonic()
            self._plan()

    # The report

    def _judged(self) -> list[Problem]:
        now = self._clock.monotonic()
        found = judge(self._ears.facts(self._machine), self._settings, now)
        return self._memory.remember(found, now)

    def _hurry_if_worse(self, now: float) -> None:
        if self._publish_at is None and is_worse(self._judged(), self._published):
            self._publish_at = now

    def _report(self) -> Report:
        report = put_together(
            self._ears.facts(self._machine),
            self._judged(),
            moment=self._clock.monotonic(),
            time=self._clock.time(),
            node=self.parameter("node", "gateway"),
            version=__version__,
            stale_after=3 * self._settings.period,
        )
        return fitted(report, WHOLE_BYTES)

    def _publish(self) -> None:
        report = self._report()
        for problem in report.problems:
            if is_worse([problem], self._published):
                log.info("not well: %s", problem.what)
        self._published = list(report.problems)
        self._publish_at = None
        self._reports += 1
        self.publish(WHOLE, msgspec.to_builtins(report), retain=True)
        self.publish(TOPIC, msgspec.to_builtins(fitted(report, BYTES)), retain=True)
        # Not from `now`: the making of a large report is no part of the gap.
        self._earliest = self._clock.monotonic() + min(
            self._settings.min_gap, self._settings.period
        )

    def _on_report(self, message: Message) -> None:
        now = self._clock.monotonic()
        if not self._machine or now - self._read_last >= FRESH:
            self._read(now)
        self.reply(message, msgspec.to_builtins(self._report()))

    # What is asked for and ends by itself

    def _on_log_stream(self, message: Message) -> None:
        asked = message.body if isinstance(message.body, dict) else {}
        if unknown := asked.keys() - {"level", "seconds", "id"}:
            raise RefusedError(f"{', '.join(sorted(unknown))}: use level, seconds and id")
        level, seconds = asked.get("level", "info"), checked_seconds(asked.get("seconds"))
        owner = f"{message.sender}/{str(asked.get('id', ''))[:64]}"
        now = self._clock.monotonic()
        self._leases.ask(owner, str(level), seconds, now)
        self._keep_streaming(now)
        self._plan()
        held = self._leases.in_force(now)
        self.reply(
            message,
            {
                "topics": f"{LOG}/#",
                "level": held.level if held else "",
                "seconds": seconds,
                "until": self._clock.time() + seconds,
                "rate": self._settings.log_rate,
            },
        )

    def _keep_streaming(self, now: float) -> None:
        """Have the boss stream what the leases come to, where that is not so already."""
        held = self._leases.in_force(now)
        wanted = (held.level, held.until) if held else None
        if wanted == self._streamed:
            return
        self._stream(held.level if held else "", held.left(now) if held else 1.0)
        self._streamed = wanted

    def _stream(self, level: str, seconds: float) -> None:
        stream = LogStream(level, self._settings.log_rate, self.name)
        body = {"stream": msgspec.to_builtins(stream), "seconds": seconds}
        self._box.wait_for(self._tell_boss("log-stream", body), 5.0)

    def _on_tail(self, message: Message) -> None:
        self.reply(message, self._tails.ask(message.body))
        self._plan()

    # When

    def _plan(self) -> None:
        """Have `life` called when the next thing is due."""
        now = self._clock.monotonic()
        due = [self._read_at, self._look_at, self._tails.due()]
        if self._publish_at is not None:
            due.append(max(self._publish_at, self._earliest))
        if (held := self._leases.in_force(now)) is not None:
            due.append(held.until)
        first = min(when for when in due if when is not None)
        self.frequency = 1.0 / min(max(first - now, 0.01), 86_400.0)
