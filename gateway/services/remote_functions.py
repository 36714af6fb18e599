"""Functions of one process that others call, each evaluated where it came from.

::

    with remote_function(self, self.on_progress) as told:
        robot.sweep(progress=told)            # over there: progress(0.5)

What is handed over is a reference; the other side gets a plain callable. The
functions of a process have a mailbox of their own, ``functions@<process>``, and a
few threads, so that they are answered while the process itself waits for whoever
calls them. One that must run on the process's own thread says so, and then has to
wait until that thread is free.

One with a name is listed, and found by others (`Services.functions`).

Refused: calls to what was withdrawn (`UnknownApiError`), or whose owner is gone
(`RecipientGoneError`); a name twice, more than `MOST` at a time (`RefusedError`);
an owner on an event loop (`RuntimeError`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from gateway.errors import (
    ExpiredError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
    UnknownApiError,
)
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.process.runner import run
from gateway.rpc.api import Api
from gateway.rpc.call import Call, current_call
from gateway.rpc.ends import desk_of
from gateway.rpc.terms import Terms
from gateway.services.anatomy import is_public
from gateway.services.finder import Finder, found_here
from gateway.services.service_line import ServiceLine, ServiceRemote

P = ParamSpec("P")
T = TypeVar("T")

MOST = 4096
"""Functions of one process that others can call, at the most."""

AT_ONCE = 4
"""Of them are evaluated at a time, while `WAITING` calls wait."""

WAITING = 64

LOCAL = "functions"
"""The name of their mailbox, before the ``@``."""

NAMES = "$functions"
"""The subject to which such a mailbox answers with the names that its owner gave."""


class FunctionRemote(ServiceRemote):
    """A function of another process; called, it is evaluated there."""

    def __refer__(self) -> dict[str, Any]:
        """Return what stands for it in a letter."""
        life, timeout = self._line.life, self._terms.timeout
        return {"function": self._path, "at": self._address, "life": life, "timeout": timeout}

    def __reduce__(self) -> Any:
        return found_here, (self.__refer__(),)

    def __repr__(self) -> str:
        return f"<function {self._path!r} of {self._address.rpartition('@')[2]!r}>"


def function_at(finder: Finder, told: dict[str, Any]) -> FunctionRemote:
    """Return what calls the function that ``told`` refers to."""
    address = str(told["at"])
    owner = address.rpartition("@")[2]
    line = ServiceLine(
        finder, address, told["life"], f"the owner {owner!r} of {told['function']!r}"
    )
    return FunctionRemote(line, address, told["function"], Terms(timeout=told["timeout"]))


class RemoteFunction(Generic[P, T]):
    """A function that others may call until it is closed; here it is called as ever."""

    def __init__(
        self, functions: Functions, path: str, function: Callable[P, T], timeout: float
    ) -> None:
        self._functions = functions
        self.path = path
        """Its name in its mailbox."""
        self._function = function
        self.timeout = timeout
        """Seconds that the others wait for it, unless they say otherwise."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._function(*args, **kwargs)

    def close(self) -> None:
        """Withdraw it: who calls it from now on is refused. Twice is fine."""
        self._functions.withdraw(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __refer__(self) -> dict[str, Any]:
        """Return what stands for it in a letter."""
        box = self._functions.box
        at, life = box.name, box.incarnation
        return {"function": self.path, "at": at, "life": life, "timeout": self.timeout}

    def __reduce__(self) -> Any:
        return found_here, (self.__refer__(),)

    def __repr__(self) -> str:
        return f"<remote function {self.path!r}>"


class Functions:
    """The functions of one process that others can call, and who evaluates them."""

    def __init__(self, finder: Finder) -> None:
        process = finder.process
        self._owner = process
        self._known: dict[str, RemoteFunction[..., Any]] = {}
        self._named: set[str] = set()
        self._turns: set[_Turn] = set()
        self._is_over = False
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._api = Api()
        self._api.otherwise(self._refuse)
        self.box = process.open_mailbox(LOCAL)
        self._inner = Process(
            replace(
                process._context,
                name=self.box.name,
                mailbox=self.box,
                mode="thread",
                frequency=0.0,
                parameters={},
                report=lambda level: None,
                folder=None,
            )
        )
        desk = desk_of(self._inner)
        desk.serve(self._api, workers=AT_ONCE, waiting=WAITING)
        desk.references = finder
        self._inner.add_filter(subject=rf"^\{NAMES}\Z", route="", callback=self._tell_names)
        process.add_child_thread(LOCAL, self._run)

    def add(
        self, function: Callable[P, T], name: str, timeout: float, *, on_own_thread: bool
    ) -> RemoteFunction[P, T]:
        """Let others call ``function``; see `Services.remote_function`."""
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called, so not from afar either")
        if name and not is_public(name):
            raise ValueError(f"{name!r} is no name: letters, digits and _, none of which begins it")
        Terms().changed(timeout=timeout)
        with self._lock:
            if name in self._known:
                raise RefusedError(f"{self._owner.name!r} has a function {name!r} already")
            if len(self._known) >= MOST:
                raise RefusedError(f"{MOST} functions can be called here already: close some")
            path = name or next(each for each in self._made_up(function) if each not in self._known)
            made = RemoteFunction(self, path, function, timeout)
            self._known[path] = made
            if name:
                self._named.add(name)
        self._api.add(path, self._on_own_thread(function) if on_own_thread else function)
        return made

    def withdraw(self, path: str) -> None:
        """Let nobody call it any more; what is being evaluated goes on."""
        with self._lock:
            self._known.pop(path, None)
            self._named.discard(path)
        self._api.remove(path)

    def at(self, path: str) -> RemoteFunction[..., Any] | None:
        """Return the function of this process under ``path``, None where there is none."""
        return self._known.get(path)

    def _made_up(self, function: Callable[..., Any]) -> Iterator[str]:
        told = getattr(function, "__name__", "")
        return (f"{told if is_public(told) else 'function'}_{n}" for n in self._numbers)

    def _refuse(self, call: Call) -> None:
        raise UnknownApiError(f"{self._owner.name!r} has withdrawn the function {call.path!r}")

    def _tell_names(self, message: Message) -> None:
        with self._lock:
            names = sorted(self._named)
        self._inner.reply(message, names)

    def _on_own_thread(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what has ``function`` called by its process, between letters, and waits."""
        process = self._owner

        @functools.wraps(function)
        def hop(*args: Any, **kwargs: Any) -> Any:
            call = current_call()
            turn = _Turn(functools.partial(function, *args, **kwargs))
            with self._lock:
                if self._is_over:
                    raise _ended(process)
                self._turns.add(turn)
            try:
                process.call_soon(turn.take)
                return turn.wait(call, process)
            finally:
                with self._lock:
                    self._turns.discard(turn)

        return hop

    def _run(self) -> None:
        owner, inner = self._owner, self._inner
        inner.watch(owner._ending.fileno(), lambda events: self._end())
        if not owner.is_active:
            self._end()
        try:
            run(inner)
        finally:
            inner.unwatch(owner._ending.fileno())
            try:
                owner.close_mailbox(self.box)
            except RecipientGoneError:
                # The boss itself is gone, and everybody ends.
                return

    def _end(self) -> None:
        """End with the owner, whose own thread has no time for anybody from now on."""
        with self._lock:
            self._is_over = True
            turns = list(self._turns)
        for turn in turns:
            turn.give_up(_ended(self._owner))
        self._inner.die()


def _ended(owner: Process) -> RecipientGoneError:
    return RecipientGoneError(f"{owner.name!r} ended before it had time for this")


class _Turn:
    """One evaluation that waits for its process's own thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._begins = threading.Lock()
        self._result: Any = None
        self._error: BaseException | None = None

    def take(self) -> None:
        """Do the work, unless nobody waits for it any more."""
        if not self._begins.acquire(blocking=False):
            return
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - whoever called is told
            self._error = error
        self._done.set()

    def give_up(self, error: GatewayError) -> None:
        """Have whoever waits get ``error``, unless the work has begun."""
        if self._begins.acquire(blocking=False):
            self._error = error
            self._done.set()

    def wait(self, call: Call, process: Process) -> Any:
        """Return what came of it; raise `ExpiredError` where its turn does not come in time."""
        left = 5.0 if call.expires is None else call.expires - process._clock.monotonic()
        if not self._done.wait(max(0.0, left)):
            # From now on its turn is nobody's.
            self._begins.acquire(blocking=False)
            raise ExpiredError(f"{process.name!r} had no time for {call.path!r}")
        if self._error is not None:
            raise self._error
        return self._result
