"""Who we are to the broker, read from files afresh for each attempt.

So a changed password or a renewed certificate takes effect without a
restart. Refused with `ConfigError` that names the file: one that cannot be
read, is no text, or holds more than 65,535 bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import ConfigError
from routes.mqtt import credentials
from routes.mqtt.settings import SessionSettings
from routes.mqtt.tls import Context, make_context


class Will(NamedTuple):
    """What the broker says for us, retained, when we fall silent."""

    topic: str
    payload: bytes


class Login(NamedTuple):
    """As whom we come; ``tls`` is None for a plain socket."""

    client_id: str
    username: str = ""
    password: str | None = None
    tls: Context | None = None


def read_login(settings: SessionSettings, client_id: str) -> Login:
    """Return the login that ``settings`` describe."""
    source = credentials.find(settings, "password")
    password = None if source is None else _read_password(source)
    tls = make_context(settings) if settings.url.tls else None
    return Login(client_id=client_id, username=settings.user, password=password, tls=tls)


def _read_password(source: credentials.Source) -> str:
    try:
        # MQTT's own bound (5.0, section 1.5.6), plus the line's end.
        text = source.read(65_538).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source} holds no UTF-8 text") from error
    if len(text.encode()) > 65_535:
        raise ConfigError(f"{source} holds more than 65535 bytes")
    return text
