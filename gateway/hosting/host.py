"""The ground a driver stands on: its questions, frames and topics, from its own thread.

A driver is made before its link is open and may outlive it by a moment; until
then, and after, everything that needs a link raises `LinkLostError`.

Refused: every call from another thread (`RuntimeError`): outside its thread
only mail enters a driver.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Sequence

from gateway.device.link_state import LinkEvent
from gateway.device.usb import ControlLink
from gateway.errors import LinkLostError, RefusedError
from gateway.hosting.outside import Outside
from gateway.hosting.report import Report
from gateway.hosting.session import Session


class Host:
    """The `DriverHost` of one driver object; made by the thread that serves it."""

    def __init__(self, name: str, outside: Outside, report: Report) -> None:
        self.session: Session | None = None
        """The open link; the driver thread sets it and takes it away."""
        self._prefix = f"devices/{name}/"
        self._name = name
        self._outside = outside
        self._report = report
        self._owner = get_ident()

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request`` and return the frame that answers it; see `Session.ask`."""
        session = self.session
        if session is None or get_ident() != self._owner:
            session = self._open_session()
        return session.ask(request, answers, timeout)

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Return the next frame that ``answers`` accepts; see `Session.listen`."""
        return self._open_session().listen(answers, timeout)

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Write ``requests`` and return their answers; see `Session.ask_many`."""
        return self._open_session().ask_many(requests, answers, timeout, in_flight)

    def write(self, payload: bytes) -> None:
        """Write one frame."""
        self._open_session().write(payload)

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Publish under ``devices/<name>/``; raises what the house raises."""
        self._check_thread()
        self._outside.publish(self._prefix + topic, body, retain=retain)

    def fault(self, cause: str) -> None:
        """Tell the house that the board reports a fault."""
        self._open_session()
        self._report.happened(LinkEvent.FAULT, cause)

    def control_link(self) -> ControlLink:
        """Return the open link of a USB device; `RefusedError` where it is another kind's."""
        link = self._open_session().link
        if not isinstance(link, ControlLink):
            raise RefusedError(
                f"{self._name} has no control endpoint: put it on a route of the type usb"
            )
        return link

    def _open_session(self) -> Session:
        self._check_thread()
        if self.session is None:
            raise LinkLostError(f"the link to {self._name} is not open")
        return self.session

    def _check_thread(self) -> None:
        if get_ident() != self._owner:
            raise RuntimeError(
                f"the driver of {self._name} was used from another thread; send it mail instead"
            )
