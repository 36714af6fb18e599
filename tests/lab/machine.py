"""A machine with the real systemd as its first process, in namespaces of its own.

::

    with Machine(folder, see={ROOT: "/opt/project"}) as machine:
        machine.boot("gateway.service")
        machine.run("systemctl", "is-active", "gateway.service")
        machine.power_off()

Its /usr is this machine's, read-only; /etc and /var are folders in ``folder`` that
outlive a boot, as on a card; /run is new at each boot. It has a loopback of its
own and no other network, and none of this machine's devices.

Needs root, or a sudo that asks nothing, and systemd: ``pytest.mark.needs("systemd")``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.test_packages import rights
from tests.lab.os_processes import until

INSIDE = Path(__file__).with_name("machine_inside.sh")
DEADLINE = 45.0
"""Seconds after which a boot, an order or an end has hung."""

_HIERARCHIES = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup"))
"""Where systemd keeps its units' processes: in its own hierarchy (v1), or in the one there is."""

_TARGET = """\
[Unit]
Description=What this machine is for
Requires=basic.target
After=basic.target
AllowIsolate=yes
{wants}
"""


class Machine:
    """One machine; as a context manager it is switched off at the end, whatever happened."""

    def __init__(self, folder: Path, *, see: Mapping[Path, str]) -> None:
        """``see`` says which of our folders the machine has, and where; it cannot write there."""
        self.folder = folder
        self.etc, self.var = folder / "etc", folder / "var"
        self.units = self.etc / "systemd/system"
        self.console = folder / "console"
        self._see = [f"{source}={target}" for source, target in see.items()]
        self._group = _hierarchy() / f"machine-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[str] | None = None
        self._first = 0
        for each in (self.units, self.var):
            each.mkdir(parents=True)
        for name in ("passwd", "group", "ld.so.cache", "nsswitch.conf"):
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), self.etc)
        (self.etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        self.console.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pull_plug()
        # Much of it is root's, and whoever runs the tests may not be.
        subprocess.run([*(rights() or []), "rm", "-r", self.folder], check=True, timeout=DEADLINE)

    def boot(self, *wants: str) -> None:
        """Switch it on; return once the units ``wants`` have been started, or have failed to."""
        (self.units / "default.target").write_text(
            _TARGET.format(wants="\n".join(f"Wants={each}\nAfter={each}" for each in wants))
        )
        with self.console.open("a") as console:
            self._process = self._begin(console)
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first, f"it did not come up: {self.console.read_text()}"
        self._first = int(first)
        came_up = until(lambda: self._state() not in ("", "offline", "unknown"), DEADLINE)
        assert came_up, f"systemd says nothing: {self.console.read_text()}"
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def _begin(self, console: IO[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(rights() or []),
                *("sh", "-c", 'mkdir "$1"; echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "sh"),
                str(self._group),
                *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"),
                *("--propagation", "private", "--kill-child=KILL"),
                *(str(INSIDE), str(self.folder), *self._see),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=console,
            text=True,
        )

    def run(self, *command: str, check: bool = True, timeout: float = DEADLINE) -> str:
        """Have the machine's root run ``command``; return what it printed."""
        done = subprocess.run(
            [
                *(rights() or []),
                *("nsenter", f"--target={self._first}", "--root", "--wdns=/"),
                *("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {said}"
        return done.stdout

    def show(self, unit: str, key: str) -> str:
        """Return a property of ``unit``, as systemctl shows it."""
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def journal(self, unit: str) -> str:
        """Return what ``unit`` has logged since the boot."""
        return self.run("journalctl", "--no-pager", "--boot", f"--unit={unit}", check=False)

    def power_off(self) -> None:
        """Have it end in order."""
        self.run("systemctl", "poweroff", check=False)
        self._gone()

    def pull_plug(self) -> None:
        """Kill all that runs in it, at once."""
        if self._process is not None:
            if self._first:
                _kill(self._first)
            self._gone()

    def _gone(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(DEADLINE)
        self._process.stdout.close()
        self._process, self._first = None, 0
        for folder, _, _ in os.walk(self._group, topdown=False):
            subprocess.run([*(rights() or []), "rmdir", folder], check=False, timeout=DEADLINE)

    def _state(self) -> str:
        return self.run("systemctl", "is-system-running", check=False).partition("\n")[0]


def _hierarchy() -> Path:
    return next(each for each in _HIERARCHIES if (each / "cgroup.procs").exists())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it went by itself
    except PermissionError:
        subprocess.run([*(rights() or []), "kill", "-KILL", str(pid)], check=False, timeout=5)
