"""The part of a driver's contract that is about the wire: slices, losses, noise, silence.

Something happens at each byte of the conversation, once a time; then the device
must be connected again, with nothing worse than a frame less. See
`gateway.testing.driver_contract`, which is what a driver's test subclasses.

Refused, with the byte at which it happened: a driver to whom slices matter, that
stumbles, that does not come back, or that holds up the end of the gateway.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from math import inf
from random import Random
from typing import Any

from gateway.device.link_state import LinkState
from gateway.testing.contract_ground import SOON, ContractGround
from gateway.testing.virtual_device import NAME, STEP

PLACES = 200
"""Bytes of the conversation at which something happens; a longer one is sampled evenly."""


class WireContract(ContractGround):
    """What a driver bears of its wire, and of a board that hangs at the end of it."""

    # -- the wire ----------------------------------------------------------

    def test_every_slicing_of_the_stream_gives_the_same(self) -> None:
        random = Random(5)
        whole = self._record(None)
        for name, slices in {
            **{f"{size} at a time": itertools.repeat(size) for size in (1, 2, 3, 7)},
            "random pieces": iter(lambda: random.randint(1, 9), 0),
        }.items():
            assert self._record(slices) == whole, f"read {name}, the stream means something else"

    def test_a_byte_that_is_lost_anywhere_is_got_over(self) -> None:
        self._happens_at_each_byte("lost", lambda byte: b"")

    def test_a_byte_that_is_damaged_anywhere_is_got_over(self) -> None:
        random = Random(7)
        self._happens_at_each_byte(
            "damaged", lambda byte: bytes([byte[0] ^ 1 << random.randrange(8)])
        )

    def test_noise_before_any_byte_is_got_over(self) -> None:
        random = Random(9)
        self._happens_at_each_byte("after noise", lambda byte: random.randbytes(40) + byte)

    def test_a_cable_that_is_pulled_at_any_byte_is_noticed_and_plugged_in_again(self) -> None:
        for place in self._places():
            with self.device(f"pulled at byte {place}") as device:
                device.wire.pulled_at = place
                self._converse(device)
                if not device.wire.plugged:
                    device.run(1.0)
                    assert device.state in (LinkState.ABSENT, LinkState.FAILED), (
                        f"pulled at byte {place}, it is {device.state}: {device.thread.cause}"
                    )
                    device.wire.plug()
                self._connect(device)
                events = device.outside.events(NAME)
                assert events.count("connected") - events.count("disconnected") == 1

    def test_a_board_that_hangs_at_any_byte_costs_no_more_than_its_answers(self) -> None:
        for place in self._places(20):
            with self.device(f"hung at byte {place}") as device:
                device.wire.mute_at = place
                self._converse(device)
                device.wire.mute = False
                device.wire.mute_at = inf
                self._connect(device)

    def test_it_lets_go_at_any_moment(self) -> None:
        for place in self._places():
            with self.device(f"stopped at byte {place}") as device:
                device.wire.mute_at = place
                self._start_conversing(device)
                device.stop()
                assert not device.state.connected
                assert device.is_settled(), f"stopped at byte {place}, mail is unaccounted for"

    # -- the heartbeat -----------------------------------------------------

    def test_the_heartbeat_is_answered(self) -> None:
        with self.device() as device:
            self._connect(device)
            heartbeat = device.driver.heartbeat
            assert heartbeat is not None
            device.run(heartbeat.every * 5)
            assert device.outside.events(NAME).count("pong") >= 4, (
                f"{heartbeat.ping!r} was not answered by {heartbeat.answer!r}"
            )
            assert "stale" not in device.outside.states(NAME)

    def test_a_hung_board_is_noticed_by_its_heartbeat_and_believed_again(self) -> None:
        with self.device() as device:
            self._connect(device)
            heartbeat = device.driver.heartbeat
            assert heartbeat is not None
            device.wire.mute = True
            device.run(heartbeat.patience + STEP)
            assert device.outside.states(NAME)[-1] == "stale", "a hung board is not stale"
            device.run(heartbeat.patience + STEP)
            assert "comms_error" in device.outside.events(NAME), "nobody was told of it"
            device.wire.mute = False
            healthy = device.run_until(lambda: device.state is LinkState.HEALTHY, SOON)
            assert healthy, "it is back, and not believed"

    # -- how it is done ----------------------------------------------------

    def _record(self, slices: Iterator[int] | None) -> tuple[Any, ...]:
        with self.device() as device:
            device.wire.slices = slices
            answers = self._converse(device)
            return answers, device.publications(), device.outside.states(NAME)

    def _places(self, most: int = PLACES) -> list[int]:
        """Return numbers of bytes of the conversation: each, or ``most`` of them."""
        with self.device() as device:
            self._converse(device)
            said = device.wire.said
        assert said, "the board has said nothing in the whole conversation"
        return list(range(said)) if said <= most else [said * at // most for at in range(most)]

    def _happens_at_each_byte(self, what: str, damage: Callable[[bytes], bytes]) -> None:
        for place in self._places():
            with self.device(f"byte {place} {what}") as device:
                device.wire.damage = (place, damage)
                self._converse(device)
                self._connect(device)
