"""A router: the process that carries mail between the bus and one foreign medium.

Authors write `start` (open what is needed, return soon), `stop`, and
`outbound` (take a letter for ``…@route`` out). What they bring in goes
through `admit`, which asks the access list: nothing enters that is not
allowed there. The state of the connection is published, retained, on
``routes/<name>/state``, each move with its cause and time.

Refused: letters from outside that no rule allows (`RefusedError`, counted), and
what only an API understands (subjects that begin with ``$``), where no devices live.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import msgspec

from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import RefusedError, UnknownApiError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.access import AccessList

log = logging.getLogger(__name__)

Connection = Literal["starting", "connected", "waiting", "failed", "stopped"]


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A router that needs none."""


class Router(Process):
    """The contract that all routers share.

    Its parameters are ``settings`` (of its `Settings` class), ``node`` (this
    gateway's name) and ``devices`` (the `DeviceConfig`s that name it). Where
    the settings have a field ``allow`` it is the access list.
    """

    Settings: ClassVar[type[msgspec.Struct]] = NoSettings
    DeviceSettings: ClassVar[type[msgspec.Struct] | None] = None

    _renewed: Mapping[str, Any] = MappingProxyType({})

    # To be written by authors

    @classmethod
    def spools(cls, name: str, settings: Any) -> Mapping[str, SpoolTerms]:
        """Return the topics that wait for the route ``name`` in files, by their patterns.

        They do from the gateway's start on, before this route is born. Raises `ConfigError`
        for settings that cannot be kept.
        """
        return {}

    def start(self) -> None:
        """Open the medium; what is not there yet is waited for elsewhere, never here."""

    def stop(self) -> None:
        """Close the medium and give everything back; called once, whatever happened."""

    def outbound(self, message: Message) -> None:
        """Carry a letter out; answer it, or raise a `GatewayError`, which bounces."""
        raise RefusedError(f"nothing goes out through {self.name!r}")

    # What the base does

    def birth(self) -> None:
        """Read the settings, announce the route, start."""
        # First of all what `death` needs, should this birth fail.
        self.connection: Connection = "starting"
        self.inbound_refused = 0
        renewed = getattr(self.application, "renewed_parameters", None)
        self._renewed = renewed(self.name) if renewed else {}
        self.settings: Any = self.parameter("settings") or self.Settings()
        self.node: str = self.parameter("node", "gateway")
        self.access = AccessList(getattr(self.settings, "allow", ()))
        self.declare_will(f"routes/{self.name}/state", _state("failed", "its router died", None))
        self.set_connection("starting", "it was started")
        self.add_filter(
            callback=self._take_out,
            id="outbound",
            description=f"mail for …@{self.name}",
            recipient=rf"@{re.escape(self.name)}$",
            kind="^letter$",
        )
        self.start()

    def death(self) -> None:
        """Stop, and say so."""
        self.stop()
        self.set_connection("stopped", "the gateway stopped it")

    def parameter(self, name: str, default: Any = None) -> Any:
        """Return one of `parameters`, as the configuration has it at this route's birth."""
        return self._renewed.get(name, super().parameter(name, default))

    def set_connection(self, connection: Connection, cause: str) -> None:
        """Publish how the medium stands, where that has changed. Thread-safe."""
        if connection != self.connection or connection == "starting":
            log.info("%s: %s: %s", self.name, connection, cause)
        self.connection = connection
        state = _state(connection, cause, self._clock.time())
        self.publish(f"routes/{self.name}/state", state, retain=True)

    def _take_out(self, message: Message) -> None:
        # A topic, say, has nothing to call: what takes a call back is not to be published there.
        if message.subject.startswith("$") and self.DeviceSettings is None:
            raise UnknownApiError(
                f"{message.recipient!r} is no API: it takes no {message.subject!r}"
            )
        self.outbound(message)

    def admit(
        self, recipient: str, subject: str, body: Any = None, *, expires_in: float | None = None
    ) -> Message:
        """Send a letter that came from outside, if a rule allows it.

        Raises `RefusedError` where none does, and what `send` raises.
        """
        if not self.access.allows(recipient, subject):
            self.inbound_refused += 1
            raise RefusedError(
                f"{self.name!r} lets nobody write {subject!r} to {recipient!r}:"
                f" allow it under [routes.{self.name}]"
            )
        return self.send(recipient, subject, body, expires_in=expires_in, receipt=True, timeout=1.0)

    def statistics(self) -> dict[str, Any]:
        """Return the process's counts and the route's own."""
        return {
            **super().statistics(),
            "connection": self.connection,
            "inbound_refused": self.inbound_refused,
        }


def _state(connection: str, cause: str, since: float | None) -> dict[str, Any]:
    return {"state": connection, "cause": cause, "since": since}
