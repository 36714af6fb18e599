"""What everybody is told besides who is there: log levels, what watches the mail, and the log.

The boss keeps it and writes it into the book, so that it reaches every OS
process, and those that are forked later with their first book; `heed` makes it
hold in one. Pure but for `heed`; time is handed in.

Refused: levels and names that are none (`ConfigError`, `AddressError`), more
than `MOST` taps, a second one who streams the log (`RefusedError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from threading import Lock
from typing import Any, TypeVar

import msgspec

from gateway.bus import tapping
from gateway.bus.office import Office
from gateway.bus.tapping import Tap
from gateway.errors import AddressError, ConfigError, RefusedError
from gateway.process import log_levels, log_stream
from gateway.process.log_levels import NAMES, Levels, sieve
from gateway.process.log_stream import LogStream
from gateway.process.shared_tap import LEASE

MOST = 16
"""Taps at a time."""

LONGEST = 3600.0
"""Seconds that the log is streamed at the most before its owner has to ask again."""


T = TypeVar("T")

_heeding = Lock()


def heed(office: Office, processes: Collection[str]) -> None:
    """Make the notices of the newest book hold in this OS process, where ``processes`` live."""
    # Books may be read by one thread after the other: the newest is to be heeded last.
    with _heeding:
        stream = _noticed(office, log_stream.NOTICE, LogStream)
        sieve.apply(_noticed(office, log_levels.NOTICE, Levels), processes, stream.floor)
        log_stream.follow(office, stream)
        tapping.follow(office)


def _noticed(office: Office, name: str, kind: type[T]) -> T:
    """Return what the book of ``office`` carries under ``name``, or a ``kind`` that says nothing.

    The first conversion to a type costs an OS process 0.3 MB; most of them see no notice ever.
    """
    found = office.book.notices.get(name)
    return kind() if found is None else msgspec.convert(found, kind)


def heed_no_more(office: Office) -> None:
    """Have the log of this OS process be as it was, once the application of ``office`` ends."""
    log_stream.release(office)
    with _heeding:
        sieve.apply(Levels(), ())


class Notices:
    """The boss's own copy."""

    def __init__(self) -> None:
        self.levels = Levels()
        self._taps: dict[str, Tap] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._stream = LogStream()
        self._stream_owner = ""
        self._stream_until: float | None = None

    def as_data(self) -> dict[str, Any]:
        """Return what the book is to carry; empty where all is as at the start."""
        data: dict[str, Any] = {}
        if self.levels != Levels():
            data[log_levels.NOTICE] = msgspec.to_builtins(self.levels)
        if self._taps:
            data[tapping.NOTICE] = msgspec.to_builtins(self._taps)
        if self._stream != LogStream():
            data[log_stream.NOTICE] = msgspec.to_builtins(self._stream)
        return data

    # Log levels

    def set_level(
        self, name: str, level: str, *, processes: Collection[str], loggers: Collection[str]
    ) -> None:
        """Log ``name``, a process, a logger or ``""`` for all, from ``level`` upwards.

        ``default`` takes back what was set before.
        """
        if level != "default" and level not in NAMES:
            raise ConfigError(f"{level!r} is no level: use {', '.join(NAMES)} or default")
        kept = "" if level == "default" else level
        levels = self.levels
        if not name:
            self.levels = msgspec.structs.replace(levels, default=kept)
        elif name in processes:
            changed = _with(levels.processes, name, kept)
            self.levels = msgspec.structs.replace(levels, processes=changed)
        elif any(known == name or known.startswith(f"{name}.") for known in loggers):
            changed = _with(levels.loggers, name, kept)
            self.levels = msgspec.structs.replace(levels, loggers=changed)
        else:
            close = difflib.get_close_matches(name, [*processes, *loggers], 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(processes)}"
            raise AddressError(f"neither a process nor a logger is called {name!r}: {hint}")

    # Taps

    def tap(self, owner: str, id: str, tap: Tap, now: float) -> None:
        """Add the tap ``id`` of the process ``owner``."""
        key = f"{owner}/{id}"
        if key in self._taps:
            raise RefusedError(f"there is a tap {key!r} already")
        if len(self._taps) >= MOST:
            raise RefusedError(f"the mail is watched by {MOST} already: end one of them")
        self._taps[key] = tap
        self._leases[key] = (owner, now + LEASE)

    def untap(self, owner: str, id: str | None = None) -> bool:
        """Remove a tap of ``owner``'s, or all where ``id`` is None; tell whether there was one.

        With the last of them goes what is streamed of the log for ``owner``.
        """
        if id is None and owner == self._stream_owner:
            self._stream, self._stream_owner, self._stream_until = LogStream(), "", None
        gone = [
            key
            for key, (whose, _) in self._leases.items()
            if whose == owner and id in (None, key.removeprefix(f"{owner}/"))
        ]
        return self._remove(gone)

    def renew(self, owner: str, now: float) -> None:
        """Let the taps of ``owner`` stand for a lease from now."""
        for key, (whose, _) in self._leases.items():
            if whose == owner:
                self._leases[key] = (owner, now + LEASE)

    def expire(self, now: float) -> bool:
        """Remove the taps whose lease is over; tell whether there were any."""
        return self._remove([key for key, (_, due) in self._leases.items() if due <= now])

    # The log

    def stream_log(self, owner: str, stream: LogStream, seconds: float, now: float) -> None:
        """Have the log streamed for ``owner`` as ``stream`` says, its level for ``seconds``."""
        if self._stream_owner not in ("", owner):
            raise RefusedError(f"the log is streamed by {self._stream_owner!r} already: ask that")
        if stream.level and stream.level not in NAMES:
            raise ConfigError(f"{stream.level!r} is no level: use {', '.join(NAMES)}")
        if not 0 < seconds <= LONGEST:
            raise ConfigError(f"{seconds:g} s is no lease: use up to {LONGEST:g} s")
        if stream.rate < 1:
            raise ConfigError(f"{stream.rate} lines a second are none: use 1 or more")
        self._stream, self._stream_owner = stream, owner
        self._stream_until = now + seconds if stream.level else None

    def end_stream(self, now: float) -> bool:
        """Stream no more where the time for that is over; tell whether it was."""
        if self._stream_until is None or self._stream_until > now:
            return False
        self._stream = msgspec.structs.replace(self._stream, level="")
        self._stream_until = None
        return True

    @property
    def due(self) -> float | None:
        """When the first lease is over; None where there is none."""
        dues = [due for _, due in self._leases.values()]
        if self._stream_until is not None:
            dues.append(self._stream_until)
        return min(dues, default=None)

    def _remove(self, keys: list[str]) -> bool:
        for key in keys:
            del self._taps[key], self._leases[key]
        return bool(keys)


def _with(table: dict[str, str], name: str, level: str) -> dict[str, str]:
    rest = {known: kept for known, kept in table.items() if known != name}
    return {**rest, name: level} if level else rest
