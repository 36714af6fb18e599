"""What ``[routes.mqtt]`` may hold.

Typed and bounded by msgspec, so that a mistake is found when the file is
read. Refused: unknown keys, numbers out of their bounds, a URL that is none,
TLS files without ``mqtts://``, a certificate without its key.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.routing.access import Rule
from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.mail_settings import MailSettings
from routes.mqtt.manage_settings import ManageSettings
from routes.mqtt.spool_settings import SpoolSettings


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the broker is reached, and how much may wait for it.

    ``keepalive`` (s): a broker that hangs is noticed after one to two and a
    quarter of it. ``queue_size`` (messages) and ``queue_bytes`` bound what
    waits while the broker is away, ``retained_size`` (topics) and again
    ``queue_bytes`` what is kept to be said again. ``max_payload`` (bytes)
    holds in both directions. ``in_flight`` is how many QoS 1 messages may
    await the broker's acknowledgement at once.
    """

    broker: str = "mqtt://localhost:1883"
    client_id: Annotated[str, Meta(max_length=128)] = ""
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive: Annotated[int, Meta(ge=1, le=3600)] = 10
    connect_timeout: Annotated[float, Meta(ge=0.1, le=60)] = 3.0
    acknowledge_timeout: Annotated[float, Meta(ge=0.5, le=600)] = 30.0
    retry_first: Annotated[float, Meta(gt=0, le=60)] = 0.25
    retry_ceiling: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    queue_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    queue_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4 << 20
    retained_size: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    max_payload: Annotated[int, Meta(ge=64, le=16 << 20)] = 64 << 10
    in_flight: Annotated[int, Meta(ge=1, le=1000)] = 20
    telemetry_qos: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        url = BrokerUrl.parse(self.broker)
        if url.username and self.username and url.username != self.username:
            raise ValueError(
                f"two user names: {url.username!r} in broker, {self.username!r} beside"
            )
        if self.password_file and not (url.username or self.username):
            raise ValueError("password_file is of no use without username")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is of no use without cert_file")
        if (self.ca_file or self.cert_file) and not url.tls:
            raise ValueError(f"ca_file and cert_file need TLS: write broker = 'mqtts://{url.host}'")
        if self.retry_first > self.retry_ceiling:
            raise ValueError("retry_first is more than retry_ceiling")

    @property
    def url(self) -> BrokerUrl:
        """The broker's address, parsed."""
        return BrokerUrl.parse(self.broker)

    @property
    def user(self) -> str:
        """The user name, from wherever it was given; empty for none."""
        return self.username or self.url.username


class Settings(SessionSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of ``[routes.mqtt]``.

    ``allow`` are the rules for calls that come in; without any, none is
    carried out. ``reply_timeout`` (s) is how long a device may take to
    answer one, ``max_calls`` how many may be under way at once. ``mail`` is
    the mail between gateways, ``manage`` what may be done to this one from
    afar; without them there is none, and nothing.

    ``spool`` says how telemetry waits for the broker: see `SpoolSettings`.
    """

    allow: tuple[Rule, ...] = ()
    reply_timeout: Annotated[float, Meta(gt=0, le=600)] = 5.0
    max_calls: Annotated[int, Meta(ge=1, le=10_000)] = 100
    mail: MailSettings | None = None
    manage: ManageSettings | None = None
    spool: SpoolSettings = SpoolSettings()
