"""An MQTT broker within the gateway, for the demonstration alone.

amqtt listens on a loopback port, on a loop and a thread of its own. It is a
process of the application like any other, so that the mqtt route is started
after it and has said goodbye before it ends.

Not for anything else: it knows neither MQTT 5 nor persistent sessions, and
admits everybody on this machine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from concurrent.futures import Future

from amqtt.broker import Broker

from gateway.cli.demonstration.loop_thread import LoopThread
from gateway.process.process import Process

log = logging.getLogger(__name__)

START_WITHIN = 5.0
CLOSE_WITHIN = 3.0


class EmbeddedBroker(Process):
    """Listens on 127.0.0.1, on the port that its parameter ``port`` names."""

    _loop: LoopThread | None = None
    _broker: Broker | None = None

    def birth(self) -> None:
        """Open the port."""
        self._loop = LoopThread("amqtt broker")
        self._loop.start()
        self._loop.submit(self._open(self.parameter("port"))).result(START_WITHIN)

    def death(self) -> None:
        """Close the port and end the thread."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        closing: Future[None] = loop.submit(self._close())
        try:
            closing.result(CLOSE_WITHIN)
        except TimeoutError:
            log.info("amqtt did not end within %g s", CLOSE_WITHIN)
        finally:
            loop.stop()

    async def _open(self, port: int) -> None:
        settings = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            # Named here since amqtt's own choice warns of its future.
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
        broker = Broker(settings, asyncio.get_running_loop())
        await broker.start()
        self._broker = broker

    async def _close(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()


def free_port() -> int:
    """Return a loopback port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
