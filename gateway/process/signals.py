"""Signals of the operating system, as mail of a kind: they wake, and are handled in turn.

The handler itself only notes the signal and writes to an eventfd, which the
process's mailbox watches; so the callback runs on the process's own thread,
between letters, where it may take locks and write letters. Signals that come
faster than they are handled are handled once, as the kernel has it.

SIGTERM is how the supervisor says that time is up: bound or not, what stood
before is called as well, at once, and the process ends.

What is pending when the process ends is called before its `death`; what comes later is not.

Refused (`ValueError`): signals that do not exist or cannot be caught, and to
bind or restore them off the OS process's main thread: in thread mode only the
main process has signals.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from gateway.bus.mailbox import Mailbox

SignalCallback = Callable[[str], object]
"""Is called with the name of a signal, such as ``SIGHUP``."""


def signal_names() -> dict[str, int]:
    """Return the number of every signal that this machine knows, by name.

    >>> signal_names()["SIGTERM"]
    15
    """
    return {each.name: int(each) for each in sorted(signal.Signals)}


class Signals:
    """The signals that one process has bound, and the handlers that stood before."""

    def __init__(self, owner: str, box: Mailbox) -> None:
        self._owner = owner
        self._box = box
        self._callbacks: dict[int, SignalCallback] = {}
        self._first: dict[int, Any] = {}
        """What stood before this process bound anything: put back at its end."""
        self._backups: list[tuple[dict[str, Any], dict[int, SignalCallback]]] = []
        self._pending: dict[int, None] = {}
        """In the order in which they came."""
        self._event = -1

    def bind(self, callback: SignalCallback, *names: str) -> None:
        """Call ``callback(name)`` on the owner's thread for each signal of ``names``."""
        self._check_thread("bind")
        numbers = [_number(name) for name in names]
        if self._event < 0:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._box.watch(self._event, self._serve)
        for number in numbers:
            self._callbacks[number] = callback
            before = signal.signal(number, self._handle)
            self._first.setdefault(number, before)

    def current(self) -> dict[str, Any]:
        """Return what stands for each signal: a function, or one of `signal.Handlers`."""
        return {each.name: signal.getsignal(each) for each in sorted(_CATCHABLE)}

    def backup(self) -> dict[str, Any]:
        """Note what stands for each signal, for `restore`; return it as `current` does."""
        self._backups.append((self.current(), self._callbacks.copy()))
        return self.current()

    def restore(self) -> bool:
        """Put back what the last backup noted and forget it; tell whether there was one."""
        self._check_thread("restore")
        if not self._backups:
            return False
        handlers, self._callbacks = self._backups.pop()
        for name, handler in handlers.items():
            # None stands for one that was not installed from Python: it cannot be put back.
            if handler is not None and handler != signal.getsignal(signal.Signals[name]):
                signal.signal(signal.Signals[name], handler)
        return True

    def call_pending(self) -> None:
        """Call for what has come; where one raises, the rest is called, and that rises."""
        first: BaseException | None = None
        # What comes meanwhile is called for next time.
        for number in list(self._pending):
            self._pending.pop(number, None)
            callback = self._callbacks.get(number)
            if callback is None:
                continue
            try:
                callback(signal.Signals(number).name)
            except BaseException as error:  # noqa: BLE001 - raised below
                if first is None:
                    first = error
        if first is not None:
            raise first

    def close(self) -> None:
        """Put back what stood before this process, and give the descriptor back."""
        while self._first:
            number, before = self._first.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._callbacks.clear()
        event, self._event = self._event, -1
        if event >= 0:
            self._box.unwatch(event)
            os.close(event)

    def passed_on_to(self, number: int) -> Any:
        """Return what is called at once as well when ``number`` comes; None for nothing."""
        before = self._first.get(number)
        return before if number == signal.SIGTERM and callable(before) else None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        before = self.passed_on_to(number)
        if before is not None:
            before(number, frame)
        self._pending[number] = None
        if self._event >= 0:
            os.eventfd_write(self._event, 1)

    def _serve(self, events: int) -> None:
        os.eventfd_read(self._event)
        # Whoever waits for mail looks around, as after any wake-up.
        self._box.interrupt()
        self.call_pending()

    def _check_thread(self, what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError(
                f"{self._owner!r} cannot {what} signals: they come to the main thread of an OS"
                " process alone; use fork mode, or the main process"
            )


def reaches(number: int, handler: Callable[[int, FrameType | None], object]) -> bool:
    """Tell whether ``handler`` is called at once when ``number`` comes.

    It stands for that itself, or who bound it passes it on.
    """
    standing: Any = signal.getsignal(number)
    while standing != handler:
        owner = getattr(standing, "__self__", None)
        if not isinstance(owner, Signals):
            return False
        standing = owner.passed_on_to(number)
    return True


_CATCHABLE = frozenset(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}


def _number(name: str) -> signal.Signals:
    known = signal_names()
    if name not in known:
        raise ValueError(f"there is no signal {name!r}: use a name such as 'SIGHUP'")
    number = signal.Signals(known[name])
    if number not in _CATCHABLE:
        raise ValueError(f"no process can catch {name}")
    return number
