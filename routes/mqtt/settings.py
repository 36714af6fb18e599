"""What ``[routes.mqtt]`` may hold.

Typed and bounded by msgspec, so that a mistake is found when the file is
read. Refused: unknown keys, numbers out of their bounds, a URL that is none,
TLS files without ``mqtts://``, a key without its certificate, a secret both as
a file and as a credential.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.routing.access import Rule
from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.listening_settings import Listen
from routes.mqtt.qos import check as check_qos
from routes.mqtt.spool_settings import SpoolSettings

_SECRETS = ("password", "ca", "cert", "key")

_CREDENTIAL = re.compile(r"(?!\.\.?$)[^/:\s]{1,255}")


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the broker is reached, and how much may wait for it.

    ``keepalive`` (s): a broker that hangs is noticed after one to two and a
    quarter of it. ``queue_size`` (messages) and ``queue_bytes`` bound what
    waits while the broker is away, ``retained_size`` (topics) and again
    ``queue_bytes`` what is kept to be said again. ``max_payload`` (bytes)
    holds in both directions. ``in_flight`` is how many QoS 1 messages may
    await the broker's acknowledgement at once, if it takes as many; so many at
    the most are said twice after an interruption. Over a line of 50 ms there and
    back 100 carry five times as much as 20, and on the machine itself neither is
    faster (``python -m benchmarks.mqtt_window``). ``receive_rate`` (packets a
    second, ten seconds' worth at once) is what a broker may send that is no
    acknowledgement, before we hang up.

    A ``…_credential`` names one of systemd's credentials instead of a file:
    ``LoadCredential=mqtt-password:/etc/…`` in the unit,
    ``password_credential = "mqtt-password"`` here.
    """

    broker: str = "mqtt://localhost:1883"
    client_id: Annotated[str, Meta(max_length=128)] = ""
    username: str = ""
    password_file: str = ""
    password_credential: str = ""
    ca_file: str = ""
    ca_credential: str = ""
    cert_file: str = ""
    cert_credential: str = ""
    key_file: str = ""
    key_credential: str = ""
    keepalive: Annotated[int, Meta(ge=1, le=3600)] = 10
    connect_timeout: Annotated[float, Meta(ge=0.1, le=60)] = 3.0
    acknowledge_timeout: Annotated[float, Meta(ge=0.5, le=600)] = 30.0
    retry_first: Annotated[float, Meta(gt=0, le=60)] = 0.25
    retry_ceiling: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    queue_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    queue_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4 << 20
    retained_size: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    max_payload: Annotated[int, Meta(ge=64, le=16 << 20)] = 64 << 10
    in_flight: Annotated[int, Meta(ge=1, le=1000)] = 100
    receive_rate: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    telemetry_qos: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        url = BrokerUrl.parse(self.broker)
        if url.username and self.username and url.username != self.username:
            raise ValueError(
                f"two user names: {url.username!r} in broker, {self.username!r} beside"
            )
        password, ca, cert, key = (self._named(what) for what in _SECRETS)
        if password and not self.user:
            raise ValueError(f"{password} is of no use without username")
        if key and not cert:
            raise ValueError(f"{key} is of no use without cert_file or cert_credential")
        if (needs_tls := ca or cert) and not url.tls:
            raise ValueError(f"{needs_tls} needs TLS: write broker = 'mqtts://{url.host}'")
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

    def _named(self, what: str) -> str:
        """Return the key under which ``what`` is named, checked; empty where it is not."""
        file, credential = f"{what}_file", f"{what}_credential"
        name = getattr(self, credential)
        if name and getattr(self, file):
            raise ValueError(f"{file} and {credential} both name the {what}: leave one out")
        if name and not _CREDENTIAL.fullmatch(name):
            raise ValueError(f"{credential} is a name as LoadCredential= gives it, not {name!r}")
        return credential if name else file if getattr(self, file) else ""


class Settings(SessionSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of ``[routes.mqtt]``.

    ``allow`` are the rules for calls that come in; without any, none is
    carried out. ``reply_timeout`` (s) is how long a device may take to
    answer one, ``max_calls`` how many may be under way at once.

    ``listen`` are the foreign topics that become letters; ``discovery`` is there
    where Home Assistant is to be told of the devices.

    ``spool`` says how telemetry waits for the broker: see `SpoolSettings`.
    ``qos`` says for which topics another quality of service holds than
    ``telemetry_qos``: see `routes.mqtt.qos`.
    """

    allow: tuple[Rule, ...] = ()
    listen: Annotated[tuple[Listen, ...], Meta(max_length=100)] = ()
    discovery: DiscoverySettings | None = None
    reply_timeout: Annotated[float, Meta(gt=0, le=600)] = 5.0
    max_calls: Annotated[int, Meta(ge=1, le=10_000)] = 100
    spool: SpoolSettings = SpoolSettings()
    qos: dict[str, Literal[0, 1]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_qos(self.qos)
