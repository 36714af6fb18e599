"""Remote management: the few commands that are allowed, each of them on record.

A command is called like a device's, by ``gateway/<node>/manage/<command>/call``, and
answered the same way (`routes.mqtt.commands`). They are carried out one after the other
on a thread of their own, so that telemetry and calls go on meanwhile; whoever asks while
`WAITING` wait is told so. Each is on record before it is begun, and again with what came
of it.

Refused, with an error to the caller, and on record: what is not allowed, which is
everything unless it is; commands that there are not.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from gateway.clock import Clock
from gateway.errors import GatewayError, RecipientGoneError
from gateway.mail.message import Message
from routes.mqtt.audit import Audit
from routes.mqtt.commands import Refusal, ReplyTo, answer_body, error_body, open_call
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Outlet
from routes.mqtt.manage_commands import Commands, DeviceState, Steward
from routes.mqtt.manage_config import for_record
from routes.mqtt.manage_settings import COMMANDS, ManageSettings
from routes.mqtt.properties import JSON, Properties
from routes.mqtt.topics import ROOT, Topics, to_level

log = logging.getLogger(__name__)

WAITING = 8
"""Commands at the most that wait while one is carried out."""


class Owner(Steward, Protocol):
    """The route."""

    node: str

    def add_child_thread(self, name: str, target: Callable[[], object]) -> None:
        """Start a thread."""
        ...


class _Task(NamedTuple):
    command: str
    arguments: dict[str, Any]
    reply_to: ReplyTo
    incoming: Incoming


class Manage:
    """An `Inlet`; carries out, and writes down, on the threads that `open` starts."""

    def __init__(
        self,
        settings: ManageSettings,
        owner: Owner,
        topics: Topics,
        *,
        clock: Clock,
        say: Outlet,
        max_payload: int,
    ) -> None:
        self.subscription = f"{ROOT}/{to_level(owner.node)}/manage/+/call"
        self._settings = settings
        self._owner = owner
        self._topics = topics
        self._clock = clock
        self._say = say
        self._max_payload = max_payload
        self._devices: dict[str, DeviceState] = {}
        self._commands = Commands(settings, owner, lambda: self._devices, clock.monotonic)
        self._audit = Audit(settings.audit_file, settings.audit_bytes)
        self._tasks: queue.Queue[_Task | None] = queue.Queue(WAITING)
        self._closed = threading.Event()
        self.counts: Counter[str] = Counter()

    def open(self) -> None:
        """Begin to carry out."""
        self._owner.add_child_thread("manage", self._work)
        self._owner.add_child_thread("audit", self._audit.work)

    def close(self) -> None:
        """Carry out nothing more; what waits is told so. What is under way ends by itself."""
        self._closed.set()
        self._drain()

    def seal(self) -> None:
        """End the record: nobody is heard any more."""
        self._audit.end()

    def _drain(self) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                break
            if task is not None:
                self._end(task, _stops())
        self._tasks.put_nowait(None)

    def note(self, message: Message) -> None:
        """Note what is published as ``devices/<name>/state``."""
        name = message.subject.split("/")[1]
        body = message.body if isinstance(message.body, dict) else {}
        state = DeviceState(
            message.sender.rpartition("@")[2],
            message.sender_incarnation,
            body.get("connected") is True,
            str(body.get("state", "")),
            str(body.get("cause", "")),
        )
        # A new dict each time: another thread reads it meanwhile.
        self._devices = {**self._devices, name: state}

    def hear(self, incoming: Incoming) -> None:
        """Take a command, or refuse it; on the session's thread."""
        opened = open_call(incoming, self._topics, max_payload=self._max_payload)
        command = incoming.topic.split("/")[3]
        if isinstance(opened, Refusal):
            self._record(command, {}, incoming, f"{opened.code}: {opened.reason}", later=True)
            if opened.reply_to is not None:
                body = error_body(opened.reply_to, opened.code, opened.reason)
                self._answer(opened.reply_to, body)
            return
        task = _Task(command, *opened, incoming)
        if command not in self._settings.allow:
            self._refuse(task, "refused", self._why_not(command))
        elif self._closed.is_set():
            self._end(task, _stops())
        else:
            try:
                self._tasks.put_nowait(task)
            except queue.Full:
                self._refuse(task, "mailbox_full", f"{WAITING} commands wait already")
            else:
                # Closed since we looked, it may lie here unseen.
                if self._closed.is_set():
                    self._drain()

    def statistics(self) -> dict[str, Any]:
        """Return how many commands were carried out, failed, and were refused."""
        return {**self.counts, "audit_lost": self._audit.lost}

    def _why_not(self, command: str) -> str:
        if command in COMMANDS:
            where = f"[routes.{self._owner.name}.manage]"
            return f"{command!r} is not allowed: add it to allow under {where}"
        allowed = ", ".join(self._settings.allow) or "nothing"
        return f"there is no command {command[:60]!r}; allowed is {allowed}"

    def _work(self) -> None:
        try:
            recovered = self._commands.recover()
        except (GatewayError, OSError) as error:
            log.error("what was on trial cannot be taken back: %s", error)
        else:
            if recovered:
                log.warning("%s", recovered)
                # Whoever asked for it was heard by a life that could write it down no more.
                ours = Incoming(self.subscription, b"", user=(("route", self._owner.name),))
                self._record("configure", {}, ours, recovered)
        while (task := self._tasks.get()) is not None:
            begun = self._clock.time()
            record = partial(self._record, task.command, task.arguments, task.incoming, begun=begun)
            # Whoever is killed meanwhile says nothing of it afterwards.
            record("begun")
            try:
                result = self._commands.run(task.command, task.arguments)
            except GatewayError as error:
                self.counts["failed"] += 1
                record(f"{error.code}: {error}")
                body = error_body(task.reply_to, error.code, str(error))
            else:
                self.counts["carried_out"] += 1
                record("ok")
                body = answer_body(task.reply_to, result, max_payload=self._max_payload)
            self._answer(task.reply_to, body)

    def _end(self, task: _Task, error: GatewayError) -> None:
        self._refuse(task, error.code, str(error), "failed")

    def _refuse(self, task: _Task, code: str, reason: str, kind: str = "refused") -> None:
        self.counts[kind] += 1
        said = f"{code}: {reason}"
        self._record(task.command, task.arguments, task.incoming, said, later=True)
        self._answer(task.reply_to, error_body(task.reply_to, code, reason))

    def _record(
        self,
        command: str,
        arguments: dict[str, Any],
        incoming: Incoming,
        result: str,
        *,
        begun: float | None = None,
        later: bool = False,
    ) -> None:
        self._audit.note(
            time=self._clock.time(),
            command=command,
            topic=incoming.topic,
            who=dict(incoming.user[:8]),
            arguments=for_record(arguments),
            result=result,
            begun=begun,
            later=later,
        )

    def _answer(self, reply_to: ReplyTo, body: bytes) -> None:
        properties = Properties(correlation_data=reply_to.correlation_data, content_type=JSON)
        self._say(reply_to.topic, body, qos=1, urgent=True, properties=properties)


def _stops() -> GatewayError:
    return RecipientGoneError("the gateway stops")
