"""Where the broker is: ``mqtt://user@host:1883`` or ``mqtts://host``.

Pure: parses and prints, opens nothing. Refused with `ConfigError`: any other
scheme, a missing host, a port that is none, a password in the URL (it would
be shown in every log and status), a path, a query.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import msgspec

from gateway.errors import ConfigError

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""The ports that IANA registered for MQTT, plain and over TLS."""


class BrokerUrl(msgspec.Struct, frozen=True):
    """One broker's address; ``username`` is empty where the URL names none."""

    host: str
    port: int
    tls: bool = False
    username: str = ""

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """Cut ``text``; raise `ConfigError` that says what would be right.

        >>> BrokerUrl.parse("mqtts://gw@broker.local")
        BrokerUrl(host='broker.local', port=8883, tls=True, username='gw')
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"{text!r} is no broker: {error}; {_EXAMPLE}") from error
        # Before anything else, so that no later message repeats the secret.
        if parts.password is not None:
            raise ConfigError(
                "a password does not belong into the broker's URL: "
                "write it into a file and name that as password_file"
            )
        if parts.scheme not in PORTS:
            raise ConfigError(f"{text!r} is no broker: {_EXAMPLE}")
        if not host or not host.isprintable() or " " in host:
            raise ConfigError(f"{text!r} names no host: {_EXAMPLE}")
        if port == 0:
            raise ConfigError(f"{text!r} is no broker: port 0 cannot be connected to")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigError(f"{text!r} is no broker: nothing follows the port; {_EXAMPLE}")
        return cls(
            host=host,
            port=port or PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username or ""),
        )

    @property
    def place(self) -> str:
        """``host:port``, as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.place}"


_EXAMPLE = "write mqtt://host:1883, or mqtts://host:8883 for TLS"
