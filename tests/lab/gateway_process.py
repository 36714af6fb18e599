"""A real ``gateway run -c FILE``, as an operator starts it, for a test to handle roughly.

It is the console script that belongs to the running interpreter, in a process group
of its own, with a folder of its own that holds its configuration and its
sockets. Its log is kept and can be waited for. `GatewayProcess.close` ends it
and says so where it had to use force.

`configuration` writes the file for one bench board and one broker.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Any, Self

from tests.lab.os_processes import (
    Holdings,
    described,
    holdings,
    kill_all,
    members,
    until,
    wait_until_gone,
)
from tests.lab.output import Output

NODE = "lab"
TOPIC = f"gateway/{NODE}"
DEVICE = f"{TOPIC}/devices/bench"

DEADLINE = 10.0
"""Seconds within which the gateway starts, answers and stops, or has hung."""


def command() -> str:
    """Return the path of the installed ``gateway``."""
    return str(Path(sysconfig.get_path("scripts")) / "gateway")


def configuration(
    folder: Path, *, broker: str, port: Path | str, hz: int = 20, mqtt: str = "", more: str = ""
) -> str:
    """Return the text of a file: a bench board at ``port``, the routes it needs.

    ``mqtt`` are more lines for its route, ``more`` are further tables.
    """
    return f"""
[gateway]
node = "{NODE}"
sockets = "{folder / "run"}"

[routes.serial]
[routes.unix_socket]
[routes.mqtt]
broker = "{broker}"
allow = [
    {{ to = "bench@serial", subject = "led" }},
    {{ to = "bench@serial", subject = "stream" }},
    {{ to = "bench@serial", subject = "counters" }},
]
{mqtt}

[devices.bench]
driver = "bench_board"
route = "serial"
port = "{port}"

[devices.bench.settings]
stream_hz = {hz}
answer_within = 20.0
{more}
"""


class GatewayProcess:
    """One gateway; `start` it, again where it has ended. Used by one thread."""

    def __init__(
        self, folder: Path, text: str, *, environment: Mapping[str, str] | None = None
    ) -> None:
        """``environment`` replaces this process's own, as umockdev's test bed needs it."""
        self._environment = environment
        self.file = folder / "gateway.toml"
        self.file.write_text(text)
        self.sockets = folder / "run"
        self._process: subprocess.Popen[str] | None = None
        self._output = Output()
        self._group = 0
        self._log: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def log(self) -> list[str]:
        """All that was said, by every life of it."""
        return self._log + self._output.now()

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process, "the gateway has not been started"
        return self._process.pid

    def start(self) -> None:
        """Start it; returns at once."""
        assert self._process is None, "the gateway runs already"
        self._output.join()
        self._log += self._output.now()
        self._output = Output()
        self._process = subprocess.Popen(
            [command(), "run", "-c", str(self.file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._group = self._process.pid
        self._output = Output(self._process)

    def wait_for_log(self, pattern: str, seconds: float = DEADLINE) -> str:
        """Wait until a line of this life's log matches; return it."""
        return self._output.wait_for(re.compile(pattern).search, seconds)

    def signal(self, number: Signals) -> None:
        """Signal the main process, as ``kill`` does."""
        os.kill(self.pid, number)

    def signal_all(self, number: Signals) -> None:
        """Signal every process at once, as a terminal's Ctrl-C or systemd does."""
        os.killpg(self.pid, number)

    def wait(self, seconds: float = DEADLINE) -> int:
        """Wait until the main process has ended; return its exit status."""
        assert self._process, "the gateway has not been started"
        status = self._process.wait(seconds)
        self._process = None
        return status

    def wait_until_nobody_is_left(self, seconds: float) -> None:
        """Wait until every process of it has ended; `AssertionError` with who has not."""
        left = wait_until_gone(self._group, seconds)
        assert not left, f"{left} still run after {seconds:g} s"

    def processes(self) -> dict[str, int]:
        """Return the OS processes by name: main, the fork server, and each route's."""
        routes = {
            each["name"]: each["pid"] for each in self.ask({"op": "ps"})["processes"] if each["pid"]
        }
        known = {self.pid, *routes.values()}
        others = [pid for pid in members(self._group) if pid not in known]
        assert len(others) == 1, f"{others} are not just the fork server"
        return {"main": self.pid, "fork server": others[0], **routes}

    def holdings(self) -> dict[str, Holdings]:
        """Return what each OS process holds."""
        return {name: holdings(pid) for name, pid in self.processes().items()}

    def statistics(self, route: str) -> dict[str, Any]:
        """Return the counts of one route's process."""
        body = self.ask({"op": "send", "to": route, "subject": "$statistics"})
        assert isinstance(body, dict)
        return body

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the body of the answer to one request at the front door, once there is one."""
        path = self.sockets / "gateway.sock"
        assert until(path.is_socket, DEADLINE), f"there is no {path}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(DEADLINE)
            door.connect(str(path))
            door.sendall(json.dumps({**request, "id": 1}).encode() + b"\n")
            with door.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        assert answer["ok"], answer
        return answer["body"]

    def close(self) -> None:
        """End it; `AssertionError` where it had to be killed."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
        stuck: list[str] = []
        if self._group:
            stuck = [described(pid) for pid in wait_until_gone(self._group, DEADLINE + 5)]
            kill_all(self._group)
            left = wait_until_gone(self._group, DEADLINE)
            stuck += [f"even after SIGKILL {described(pid)}" for pid in left]
        if not stuck and process is not None:
            process.wait(DEADLINE)
        elif process is not None:
            process.poll()
        self._output.join()
        assert not stuck, "had to be killed: " + "; ".join(stuck)
