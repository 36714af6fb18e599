"""A real ``gateway simulate``, as a developer starts it, for a test to pull at its cables."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.client import Client
from tests.lab.gateway_process import DEADLINE, command
from tests.lab.output import Output


class SimulatedHardware:
    """One ``gateway simulate CONFIG --json``; ``with`` starts it and ends it."""

    def __init__(self, file: Path, *options: str) -> None:
        self._words = [command(), "simulate", str(file), "--json", *options]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._output = Output(self._process)
        self.ready = self.wait_for("ready")
        self._client = Client(self.ready["socket"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if hasattr(self, "_client"):
            self._client.close()
        self.end()

    @property
    def pid(self) -> int:
        """Its main process."""
        return self._process.pid

    def call(self, device: str, word: str, *arguments: Any) -> Any:
        """Call a simulated device, as ``gateway call`` does."""
        body = {"*": list(arguments)} if arguments else None
        return self._client.ask(device, word, body)

    def type(self, line: str) -> None:
        """Write a line into its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def wait_for(self, event: str, **expected: Any) -> dict[str, Any]:
        """Wait for the first event of a kind with such details; return all of it."""

        def fits(line: str) -> bool:
            try:
                told = json.loads(line)
            except ValueError:
                return False
            wanted = {"event": event, **expected}
            return isinstance(told, dict) and wanted.items() <= told.items()

        told: dict[str, Any] = json.loads(self._output.wait_for(fits, DEADLINE))
        return told

    def end(self) -> int:
        """End it, where it still runs; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; return its exit status."""
        try:
            status = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
            raise
        finally:
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._output.join()
        return status

    @property
    def said(self) -> list[str]:
        """All lines that it has said."""
        return self._output.now()
