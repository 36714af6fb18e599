"""Who may import whom: the import table of the design, held over every file.

Function-level imports count as much as those at the top, and so do those that only
a type checker sees. A new room or file must be entered here before it can import.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "errors": (),
    "clock": ("errors",),
    "backoff": ("errors",),
    "timeout": (),
    "mail": ("errors",),
    "framing": ("errors",),
    "config": ("errors",),
    "plugins": ("config", "mail"),
    "bus": ("mail", "config", "clock", "backoff", "timeout"),
    "device": ("mail", "framing", "clock", "backoff"),
    "process": ("bus",),
    "rpc": ("process", "config"),
    "supervision": ("process", "rpc"),
    "hosting": ("rpc", "device"),
    "routing": ("process", "config"),
    "services": ("rpc", "application", "device"),
    "application": ("supervision", "config", "plugins"),
    "appliance": ("application", "hosting"),
    "client_line": ("mail", "backoff", "clock", "timeout"),
    "client_asked": ("client_line",),
    "client_exchange": ("client_asked",),
    "client_following": ("client_line",),
    "client": ("client_exchange", "client_following"),
}
"""A room of the core, and the rooms it may use; with each comes what that one may use."""

ANY_OF_THE_CORE = ("watchdog", "cli", "testing")
"""Rooms that may use all of `MAY_IMPORT`, and nobody may use them but themselves.

A command may also use the watchdog, and a test of an author's may use `gateway.testing`.
"""

OUTSIDE = {
    "drivers": ("device",),
    "routes": ("routing", "hosting", "device"),
}
"""What comes in by name, and the rooms of the core that it may use, with what those use."""

PURE = (
    "gateway/mail",
    "gateway/framing",
    "gateway/device/link_state.py",
    "gateway/device/heartbeat.py",
    "gateway/supervision/restart_policy.py",
    "gateway/watchdog/policy.py",
    "gateway/watchdog/reading.py",
    "gateway/watchdog/health.py",
    "gateway/watchdog/judgement.py",
    "gateway/process/log_rate.py",
)
"""Codecs and decisions: no socket, thread, file or clock."""

IMPURE_MODULES = {
    *(
        "asyncio",
        "concurrent",
        "multiprocessing",
        "queue",
        "sched",
        "signal",
        "threading",
        "_thread",
    ),
    *("http", "select", "selectors", "serial", "socket", "socketserver", "ssl", "urllib"),
    *("ctypes", "fcntl", "mmap", "os", "pty", "subprocess", "termios", "tty"),
    *("glob", "io", "pathlib", "shutil", "sqlite3", "tempfile"),
    *("random", "secrets", "time", "gateway.clock"),
}
IMPURE_CALLS = {"open", "input", "print", "now", "utcnow", "today"}

FOREIGN = {
    "cobs": "gateway/framing",
    "paho": "routes/mqtt",
    "prometheus_client": "routes/prometheus",
    "serial": "routes/serial",
    "usb": "routes/usb",
    "pyudev": "gateway/hosting",
    "pymodbus": "drivers/modbus_rtu",
    "amqtt": "gateway/cli/demonstration",
}
"""Libraries of one medium, and the only place that may import them."""


def sources(*folders: str) -> list[str]:
    """Return the Python files under ``folders``, as paths from the root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


ALL = sources("gateway", "drivers", "routes")
MODULES = {module_name(path): path for path in ALL}


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that a file imports.

    ``from gateway.mail import address`` is ``gateway.mail.address`` where that is a
    module, else ``gateway.mail``. A module named in ``import_module("…")`` counts too.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    inner = f"{module}.{alias.name}"
                    yield node.lineno, inner if inner in MODULES else module
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module


def room_of(module: str) -> str:
    """Return ``mail`` for ``gateway.mail.address``; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def with_what_stands_before(rooms: tuple[str, ...]) -> set[str]:
    found: set[str] = {"errors"}
    for room in rooms:
        found |= {room} | with_what_stands_before(MAY_IMPORT[room])
    return found


def allowed_for(path: str) -> set[str]:
    """Return the rooms of the core that the file at ``path`` may import."""
    package, room = path.split("/", maxsplit=1)[0], room_of(module_name(path))
    if package in OUTSIDE:
        return with_what_stands_before(OUTSIDE[package])
    if room in ANY_OF_THE_CORE:
        return {*MAY_IMPORT, room, "watchdog"} if room == "cli" else {*MAY_IMPORT, room}
    return {room} | with_what_stands_before(MAY_IMPORT[room])


def judge(path: str, module: str) -> str | None:
    """Return why the file at ``path`` may not import ``module``; None where it may."""
    package, *rest = module.split(".")
    own = module_name(path).split(".")
    if package == "gateway":
        room = room_of(module)
        if room and room not in allowed_for(path):
            return f"may not use gateway.{room}"
    elif package in OUTSIDE:
        if own[0] != package:
            return f"{own[0]} never imports {package}: they come in by entry points"
        if rest[:1] != own[1:2]:
            return "never a sibling: what it can do travels as data"
    elif package in FOREIGN and not path.startswith(FOREIGN[package]):
        return f"only {FOREIGN[package]} may use {package}"
    return None


def is_pure(path: str) -> bool:
    return any(path == room or path.startswith(f"{room}/") for room in PURE)


def violations(path: str, tree: ast.Module) -> list[str]:
    """Return one line for each import or call in ``tree`` that has no place at ``path``."""
    found = []
    for line, module in imports_of(tree):
        if reason := judge(path, module):
            found.append(f"{path}:{line}: imports {module}: {reason}")
        if is_pure(path) and {module, module.split(".")[0]} & IMPURE_MODULES:
            found.append(f"{path}:{line}: imports {module}: no socket, thread, file or clock here")
    if is_pure(path):
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                    if name in IMPURE_CALLS:
                        found.append(f"{path}:{node.lineno}: calls {name}(): pure code does no I/O")
    return found


@pytest.mark.parametrize("path", ALL)
def test_a_file_imports_only_what_its_room_may(path: str) -> None:
    room = room_of(module_name(path))
    if path.startswith("gateway/") and room:
        assert room in {*MAY_IMPORT, *ANY_OF_THE_CORE, "__main__"}, f"enter {room} in MAY_IMPORT"
    # The front door names what is public, wherever it lives; see the next test.
    if room != "__main__" and path != "gateway/__init__.py":
        assert violations(path, tree_of(path)) == []


def test_the_package_itself_imports_nothing_so_that_help_is_quick() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, gateway; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [name for name in said if name.startswith(("gateway.", "msgspec", "asyncio"))] == []


def test_each_public_name_is_there() -> None:
    import gateway

    for name in gateway.__all__:
        assert getattr(gateway, name).__name__ == name


def test_there_is_no_circle_of_imports() -> None:
    graph = {
        name: {other for _, other in imports_of(tree_of(path)) if other in MODULES} - {name}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))


def test_the_table_itself_has_no_circle() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


def test_relative_imports_are_not_used_since_the_table_reads_names() -> None:
    for path in ALL:
        for node in ast.walk(tree_of(path)):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("gateway/mail/body.py", "import gateway.bus.mailbox"),
        ("gateway/mail/body.py", "def late():\n    import socket"),
        ("gateway/framing/line.py", "from time import monotonic"),
        ("gateway/framing/line.py", "from gateway.clock import Clock"),
        ("gateway/device/link_state.py", "import threading"),
        ("gateway/device/link_state.py", "from gateway.clock import Clock"),
        ("gateway/device/heartbeat.py", "print('beat')"),
        ("gateway/mail/codec.py", "from datetime import datetime\nstamp = datetime.now()"),
        ("gateway/bus/delivery.py", "from gateway.process.process import Process"),
        ("gateway/config/loading.py", "from gateway.plugins import find"),
        ("gateway/hosting/driver_thread.py", "from gateway.routing.router import Router"),
        ("gateway/bus/delivery.py", "from gateway.cli import main"),
        ("gateway/application.py", "from gateway.testing.fake_link import FakeLink"),
        ("gateway/application.py", "import routes.serial.router"),
        ("gateway/cli/demo.py", "import importlib\nimportlib.import_module('drivers.bench_board')"),
        ("gateway/device/link.py", "import serial"),
        ("drivers/bench_board/driver.py", "from gateway.hosting import driver_thread"),
        ("drivers/bench_board/driver.py", "from routes.serial import serial_link"),
        ("drivers/bench_board/driver.py", "import drivers.wheels.driver"),
        ("routes/mqtt/router.py", "from drivers.bench_board import driver"),
        ("routes/mqtt/router.py", "if TYPE_CHECKING:\n    from routes.serial import router"),
        ("routes/mqtt/router.py", "from gateway.supervision.boss import Boss"),
        ("routes/mqtt/router.py", "from gateway.testing import fake_link"),
    ],
)
def test_the_table_catches(path: str, code: str) -> None:
    assert violations(path, ast.parse(code)) != []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("gateway/process/process.py", "from gateway.mail.message import Message"),
        ("gateway/hosting/driver_thread.py", "from gateway.device import driver"),
        ("gateway/cli/run.py", "from gateway.application import Application"),
        ("gateway/testing/fake_link.py", "from gateway.device.link import Link"),
        ("drivers/bench_board/driver.py", "from gateway.framing.checked_line import CheckedLine"),
        ("drivers/bench_board/simulator.py", "import os, drivers.bench_board.driver"),
        ("routes/serial/router.py", "from gateway.process.process import Process"),
        ("routes/serial/serial_link.py", "import serial\nfrom gateway.backoff import Backoff"),
    ],
)
def test_the_table_lets_pass(path: str, code: str) -> None:
    assert violations(path, ast.parse(code)) == []
