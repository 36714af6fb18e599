"""The configuration for simulated hardware: the one that there is, with other ports.

All of it is in one file, what was in ``conf.d`` included. Refused (`ConfigError`): to
write over a file that is not of this kind, or into a folder whose own ``conf.d``
would be laid over it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.cli.simulation.plan import Planned
from gateway.cli.whole_file import write_whole
from gateway.config.loading import files_of, merge
from gateway.config.provenance import Provenance
from gateway.config.reading import read
from gateway.config.toml_text import toml_text
from gateway.errors import ConfigError

HEAD = "# Written by gateway simulate: the hardware is software. Changes are lost."


def derived(file: Path, planned: Iterable[Planned]) -> str:
    """Return the text of the configuration ``file`` with what is ``planned`` in it."""
    document: dict[str, Any] = {}
    for each in files_of(file):
        merge(document, read(each)[0], Provenance(), {})
    for device in planned:
        if not device.is_in_place:
            table = document["devices"][device.name]
            table.pop("match", None)
            table[device.key] = device.link
    return f"{HEAD}\n\n{toml_text(document)}"


def write_derived(text: str, to: Path) -> None:
    """Write ``text`` to the file ``to``; raise `ConfigError` where it must not stand there."""
    if (to.parent / "conf.d").is_dir():
        raise ConfigError(
            f"{to.parent / 'conf.d'} would be laid over {to}: write it into another folder"
        )
    if to.exists() and not to.read_text(encoding="utf-8", errors="replace").startswith(HEAD):
        raise ConfigError(f"{to} is there already, and not by gateway simulate: name another file")
    if not to.parent.is_dir():
        raise ConfigError(f"there is no folder {to.parent} to write {to.name} into")
    write_whole(to, text)
