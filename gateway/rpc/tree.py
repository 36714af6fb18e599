"""A tree of remote functions, as if it were here: ``robot.arm.grip(force=3)``.

Attributes to any depth give a `Remote`; called, it writes a letter whose subject
is the path and whose body names the arguments, and returns the answer::

    robot = remote(self, "robot")
    robot.arm.grip(force=3)                       # waits, 5 s at the most
    using(robot.arm, timeout=60).grip(force=3)    # other terms, here and below
    later(robot.arm.grip)(force=3).result()       # goes on, and asks afterwards
    tell(robot.arm.grip)(force=3)                 # an event: nobody answers

So everything that answers letters can be called: a process's marked methods,
a driver's commands, what `gateway.rpc.serve` serves, whatever a router reaches.

A `Remote` has no public name of its own, so that none over there is hidden.

Refused: names that begin with an underscore, setting and deleting anything
(`AttributeError`); arguments that no letter can carry, a tree among them (`BodyError`);
copies elsewhere (`TypeError`); what is no address (`AddressError`); and whatever the
other side refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from gateway.errors import GatewayError
from gateway.mail.address import Address
from gateway.mail.message import MAP
from gateway.rpc.arguments import packed
from gateway.rpc.references import MARK
from gateway.rpc.stream import Answer, Stream
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

_SHORT = frozenset({bool, int, float, str})


class Line(Protocol):
    """What carries calls: a process's mail, or a program's connection to the gateway.

    ``body`` is what a letter carries. ``take`` makes the result of an `Answer`.
    """

    def call(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> T:
        """Call and wait; raise the error that came instead of an answer."""
        ...

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Transaction[T]:
        """Call, and return at once what the result will be asked of."""
        ...

    def tell(self, address: str, path: str, body: Any, terms: Terms) -> None:
        """Call without an answer."""
        ...

    def stream(self, address: str, terms: Terms, answer: Answer) -> Any:
        """Return what follows after ``answer``, the first batch of a stream."""
        ...

    def found(self, body: Any) -> Any:
        """Return an answer with what its references stand for; `RefusedError` for nobody's."""
        ...


class Remote:
    """One place in a tree of remote functions; see the module's head."""

    _line: Line
    _address: str
    _path: str
    _terms: Terms
    _waits: bool

    def __init__(self, line: Line, address: str, path: str, terms: Terms) -> None:
        # Not by `__setattr__`, which would cost each new place five calls.
        own = self.__dict__
        own["_line"] = line
        own["_address"] = address
        own["_path"] = path
        own["_terms"] = terms
        waits = terms.sync and terms.solicited and not terms.ignore_errors
        own["_waits"] = waits and terms.combine is None

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private over there: nobody can call it")
        below = f"{self._path}.{name}" if self._path else name
        found = Remote(self._line, self._address, below, self._terms)
        # From now on it is found without coming here.
        self.__dict__[name] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"{name!r} of {self!r} is over there, and nothing is set by assigning here:"
                f" a property is set by calling it, as in {name}({_shown(value)}), and an"
                " attribute of your own begins with an underscore"
            )
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"{name!r} of {self!r} is over there: nothing is deleted from afar"
            )
        super().__delattr__(name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        body = packed(args, kwargs)
        if self._waits:
            return self._line.call(self._address, self._path, body, self._terms, self._taken)
        return _called(self, body)

    def _taken(self, answer: Answer) -> Any:
        if answer.subject == Stream.SUBJECT:
            return self._line.stream(self._address, self._terms, answer)
        return answer.body if answer.subject != MARK else self._line.found(answer.body)

    def _with(self, terms: Terms) -> Remote:
        """Return the same place on other ``terms``."""
        return type(self)(self._line, self._address, self._path, terms)

    def __refer__(self) -> dict[str, Any]:
        """Refuse to stand in a letter; raises `TypeError`."""
        raise TypeError(
            f"it holds {self!r}, and a remote tree cannot be sent: send the address"
            f" {self._address!r}, of which remote(process, address) makes one over there,"
            " or a proxy of a service"
        )

    def __copy__(self) -> Remote:
        return self._with(self._terms)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} belongs to its process, and is neither copied nor pickled:"
            f" make one over there with remote(process, {self._address!r})"
        )

    def __repr__(self) -> str:
        return f"<remote {self._path or 'tree'} of {self._address!r}>"

    def __dir__(self) -> list[str]:
        """Return what can be called from here, for completion; nothing where nobody answers."""
        if getattr(self._line, "is_awaited", False):
            # Nobody awaits here, and a call that nobody awaits would be a bug.
            return []
        try:
            known = self._line.call(self._address, MAP, None, self._terms, _body_of)
        except GatewayError:
            return []
        if not isinstance(known, dict):
            # Whoever answers everything knows nothing of maps.
            return []
        path = f"{self._path}." if self._path else ""
        return sorted(
            {name[len(path) :].partition(".")[0] for name in known if name.startswith(path)}
        )


def _shown(value: object) -> str:
    """Return a number or a short text as it is written, and of all else nothing."""
    return repr(value) if type(value) in _SHORT and len(repr(value)) <= 40 else "…"


def _body_of(answer: Answer) -> Any:
    return answer.body


def _called(remote: Remote, body: Any) -> Any:
    """Call on other terms than most do."""
    line, terms = remote._line, remote._terms
    address, path = remote._address, remote._path
    if terms.solicited and not terms.sync:
        return line.begin(address, path, body, terms, remote._taken)
    try:
        if not terms.solicited:
            line.tell(address, path, body, terms)
            return None
        result = line.call(address, path, body, terms, remote._taken)
        # What is awaited joins its parts itself.
        if terms.combine is None or isawaitable(result):
            return result
        return terms.combine(result)
    except GatewayError:
        if terms.ignore_errors:
            return None
        raise


@overload
def remote(caller: Any, address: str, **terms: Any) -> Any: ...
@overload
def remote(caller: Any, address: str, api: type[T], **terms: Any) -> T: ...
def remote(caller: Any, address: str, api: type[Any] | None = None, **terms: Any) -> Any:
    """Return the tree of what can be called at ``address``, on ``terms`` as `using` takes them.

    ``caller`` is a process, or a `gateway.Client` of a program outside. ``api``
    is for type checkers alone: the class that `gateway call --stub` wrote.
    `AddressError` for what is no address; whether anybody is there, a call tells.

    >>> from gateway import Process
    >>> from gateway.mail.signature import command
    >>> from gateway.testing.stage import play
    >>> class Robot(Process):
    ...     @command
    ...     def grip(self, force: int) -> str:
    ...         return f"gripped with {force} N"
    >>> play(lambda main: remote(main, "robot").grip(force=3), robot=(Robot, "fork"))
    'gripped with 3 N'
    """
    Address.parse(address)
    line = caller
    # By what every process has, and nobody else: its author may have given it any method.
    if hasattr(caller, "office"):
        # Here, since a program outside needs nothing of a process.
        from gateway.rpc.ends import calls_of

        line = calls_of(caller)
    elif hasattr(caller, "exchange"):
        from gateway.rpc.client_calls import calls_of_client

        line = calls_of_client(caller)
    return Remote(line, address, "", Terms().changed(**terms))


def using(remote: T, **terms: Any) -> T:
    """Return ``remote`` with other terms, for itself and all below it.

    ``timeout``
        seconds until `CallTimeoutError`, 5 unless said, up to a day.
    ``sync``
        whether a call waits. Where not, it returns a `Transaction`.
    ``callback``
        is called with the ended `Transaction`, on the process's own thread.
    ``release``
        a semaphore that is released, or an event that is set, when the call has ended.
    ``solicited``
        whether an answer is wanted at all. Where not, what goes wrong over
        there is counted there, and nobody is told.
    ``ignore_errors``
        whether a call that fails returns None, where it waits, instead of raising.
    ``combine``
        what makes one result of a stream, such as `sum` or `list`.
    ``window``
        parts of a stream that are asked for at once, 64 unless said.

    >>> from gateway.testing.stage import play
    >>> play(lambda main: using(remote(main, "nobody"), ignore_errors=True).greet())
    """
    place = _place(remote)
    changed: Any = place._with(place._terms.changed(**terms))
    return changed  # type: ignore[no-any-return]


def later(method: Callable[P, T]) -> Callable[P, Transaction[T]]:
    """Return ``method``, a remote one, so that it returns a `Transaction` at once."""
    return using(method, sync=False, solicited=True)  # type: ignore[return-value]


def tell(method: Callable[P, T]) -> Callable[P, None]:
    """Return ``method``, a remote one, so that it is an event: no answer, no error from there."""
    return using(method, solicited=False, callback=None, release=None)  # type: ignore[return-value]


def _place(found: object) -> Remote:
    if isinstance(found, Remote):
        return found
    raise TypeError(f"{found!r} is no remote function: begin with remote(process, address)")
