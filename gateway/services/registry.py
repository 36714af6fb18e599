"""Objects that live in OS processes of their own, started and found by their names.

::

    services = Services(self)                    # self: the process that wants them
    robot = services.start("robot", Robot, speed=3)
    robot.speed = 5
    services.close("robot")

A service belongs to the application: it ends with that, or when somebody closes it,
and not with whoever started it. Any process finds it by its name (`get_proxy`) while
it lives; whether it does the boss says, so that nothing is listed that died.

Classes are found by their name in the other OS process, so they stand at the top of a
module. For a script without an application see `gateway.services.house`.

Refused: a name that is taken (`RefusedError`), a class that cannot be found by its
name (`ConfigError`), arguments that nobody can send (`BodyError`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from gateway.errors import (
    AddressError,
    CallTimeoutError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.rpc.arguments import packed
from gateway.rpc.ends import calls_of
from gateway.rpc.stream import Answer
from gateway.rpc.terms import Terms
from gateway.services import finder, inside
from gateway.services.home import home_of, remote_function
from gateway.services.host import ServiceHost
from gateway.services.proxy import ABOUT, Proxy, end, tell_to_end
from gateway.services.remote_functions import LOCAL, NAMES, RemoteFunction
from gateway.services.start_terms import StartTerms, member_data, name_of
from gateway.timeout import in_seconds

P = ParamSpec("P")
T = TypeVar("T")

_HOST = ServiceHost.__qualname__
"""The kind of every service, as the boss tells it."""


class Services:
    """The services of an application, as one process of it sees them; see the module's head.

    A context manager, which closes what was started by it. Any thread may use it.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._home = home_of(process)
        self._owner = os.getpid()
        self._terms = StartTerms()
        self._started: dict[Proxy, None] = {}

    @classmethod
    def here(cls) -> Services:
        """Return those of the process on whose thread this is called.

        So an object within a service starts services of its own. Raises
        `RefusedError` where there is no such process.
        """
        return cls(finder.finder_here().process)

    def using(self, **terms: Any) -> Services:
        """Return the same services, to start some on other terms.

        ``timeout``
            seconds until a start has failed, 10 unless said; the constructor's included.
        ``workers``
            threads on which the object's methods are called; 0, as usual, for none:
            then they are called one after the other on the main thread over there.
        ``waiting``
            calls that wait for a worker at the most, 64 unless said.
        ``grace``
            seconds that it has to end in order before it is killed, 1 unless said.

        Raises `ValueError` for what cannot stand.
        """
        made = Services(self.process)
        made._terms = self._terms.changed(**terms)
        made._started = self._started
        return made

    # Starting

    @overload
    def start(self, name: str, factory: str, /, *args: Any, **kwargs: Any) -> Any: ...
    @overload
    def start(
        self, name: str, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    def start(self, name: str, factory: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start the service ``name`` and return its proxy.

        ``factory`` is a class, or a function that returns an object, or the name of
        one, ``module:qualname``; it is called over there with the arguments. They are
        what a letter carries, proxies and remote functions. Raises what it raises, as
        its remote type; `RefusedError` where the name is taken; `RecipientGoneError`
        where it dies of it, `CallTimeoutError` where it is not done in time.

        >>> from statistics import NormalDist
        >>> from gateway.services import services
        >>> with services() as house:
        ...     heights = house.start("heights", NormalDist, 170, sigma=10)
        ...     heights.mean, heights.cdf(170), house.running()
        (170.0, 0.5, ['heights'])
        """
        terms, clock = self._terms, self.process._clock
        class_name = name_of(factory)
        given = {"make": packed(args, kwargs)}
        until = clock.monotonic() + terms.timeout
        data = member_data(name, class_name, terms)
        life = self.process.application.add_member(data, timeout=terms.timeout)
        proxy = self._home.proxy_of(name, life)
        left = Terms(timeout=max(0.001, until - clock.monotonic()))
        try:
            proxy._face.take(proxy._line.call(name, ABOUT, given, left, _body))
        except BaseException as error:
            # Whose constructor raised has done its work; who has not answered may never end.
            raised = isinstance(error, Exception) and not isinstance(error, CallTimeoutError)
            self._give_up(proxy, 5.0 if raised else 0.5)
            what = f"its {class_name.partition(':')[2]}"
            if isinstance(error, RecipientGoneError | AddressError):
                died = f"the service {name!r} died while it made {what}; the log may say why"
                raise RecipientGoneError(died) from error
            if isinstance(error, CallTimeoutError):
                raise CallTimeoutError(
                    f"the service {name!r} has not made {what} within {terms.timeout:g} s:"
                    " give it more by using(timeout=…), or mend what hangs"
                ) from error
            raise
        for known in [each for each in list(self._started) if not each._line.is_alive()]:
            self._started.pop(known, None)
        self._started[proxy] = None
        return proxy

    def _give_up(self, proxy: Proxy, seconds: float) -> None:
        """Have what could not be made end; wait for it for a while, so that its name is free."""
        with contextlib.suppress(GatewayError):
            end(proxy, seconds)

    # Finding

    def running(self) -> list[str]:
        """Return the names of the services that are there, whoever started them."""
        return sorted(
            member["name"]
            for member in self._members()
            if member["kind"] == _HOST and member["state"] == "living"
        )

    def get_proxy(self, name: str, *, timeout: float = 5.0) -> Any:
        """Return a proxy of the service ``name``, whoever started it.

        Raises `AddressError` where there is no such service, `CallTimeoutError` where it
        does not answer.
        """
        running = self.running()
        if name not in running:
            known = ", ".join(running) or "none at all"
            raise AddressError(f"no service {name!r} runs; there are {known}")
        proxy = self._home.proxy_of(name, self._life_of(name))
        proxy._face.refresh(Terms(timeout=timeout))
        return proxy

    def functions(self, *, timeout: float = 5.0) -> list[str]:
        """Return the functions that have names, as ``halve@main``, of processes and services.

        Those of a service that is busy until the ``timeout`` are left out.
        """
        return sorted(self._functions(timeout))

    def get_function(self, name: str, *, timeout: float = 5.0) -> Any:
        """Return what calls the function ``name``, as `functions` lists it.

        Raises `AddressError` where there is none of that name.
        """
        local, _, owner = name.rpartition("@")
        # Nobody else is asked: others may be busy.
        mailbox = self._functions(timeout, owner).get(name)
        if mailbox is None:
            # For the message alone: those who are busy are not waited for.
            there_are = ", ".join(self.functions(timeout=min(timeout, 0.5))) or "none at all"
            raise AddressError(f"no function is called {name!r}; there are {there_are}")
        if mailbox == self.process.name:
            return inside.functions()[local]
        if "@" not in mailbox:
            return getattr(self._home.proxy_of(mailbox, self._life_of(mailbox)), local)
        life = self._life_of(mailbox)
        return self._home.find({"function": local, "at": mailbox, "life": life, "timeout": timeout})

    # Closing

    def close(self, service: Any, *, timeout: float = 5.0) -> bool:
        """Have a service end, named or by its proxy; tell whether it was there.

        A service that closes itself ends once its method has returned. Raises
        `RefusedError` for what is no service, `CallTimeoutError` where it has not ended
        after ``timeout`` seconds.
        """
        if isinstance(service, Proxy):
            return end(service, timeout)
        if not isinstance(service, str):
            raise TypeError(f"{service!r} is no service: give its name, or its proxy")
        kinds = {member["name"]: member["kind"] for member in self._members()}
        if kinds.get(service, _HOST) != _HOST:
            raise RefusedError(f"{service!r} is a process, and no service: it is not closed here")
        if service == self.process.name:
            return end(self._home.proxy_of(service, self._life_of(service)))
        try:
            self.process.poison_pill(service, timeout=timeout)
        except (AddressError, RecipientGoneError):
            return False
        return True

    def close_all(self, *, timeout: float = 5.0) -> list[str]:
        """End every service that was started here; return the names of those that had not ended.

        They are told all at once, and have ``timeout`` seconds together.
        """
        now = self.process._clock.monotonic
        until = now() + in_seconds(timeout)
        told: list[Message] = []
        while self._started:
            proxy, _ = self._started.popitem()
            if proxy._line.is_alive():
                with contextlib.suppress(GatewayError):
                    told.append(tell_to_end(proxy))
        late = []
        for letter in told:
            try:
                self.process.wait_for_reply(letter, timeout=max(0.0, until - now()))
            except CallTimeoutError:
                late.append(letter.body["name"])
            except GatewayError:
                # It was over by then, or everything is.
                continue
        return late

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A child of os.fork() leaves to its parent what is its parent's.
        if os.getpid() == self._owner:
            self.close_all()

    # Functions of this process

    def remote_function(
        self,
        function: Callable[P, T],
        *,
        name: str = "",
        timeout: float = 5.0,
        on_own_thread: bool = False,
    ) -> RemoteFunction[P, T]:
        """Return what others may be handed to call ``function``; see `gateway.services`."""
        return remote_function(
            self.process, function, name=name, timeout=timeout, on_own_thread=on_own_thread
        )

    # Within

    def _functions(self, timeout: float, owner: str | None = None) -> dict[str, str]:
        """Return the mailbox of each function that has a name, of one ``owner`` or of all."""
        calls, terms = calls_of(self.process), Terms(timeout=timeout)
        boxes = [name for name in self.process.recipients() if name.startswith(f"{LOCAL}@")]
        asked, found = [], dict[str, str]()
        for mailbox in [*boxes, *self.running()]:
            if owner not in (None, mailbox.rpartition("@")[2]):
                continue
            if mailbox == self.process.name:
                # A service has no time for its own question while it waits for the answer.
                found.update((f"{name}@{mailbox}", mailbox) for name in inside.functions())
                continue
            subject, body = (NAMES, None) if "@" in mailbox else (ABOUT, {"functions": True})
            with contextlib.suppress(GatewayError):
                asked.append((mailbox, calls.begin(mailbox, subject, body, terms, _body)))
        for mailbox, answer in asked:
            whose = mailbox.rpartition("@")[2]
            with contextlib.suppress(GatewayError):
                found.update((f"{name}@{whose}", mailbox) for name in answer.result())
        return found

    def _life_of(self, mailbox: str) -> int:
        return self.process._office.book.look_up(mailbox)[1]

    def _members(self) -> list[dict[str, Any]]:
        return self.process._ask_who_is_there(5.0)


def _body(answer: Answer) -> Any:
    return answer.body
