"""What an external program is, as data: its command, its folder, its environment.

Nothing is started here. Refused, with `ConfigError`: a command that is empty or
one text (it would need a shell; write ``["sh", "-c", text]`` where one is
wanted), an environment that is not made of texts, and a patience that is no
time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import ConfigError, GatewayError
from gateway.timeout import MOST, is_number

UNITS = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
)
"""What systemd puts into the environment of a unit for its main process alone."""


class ProgramError(GatewayError):
    """It could not be started, or ended otherwise than with status 0: no bug of ours."""


@dataclass(frozen=True)
class Program:
    """An executable and how it is started.

    ``command`` is its argument list. ``folder`` is where it runs, the
    application's own where None. ``environment`` is added to the
    application's. ``patience`` is how many seconds it has to end after it was
    asked to, before a TERM; a KILL follows a second later.
    """

    command: Sequence[str]
    folder: Path | str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 5.0

    def __post_init__(self) -> None:
        command = self.command
        if isinstance(command, str | bytes) or not (isinstance(command, Sequence) and command):
            raise ConfigError(f'a command is a list like ["prog", "--flag"], not {command!r}')
        if not isinstance(self.environment, Mapping):
            raise ConfigError(f"an environment is names and texts, not {self.environment!r}")
        if not isinstance(self.folder, Path | str | None):
            raise ConfigError(f"a folder is a path, not {self.folder!r}")
        for text in (*command, *self.environment, *self.environment.values()):
            if not isinstance(text, str) or "\0" in text:
                raise ConfigError(f"a command and its environment are texts, not {text!r}")
        if not (is_number(self.patience) and 0 < self.patience <= MOST):
            raise ConfigError(
                f"the patience is more than 0 seconds, up to {MOST:,.0f}, not {self.patience!r}"
            )

    def surroundings(self) -> dict[str, str]:
        """Return the whole environment, the additions included.

        What systemd tells the gateway is the gateway's: a program that found
        it would say that it is the unit.
        """
        ours = {name: value for name, value in os.environ.items() if name not in UNITS}
        return {**ours, **self.environment}

    def find(self) -> bool:
        """Tell whether the executable is there and may be run."""
        first = self.command[0]
        if os.sep in first and self.folder is not None:
            first = str(Path(self.folder) / first)
        return shutil.which(first, path=self.surroundings().get("PATH")) is not None
