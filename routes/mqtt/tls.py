"""TLS to the broker: the context, and the socket that paho would forget.

Certificates are always checked, host names too; there is no option to turn
that off. Refused with `ConfigError` that names the file: one that cannot be
read or holds no certificate, a key behind a pass phrase (nobody is there to
type it).
"""

from __future__ import annotations

import ssl
from typing import Any

from gateway.errors import ConfigError
from routes.mqtt.settings import SessionSettings


class Context(ssl.SSLContext):
    """A client's context that knows the last socket it wrapped.

    When a handshake fails, paho drops the socket without closing it.
    """

    last: ssl.SSLSocket | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap as always, and remember."""
        self.last = super().wrap_socket(*arguments, **options)
        return self.last

    def close_last(self) -> None:
        """Close the last socket if it is still open."""
        if self.last is not None:
            self.last.close()
            self.last = None


def make_context(settings: SessionSettings) -> Context:
    """Return the context for the files that ``settings`` name."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:
            raise ConfigError(_unusable("ca_file", settings.ca_file, error)) from error
    else:
        context.load_default_certs()
    if settings.cert_file:
        try:
            context.load_cert_chain(
                settings.cert_file, settings.key_file or None, password=lambda: ""
            )
        except OSError as error:
            raise ConfigError(_unusable("cert_file", settings.cert_file, error)) from error
    return context


def _unusable(key: str, path: str, error: OSError) -> str:
    return f"{key} {path} cannot be used: {error.strerror or error}"
