"""How a service is started: on which terms, as which member of the crew, by which name.

Pure but for the import of what a name names. Refused: terms that cannot stand
(`ValueError`); what another OS process could not find by its name (`ConfigError`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.qualname import named
from gateway.errors import ConfigError
from gateway.rpc.desk import WAITING
from gateway.services.host import ServiceHost

# By its name, as whatever joins a running application; imported all the same, so that the
# fork server has it and no service has to load it again.
_HOST = f"{ServiceHost.__module__}:{ServiceHost.__qualname__}"


class StartTerms(msgspec.Struct, frozen=True):
    """The terms on which services are started; see `Services.using`."""

    timeout: float = 10.0
    workers: int = 0
    waiting: int = WAITING
    grace: float = 1.0

    def changed(self, **changes: Any) -> StartTerms:
        """Return these terms with ``changes``; raise `ValueError` for what cannot stand."""
        for name in changes:
            if name not in self.__struct_fields__:
                known = ", ".join(self.__struct_fields__)
                raise ValueError(f"the start of a service has no {name!r}: it has {known}")
        told = msgspec.structs.asdict(msgspec.structs.replace(self, **changes))
        # A wrong type is a ValueError as well.
        terms = msgspec.convert(told, StartTerms)
        if not (0 < terms.timeout <= 86_400 and 0 < terms.grace <= 86_400):
            raise ValueError("timeout and grace are more than 0 seconds, up to a day")
        if terms.workers < 0 or terms.waiting < 0:
            raise ValueError("workers and waiting are 0 or more")
        return terms


BELATED = 0.5
"""Seconds after its grace in which a service is killed that did not end by itself."""


def member_data(name: str, class_name: str, terms: StartTerms) -> dict[str, Any]:
    """Return the member of the crew that makes and serves an object of ``class_name``."""
    parameters = {
        "class": class_name,
        "within": terms.timeout,
        "workers": terms.workers,
        "waiting": terms.waiting,
        "grace": terms.grace,
    }
    return {
        "name": name,
        "process": _HOST,
        "mode": "fork",
        "frequency": 0.0,
        "restart": {"kind": "temporary"},
        "ephemeral": True,
        # It ends itself in time, if it can: one that the kernel has stopped cannot.
        "grace": terms.grace + BELATED,
        "parameters": parameters,
    }


def name_of(factory: Any) -> str:
    """Return the name under which another OS process finds ``factory``.

    >>> from statistics import NormalDist
    >>> name_of(NormalDist)
    'statistics:NormalDist'
    >>> name_of(lambda: 0)
    Traceback (most recent call last):
    gateway.errors.ConfigError: another OS process cannot find \
'gateway.services.start_terms:<lambda>': move it to the top of its module
    """
    if isinstance(factory, str):
        named(factory)
        return factory
    if not hasattr(factory, "__qualname__"):
        raise ConfigError(
            f"another OS process cannot find {factory!r}, which has no name: start it with a class"
            " or a function, and with what that is called with after it"
        )
    module, qualname = getattr(factory, "__module__", ""), getattr(factory, "__qualname__", "")
    name = f"{module}:{qualname}"
    try:
        found = named(name)
    except ConfigError:
        found = None
    if found is not factory or not callable(factory):
        raise ConfigError(
            f"another OS process cannot find {name!r}: move it to the top of its module"
        )
    return name
