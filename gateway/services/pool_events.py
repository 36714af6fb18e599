"""What a pool tells of its simulations: what happens, and what came of each.

Data. An error is kept beside its item, and raised by who asks for the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from gateway.errors import GatewayError

Kind = Literal["started", "progress", "finished", "failed", "cancelled"]


class Outcome(NamedTuple):
    """What came of one simulation; ``number`` is its place among all, from 0.

    ``steps`` that it took, and ``seconds`` from its start to its end, in real time.
    """

    number: int
    name: str
    parameters: Mapping[str, Any]
    result: Any = None
    error: GatewayError | None = None
    steps: int = 0
    seconds: float = 0.0
    worker: str = ""
    """The name of the service that ran it; empty where none did."""

    def get(self) -> Any:
        """Return its result; raise its error.

        >>> Outcome(0, "drive 0", {}, result=3.0).get()
        3.0
        """
        if self.error is not None:
            raise self.error
        return self.result


class PoolEvent(NamedTuple):
    """Something that happened to one simulation of a pool.

    ``progress`` is 0 to 1, None where nobody can tell. ``done`` of ``total`` are over by
    now, ``failed`` of them with an error. With what ends one comes its ``outcome``.
    """

    kind: Kind
    number: int
    name: str
    progress: float | None
    step: int
    done: int
    failed: int
    total: int
    outcome: Outcome | None = None


def in_order(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return ``outcomes`` in the order of what they came of."""
    return sorted(outcomes, key=lambda outcome: outcome.number)
