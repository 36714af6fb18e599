"""The chapters of the story, in their order; each waits for what it tells.

The simulated board and the witness are owned here. What happens in between is
learnt from the bus, as any program would, and from the broker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any

from gateway.bus.directory import BOSS
from gateway.cli.demonstration.narrator import PATIENCE, Narrator, StepFailed
from gateway.cli.demonstration.notes import Notes
from gateway.cli.demonstration.stage import DEVICE, FULL_SCALE, READING, VALUE
from gateway.cli.demonstration.storyteller import bar
from gateway.cli.demonstration.witness import Heard, Witness

BREATH = 0.7
"""Seconds between chapters, for whoever reads along."""
READINGS_SHOWN = 5


class Chapters(Narrator):
    """What there is to tell; `chapters` names it in order."""

    def birth(self) -> None:
        """Listen to everything that the routers and the device say."""
        super().birth()
        self.notes = Notes(DEVICE, READING)
        self.board = self.stage.make_board()
        self.witness = Witness(self.stage.broker, self._on_heard)
        self.tell = self.stage.storyteller.tell
        for pattern in ("processes/+/state", "routes/+/state", f"devices/{DEVICE}/#"):
            self.subscribe(pattern, self.notes.take_down)

    def death(self) -> None:
        """Send the witness home and put the board away."""
        try:
            if hasattr(self, "witness"):
                self.loop.submit(self.witness.close()).result(3.0)
        finally:
            if hasattr(self, "board"):
                self.board.stop()
            super().death()

    def chapters(self) -> tuple[Callable[[], None], ...]:
        """Return them, each to be called in its turn."""
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
        self.until(
            lambda: notes.all_live("serial", "mqtt"), "the start of the routers", notes.of_processes
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
        self.result(self.witness.connect(stage.pattern), awaited, within=PATIENCE + 2.0)
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
        there = {"present", "open", "proven", "healthy"}
        self._await_board(
            lambda: there & {state["state"] for state in notes.states[before:]},
            "the discovery of the board",
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
        self._await_board(
            lambda: notes.happened("connected") and notes.info.get("identity"), "the handshake"
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
            self._await_board(
                lambda seen=seen: notes.readings > seen,  # type: ignore[misc]
                "a reading",
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
            "the gateway's first words at the broker",
            lambda: f"the witness heard {', '.join(notes.heard) or 'nothing'}",
        )
        self.tell("online", "broker", "the gateway is connected; the witness hears", tone="good")
        for topic in topics:
            self._tell_heard(notes.heard[topic])
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
        self._await_board(lambda: notes.happened("disconnected"), "the callback `disconnected`")
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
        self._await_board(
            lambda: len(notes.happened("connected")) > before, "the callback `connected`"
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

    def _on_heard(self, heard: Heard) -> None:
        # On the witness's thread.
        self.notes.hear(heard)
        self.nudge()

    # Telling

    def tell_program(self, event: str, **facts: Any) -> None:
        """Tell a program what a person has been told in other words."""
        self.stage.storyteller.note(event, **facts)

    def _tell_heard(self, heard: Heard) -> None:
        text = heard.payload.decode(errors="replace")
        self.tell_program("heard", topic=heard.topic, payload=text)
        self._show_message(heard.topic, text)

    def _show_message(self, topic: str, payload: str) -> None:
        show = self.stage.storyteller.show
        show(topic, indent=10, tone="topic")
        show(payload, indent=12)

    def _tell_retained(self, *, connected: bool) -> None:
        """Wait until whoever comes to the broker now is told so, and tell that."""
        topic = f"gateway/{self.stage.node}/devices/{DEVICE}/state"
        self._await_board(
            lambda: self.notes.kept(topic).get("connected") is connected,
            f"`connected: {str(connected).lower()}` at the broker",
        )
        heard = self.result(self.witness.retained(topic), "the retained state")
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

    def _await_board(self, condition: Callable[[], object], awaited: str) -> None:
        """Wait for what the board has to do with; where it does not come, tell its state."""
        self.until(condition, awaited, self._state_in_words)

    def _state_in_words(self) -> str:
        state = self.notes.state
        return f"{DEVICE} is {state['state']}, {state['cause']}" if state else "nobody knows of it"

    def _without_folder(self, text: str) -> str:
        """Return ``text`` with no more than the name of the board's link, which is long."""
        return text.replace(os.fspath(self.stage.link), self.stage.link.name)
