"""TLS to the broker: the context, and the socket that paho would forget.

Certificates are always checked, host names too; there is no option to turn
that off. Refused with `ConfigError` that names the file: one that cannot be
read or holds no certificate, a key that belongs to another certificate or
lies behind a pass phrase (nobody is there to type it).
"""

from __future__ import annotations

import ssl
from typing import Any

from gateway.errors import ConfigError
from routes.mqtt import credentials
from routes.mqtt.credentials import Source
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
    authority = credentials.find(settings, "ca")
    if authority is None:
        context.load_default_certs()
    else:
        _require(authority, _CERTIFICATE, "certificate")
        try:
            context.load_verify_locations(authority.path)
        except OSError as error:
            raise ConfigError(f"{authority} cannot be used: {_words(error)}") from error
    certificate = credentials.find(settings, "cert")
    if certificate is not None:
        _load_own(context, certificate, credentials.find(settings, "key") or certificate)
    return context


_CERTIFICATE, _KEY = b"CERTIFICATE-----", b"PRIVATE KEY-----"

_LONGEST = 1 << 20
"""Bytes that a file of certificates may have."""


def _load_own(context: Context, certificate: Source, key: Source) -> None:
    _require(certificate, _CERTIFICATE, "certificate")
    text = _require(key, _KEY, "private key")
    if b"ENCRYPTED" in text:
        raise ConfigError(
            f"{key} lies behind a pass phrase, and nobody is there to type it: "
            f"write it without one, with openssl pkey -in {key.path} -out <new file>"
        )
    try:
        context.load_cert_chain(certificate.path, key.path, password=lambda: "")
    except OSError as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{key} is not the key of {certificate}") from error
        both = f"{certificate}" if key == certificate else f"{certificate} with {key}"
        raise ConfigError(f"{both} cannot be used: {_words(error)}") from error


def _require(source: Source, mark: bytes, what: str) -> bytes:
    text = source.read(_LONGEST)
    if mark not in text:
        raise ConfigError(f"{source} holds no {what} in PEM, which begins with -----BEGIN")
    return text


def _words(error: OSError) -> str:
    return error.strerror or str(error)
