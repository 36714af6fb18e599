"""A mosquitto for a benchmark: killed and started at will, and what it costs.

It listens on loopback alone, keeps nothing on disk and logs nothing but errors.
Its settings are those that it is shipped with but for two: ``max_queued_messages``,
whose 1,000 cut off whoever subscribes to more retained messages than that, and
``set_tcp_nodelay``, without which a small packet waits for the acknowledgement of
another one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep

from benchmarks.footprint import cpu_seconds
from tests.lab.ports import free_port

DEADLINE = 10.0
"""Seconds in which it starts and ends."""

SHIPPED_QUEUE = 1000
"""What ``max_queued_messages`` is where nobody sets it (mosquitto 2.0)."""


class Broker:
    """One mosquitto; as a context manager it is started, and ended with its folder."""

    def __init__(self, *, max_queued: int, nodelay: bool) -> None:
        self._program = _program()
        self.max_queued = max_queued
        self._nodelay = nodelay
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="fleet-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @staticmethod
    def version() -> str:
        """Return what the installed one calls itself."""
        said = subprocess.run(
            [_program(), "-h"], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        return said.stdout.partition("\n")[0].removeprefix("mosquitto version ")

    @property
    def cpu(self) -> float:
        """Processor seconds since it was started."""
        return cpu_seconds(self._pid)

    @property
    def resident(self) -> int:
        """Resident memory, in bytes."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ValueError("the kernel tells no VmRSS of the broker")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._pid}/fd"))

    def start(self) -> None:
        """Start it, always on the same port; return once it listens."""
        lines = [
            *(["user root"] if os.geteuid() == 0 else []),
            "log_type error",
            "persistence false",
            "allow_anonymous true",
            f"listener {self.port} 127.0.0.1",
            f"max_queued_messages {self.max_queued}",
            *(["set_tcp_nodelay true"] if self._nodelay else []),
        ]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        said = self._folder / "said"
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                [self._program, "-c", "mosquitto.conf"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        limit = monotonic() + DEADLINE
        while not self._listens():
            if monotonic() > limit:
                raise RuntimeError(f"mosquitto does not listen; it said: {said.read_text()}")
            sleep(0.01)

    def kill(self) -> None:
        """End it without a chance to say goodbye; nothing that it kept is left."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _program() -> str:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("there is no mosquitto here: apt install mosquitto")
    return program
