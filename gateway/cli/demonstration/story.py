"""The story that `gateway demo` tells, chapter by chapter, while it happens.

It is the application's main process: it owns the simulated board and the
witness, and waits for what the routers say on the bus, as any program would.
A chapter that does not come in time is told as ``failed`` and ends it all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from gateway.bus.office import BOSS
from gateway.cli.demonstration.ending import Counts
from gateway.cli.demonstration.narrator import Curtain, Narrator, StepFailed, TimeOver
from gateway.cli.demonstration.notes import Notes
from gateway.cli.demonstration.stage import DEVICE, FULL_SCALE, READING, VALUE
from gateway.cli.demonstration.storyteller import bar
from gateway.cli.demonstration.witness import Heard, Witness

PATIENCE = 5.0
"""Seconds that most things may take before the story is given up."""
BREATH = 0.7
"""Seconds between chapters, for whoever reads along."""
READINGS_SHOWN = 5
STATUS_EVERY = 5.0


class Story(Narrator):
    """Tells it; see the module's head."""

    def birth(self) -> None:
        """Listen to everything that the routers and the device say."""
        super().birth()
        self.notes = Notes(DEVICE, READING)
        self.board = self.stage.make_board()
        self.witness = Witness(self.stage.broker, self._on_heard)
        self.tell = self.stage.storyteller.tell
        self._chapter = "the beginning"
        for pattern in ("processes/+/state", "routes/+/state", f"devices/{DEVICE}/#"):
            self.subscribe(pattern, self.notes.take_down)
        # The whole story is one frame.
        self.frequency = 100.0

    def life(self) -> None:
        """Tell all of it, then how things stand, until it is over."""
        try:
            for chapter in self._chapters():
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
            if hasattr(self, "witness"):
                self.loop.submit(self.witness.close()).result(3.0)
        finally:
            if hasattr(self, "board"):
                self.board.stop()
            super().death()

    def _on_heard(self, heard: Heard) -> None:
        # On the witness's thread.
        self.notes.hear(heard)
        self.nudge()

    # The chapters

    def _chapters(self) -> tuple[Callable[[], None], ...]:
        return (
            self._the_processes,
            self._the_broker,
            self._the_board_is_found,
            self._telemetry,
            self._what_the_broker_received,
            self._a_command,
            self._the_cable_is_pulled,
            self._plugged_in_again,
        )

    def _the_processes(self) -> None:
        say, notes = self.stage.storyteller.say, self.notes
        say("A board speaks, a broker hears, the answer comes back.", tone="plain")
        say("No hardware needed: the board is simulated. Ctrl-C ends it.", tone="quiet")
        say()
        routers = ("serial", "mqtt")
        self.until(
            lambda: all(notes.processes.get(name, {}).get("state") == "living" for name in routers),
            PATIENCE,
            "the start of the routers",
            lambda: "; ".join(
                f"{name}: {told['state']}, {told['cause']}"
                for name, told in notes.processes.items()
            ),
        )
        pids = {each["name"]: each["pid"] for each in self.ask(BOSS, "ps") or () if each["pid"]}
        self.tell(
            "started",
            "gateway",
            "forked its routers: "
            + ", ".join(f"{name} ({pid})" for name, pid in sorted(pids.items())),
            processes=pids,
        )

    def _the_broker(self) -> None:
        stage = self.stage
        awaited = "the foreign client's connection"
        self.result(self.witness.connect(stage.pattern), PATIENCE + 2.0, awaited)
        kind = "amqtt, within this program" if stage.is_embedded else "yours"
        self.tell(
            "broker", "broker", f"{stage.broker} ({kind})", url=stage.broker, own=stage.is_embedded
        )
        self.tell(
            "witness",
            "witness",
            f"a foreign MQTT client listens there to {stage.pattern}",
            pattern=stage.pattern,
        )
        self.pause(BREATH)

    def _the_board_is_found(self) -> None:
        notes, link = self.notes, self.stage.link
        before = len(notes.states)
        self.board.start()
        plugged = monotonic()
        port = os.readlink(link)
        self.tell(
            "plugged_in", "cable", f"the board is plugged in: {port}", tone="action", port=port
        )

        def since() -> list[str]:
            return [state["state"] for state in notes.states[before:]]

        self.until(
            lambda: {"present", "open", "proven", "healthy"} & set(since()),
            PATIENCE,
            "the discovery of the board",
            self._state_in_words,
        )
        took = monotonic() - plugged
        self.tell(
            "found",
            "board found",
            f"after {took:.2f} s; who is it?",
            tone="good",
            device=DEVICE,
            took=round(took, 3),
        )
        self.until(
            lambda: notes.happened("connected") and notes.info.get("identity"),
            PATIENCE,
            "the handshake",
            self._state_in_words,
        )
        who = notes.info["identity"]
        self.tell(
            "handshake",
            "handshake",
            f"a {who['model']}, firmware {who['firmware']}, serial number {who['serial_number']}",
            tone="good",
            **who,
        )
        self.pause(BREATH)

    def _telemetry(self) -> None:
        notes, show = self.notes, self.stage.storyteller.show
        began, first = monotonic(), notes.readings
        for number in range(READINGS_SHOWN):
            seen = notes.readings
            self.until(
                lambda seen=seen: notes.readings > seen,  # type: ignore[misc]
                PATIENCE,
                "a reading",
                self._state_in_words,
            )
            value = notes.reading[VALUE]
            self.tell(
                "reading",
                "" if number else "telemetry",
                f"{bar(value, FULL_SCALE)} {value:.2f} V",
                topic=f"devices/{DEVICE}/{READING}",
                **notes.reading,
            )
            self.pause(0.35)
        count, seconds = notes.readings - first, monotonic() - began
        show(f"{count} readings in {seconds:.1f} s on devices/{DEVICE}/{READING}")
        self.tell_program("telemetry", readings=notes.readings)

    def _what_the_broker_received(self) -> None:
        notes, stage = self.notes, self.stage
        self.until(
            lambda: notes.routes.get("mqtt", {}).get("state") == "connected",
            PATIENCE,
            "the connection to the broker",
            lambda: notes.cause("mqtt"),
        )
        base = f"gateway/{stage.node}"
        topics = [
            f"{base}/status",
            f"{base}/devices/{DEVICE}/state",
            f"{base}/devices/{DEVICE}/{READING}",
        ]
        self.until(
            lambda: all(topic in notes.heard for topic in topics),
            PATIENCE,
            "the gateway's first words at the broker",
            lambda: f"the witness heard {', '.join(notes.heard) or 'nothing'}",
        )
        self.tell("online", "broker", "the gateway is connected; the witness hears", tone="good")
        for topic in topics:
            heard = notes.heard[topic]
            self._tell_heard("heard", heard)
        self.pause(BREATH)

    def _a_command(self) -> None:
        stage = self.stage
        topic = f"gateway/{stage.node}/devices/{DEVICE}/led"
        call = '{"args":{"on":true},"id":1}'
        self.tell(
            "call",
            "command",
            "the witness publishes",
            tone="action",
            topic=f"{topic}/call",
            payload=call,
        )
        self._show_message(f"{topic}/call", call)
        heard, took = self.result(
            self.witness.call(f"{topic}/call", call.encode(), f"{topic}/reply"),
            PATIENCE,
            "the answer to the call",
        )
        answer = heard.body()
        text = heard.payload.decode(errors="replace")
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            raise StepFailed(f"the call was refused: {text}")
        self.tell(
            "reply",
            "reply",
            f"after {took * 1000:.1f} ms: broker, bus, board and back",
            tone="good",
            topic=heard.topic,
            payload=text,
            milliseconds=round(took * 1000, 3),
        )
        self._show_message(heard.topic, text)
        if not self.board.led:
            raise StepFailed("the call was answered, but the board's LED is dark")
        self.tell("led", "LED", "it is lit: the board itself says so", tone="good", lit=True)
        self.pause(BREATH)

    def _the_cable_is_pulled(self) -> None:
        notes = self.notes
        pulled = monotonic()
        self.board.unplug()
        self.tell("unplugged", "cable", "is pulled", tone="action")
        self.until(
            lambda: notes.happened("disconnected"),
            PATIENCE,
            "the callback `disconnected`",
            self._state_in_words,
        )
        took, cause = monotonic() - pulled, notes.happened("disconnected")[-1]["cause"]
        self.tell(
            "disconnected",
            "disconnected",
            f"after {took * 1000:.1f} ms, and why:",
            tone="bad",
            cause=cause,
            took=round(took, 3),
        )
        self.stage.storyteller.show(self._without_folder(cause), tone="quiet")
        self._tell_retained(connected=False)
        self.pause(BREATH)

    def _plugged_in_again(self) -> None:
        notes = self.notes
        before = len(notes.happened("connected"))
        self.board.plug()
        plugged = monotonic()
        port = os.readlink(self.stage.link)
        self.tell("plugged_in", "cable", f"is plugged in again: {port}", tone="action", port=port)
        self.until(
            lambda: len(notes.happened("connected")) > before,
            PATIENCE,
            "the callback `connected`",
            self._state_in_words,
        )
        took = monotonic() - plugged
        self.tell(
            "connected",
            "connected",
            f"after {took:.2f} s: found, opened, asked who it is",
            tone="good",
            took=round(took, 3),
        )
        self._tell_retained(connected=True)
        self.pause(BREATH)

    # After the story

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

    # Telling

    def tell_program(self, event: str, **facts: Any) -> None:
        """Tell a program what a person has been told in other words."""
        self.stage.storyteller.note(event, **facts)

    def _tell_heard(self, event: str, heard: Heard) -> None:
        text = heard.payload.decode(errors="replace")
        self.tell_program(event, topic=heard.topic, payload=text)
        self._show_message(heard.topic, text)

    def _show_message(self, topic: str, payload: str) -> None:
        show = self.stage.storyteller.show
        show(topic, indent=10, tone="topic")
        show(payload, indent=12)

    def _tell_retained(self, *, connected: bool) -> None:
        """Wait until whoever comes to the broker now is told so, and tell that."""
        topic = f"gateway/{self.stage.node}/devices/{DEVICE}/state"

        def last() -> Any:
            heard = self.notes.heard.get(topic)
            return heard.body() if heard is not None else None

        self.until(
            lambda: (last() or {}).get("connected") is connected,
            PATIENCE,
            f"`connected: {str(connected).lower()}` at the broker",
            self._state_in_words,
        )
        heard = self.result(self.witness.retained(topic), PATIENCE, "the retained state")
        body = heard.body()
        if body["connected"] is not connected:
            raise StepFailed(f"the broker keeps {heard.payload.decode()}")
        self.tell(
            "retained",
            "broker",
            f"has kept it: whoever comes now reads connected: {str(connected).lower()}",
            tone="good" if connected else "bad",
            topic=topic,
            **body,
        )
        self._show_message(topic, self._without_folder(heard.payload.decode(errors="replace")))

    def _state_in_words(self) -> str:
        state = self.notes.state
        return f"{DEVICE} is {state['state']}, {state['cause']}" if state else "nobody knows of it"

    def _without_folder(self, text: str) -> str:
        """Return ``text`` with no more than the name of the board's link, which is long."""
        return text.replace(os.fspath(self.stage.link), self.stage.link.name)


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
