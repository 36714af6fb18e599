"""A process that serves what the configuration names, and does nothing else.

Its parameters are ``functions`` (``module:name`` by path), ``workers`` and ``waiting``,
as `gateway.config.apis` has them.

Refused, so that its birth fails (`ConfigError`): what cannot be imported, or called.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.qualname import named
from gateway.errors import ConfigError
from gateway.mail.signature import marked_in
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.rpc.api import Api
from gateway.rpc.serving import serve


class Configured(Process):
    """Serves an API on its own thread, or by workers."""

    def birth(self) -> None:
        """Import what is named, and serve it."""
        _serve(self)


class ConfiguredOnALoop(AsyncProcess):
    """Serves an API of coroutines."""

    async def birth(self) -> None:
        """Import what is named, and serve it."""
        _serve(self)


def _serve(process: Process) -> None:
    api = api_from(process.parameter("functions", {}))
    workers, waiting = process.parameter("workers", 0), process.parameter("waiting", 64)
    serve(process, api, workers=workers, waiting=waiting)


def api_from(functions: Mapping[str, str]) -> Api:
    """Return the API that ``functions``, ``module:name`` by path, make.

    >>> api_from({"net.quote": "urllib.parse:quote"}).paths()
    ['net.quote']
    """
    api = Api()
    for path, name in functions.items():
        found = named(name)
        if isinstance(found, type) and marked_in(found):
            api.include(found(), path)
        elif marked_in(type(found)):
            api.include(found, path)
        elif callable(found):
            api.add(path, found)
        else:
            raise ConfigError(f"{name!r} can be called by nobody: name a function")
    return api
