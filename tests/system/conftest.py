"""The whole gateway in its real surroundings, and the figures that were measured there.

`bench` is the usual scene: real firmware in an emulator behind a stable link,
a real mosquitto, the installed gateway between them, and a foreign subscriber
who hears how the board is. Whatever fails shows the gateway's log.

What a test measures it hands to `measured`; it is printed at the session's
end, beside the limit that it must keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench import Bench, settled
from tests.lab.gateway_process import GatewayProcess
from tests.lab.mosquitto import Mosquitto
from tests.lab.simavr import AvrBuild, Simavr, avr_build

__all__ = ["avr_build"]

AT_ONCE = ["set_tcp_nodelay true"]
"""For the broker: otherwise its second packet to a client waits 40 ms for the first one's ACK."""

FIGURE = "figure"
"""The name under which a test's report carries a figure, also from a worker."""

Measured = Callable[..., None]
"""``measured(what, value, limit=…, unit="s")``: note a figure; fail where it is over."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show what the gateway and the broker said where a test failed."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Bench):
                report.sections.append(("gateway", "\n".join(value.gateway.log[-200:])))
                said = [line for line in value.broker.log if "/analogue" not in line]
                report.sections.append(("broker", "\n".join(said[-40:])))
            elif isinstance(value, GatewayProcess):
                report.sections.append(("gateway", "\n".join(value.log[-200:])))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures."""
    figures = [
        figure
        for kind in ("passed", "failed")
        for report in terminalreporter.getreports(kind)
        for name, figure in report.user_properties
        if report.when == "call" and name == FIGURE
    ]
    if figures:
        terminalreporter.write_sep("-", "measured on the running gateway")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture
def measured(record_property: Callable[..., None]) -> Measured:
    """Return what notes a figure, and holds it against its limit."""

    def note(what: str, value: float, *, limit: float | None = None, unit: str = "s") -> None:
        line = f"{what}: {value:.4g} {unit}" + (f" (limit {limit:g} {unit})" if limit else "")
        record_property(FIGURE, line)
        record_property(what, f"{value:.6g}")
        assert limit is None or value <= limit, line

    return note


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    """A mosquitto that runs and admits everybody."""
    with Mosquitto(lines=AT_ONCE) as broker:
        yield broker


@pytest.fixture
def board(avr_build: AvrBuild, tmp_path: Path) -> Iterator[Simavr]:
    """A board that is not plugged in yet; its analogue input sees 2.5 V."""
    board = Simavr(avr_build, tmp_path / "board", millivolts=2500)
    yield board
    board.close()


@pytest.fixture
def bench(broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The usual scene; the board is plugged in, and the broker was told that it is healthy."""
    board.start()
    with settled(tmp_path, broker, board) as bench:
        yield bench
