"""The prometheus route: how the gateway is, for whoever scrapes ``http://…:9812/metrics``.

Out: the health report, the states of devices and routes, and what routes have
counted, as metrics of a registry of their own (`routes.prometheus.metrics`).
Nothing comes in: no request can change anything, and letters to ``…@prometheus``
are refused. Where the port is taken it is tried again, with a back-off. A name for
``host`` is looked up on a thread, since nobody knows how long that takes.

Refused when it is imported: a machine without prometheus-client.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from ipaddress import ip_address
from random import Random
from typing import Any, ClassVar

import msgspec

from gateway.backoff import Backoff
from gateway.errors import LinkLostError
from gateway.routing.router import Router
from routes.prometheus import http
from routes.prometheus.http import Request
from routes.prometheus.known import Known
from routes.prometheus.library import CollectorRegistry, choose_encoder
from routes.prometheus.listener import Listener, cannot_listen
from routes.prometheus.metrics import GatewayCollector
from routes.prometheus.settings import Settings

log = logging.getLogger(__name__)


class PrometheusRouter(Router):
    """Answers scrapes; see the module's head."""

    Settings: ClassVar[type[msgspec.Struct]] = Settings

    _listener: Listener | None = None

    def start(self) -> None:
        """Begin to listen to the house, and at the port."""
        self.frequency = 0.0
        self._known = Known()
        self._backoff = Backoff(1.0, 60.0, self.parameter("random") or Random())
        self._own: dict[str, int] = {}
        self._registry = CollectorRegistry()
        self._registry.register(
            GatewayCollector(self._known, self._own, most=self.settings.most_names)
        )
        self.subscribe("health/whole", self._known.take_report)
        self.subscribe("routes/+/state", self._known.take_state)
        self.subscribe("devices/+/state", self._known.take_state)
        self._open()

    def stop(self) -> None:
        """Listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def life(self) -> None:
        """Let go of slow clients, or try the port once more."""
        if self._listener is None:
            self._open()
        else:
            self._listener.look_after(self._clock.monotonic())

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts: connections now, and requests by what became of them."""
        listener = self._listener
        if listener is None:
            return super().statistics()
        return {
            **super().statistics(),
            "address": f"{listener.address[0]}:{listener.address[1]}",
            "clients": len(listener),
            "requests": dict(listener.counts),
        }

    def _open(self) -> None:
        host = self.settings.host
        if _is_address(host):
            self._listen(host)
        elif _LOOK_UP not in self.child_threads_alive():
            self.frequency = 0.0
            self.add_child_thread(_LOOK_UP, self._look_up)

    def _look_up(self) -> None:
        settings: Settings = self.settings
        try:
            found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter of 127.0.0..1 and the like
            self.call_soon(partial(self._wait, cannot_listen(settings.host, settings.port, error)))
        else:
            self.call_soon(partial(self._listen, str(found[0][4][0])))

    def _wait(self, cause: str) -> None:
        self.frequency = 1.0 / self._backoff.next()
        self.set_connection("waiting", cause)

    def _listen(self, address: str) -> None:
        settings: Settings = self.settings
        try:
            self._listener = Listener(
                self,
                self._clock,
                address,
                settings.port,
                self._answer,
                most=settings.max_clients,
            )
        except LinkLostError as error:
            self._wait(str(error))
            return
        self._backoff.reset()
        self.frequency = 0.0
        host, port = self._listener.address
        shown = f"[{host}]" if ":" in host else host
        self.set_connection("connected", f"it listens at http://{shown}:{port}{http.PATHS[0]}")

    def _answer(self, request: Request) -> bytes:
        if self._listener is not None:
            self._own.update(self._listener.counts)
        encode, content_type = choose_encoder(request.accept)
        body = encode(self._registry)
        return http.response(200, content_type, body, is_head=request.is_head)


_LOOK_UP = "look-up"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
