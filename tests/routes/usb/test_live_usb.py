"""A live USB device under the real libusb: every kind of transfer, and every way it can end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.metronome import Metronome
from tests.lab.live_usb import LiveUsb, UsbBus
from tests.routes.usb import live_scenes

pytestmark = pytest.mark.needs("umockdev")

IDLE_SHARE = 0.01
"""Of a core, that an idle device may cost."""
LATENESS = 0.005
"""Seconds from the end of a transfer to `received`."""
WAKE_UPS = 4
"""Of sleepers on that way, each as late as the machine is: libusb, the emulator that it asks
for the transfer, libusb again, the driver's thread."""


@pytest.fixture
def live() -> Iterator[LiveUsb]:
    with LiveUsb() as live:
        yield live


@pytest.mark.parametrize(
    "scene",
    [
        live_scenes.bytes_and_control,
        live_scenes.packets_stay_apart,
        live_scenes.nobody_reads,
        live_scenes.stalls,
        live_scenes.time_runs_out,
        live_scenes.unplugged_in_every_transfer,
        live_scenes.pulled_before_it_is_opened,
        live_scenes.no_key_is_lost_between_two_reads,
        live_scenes.kernel_driver,
        live_scenes.configuration,
        live_scenes.reset_on_request,
        live_scenes.alternate_setting,
        live_scenes.without_a_read_endpoint,
        live_scenes.big_transfers,
        live_scenes.lies,
        live_scenes.keyboard_interface,
        live_scenes.hosted_driver,
    ],
    ids=lambda scene: scene.__name__,
)
def test_a_live_device(live: LiveUsb, scene: Callable[[UsbBus], None]) -> None:
    live.play(scene)


@pytest.mark.alone
def test_an_idle_device_costs_hardly_any_cpu(
    live: LiveUsb, record_property: Callable[..., None]
) -> None:
    share = live.play(live_scenes.idle_cost, 5.0)["share"]
    record_property("share of a core while idle", share)
    assert share <= IDLE_SHARE


@pytest.mark.alone
def test_a_transfer_reaches_the_driver_within_milliseconds(
    live: LiveUsb, record_property: Callable[..., None]
) -> None:
    metronome = Metronome()
    try:
        late = live.play(live_scenes.lateness, 300)
        idle = metronome.stop()
    finally:
        metronome.close()
    p50, p99, machine = hundredth(late, 50), hundredth(late, 99), hundredth(idle, 99)
    figures = f"p50 {p50:.6f}, p99 {p99:.6f}; an idle program on this machine: p99 {machine:.6f}"
    record_property("seconds from transfer to received", figures)
    assert p50 <= LATENESS, figures
    assert p99 <= LATENESS + WAKE_UPS * machine, figures


def hundredth(seconds: list[float], which: int) -> float:
    """Return what ``which`` of 100 keep."""
    return sorted(seconds)[len(seconds) * which // 100]
