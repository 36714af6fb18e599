"""Make a `Configuration` out of a merged document, or find everything wrong with it.

What a router or a driver takes is known from its class alone: a router's ``Settings``
and ``DeviceSettings`` (None, or absent, where it hosts no devices), a driver's
``Settings``. A plug-in that cannot be found is one mistake; what only its class could
judge is left alone then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

import msgspec

from gateway.config.apis import ApiConfig, is_path
from gateway.config.check import Checker
from gateway.config.crew import NAME, CrewMember
from gateway.config.mistake import ConfigErrors, suggest
from gateway.config.provenance import Path, Provenance
from gateway.config.schema import (
    Configuration,
    DeviceConfig,
    GatewaySettings,
    HealthSettings,
    NoSettings,
    RouteConfig,
    RouteHead,
)
from gateway.errors import ConfigError

DRIVERS, ROUTES = "gateway.drivers", "gateway.routes"
"""The entry-point groups."""

PROCESSES = "module:qualname"
"""What is looked up as if it were a group: the classes of processes, each by its module."""

CALLABLES = "module:name"
"""What can be called: functions, and objects or classes with marked methods."""

SECTIONS = ("gateway", "health", "routes", "devices", "crew", "apis")

RESERVED = ("main", "boss", "health")
"""Names that the gateway itself bears."""


def assemble(
    document: dict[str, Any],
    checker: Checker,
    provenance: Provenance,
    find: Callable[[str, str], type[Any]],
) -> Configuration | None:
    """Return the configuration; None where ``checker`` has noted a mistake."""
    for name in document:
        if name not in SECTIONS:
            checker.unknown(name, (), SECTIONS)
    gateway = checker.struct(document.get("gateway", {}), GatewaySettings, ("gateway",))
    health = checker.struct(document.get("health", {}), HealthSettings, ("health",))
    assembly = _Assembly(checker, find)
    routes = assembly.each(document, "routes", assembly.route)
    devices = assembly.each(document, "devices", assembly.device)
    crew = assembly.each(document, "crew", assembly.member)
    apis = assembly.each(document, "apis", assembly.api)
    assembly.order(document, {"crew": crew, "apis": apis})
    if checker.mistakes or gateway is None or health is None:
        return None
    return Configuration(
        gateway=gateway,
        health=health,
        routes=routes,
        devices=devices,
        crew=crew,
        apis=apis,
        provenance=provenance,
    )


Made = TypeVar("Made")


class _Assembly:
    def __init__(self, checker: Checker, find: Callable[[str, str], type[Any]]) -> None:
        self._checker = checker
        self._find = find
        self._routers: dict[str, type[Any] | None] = {}  # None: it is there, its class is not
        self._named: dict[str, str | int] = {}

    def each(
        self,
        document: dict[str, Any],
        section: str,
        make: Callable[[str, dict[str, Any], Path], Made | None],
    ) -> dict[str, Made]:
        """Return what ``make`` makes of each table in ``section``; leave out what it cannot."""
        made = {}
        for name, value in self._checker.table(document.get(section, {}), (section,)).items():
            path = (section, name)
            if not re.match(NAME, name):
                allowed = "letters, digits, '-', '_' and '.', at most 63 of them"
                self._checker.mistake(path, "cannot be a name", f"use {allowed}")
            table = self._checker.table(value, path)
            if table is value and (one := make(name, table, path)) is not None:
                made[name] = one
        return made

    def route(self, name: str, table: dict[str, Any], path: Path) -> RouteConfig | None:
        """Make ``[routes.<name>]``; remember the router's class for the devices."""
        self._routers[name] = None
        self._named[name] = "routes"
        if name in RESERVED:
            problem = f"the gateway itself has a process {name!r}"
            self._checker.mistake(path, problem, "choose another name, and say its type")
        head, settings = _divide(table, RouteHead)
        fitted_head = self._checker.struct(head, RouteHead, path)
        kind = head.get("type", name)
        if not isinstance(kind, str):
            return None
        cls = self._plugin(ROUTES, kind, (*path, "type") if "type" in head else path)
        if cls is None:
            return None
        self._routers[name] = cls
        beside, wanted = RouteHead.__struct_fields__, _settings_of(cls)
        if self._hides(wanted, beside, path, "route", kind):
            return None
        fitted = self._checker.struct(settings, wanted, path, beside=beside)
        if fitted is None or fitted_head is None:
            return None
        return RouteConfig(
            name=name,
            type=kind,
            settings=fitted,
            stuck_after=fitted_head.stuck_after,
            when_stuck=fitted_head.when_stuck,
        )

    def device(self, name: str, table: dict[str, Any], path: Path) -> DeviceConfig | None:
        """Make ``[devices.<name>]``, after all routes have been made."""
        head, rest = _divide(table, _DeviceHead)
        inner = rest.pop("settings", {})
        fitted = self._checker.struct(head, _DeviceHead, path)
        # What can be judged is judged, even where the other half of it is wrong.
        route, driver = head.get("route", "serial"), head.get("driver")
        link = self._link(route, rest, path) if isinstance(route, str) else None
        cls = self._plugin(DRIVERS, driver, (*path, "driver")) if isinstance(driver, str) else None
        if cls is None:
            return None
        settings = self._checker.struct(inner, _settings_of(cls), (*path, "settings"))
        if fitted is None or link is None or settings is None:
            return None
        return DeviceConfig(
            name=name, driver=fitted.driver, route=fitted.route, link=link, settings=settings
        )

    def member(self, name: str, table: dict[str, Any], path: Path) -> CrewMember | None:
        """Make ``[crew.<name>]``, after all routes have been made."""
        self._name(name, path)
        fitted = self._checker.struct(table, CrewMember, path)
        if fitted is not None:
            for keys, named in fitted.classes().items():
                self._plugin(PROCESSES, named, (*path, *keys))
        return fitted

    def api(self, name: str, table: dict[str, Any], path: Path) -> ApiConfig | None:
        """Make ``[apis.<name>]``, after the crew has been made."""
        self._name(name, path)
        fitted = self._checker.struct(table, ApiConfig, path)
        if fitted is not None:
            for called, function in fitted.functions.items():
                at = (*path, "functions", called)
                if not is_path(called):
                    advice = 'write names with dots between, such as "arm.grip"'
                    self._checker.mistake(at, "cannot be called", advice)
                self._plugin(CALLABLES, function, at)
        return fitted

    def order(
        self,
        document: dict[str, Any],
        made: dict[str, dict[str, CrewMember] | dict[str, ApiConfig]],
    ) -> None:
        """Note whom processes depend on in vain, and circles of them."""
        there = list(self._routers)
        for section in made:
            written = document.get(section)
            there += written if isinstance(written, dict) else ()
        depends = {
            (section, name): one.depends
            for section, each in made.items()
            for name, one in each.items()
        }
        for (section, name), others in depends.items():
            for place, other in enumerate(others):
                if other not in there:
                    advice = suggest(other, there)
                    path = (section, name, "depends", place)
                    self._checker.mistake(path, f"there is no process {other!r}", advice)
        sections = {name: section for section, name in depends}
        sorter = TopologicalSorter({name: others for (_, name), others in depends.items()})
        try:
            sorter.prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            said = f"these depend on each other in a circle: {' → '.join(circle)}"
            at = (sections[circle[0]], circle[0], "depends")
            self._checker.mistake(at, said, "leave one of them out")

    def _name(self, name: str, path: Path) -> None:
        """Note where ``name`` is that of another process."""
        if name in RESERVED:
            problem = f"the gateway itself has a process {name!r}"
            self._checker.mistake(path, problem, "choose another name")
        elif (kind := self._named.setdefault(name, path[0])) != path[0]:
            noun = _NOUNS[str(kind)]
            problem = f"there is {noun} {name!r}, and both are processes"
            self._checker.mistake(path, problem, "choose another name for one of them")

    def _link(self, route: str, table: dict[str, Any], path: Path) -> msgspec.Struct | None:
        """Fit the keys that say how a device is reached to what its router takes."""
        at = (*path, "route")
        if route not in self._routers:
            unsound = [name for name, router in self._routers.items() if router is None]
            if get_close_matches(route, unsound, n=1) and self._is_route_type(route):
                # The section is what was misspelt, and has been named.
                return None
            advice = suggest(route, list(self._routers)) or "none is configured"
            self._checker.mistake(
                at, f"there is no route {route!r}", f"{advice}, or add [routes.{route}]"
            )
            return None
        router = self._routers[route]
        if router is None:
            return None
        cls = getattr(router, "DeviceSettings", None)
        if cls is None:
            self._checker.mistake(
                at, f"the route {route!r} hosts no devices", "name one that does, such as serial"
            )
            return None
        beside = (*_DeviceHead.__struct_fields__, "settings")
        if self._hides(cls, beside, path, "device", route):
            return None
        fitted: msgspec.Struct | None = self._checker.struct(table, cls, path, beside=beside)
        return fitted

    def _hides(
        self, wanted: type[msgspec.Struct], beside: tuple[str, ...], path: Path, noun: str, of: str
    ) -> bool:
        """Note each field of ``wanted`` that would never be read, as the key means another."""
        own = {field.encode_name for field in msgspec.structs.fields(wanted)}
        for key in sorted(hidden := own.intersection(beside)):
            problem = f"every {noun} has {key!r}, so the router {of!r} would never hear of its own"
            where = "Settings" if noun == "route" else "DeviceSettings"
            self._checker.mistake(path, problem, f"rename that field in its {where}")
        return bool(hidden)

    def _is_route_type(self, name: str) -> bool:
        try:
            self._find(ROUTES, name)
        except ConfigError:
            return False
        return True

    def _plugin(self, group: str, name: str, path: Path) -> type[Any] | None:
        try:
            return self._find(group, name)
        except ConfigErrors as error:
            for mistake in error.mistakes:
                self._checker.mistake(path, mistake.problem, mistake.advice)
        except ConfigError as error:
            self._checker.mistake(path, str(error))
        return None


_NOUNS = {"routes": "a route", "crew": "a crew member", "apis": "an API"}


class _DeviceHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    driver: str
    route: str = "serial"


def _settings_of(cls: type[Any]) -> type[msgspec.Struct]:
    found: type[msgspec.Struct] = getattr(cls, "Settings", NoSettings)
    return found


def _divide(
    table: dict[str, Any], head: type[msgspec.Struct]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the part of ``table`` that are fields of ``head``, and the rest."""
    names = head.__struct_fields__
    named = {key: value for key, value in table.items() if key in names}
    return named, {key: value for key, value in table.items() if key not in names}
