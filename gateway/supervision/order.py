"""In which order processes start: waves, each of which needs only earlier ones.

Pure. Refused: a dependency that does not exist, and circles, by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from gateway.errors import ConfigError


def waves(depends: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the names in waves; the stop goes through them in reverse.

    >>> waves({"main": ["serial"], "serial": [], "mqtt": []})
    [['mqtt', 'serial'], ['main']]
    """
    for name, needed in depends.items():
        for other in needed:
            if other not in depends:
                raise ConfigError(f"process {name!r} depends on {other!r}, which does not exist")
    sorter = TopologicalSorter(depends)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ConfigError(f"these processes depend on each other in a circle: {circle}") from error
    found = []
    while sorter.is_active():
        wave = sorted(sorter.get_ready())
        found.append(wave)
        sorter.done(*wave)
    return found
