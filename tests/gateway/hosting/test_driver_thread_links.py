"""Links that are given to somebody else, and links that have several ways to be spoken to."""

from __future__ import annotations

import threading

from gateway.device.link import Link
from gateway.errors import LinkTakenError
from gateway.testing.fake_link import FakeLink, answering
from tests.gateway.hosting.conftest import ANSWERS, FRAMING, MakeRig, Rig


class Winding(FakeLink):
    """A link that is understood in its third way, and hears noise in the others."""

    ways = 3

    def __init__(self) -> None:
        super().__init__()
        self.way = 0
        self.found = threading.Event()
        self._answers = answering(FRAMING, ANSWERS)

    @property
    def tried(self) -> str:
        return f"{self.way + 1} ways"

    def try_next_way(self) -> None:
        self.way += 1

    def proven(self) -> None:
        self.found.set()

    def write(self, data: bytes) -> None:
        super().write(data)
        # Half a frame of noise would spoil the next answer, were it not forgotten.
        self.hand(self._answers(data) if self.way == 2 else b"\x80\xff noise")


def test_each_question_goes_out_in_another_way_until_one_is_answered(make_rig: MakeRig) -> None:
    rig = make_rig(handshake_within=5.0, question_seconds=0.02)
    links: list[Winding] = []

    def wind() -> FakeLink:
        links.append(Winding())
        return links[-1]

    rig.opener.make = wind
    rig.connect()
    (link,) = links
    assert link.way == 2
    assert link.found.is_set()
    assert len(link.written) == 3


def test_every_way_has_the_time_of_a_handshake_and_the_cause_says_what_was_tried(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(handshake_within=0.1, question_seconds=0.02)

    class Deaf(Winding):
        def hand(self, data: bytes) -> None:
            """Say nothing."""

    rig.opener.make = Deaf
    rig.thread.start()
    rig.outside.wait_for(lambda: "no handshake within 0.3 s at" in rig.cause())
    assert "ways" in rig.cause()


def test_a_port_that_was_given_away_is_present_with_the_reason_and_no_failure(rig: Rig) -> None:
    taken = threading.Event()
    rig.connect()

    def given_away() -> Link:
        taken.set()
        raise LinkTakenError("in the remote hands of 10.0.0.7:4711")

    opens = rig.opener.__call__
    rig.thread._berth._opener = given_away
    rig.link.break_()
    assert taken.wait(5.0)
    rig.outside.wait_for(lambda: "remote hands" in rig.cause())
    state = rig.outside.retained["devices/board/state"]
    assert (state["state"], state["connected"]) == ("present", False)
    assert rig.thread.statistics().failures == 0
    rig.thread._berth._opener = opens
    rig.outside.wait_for(lambda: rig.thread.state.connected)


def test_a_port_that_is_taken_from_the_first_is_present(make_rig: MakeRig) -> None:
    rig = make_rig()

    def given_away() -> Link:
        raise LinkTakenError("in the remote hands of 10.0.0.7:4711")

    rig.thread._berth._opener = given_away
    rig.thread.start()
    rig.outside.wait_for(lambda: "remote hands" in rig.cause())
    assert rig.thread.state.value == "present"
