"""The whole column on a real terminal: driver thread, serial link, simulated board."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import Driver
from gateway.hosting.driver_thread import DriverThread
from gateway.mail.message import Message
from gateway.testing.fake_outside import FakeOutside
from routes.serial.serial_link import opener
from routes.serial.settings import SerialSettings

PATIENCE = 20.0
"""Seconds that any of the waits may take; the machine may be busy with other things."""


class Hosted:
    """The device ``it`` at ``path``; ``with`` starts and stops its thread."""

    def __init__(
        self, driver: type[Driver], settings: Mapping[str, Any] | None, path: Path
    ) -> None:
        made = driver.configured(settings)
        self.outside = FakeOutside()
        self._mailbox = Mailbox("it@serial", clock=RealClock())
        self.thread = DriverThread(
            "it",
            lambda host: made("it", host, settings),
            opener(SerialSettings(port=str(path), write_timeout=2.0)),
            self.outside,
            self._mailbox,
            clock=RealClock(),
            random=Random(1),
        )
        self._ids = count(1)

    def __enter__(self) -> Hosted:
        self.thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        ended = self.thread.stop(PATIENCE)
        self._mailbox.close()
        assert ended, "the driver thread did not end"

    def ask(self, subject: str, body: object = None) -> Any:
        """Have a command carried out; return its answer or raise its bounce."""
        number = str(next(self._ids))
        letter = Message(number, number, 1, 0.0, "test", "it@serial", subject, body)
        answered = len(self.outside.replies) + len(self.outside.bounces)
        self.thread.post(letter)
        self.outside.wait_answers(answered + 1)
        if self.outside.bounces and self.outside.bounces[-1][0] is letter:
            raise self.outside.bounces[-1][1]
        message, result = self.outside.replies[-1]
        assert message is letter
        return result

    def wait_for(self, topic: str, number: int = 1) -> list[Any]:
        """Wait for so many publications from now on; return those."""
        topic = f"devices/it/{topic}"
        before = len(self.outside.bodies(topic))
        self.outside.wait_for(
            lambda: len(self.outside.bodies(topic)) >= before + number, seconds=PATIENCE
        )
        return self.outside.bodies(topic)[before:]

    def wait_state(self, state: str) -> None:
        """Wait until the device is in ``state``."""
        self.outside.wait_state("it", state, seconds=PATIENCE)

    def wait_event(self, event: str, times: int = 1) -> Any:
        """Wait until ``event`` has been told so many times in all; return the body."""
        return self.outside.wait_event("it", event, times, seconds=PATIENCE)
