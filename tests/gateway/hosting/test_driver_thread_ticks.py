"""What a driver does unasked, by its tick, and what it hears without asking, by listening."""

from __future__ import annotations

import pytest

from gateway.clock import RealClock
from gateway.device import Heartbeat, Identity, command
from gateway.errors import LinkLostError, ProtocolError
from tests.gateway.hosting.conftest import Board


class Ticking(Board):
    """Writes one question a tick, at the moments that `due` names."""

    due: list[float | Exception | None] = []

    def tick(self, now: float) -> float | None:
        self.write(b"T")
        due = self.due[min(self.ticks, len(self.due) - 1)]
        self.ticks += 1
        if isinstance(due, Exception):
            raise due
        return None if due is None else now + due

    ticks = 0


class Listening(Board):
    """Is told who is there without asking."""

    patience = 3.0

    def handshake(self) -> Identity:
        frame = self.listen(lambda frame: frame.startswith(b"HELLO "), timeout=self.patience)
        return Identity(firmware=frame.decode().removeprefix("HELLO "))

    @command
    def overhear(self, seconds: float) -> str:
        """Wait for the next frame, whatever it is."""
        return self.listen(lambda frame: True, timeout=seconds).decode()


def test_the_first_tick_follows_the_handshake_and_the_others_come_when_told(make_rig) -> None:
    rig = make_rig(type("Once", (Ticking,), {"due": [0.05, 0.05, None]}))
    link = rig.connect()
    link.wait_written(4)
    assert rig.call("led") == "LED ok"  # its turn came after, and no more ticks did
    assert [data[:1] for data in link.written] == [b"I", b"T", b"T", b"T", b"L"]


def test_a_driver_that_always_has_more_to_do_leaves_turns_to_mail_and_frames(make_rig) -> None:
    rig = make_rig(type("Busy", (Ticking,), {"due": [0.0]}))
    rig.connect()
    for _ in range(5):
        assert rig.call("led") == "LED ok"
        rig.hand(b"hello")
    rig.outside.wait_for(lambda: len(rig.outside.bodies("devices/board/frame")) == 5)


def test_a_tick_that_hears_nonsense_is_counted_and_tried_again_later(make_rig) -> None:
    rig = make_rig(type("Odd", (Ticking,), {"due": [ProtocolError("odd"), None]}))
    began = RealClock().monotonic()
    link = rig.connect()
    link.wait_written(3)
    assert RealClock().monotonic() - began > 0.5
    assert rig.thread.statistics().nonsense == 1
    assert len(rig.opener.links) == 1


def test_a_tick_that_loses_the_link_costs_the_link(make_rig) -> None:
    rig = make_rig(type("Losing", (Ticking,), {"due": [LinkLostError("NO CARRIER")]}))
    rig.thread.start()
    rig.outside.wait_event("board", "disconnected")
    rig.opener.wait_link(2)


def test_a_tick_with_a_bug_fails_the_device_and_not_its_thread(make_rig) -> None:
    rig = make_rig(type("Broken", (Ticking,), {"due": [ZeroDivisionError("in the tick")]}))
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert "in the tick" in rig.cause()
    rig.opener.wait_link(2)


def test_a_board_that_says_who_it_is_is_listened_to(make_rig) -> None:
    rig = make_rig(Listening, handshake_within=5.0)
    rig.thread.start()
    link = rig.opener.wait_link()
    rig.hand(b"noise", b"HELLO 2.1")
    rig.outside.wait_event("board", "connected")
    assert rig.outside.retained["devices/board/info"]["identity"]["firmware"] == "2.1"
    assert link.written == []
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["noise"])


def test_a_board_that_never_says_who_it_is_fails(make_rig) -> None:
    rig = make_rig(type("Hasty", (Listening,), {"patience": 0.2}))
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert "no expected frame within 0.2 s" in rig.cause()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_listening_for_ever_is_misuse(make_rig, seconds: float) -> None:
    rig = make_rig(Listening, handshake_within=5.0)
    rig.thread.start()
    rig.opener.wait_link()
    rig.hand(b"HELLO 1")
    rig.outside.wait_event("board", "connected")
    rig.post("overhear", {"seconds": seconds})
    rig.outside.wait_event("board", "device_error")
    assert "a listener waits for some seconds" in rig.cause()


def test_a_heartbeat_without_a_ping_writes_nothing_and_notices_silence(make_rig) -> None:
    rig = make_rig(heartbeat=Heartbeat(patience=0.2))
    link = rig.connect()
    rig.outside.wait_event("board", "comms_error")
    rig.hand(b"telemetry")
    rig.outside.wait_for(lambda: "healthy" in rig.outside.states("board"))
    assert len(link.written) == 1  # the handshake's question
    assert rig.thread.statistics().pings == 0


def test_without_a_ping_no_frame_is_taken_for_a_pong(make_rig) -> None:
    rig = make_rig(heartbeat=Heartbeat(patience=5.0))
    rig.connect()
    rig.hand(b"P")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["P"])
