"""Where in the gateway this code runs: in which process, for which device, on which letter.

The log says so of every record. What changes seldom, process and device, is
noted once, where a life, a thread or a task begins. The letter is not noted: who
handles letters is marked by `handles_letters`, and the stack of whoever asks is
searched for it. So a letter costs nothing, and only a record does. Who awaits
stands on the stack of what it awaits, so that coroutines are marked too. Who has
a task made does not: `tasks_for` says for which letter a coroutine makes tasks.
Those that a plain callback makes go on when its letter has long been handled, and
are for none.

Nothing is refused here but a function that could never be found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from types import CodeType
from typing import Any, NamedTuple, TypeVar

from gateway.mail.message import Message

F = TypeVar("F", bound=Callable[..., Any])

_process: ContextVar[str] = ContextVar("process", default="")
_device: ContextVar[str] = ContextVar("device", default="")
_os_process = ["main"]

tasks_for: ContextVar[str] = ContextVar("tasks_for", default="")
"""The thread of the letter for which tasks are made here, or ``""``. Written by who handles it."""

# By identity: to hash a code object is to hash all that it holds.
_handlers: dict[int, CodeType] = {}


class Whereabouts(NamedTuple):
    """A process, a device (or ``""``), and the id of a letter's thread (or ``""``)."""

    process: str
    device: str
    mail_thread: str


def handles_letters(function: F) -> F:
    """Mark ``function``, which has a letter as ``message``; it is returned as it was.

    Raises `ValueError` where it has no such argument.
    """
    code: CodeType = function.__code__
    if "message" not in code.co_varnames[: code.co_argcount]:
        raise ValueError(f"{code.co_qualname} takes no letter called message")
    _handlers[id(code)] = code
    return function


def enter(process: str = "", device: str = "") -> None:
    """Note that this thread, or this task, works for ``process`` and ``device`` from now on."""
    if process:
        _process.set(process)
    _device.set(device)


def within(process: str) -> Context:
    """Return a copy of the present context, in which the work is for ``process`` and no letter.

    For what somebody else may begin on its behalf.

    >>> within("serial").run(here).process
    'serial'
    """
    context = copy_context()
    context.run(enter, process)
    context.run(tasks_for.set, "")
    return context


def rename_os_process(name: str) -> None:
    """Say for whom threads of this OS process work that have not entered anything."""
    _os_process[0] = name


def here() -> Whereabouts:
    """Return where the caller is.

    >>> here().mail_thread
    ''
    """
    return Whereabouts(_process.get() or _os_process[0], _device.get(), _mail_thread())


def _mail_thread() -> str:
    message = letter_in_hand()
    return tasks_for.get() if message is None else message.thread_id


def letter_in_hand() -> Message | None:
    """Return the letter that is being handled here; None where none is."""
    frame = sys._getframe(1)
    while frame is not None:
        if id(frame.f_code) in _handlers:
            message = frame.f_locals.get("message")
            if isinstance(message, Message):
                return message
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None
