"""From a TOML file and the ``conf.d`` beside it to a `Configuration`.

The files of ``conf.d/*.toml`` are laid over the first one in the order of their names:
tables are merged, anything else is replaced. Plug-ins are looked up through ``find``,
which is handed in, so that the core knows none by name. Nothing is started, and no
device or server is looked at: that they are absent is normal life.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Protocol

from gateway.config.assembly import assemble
from gateway.config.check import Checker
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.config.provenance import Origin, Path, Provenance
from gateway.config.reading import read
from gateway.config.schema import Configuration


class Find(Protocol):
    """Looks up a plug-in's class: `gateway.plugins.find`, or a test's stand-in."""

    def __call__(self, group: str, name: str, /) -> type[Any]:
        """Return the class; raise `gateway.errors.ConfigError` where there is none."""
        ...


def load(path: str | os.PathLike[str], *, find: Find) -> Configuration:
    """Read, merge and check; raise `ConfigErrors` with every mistake in every file."""
    document: dict[str, Any] = {}
    provenance = Provenance()
    mistakes: list[Mistake] = []
    try:
        files = files_of(FilePath(path))
    except ConfigErrors as error:
        files = [FilePath(path)]
        mistakes += error.mistakes
    for file in files:
        try:
            more, origins = read(file)
        except ConfigErrors as error:
            mistakes += error.mistakes
        else:
            merge(document, more, provenance, origins)
    # What a file that cannot be read would have said is unknown: judge no further.
    if mistakes:
        raise ConfigErrors(mistakes)
    checker = Checker(provenance)
    configuration = assemble(document, checker, provenance, find)
    if configuration is None:
        order = {str(file): place for place, file in enumerate(files)}
        raise ConfigErrors(
            sorted(checker.mistakes, key=lambda m: (order.get(m.file, -1), m.line or 0))
        )
    return configuration


def files_of(path: FilePath) -> list[FilePath]:
    """Return ``path`` and the files of the ``conf.d`` beside it, in the order they count.

    Raises `ConfigErrors` where that folder may not be listed.
    """
    folder = path.parent / "conf.d"
    # What hides the folder altogether hides the file beside it too, which says so.
    if not os.path.isdir(folder):
        return [path]
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except OSError as error:
        problem = f"cannot be listed: {error.strerror}"
        advice = "give this user the right to read it, or remove it"
        raise ConfigErrors([Mistake(problem=problem, advice=advice, file=str(folder))]) from None
    return [path, *(folder / name for name in names if not name.startswith("."))]


def merge(
    base: dict[str, Any],
    over: Mapping[str, Any],
    provenance: Provenance,
    origins: Mapping[Path, Origin],
    path: Path = (),
) -> None:
    """Lay ``over`` onto ``base``, and its ``origins`` onto ``provenance``, at ``path``."""
    for name, value in over.items():
        here = (*path, name)
        below = base.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            merge(below, value, provenance, origins, here)
        else:
            base[name] = value
            provenance.replace(here, origins)
