"""A service as if it were here: its methods, its properties, its name.

::

    robot = services.start("robot", Robot, speed=3)
    robot.speed                                  # reads the property over there
    robot.speed = 5                              # sets it
    robot.grip(force=3)                          # calls the method
    later(robot.grip)(force=3).result()          # the terms of gateway.rpc work on it

A proxy has no name of its own without an underscore, so that none of the
object's is hidden; what else can be done with one are functions of
`gateway.services`. What the class has is asked once; what the object or somebody
at run time adds and removes is looked up each time, so that it is there, and gone,
for everybody at once.

A proxy may be an argument, a result, or pickled: what travels is the name and the
life, and what comes out is a proxy in the process where it arrives; in the service
itself it is the object.

Refused: names that begin with an underscore, and names that the object has not
(`AttributeError`); anything at all once the service is over (`RecipientGoneError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from gateway.errors import AddressError, GatewayError, RecipientGoneError
from gateway.mail.message import Message
from gateway.rpc.stream import Answer
from gateway.rpc.terms import Terms
from gateway.services.anatomy import Kind
from gateway.services.finder import found_here
from gateway.services.service_line import ServiceLine, ServiceRemote
from gateway.timeout import in_seconds

T = TypeVar("T")

ABOUT = "$service"
"""The subject to which a service answers what it is."""


class Face:
    """What is known of one life of a service; its proxies share it."""

    def __init__(self, line: ServiceLine, name: str) -> None:
        self.line = line
        self.name = name
        self.class_name = ""
        self.kinds: dict[str, Kind] | None = None

    def take(self, told: dict[str, Any]) -> None:
        """Note what the service has told of itself."""
        self.class_name = told["class"]
        self.kinds = told["kinds"]

    def kind_of(self, name: str, terms: Terms) -> Kind | None:
        """Return what ``name`` is over there now, None where it is nothing."""
        if self.kinds is None:
            self.refresh(terms)
        assert self.kinds is not None
        known = self.kinds.get(name)
        if known in ("method", "property", "attribute"):
            return known
        asked = {"kind_of": name}
        found: Kind | None = self.line.call(self.name, ABOUT, asked, _to_ask(terms), _body)
        if found is None:
            self.kinds.pop(name, None)
        else:
            self.kinds[name] = found
        return found

    def refresh(self, terms: Terms) -> dict[str, Kind]:
        """Ask the service anew what it has, and return that."""
        self.take(self.line.call(self.name, ABOUT, None, _to_ask(terms), _body))
        assert self.kinds is not None
        return self.kinds


class Proxy(ServiceRemote):
    """A service, as seen from another process; see the module's head."""

    def __init__(self, face: Face, terms: Terms) -> None:
        super().__init__(face.line, face.name, "", terms)
        self._face = face
        self._properties: dict[str, ServiceRemote] = {}

    def _with(self, terms: Terms) -> Proxy:
        return Proxy(self._face, terms)

    def __getattr__(self, name: str) -> Any:
        known = self._properties.get(name) if not name.startswith("_") else None
        if known is not None:
            return known()
        place = ServiceRemote(self._line, self._address, name, self._terms)
        kind = self._kind_of(name)
        if kind == "method":
            # From now on it is found without coming here.
            self.__dict__[name] = place
        elif kind != "function":
            self._properties[name] = place
            return place()
        return place

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            self.__dict__[name] = value
            return
        known = self._properties.get(name)
        if known is None:
            kind = self._kind_of(name)
            if kind in ("method", "function"):
                raise AttributeError(f"{name!r} of {self!r} is a {kind}, which cannot be set")
            known = ServiceRemote(self._line, self._address, name, self._terms)
            self._properties[name] = known
        known(value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of {self!r} is over there: nothing is deleted from afar")

    def _kind_of(self, name: str) -> Kind:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private over there: nobody can use it")
        kind = self._face.kind_of(name, self._terms)
        if kind is None:
            near = difflib.get_close_matches(name, self._face.kinds or (), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"{self!r} has no {name!r}{meant}", name=name)
        return kind

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self!r} is no function: call one of its methods")

    def __dir__(self) -> list[str]:
        """Return what the service has, for completion; nothing where nobody answers."""
        try:
            return sorted(self._face.refresh(self._terms))
        except GatewayError:
            return []

    def __repr__(self) -> str:
        return (
            f"<service {self._address!r}{f': {told}' if (told := self._face.class_name) else ''}>"
        )

    def __eq__(self, other: object) -> bool:
        """Whether ``other`` is a proxy of the same life of the same service."""
        return isinstance(other, Proxy) and self.__refer__() == other.__refer__()

    def __hash__(self) -> int:
        return hash((self._address, self._line.life))

    def __refer__(self) -> dict[str, Any]:
        """Return what stands for it in a letter."""
        return {"service": self._address, "life": self._line.life}

    def __reduce__(self) -> Any:
        return found_here, (self.__refer__(),)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the service."""
        end(self)


def end(proxy: Proxy, timeout: float = 5.0) -> bool:
    """Have the service of ``proxy`` end; tell whether it still was there.

    Raises `CallTimeoutError` where it has not ended after ``timeout`` seconds.
    """
    timeout = in_seconds(timeout)
    if not proxy._line.is_alive():
        return False
    process = proxy._line.finder.process
    if process.name == proxy._address:
        # It could not wait for its own end.
        process.die()
        return True
    try:
        process.wait_for_reply(tell_to_end(proxy), timeout=timeout)
    except (AddressError, RecipientGoneError):
        # It was quicker, or the whole application ends.
        return False
    return True


def tell_to_end(proxy: Proxy) -> Message:
    """Have the service of ``proxy`` end, and no successor of that name; return what is answered."""
    pill = {"name": proxy._address, "life": proxy._line.life}
    return proxy._line.finder.process._tell_boss("poison_pill", pill)


@contextmanager
def closing(service: T) -> Iterator[T]:
    """Give ``service``, a proxy, until the ``with`` is over, and close it then.

    The same as ``with`` on the proxy itself, for type checkers, which take it for
    what it stands for.

    >>> from statistics import NormalDist
    >>> from gateway.services import services
    >>> with services() as house, closing(house.start("heights", NormalDist, 170)) as heights:
    ...     heights.mean
    170.0
    """
    proxy = _proxy(service)
    try:
        yield service
    finally:
        end(proxy)


def is_running(service: object) -> bool:
    """Whether the service of the proxy ``service`` goes on, as far as is known here."""
    return _proxy(service)._line.is_alive()


def name_of(service: object) -> str:
    """Return the name of the service of the proxy ``service``."""
    return _proxy(service)._address


def _proxy(service: object) -> Proxy:
    if type(service) is not Proxy:
        raise TypeError(f"{service!r} is no proxy: Services.start and get_proxy return one")
    return service


def _to_ask(terms: Terms) -> Terms:
    """Return the terms on which a question about the service itself is asked."""
    return Terms(timeout=terms.timeout)


def _body(answer: Answer) -> Any:
    return answer.body
