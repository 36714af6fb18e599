"""Where a secret lies: in a file of its own, or among what systemd gives the unit.

systemd hands a unit its credentials as files in ``$CREDENTIALS_DIRECTORY``
(systemd.exec(5), LoadCredential= and LoadCredentialEncrypted=); the
configuration then names the credential, not the file. Refused with
`ConfigError` that says what to do: a credential that the unit was not given.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.errors import ConfigError
from routes.mqtt.settings import SessionSettings

What = Literal["password", "ca", "cert", "key"]

VARIABLE = "CREDENTIALS_DIRECTORY"


class Source(NamedTuple):
    """One file, and what the configuration calls it."""

    key: str
    path: str

    def __str__(self) -> str:
        return f"{self.key} {self.path}"

    def read(self, limit: int) -> bytes:
        """Return its bytes, ``limit`` at the most; `ConfigError` where it cannot be read."""
        try:
            with Path(self.path).open("rb") as file:
                return file.read(limit)
        except OSError as error:
            raise ConfigError(f"{self} cannot be read: {error.strerror}{_advice(error)}") from error


def find(settings: SessionSettings, what: What) -> Source | None:
    """Return where ``what`` lies; None where the configuration names nothing."""
    if path := getattr(settings, f"{what}_file"):
        return Source(f"{what}_file", path)
    key = f"{what}_credential"
    if name := getattr(settings, key):
        return Source(key, _credential(key, name))
    return None


def _credential(key: str, name: str) -> str:
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise ConfigError(
            f"{key} {name!r}: systemd gave this process no credentials; write "
            f"LoadCredential={name}:<file> into the unit, or name a file as "
            f"{key.replace('_credential', '_file')}"
        )
    path = Path(folder) / name
    if not path.is_file():
        try:
            given = ", ".join(sorted(os.listdir(folder))[:20]) or "none"
        except OSError as error:
            given = f"{folder} cannot be read: {error.strerror}"
        raise ConfigError(
            f"{key} {name!r} is not among the unit's credentials (there is: {given}): "
            f"write LoadCredential={name}:<file> into the unit"
        )
    return str(path)


def _advice(error: OSError) -> str:
    return "; it must belong to the gateway's user" if isinstance(error, PermissionError) else ""
