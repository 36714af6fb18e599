"""The process in which one object lives that others see through a proxy.

It is added by `Services.start`, waits in its birth for the letter that says what the
constructor is called with, makes the object, serves it, and answers. By letter,
since so the arguments may be what the arguments of any call may be, of any size, and
what the constructor raises is raised where the service was started. Where nobody
writes that letter or hears its answer, since whoever wanted the service died
meanwhile, it ends.

The object is made, and called unless there are workers, on the main thread of its
OS process. Where its class is a context manager it is entered, and left when the
service ends. An end that takes longer than the service's ``grace`` is cut short by
the kernel, whatever hangs.

Refused: to be asked for anything before the object is made (`RefusedError`).
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.config.qualname import named
from gateway.errors import (
    CallTimeoutError,
    ConfigError,
    RecipientGoneError,
    RefusedError,
    in_words,
)
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.handler import arguments
from gateway.rpc.references import MARK, found_in
from gateway.rpc.serving import serve
from gateway.services import inside
from gateway.services.home import home_of
from gateway.services.object_api import ObjectApi
from gateway.services.proxy import ABOUT

log = logging.getLogger(__name__)

HASTE = 0.1
"""Seconds that it has to end while there is no object yet, with affairs of its own."""


class ServiceHost(Process):
    """Makes one object and serves it; added by `Services.start`, not subclassed."""

    _api: ObjectApi | None = None
    _made: Message | None = None

    def birth(self) -> None:
        """Make the object, once it is told with what."""
        # Whoever was there before, such as a test's deadline, has its own idea of it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._home = home_of(self)
        self.add_filter(subject=rf"^\{ABOUT}\Z", route="", callback=self._on_question)
        until = self._clock.monotonic() + self.parameters["within"]
        while self._api is None:
            left = until - self._clock.monotonic()
            if left <= 0 or not self.is_active:
                log.info("nobody says what %s is to be made with: it ends", self.name)
                raise SystemExit
            self.mailman(left)
        self.call_soon(self._answer_made)

    def death(self) -> None:
        """Leave the object, where that can be left."""
        inside.leave()
        target: Any = None if self._api is None else self._api.target
        if _is_context(target):
            type(target).__exit__(target, None, None, None)

    def die(self) -> None:
        """End soon; what does not is ended by the kernel, which needs no thread of ours."""
        if self.is_active:
            grace = HASTE if self._api is None else self.parameters["grace"]
            signal.setitimer(signal.ITIMER_REAL, grace)
        super().die()

    def _on_question(self, message: Message) -> None:
        body = {} if message.body is None else message.body
        if not isinstance(body, dict):
            raise RefusedError(f"{ABOUT} is asked by name, not with {type(body).__name__}")
        if "make" in body:
            self._make(message)
        elif self._api is None:
            raise RefusedError(f"{self.name!r} is not made yet")
        elif "kind_of" in body:
            self.reply(message, self._api.kind_of(str(body["kind_of"])))
        elif "functions" in body:
            self.reply(message, sorted(self._api.functions()))
        else:
            self.reply(message, self._about())

    def _about(self) -> dict[str, Any]:
        assert self._api is not None
        return {"class": self.parameters["class"], "kinds": self._api.kinds()}

    def _make(self, message: Message) -> None:
        if self._api is not None:
            raise RefusedError(f"{self.name!r} is made already")
        given = message.body["make"] or {}
        if not isinstance(given, dict):
            raise RefusedError(f"arguments come by name, not as {type(given).__name__}")
        api = ObjectApi()
        inside.enter(api, partial(self._home.proxy_of, self.name, self._box.incarnation))
        try:
            if given.pop(MARK, False):
                given = found_in(given, self._home.find)
            args, kwargs = arguments(given)
            target = self._factory()(*args, **kwargs)
            if target is None:
                raise RefusedError(
                    f"{self.parameters['class']!r} returned nothing: it is to return the object"
                )
            api.embody(target)
            if _is_context(target):
                type(target).__enter__(target)
        except Exception as bug:  # noqa: BLE001 - whoever starts it is told
            log.warning("%s could not be made: %s", self.name, in_words(bug))
            self.bounce(message, as_gateway_error(bug))
            raise SystemExit from None
        workers, waiting = self.parameters["workers"], self.parameters["waiting"]
        serve(self, api, workers=workers, waiting=waiting)
        self._api, self._made = api, message
        self._home.own = (self.name, self._box.incarnation, target)

    def _factory(self) -> Callable[..., Any]:
        name = self.parameters["class"]
        try:
            found: Callable[..., Any] = named(name)
        except ConfigError as error:
            # Whoever starts it has looked for itself.
            raise ConfigError(
                f"{error}; what came after the application had begun is not in its processes:"
                " have it there before"
            ) from error
        return found

    def _answer_made(self) -> None:
        assert self._made is not None
        with contextlib.suppress(CallTimeoutError):
            # Once the boss answers it has heard that this lives: who is told of it lists it.
            self.process_names()
        try:
            self.reply(self._made, self._about())
        except RecipientGoneError:
            log.info(
                "whoever started %s died meanwhile, and nobody knows of it: it ends", self.name
            )
            self.die()


def _is_context(target: object) -> bool:
    kind = type(target)
    return hasattr(kind, "__enter__") and hasattr(kind, "__exit__")
