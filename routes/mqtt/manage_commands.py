"""What can be done to a gateway from afar, one function each.

They run on a thread of their own, one at a time, and may take their time: each wait has a
deadline. What they raise, a `GatewayError`, is told to the caller.

``configure`` checks, writes, and restarts the routes that the change concerns. Where one
of them does not live again, or devices that were connected are not connected again within
the time to settle, the former file is put back and the routes are restarted once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.errors import ConfigError, GatewayError, RefusedError
from gateway.mail.message import Message
from routes.mqtt import manage_config
from routes.mqtt.manage_config import Change
from routes.mqtt.manage_settings import ManageSettings

HEALTH = "health"
"""The process that streams the log and the mail; what it says goes out as telemetry."""

FORWARDED = {"log": "$log_stream", "tail": "$tail"}
"""Commands that are letters to it, and their subjects; the arguments are its business."""

LOOK_EVERY = 0.2
"""Seconds between two looks at whether a restarted route is what it was."""

STEADY = 1.0
"""Seconds that a restarted route has to live without dying before it is believed."""


DEAD = -1
"""Stands for the incarnation of what does not live."""


class Steward(Protocol):
    """The process in whose name things are done."""

    name: str

    @property
    def application(self) -> Any:
        """The application: the configuration's ``file``, and how to ``load`` and ``renew`` it."""
        ...

    def send(self, recipient: str, subject: str, body: Any = None) -> Message:
        """Write a letter."""
        ...

    def wait_for_reply(self, message: Message, timeout: float = 5.0) -> Message:
        """Wait for its answer."""
        ...

    def restart_process(self, name: str, *, timeout: float = 25.0) -> None:
        """Restart a process; return once it lives."""
        ...

    def light_sleep(self, seconds: float) -> bool:
        """Sleep; False where the process is to end."""
        ...


class DeviceState(msgspec.Struct, frozen=True):
    """Whether a device is connected, as said by which life of which route."""

    route: str
    incarnation: int
    connected: bool
    state: str = ""
    cause: str = ""


class RestartArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be restarted."""

    process: str


class ConfigureArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is to stand in the remote file, in TOML."""

    text: str


class NoArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


_EXAMPLES: dict[type[Any], str] = {
    NoArguments: "{}",
    RestartArguments: '{"process": "serial"}',
    ConfigureArguments: '{"text": "[devices.board]\\nport = …"}',
}


class Commands:
    """Does what is asked; ``devices`` returns the states of all devices by name."""

    def __init__(
        self,
        settings: ManageSettings,
        steward: Steward,
        devices: Callable[[], Mapping[str, DeviceState]],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._steward = steward
        self._devices = devices
        self._monotonic = monotonic

    def run(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Do ``command`` and return what is answered; raise `GatewayError` where it fails."""
        if command in FORWARDED:
            return self._forward(FORWARDED[command], arguments)
        kinds: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
            "processes": (NoArguments, self._processes),
            "restart": (RestartArguments, self._restart),
            "config": (NoArguments, self._config),
            "configure": (ConfigureArguments, self._configure),
            "updates": (NoArguments, self._updates),
        }
        kind, do = kinds[command]
        try:
            wanted = msgspec.convert(dict(arguments), kind)
        except msgspec.ValidationError as error:
            raise RefusedError(f"{command}: {error}; write {_EXAMPLES[kind]}") from error
        try:
            return do(wanted)
        except OSError as error:
            if isinstance(error, GatewayError):
                raise
            where = f"{error.filename}: " if error.filename else "the configuration: "
            raise ConfigError(f"{where}{error.strerror}") from error

    def recover(self) -> str:
        """Take back a change that was on trial when we were killed; say what was done."""
        file = getattr(self._steward.application, "file", "")
        change = manage_config.unfinished(file) if file else None
        # Over another's it still watches, or will again.
        if change is None or change.by != self._steward.name:
            return ""
        also = self._take_back(change)
        return f"a change was on trial when this route was killed: taken back{also}"

    def _processes(self, _: NoArguments) -> list[dict[str, Any]]:
        names = ("name", "state", "cause", "since", "mode", "kind", "restarts", "stuck")
        return [{name: each[name] for name in names} for each in self._ps().values()]

    def _restart(self, wanted: RestartArguments) -> dict[str, Any]:
        if wanted.process == self._steward.name:
            raise RefusedError(f"{wanted.process!r}, which was asked, cannot restart itself")
        self._steward.restart_process(wanted.process)
        return {"process": wanted.process, "state": self._ps()[wanted.process]["state"]}

    def _config(self, _: NoArguments) -> dict[str, Any]:
        return manage_config.shown(self._file())

    def _updates(self, _: NoArguments) -> dict[str, Any]:
        return {"updater": None, "reason": "no updater is configured"}

    def _forward(self, subject: str, arguments: Mapping[str, Any]) -> Any:
        asked = self._steward.send(HEALTH, subject, dict(arguments))
        return self._steward.wait_for_reply(asked, 10.0).body

    # Changing the configuration

    def _configure(self, wanted: ConfigureArguments) -> dict[str, Any]:
        file = self._file()
        change = manage_config.prepare(
            file,
            wanted.text,
            load=self._steward.application.load,
            sections=self._settings.sections,
            own=self._steward.name,
        )
        if manage_config.unfinished(file) is not None:
            raise RefusedError(
                "another change is on trial: wait for its end, or restart the route that made it"
            )
        expected = self._connected(change.routes)
        change.write()
        try:
            why_not = self._apply(change, expected)
        except (GatewayError, OSError) as error:
            why_not = str(error)
        if why_not:
            also = self._take_back(change)
            raise RefusedError(f"the change was taken back: {why_not}{also}")
        change.end()
        return {"file": str(change.file), "restarted": list(change.routes)}

    def _take_back(self, change: Change) -> str:
        """Put the former file back, and all who are concerned; say what went wrong then."""
        change.undo()
        self._steward.application.renew()
        failed = self._restart_all(change.routes)
        # Not before: killed until here, some would go on as the change says.
        change.end()
        return f"; and then: {failed}" if failed else ""

    def _apply(self, change: Change, expected: Mapping[str, str]) -> str:
        """Restart who is concerned; return what is wrong afterwards, nothing where all is well."""
        if not change.routes:
            return ""
        self._steward.application.renew()
        deadline = self._monotonic() + self._settings.settle
        failed = self._restart_all(change.routes)
        if failed:
            return failed
        known = self._steward.application.load(self._file()).devices
        wanted = {name: route for name, route in expected.items() if name in known}
        steady_at = self._monotonic() + STEADY
        lives = self._lives(change.routes)
        while True:
            wrong = self._what_is_wrong(lives, wanted)
            now = self._monotonic()
            if not wrong and now >= steady_at:
                return ""
            if wrong and now >= deadline:
                return wrong
            if not self._steward.light_sleep(LOOK_EVERY):
                return "the gateway stops"

    def _what_is_wrong(self, lives: Mapping[str, int], wanted: Mapping[str, str]) -> str:
        """Say what is not as it was before: a route that died again, a device that is away."""
        for name, incarnation in self._lives(lives).items():
            if incarnation != lives[name] or incarnation == DEAD:
                return f"{name} does not stay alive: {self._ps()[name]['cause']}"
        devices = self._devices()
        for name in wanted:
            found = devices.get(name)
            # Hosted by another route, perhaps, than before.
            if found is None or found.incarnation != lives.get(found.route, found.incarnation):
                return f"nothing is heard of {name}"
            if not found.connected:
                return f"{name} is {found.state or 'not connected'}: {found.cause}"
        return ""

    def _restart_all(self, routes: tuple[str, ...]) -> str:
        failed = []
        for name in routes:
            try:
                self._steward.restart_process(name)
            except GatewayError as error:
                failed.append(f"{name} does not start: {error}")
        return "; ".join(failed)

    def _connected(self, routes: tuple[str, ...]) -> dict[str, str]:
        return {
            name: device.route
            for name, device in self._devices().items()
            if device.connected and device.route in routes
        }

    def _lives(self, routes: Mapping[str, int] | tuple[str, ...]) -> dict[str, int]:
        members = self._ps()
        return {
            name: members[name]["incarnation"] if members[name]["state"] == "living" else DEAD
            for name in routes
        }

    def _ps(self) -> dict[str, dict[str, Any]]:
        asked = self._steward.send("boss", "ps")
        return {each["name"]: each for each in self._steward.wait_for_reply(asked, 5.0).body}

    def _file(self) -> str:
        file: str = getattr(self._steward.application, "file", "")
        if not file:
            raise RefusedError("this gateway was not started from a configuration file")
        return str(Path(file).absolute())
