"""What one process has to do with services: what references stand for, what it hands out.

Made when it is first wanted (`home_of`), and there for as long as the process. From
then on the process's own methods may be called with proxies and remote functions,
and may return some.

Refused: references that make no sense (`RefusedError`), processes on an event loop,
which a proxy would hold up (`RuntimeError`).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from gateway.errors import RefusedError
from gateway.process.process import Process
from gateway.rpc.ends import desk_of
from gateway.rpc.terms import Terms
from gateway.services import finder
from gateway.services.proxy import Face, Proxy
from gateway.services.remote_functions import (
    FunctionRemote,
    Functions,
    RemoteFunction,
    function_at,
)
from gateway.services.service_line import ServiceLine

P = ParamSpec("P")
T = TypeVar("T")

# Two threads may want the first one at once.
_making = Lock()


def home_of(process: Process) -> Home:
    """Return the home of ``process``, from now on the same one."""
    with _making:
        found: Home | None = process.services
        if found is None:
            found = process.services = Home(process)
    return found


class Home:
    """Finds what references stand for, for one process; a `Finder`."""

    def __init__(self, process: Process) -> None:
        if process.is_on_loop:
            raise RuntimeError(
                f"{process.name!r} shares a loop, and a proxy waits: whoever wants services runs"
                " in the mode thread or fork, and a loop asks that process"
            )
        self.process = process
        self.own: tuple[str, int, object] | None = None
        """What lives here, where this process is a service: name, life, object."""
        self._functions: Functions | None = None
        self._lock = Lock()
        desk_of(process).references = self
        finder.note(self)

    def find(self, told: dict[str, Any]) -> Any:
        """Return what a reference stands for; `RefusedError` for what is none."""
        try:
            if "service" in told:
                name, life = str(told["service"]), int(told["life"])
                if self.own is not None and self.own[:2] == (name, life):
                    return self.own[2]
                return self.proxy_of(name, life)
            return self._function(told)
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"{told!r} refers to nothing: {error}") from None

    def refer(self, value: object) -> dict[str, Any] | None:
        """Return what stands for the object that lives here, None for any other."""
        if self.own is None or value is not self.own[2]:
            return None
        return {"service": self.own[0], "life": self.own[1]}

    def proxy_of(self, name: str, life: int) -> Proxy:
        """Return a proxy of one life of a service; whether that goes on, its use will tell."""
        line = ServiceLine(self, name, life, f"the service {name!r}")
        return Proxy(Face(line, name), Terms())

    def functions(self) -> Functions:
        """Return the functions that this process hands out; the first one opens a mailbox."""
        with self._lock:
            if self._functions is None:
                self._functions = Functions(self)
            return self._functions

    def _function(self, told: dict[str, Any]) -> RemoteFunction[..., Any] | FunctionRemote:
        ours = self._functions
        if ours is not None and (told["at"], told["life"]) == (ours.box.name, ours.box.incarnation):
            known = ours.at(told["function"])
            if known is not None:
                return known
        return function_at(self, told)


def remote_function(
    process: Process,
    function: Callable[P, T],
    *,
    name: str = "",
    timeout: float = 5.0,
    on_own_thread: bool = False,
) -> RemoteFunction[P, T]:
    """Return what may be handed to other processes, so that they call ``function`` here.

    It is evaluated on one of a few threads of ``process``, or with ``on_own_thread``
    on its own one, between letters. Who calls it waits ``timeout`` seconds at the
    most. It can be called until it is closed; it is a context manager. With a
    ``name`` others find it: ``halve@main`` is ``halve`` of the process ``main``.

    Raises `RefusedError` for a name that this process has given already.

    >>> from types import SimpleNamespace
    >>> from gateway.services import services
    >>> with services() as house, house.start("shelf", SimpleNamespace) as shelf:
    ...     with remote_function(house.process, lambda x: x / 2, name="halve"):
    ...         house.get_function("halve@main")(5)
    2.5
    """
    return home_of(process).functions().add(function, name, timeout, on_own_thread=on_own_thread)
