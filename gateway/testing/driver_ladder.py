"""The ladder of a driver's quality: bronze, silver, gold, and what each rung asks.

- **bronze**: it passes `gateway.testing.driver_contract`.
- **silver**: others can use it without the board and without its author: a
  simulator, a README, words on every command, units on every number.
- **gold**: it has met the real thing: a proof against real firmware or a
  recorded conversation, and a heartbeat that notices when the board is gone.

`rungs` judges a driver's class. This module is a pytest plug-in as well, which
the contract registers by itself: after the tests it prints where each driver
stands. With pytest-xdist it is to be named: ``-p gateway.testing.driver_ladder``.
A number that has no unit says so: ``Annotated[int, Unit("1")]``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import msgspec
import pytest

from gateway.device.driver import Driver
from gateway.mail.signature import unit_of

LEVELS: Final = ("bronze", "silver", "gold")
PROPERTY: Final = "gateway driver ladder"
"""Under which the contract's last test hands its findings to this plug-in."""


class Rung(NamedTuple):
    """One thing that a level asks; ``missing`` says what to do, empty where it is there."""

    level: str
    asks: str
    missing: str


def rungs(driver: type[Driver] | Driver, proof: str, folder: Path) -> list[Rung]:
    """Return what silver and gold ask of ``driver``, a class or an object of it.

    ``proof`` names a file, seen from ``folder`` or a folder above it: the test
    against real firmware, or the recorded conversation.
    """
    kind = driver if isinstance(driver, type) else type(driver)
    undocumented = [*_without_words(driver)]
    unitless = [*_without_units(driver)]
    found = any((each / proof).is_file() for each in (folder, *folder.parents)) if proof else False
    return [
        Rung("silver", "a simulator", "" if kind.simulator else "set Driver.simulator"),
        Rung("silver", "a README", "" if _readme(kind) else "write README.md beside the driver"),
        Rung("silver", "words on the driver and its commands", _list("describe", undocumented)),
        Rung("silver", "units on every number", _list("annotate with Unit(…)", unitless)),
        Rung("gold", "a heartbeat", "" if driver.heartbeat else "set Driver.heartbeat"),
        Rung(
            "gold",
            "a proof against real firmware or a recorded conversation",
            "" if found else f"there is no file {proof}" if proof else "set proof = in the test",
        ),
    ]


def _list(advice: str, names: list[str]) -> str:
    return f"{advice}: {', '.join(names)}" if names else ""


def _readme(kind: type[Driver]) -> bool:
    folder = Path(inspect.getfile(kind)).parent
    return any((each / "README.md").is_file() for each in (folder, folder.parent))


def _without_words(driver: type[Driver] | Driver) -> Iterator[str]:
    if not (driver.__doc__ or "").strip():
        yield "the driver's class"
    for name, command in driver.commands().items():
        if not command.description:
            yield name
    for topic, body in driver.publications.items():
        if _is_struct(body) and not (body.__doc__ or "").strip():
            yield topic


def _without_units(driver: type[Driver] | Driver) -> Iterator[str]:
    for name, command in driver.commands().items():
        for parameter in command.parameters:
            if parameter.type in ("int", "float") and not parameter.unit:
                yield f"{name}.{parameter.name}"
        if command.returns in ("int", "float") and not unit_of(command.answer):
            yield f"what {name} returns"
    for topic, body in driver.publications.items():
        if _is_struct(body):
            for field in msgspec.structs.fields(body):
                if _is_number(field.type) and not unit_of(field.type):
                    yield f"{topic}.{field.name}"
        elif _is_number(body) and not unit_of(body):
            yield topic


def _is_struct(body: Any) -> bool:
    return isinstance(body, type) and get_origin(body) is None and issubclass(body, msgspec.Struct)


def _is_number(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    return annotation in (int, float)


# The plug-in.


class _Standing:
    """What is known of one contract, by the test class that carries it."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.found: dict[str, Any] = {}

    def lines(self) -> list[str]:
        """Return the checklist, the driver and its level first."""
        expected = self.found["tests"]
        lacks = ""
        if self.failed:
            lacks = f"failed: {', '.join(self.failed)}"
        elif self.passed < expected:
            lacks = f"only {self.passed} of {expected} tests were run"
        every = [Rung("bronze", f"the contract, {expected} tests", lacks)]
        every += [Rung(*rung) for rung in self.found["rungs"]]
        level = "none yet"
        for name in LEVELS:
            if any(rung.missing for rung in every if rung.level == name):
                break
            level = name
        return [
            f"{self.found['driver']}: {level}",
            *(
                f"  [{' ' if rung.missing else 'x'}] {rung.level}: {rung.asks}"
                + (f" ({rung.missing})" if rung.missing else "")
                for rung in every
            ),
        ]


class Ladder:
    """Listens to the reports of tests, and speaks at the end."""

    def __init__(self) -> None:
        self._standings: dict[str, _Standing] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test of a contract went; which are, shows once one has said so."""
        owner, _, test = report.nodeid.rpartition("::")
        standing = self._standings.setdefault(owner, _Standing())
        if report.failed:
            standing.failed.append(test)
        elif report.when == "call" and report.passed:
            standing.passed += 1
        for name, value in report.user_properties:
            if name == PROPERTY:
                standing.found = json.loads(str(value))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print where each driver stands."""
        lines = [each.lines() for each in self._standings.values() if each.found]
        if lines:
            terminalreporter.write_sep("-", "drivers: the ladder of quality")
        for line in (line for each in lines for line in each):
            terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Listen from now on, once."""
    if not config.pluginmanager.has_plugin("gateway-driver-ladder"):
        config.pluginmanager.register(Ladder(), "gateway-driver-ladder")
