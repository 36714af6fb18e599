"""The ground a driver stands on: only in its own thread, only while the link is open."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from gateway.clock import RealClock
from gateway.errors import LinkLostError, RefusedError
from gateway.hosting.host import Host
from gateway.hosting.report import Report
from gateway.hosting.statistics import Statistics
from gateway.testing.fake_link import FakeLink
from gateway.testing.fake_outside import FakeOutside


@pytest.fixture
def host() -> Host:
    outside = FakeOutside()
    return Host("board", outside, Report("board", outside, Statistics(), RealClock()))


@pytest.mark.parametrize(
    "use",
    [
        lambda host: host.ask(b"ID", lambda frame: True, 1.0),
        lambda host: host.ask_many([b"ID"], lambda request, frame: True, 1.0, 1),
        lambda host: host.listen(lambda frame: True, 1.0),
        lambda host: host.write(b"ID"),
        lambda host: host.fault("too hot"),
        lambda host: host.control_link(),
    ],
    ids=["ask", "ask_many", "listen", "write", "fault", "control_link"],
)
def test_without_an_open_link_there_is_nobody_to_talk_to(host: Host, use) -> None:
    with pytest.raises(LinkLostError, match="not open"):
        use(host)


@pytest.mark.parametrize(
    "use",
    [
        lambda host: host.ask(b"ID", lambda frame: True, 1.0),
        lambda host: host.ask_many([b"ID"], lambda request, frame: True, 1.0, 1),
        lambda host: host.listen(lambda frame: True, 1.0),
        lambda host: host.write(b"ID"),
        lambda host: host.publish("frame", 1),
        lambda host: host.fault("too hot"),
        lambda host: host.control_link(),
    ],
    ids=["ask", "ask_many", "listen", "write", "publish", "fault", "control_link"],
)
def test_use_from_another_thread_is_refused(host: Host, use) -> None:
    raised: list[BaseException] = []

    def trespass() -> None:
        try:
            use(host)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=trespass)
    thread.start()
    thread.join(5.0)
    assert "another thread" in str(raised[0])


def test_a_link_without_a_control_endpoint_is_refused_with_the_route_to_use(host: Host) -> None:
    session = SimpleNamespace(link=FakeLink())
    host.session = session  # type: ignore[assignment]
    with pytest.raises(RefusedError, match=r"board has no control endpoint: .* route .* usb"):
        host.control_link()
    session.link.close()
