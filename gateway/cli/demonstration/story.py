"""The story that `gateway demo` tells while it happens: its frame and its end.

It is the application's main process. A chapter that does not come in time is
told as ``failed`` and ends it all; else it goes on with a status line now and
then, and closes with an account.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.cli.demonstration.chapters import Chapters
from gateway.cli.demonstration.ending import Counts
from gateway.cli.demonstration.narrator import Curtain, StepFailed, TimeOver
from gateway.cli.demonstration.stage import DEVICE, FULL_SCALE, VALUE
from gateway.cli.demonstration.storyteller import bar

STATUS_EVERY = 5.0
"""Seconds between status lines."""


class Story(Chapters):
    """Tells it; see the module's head."""

    _chapter = "the beginning"

    def birth(self) -> None:
        """Have `life` called."""
        super().birth()
        # The whole story is one frame.
        self.frequency = 100.0

    def life(self) -> None:
        """Tell all of it, then how things stand, until it is over."""
        try:
            for chapter in self.chapters():
                self._chapter = chapter.__name__.removeprefix("_").replace("_", " ")
                chapter()
            self.stage.outcome = "told"
            self._tell_that_it_goes_on()
            while True:
                self.pause(STATUS_EVERY)
                self._tell_status()
        except StepFailed as failure:
            self.stage.outcome = "failed"
            self.tell(
                "failed",
                "failed",
                str(failure),
                tone="bad",
                chapter=self._chapter,
                reason=str(failure),
            )
        except TimeOver:
            if self.stage.outcome == "untold":
                self.stage.outcome = "late"
        except Curtain:
            pass  # the outcome is what it is
        self.die()

    def death(self) -> None:
        """Sum up, and give everything back."""
        try:
            if self.stage.outcome != "failed":
                self._sum_up()
        finally:
            super().death()

    def _tell_that_it_goes_on(self) -> None:
        stage = self.stage
        self.tell_program("told")
        say = stage.storyteller.say
        say()
        if stage.ends_at is None:
            say("That was the whole way. It goes on until Ctrl-C; from another terminal, try")
            at = address_options(stage.broker)
            say(f"  mosquitto_sub {at} -v -t '{stage.pattern}'", tone="topic")
            led = f"gateway/{stage.node}/devices/{DEVICE}/led/call"
            say(f"""  mosquitto_pub {at} -t {led} -m '{{"on":true}}'""", tone="topic")
        else:
            say("That was the whole way. It goes on until its time is over.")

    def _tell_status(self) -> None:
        notes = self.notes
        state = notes.state.get("state", "unknown")
        value = notes.reading.get(VALUE, 0.0)
        self.tell(
            "status",
            state,
            f"{bar(value, FULL_SCALE)} {value:.2f} V  LED {'on' if self.board.led else 'off'}"
            f"  {notes.readings} readings",
            tone="good" if notes.state.get("connected") else "bad",
            state=state,
            value=value,
            lit=self.board.led,
            readings=notes.readings,
            heard=notes.heard_count,
        )

    def _sum_up(self) -> None:
        counts = Counts.of(
            {name: self.ask(name, "$statistics") or {} for name in ("serial", "mqtt")},
            self.statistics(),
            readings=self.notes.readings,
            heard=self.notes.heard_count,
        )
        stage = self.stage
        finished = stage.outcome == "told"
        if not finished:
            why = "its time was over" if stage.outcome == "late" else "it was interrupted"
            said = f"The story is not finished: {why} in the chapter “{self._chapter}”."
            stage.storyteller.say()
            stage.storyteller.say(said, tone="bad")
        counts.tell(stage.storyteller, finished=finished, chapter=self._chapter)


def address_options(url: str) -> str:
    """Return how mosquitto's clients are told of the broker at ``url``.

    >>> address_options("mqtt://127.0.0.1:4000"), address_options("mqtts://plant.example")
    ('-p 4000', '-h plant.example -p 8883 --tls-use-os-certs')
    """
    parts = urlsplit(url)
    secure = parts.scheme == "mqtts"
    host = "" if parts.hostname in ("127.0.0.1", "localhost") else f"-h {parts.hostname} "
    port = parts.port or (8883 if secure else 1883)
    return f"{host}-p {port}{' --tls-use-os-certs' if secure else ''}"
