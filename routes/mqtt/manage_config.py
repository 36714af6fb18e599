"""The configuration from afar: read without its secrets, changed in a file of its own.

What is changed stands in ``conf.d/`` in the file `NAME`, which is nobody else's; it is
replaced as a whole. A change is checked as ``gateway check`` does, in a copy of all files,
before anything is written; `Change.undo` puts the former file back, which lies whole
beside it, so that a full disk is no hindrance. Until it is known to do no harm it is on
trial, which a note beside the file says, so that whoever is born after a kill or a power
cut can put the former file back (`unfinished`).

Refused (`ConfigError`, `RefusedError`): what does not pass the check, with each mistake;
tables that may not be touched; changes that only a new start of the gateway could apply.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gateway.config.loading import files_of, merge
from gateway.config.provenance import Provenance
from gateway.config.reading import LIMIT, read
from gateway.config.schema import Configuration
from gateway.errors import BodyError, ConfigError, RefusedError
from gateway.mail.body import checked
from gateway.mail.codec import from_json, to_json

NAME = "90-remote.toml"
"""What is changed from afar; a person's ``95-….toml`` has the last word over it."""

HIDDEN = "(hidden)"

DOTS = 100
"""Dots in one line at the most: each part of a dotted key is compared with all before it."""

ON_RECORD = 1 << 16
"""Characters of a change that are read for the record, of which a fraction is written down."""

_SECRET = re.compile(
    r"(?i)pass(w|phrase|code)|psk|pwd|secret|token|credential|api_?key|private|pin\Z"
)
_PLACE = re.compile(r"(?i)_(file|path|folder)\Z")
_IN_URL = re.compile(r"(://[^/\s:@]+):[^/\s@]+@")


class Load(Protocol):
    """Reads and checks a configuration: `gateway.config.loading.load`, its plug-ins found."""

    def __call__(self, path: str, /) -> Configuration:
        """Return it, or raise `ConfigError`."""
        ...


class Change(NamedTuple):
    """A change that passed the check; nothing of it is written yet."""

    file: Path
    text: bytes
    before: bytes | None
    routes: tuple[str, ...]
    """Which routes it concerns."""
    by: str
    """The route that was asked, which watches over it."""

    def write(self) -> None:
        """Put it into its place, whole or not at all; it is on trial until `end`."""
        note = {**self._asdict(), "file": str(self.file), "routes": list(self.routes)}
        try:
            if self.before is not None:
                _replace(_former(self.file), self.before, like=self.file)
            _replace(_trial(self.file), to_json(note), like=self.file)
            _replace(self.file, self.text, like=self.file)
        except OSError:
            # The disk is full, or fails: nothing may be left that is taken back some day.
            with contextlib.suppress(OSError):
                self.undo()
                self.end()
            raise

    def undo(self) -> None:
        """Put back what was there before, which takes no room; again, where that was cut."""
        former = _former(self.file)
        if self.before is None:
            self.file.unlink(missing_ok=True)
        elif former.exists():
            former.replace(self.file)
        _sync(self.file.parent)

    def end(self) -> None:
        """End its trial: it does no harm, or is undone and nobody goes by it any more."""
        _trial(self.file).unlink(missing_ok=True)
        _former(self.file).unlink(missing_ok=True)
        _sync(self.file.parent)


def unfinished(path: str) -> Change | None:
    """Return the change that is on trial, or was when whoever watched over it was killed."""
    file = Path(path).parent / "conf.d" / NAME
    try:
        note = from_json(_trial(file).read_bytes())
        return Change(file, note["text"], note["before"], tuple(note["routes"]), note["by"])
    except FileNotFoundError:
        return None
    except (BodyError, KeyError, TypeError) as error:
        raise ConfigError(f"{_trial(file)} says nothing of a change: remove it") from error


def shown(path: str) -> dict[str, Any]:
    """Return the whole configuration as it is written, and the files; secrets are hidden."""
    document: dict[str, Any] = {}
    files = files_of(Path(path))
    provenance = Provenance()
    for file in files:
        more, origins = read(file)
        merge(document, more, provenance, origins)
    return {"files": [str(file) for file in files], "document": without_secrets(document)}


def without_secrets(value: Any, key: str = "") -> Any:
    """Return ``value`` with whatever is secret in it hidden.

    >>> without_secrets({"password": "x", "password_file": "/run/p", "url": "a://b:c@d"})
    {'password': '(hidden)', 'password_file': '/run/p', 'url': 'a://b:(hidden)@d'}
    """
    if _SECRET.search(key) and not _PLACE.search(key) and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, dict):
        return {name: without_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item, key) for item in value]
    if isinstance(value, str):
        return _IN_URL.sub(rf"\1:{HIDDEN}@", value)
    # A date, as TOML has them, is told as people write it.
    return value if isinstance(value, bool | int | float) else str(value)


def for_record(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a command as they may be written down: without secrets.

    >>> for_record({"text": "[devices.door]\\npin = 1234\\n"})
    {'text': {'devices': {'door': {'pin': '(hidden)'}}}}
    """
    shown: dict[str, Any] = without_secrets(dict(arguments))
    text = arguments.get("text")
    if isinstance(text, str):
        shown["text"] = f"({len(text)} characters that are no TOML)"
        # Whoever is refused is on record too: what they wrote is anything at all.
        if len(text) > ON_RECORD or _has_endless_key(text):
            shown["text"] = f"({len(text)} characters, too long to be read for the record)"
        else:
            with contextlib.suppress(ValueError, RecursionError, BodyError):
                shown["text"] = checked(without_secrets(tomllib.loads(text)))[0]
    return shown


def prepare(
    path: str,
    text: str,
    *,
    load: Load,
    sections: Collection[str],
    own: str,
    scratch: Path | None = None,
) -> Change:
    """Check what the configuration at ``path`` would be with ``text`` as the remote file.

    ``sections`` are the tables that may be touched; ``own`` is the route that is asked,
    which cannot restart itself. ``scratch`` is where the copy is made.
    """
    _refuse_sections(text, sections)
    main = Path(path)
    file = main.parent / "conf.d" / NAME
    before = file.read_bytes() if file.exists() else None
    now = load(path)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="check-") as folder:
        copy = Path(folder) / main.name
        (Path(folder) / "conf.d").mkdir()
        for each in files_of(main):
            shutil.copyfile(each, Path(folder) / each.relative_to(main.parent))
        (Path(folder) / "conf.d" / NAME).write_bytes(text.encode())
        try:
            then = load(str(copy))
        except ConfigError as error:
            raise ConfigError(str(error).replace(folder, str(main.parent))) from error
    return Change(file, text.encode(), before, _concerned(now, then, own), own)


def _refuse_sections(text: str, sections: Collection[str]) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT:
        raise ConfigError(f"the change has more than {LIMIT} bytes")
    if _has_endless_key(text):
        raise ConfigError(f"the change has a line with more than {DOTS} dots: break it in two")
    try:
        text.encode()
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the change is no TOML: {error}") from error
    others = sorted(set(document) - set(sections))
    if others:
        raise RefusedError(
            f"[{others[0][:60]}] cannot be changed from afar, only {', '.join(sorted(sections))}:"
            " allow it in sections under manage, or change it at the machine"
        )


def _concerned(now: Configuration, then: Configuration, own: str) -> tuple[str, ...]:
    """Return the routes that have to be restarted to become what ``then`` says."""
    if _fixed(now) != _fixed(then):
        raise RefusedError(
            "what this changes is applied by a new start of the gateway alone:"
            " change it at the machine"
        )
    changed = [name for name, route in then.routes.items() if now.routes[name] != route]
    for name in {**now.devices, **then.devices}:
        old, new = now.devices.get(name), then.devices.get(name)
        if old != new:
            changed += [device.route for device in (old, new) if device is not None]
    if own in changed:
        raise RefusedError(
            f"{own!r}, which was asked, cannot apply a change of its own: make it at the machine"
        )
    return tuple(dict.fromkeys(changed))


def _fixed(configuration: Configuration) -> tuple[object, ...]:
    """Return what holds for as long as the gateway runs."""
    routes = configuration.routes.values()
    watched = {route.name: (route.stuck_after, route.when_stuck) for route in routes}
    return configuration.gateway, configuration.crew, configuration.apis, watched


def _has_endless_key(text: str) -> bool:
    return any(line.count(".") > DOTS for line in text.split("\n"))


def _trial(file: Path) -> Path:
    return file.with_name(f".{file.name}.trial")


def _former(file: Path) -> Path:
    return file.with_name(f".{file.name}.former")


def _replace(file: Path, text: bytes, *, like: Path) -> None:
    """Write ``file`` so that a power cut leaves the old one or the new one.

    Who may read ``like``, if that exists, may read it.
    """
    file.parent.mkdir(mode=0o755, exist_ok=True)
    beside = file.with_name(f".{file.name}")
    try:
        with beside.open("wb") as opened:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(opened.fileno(), stat.S_IMODE(like.stat().st_mode))
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    """Have what was renamed and removed in ``folder`` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
