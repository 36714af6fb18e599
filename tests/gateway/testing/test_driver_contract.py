"""The contract goes red for each sin of a driver's, and says what it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from gateway.device import Driver, Heartbeat, Identity, command
from gateway.errors import CallTimeoutError, ProtocolError
from gateway.framing import Frame, Garbage
from gateway.testing import lockstep
from tests.gateway.testing.lamp import Lamp, LampContract
from tests.gateway.testing.meter import LEVEL, Meter, MeterContract


class TestLamp(LampContract):
    """First of all: a driver that is right is green."""


class TestMeter(MeterContract):
    """So is one of a USB device."""


def contract_of(sinner: type[Driver], **more: Any) -> Any:
    return type("Contract", (LampContract,), {"driver": sinner, **more})()


def test_a_driver_that_stumbles_over_nonsense() -> None:
    class Stumbles(Lamp):
        def received(self, frame: bytes) -> None:
            if frame.startswith(b"LUX"):
                self.publish("brightness", int(frame[4:]))

    with pytest.raises(ValueError, match="invalid literal") as bug:
        contract_of(Stumbles).test_nonsense_is_refused_in_words_or_ignored()
    assert "it was given the frame b'LUX" in bug.value.__notes__[0]
    with pytest.raises(AssertionError, match=r"byte \d+ damaged: its driver raised ValueError"):
        contract_of(Stumbles).test_a_byte_that_is_damaged_anywhere_is_got_over()


def test_a_driver_that_cannot_read_a_damaged_identity() -> None:
    class Trusts(Lamp):
        def handshake(self) -> Identity:
            return Identity(firmware=self.ask(b"ID?", answer=b"ID ").decode().split()[2])

    with pytest.raises(AssertionError, match="its driver raised IndexError"):
        contract_of(Trusts).test_a_byte_that_is_lost_anywhere_is_got_over()


def test_a_driver_that_believes_every_answer() -> None:
    class Believes(Lamp):
        @command
        def level(self) -> int:
            """Read how bright it is."""
            return int(self.ask(b"DIM 40")[4:])

    with pytest.raises(ValueError, match="invalid literal") as bug:
        contract_of(Believes).test_an_answer_that_is_nonsense_is_refused_in_words()
    assert bug.value.__notes__ == ["level({}) was answered with nonsense"]


def test_a_driver_that_publishes_what_it_did_not_declare() -> None:
    class Chatters(Lamp):
        def received(self, frame: bytes) -> None:
            self.publish("heard", frame)

    with pytest.raises(AssertionError, match="'heard', which is not among its publications"):
        contract_of(Chatters).test_it_publishes_what_it_declares()


def test_a_driver_that_publishes_what_does_not_fit() -> None:
    class Misfits(Lamp):
        def received(self, frame: bytes) -> None:
            if frame.startswith(b"LUX"):
                self.publish("brightness", frame[4:].decode())

    with pytest.raises(AssertionError, match="Expected `int`, got `str`"):
        contract_of(Misfits).test_it_publishes_what_it_declares()


def test_a_driver_that_publishes_what_no_letter_carries() -> None:
    class Objects(Lamp):
        def received(self, frame: bytes) -> None:
            self.publish("brightness", object())

    with pytest.raises(AssertionError, match="brightness: body is a object"):
        contract_of(Objects).test_it_publishes_what_it_declares()


def test_a_driver_that_forgets_to_publish() -> None:
    class Silent(Lamp):
        def received(self, frame: bytes) -> None:
            """Nothing."""

    with pytest.raises(AssertionError, match="not heard of within 2 s: brightness"):
        contract_of(Silent).test_it_publishes_what_it_declares()
    contract_of(
        Silent, only_at_times=frozenset({"brightness"})
    ).test_it_publishes_what_it_declares()


class Chunks:
    """Believes that a read is a frame."""

    silence: float | None = None

    def encode(self, payload: bytes, /) -> bytes:
        return payload + b"\n"

    def decoder(self) -> Chunks:
        return self

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        return [Frame(data.strip())] if data else []

    def reset(self) -> None:
        """Nothing is kept."""


def test_a_driver_to_whom_slices_matter() -> None:
    class Slices(Lamp):
        framing = Chunks()

        def handshake(self) -> Identity:
            self.write(b"ID?")
            return Identity(firmware="1")

    with pytest.raises(AssertionError, match="read 1 at a time, the stream means something else"):
        contract_of(Slices).test_every_slicing_of_the_stream_gives_the_same()


def test_a_driver_that_takes_anybody_for_its_board() -> None:
    class Trusts(Lamp):
        def handshake(self) -> Identity:
            return Identity(firmware="1")

    with pytest.raises(AssertionError, match="a stranger was taken for its own"):
        contract_of(Trusts).test_a_board_of_another_kind_fails_with_the_reason()


def test_a_driver_that_believes_in_an_empty_port() -> None:
    class Believes(Lamp):
        heartbeat = None

        def handshake(self) -> Identity:
            return Identity(firmware="1")

    with pytest.raises(AssertionError, match="it is proven, with nobody there"):
        contract_of(Believes).test_a_port_behind_which_nobody_speaks_is_not_believed()


def test_a_driver_whose_heartbeat_is_not_the_boards() -> None:
    class Deaf(Lamp):
        heartbeat = Heartbeat(ping=b"HELLO", every=1.0, patience=3.0)

    with pytest.raises(AssertionError, match="b'HELLO' was not answered"):
        contract_of(Deaf).test_the_heartbeat_is_answered()


def test_a_driver_that_does_not_come_back() -> None:
    class Sulks(Lamp):
        openings = 0

        def handshake(self) -> Identity:
            Sulks.openings += 1
            if Sulks.openings > 3:
                raise CallTimeoutError("I was hurt once")
            return super().handshake()

    contract = contract_of(Sulks)
    with pytest.raises(AssertionError, match="not connected within"):
        contract.test_a_cable_that_is_pulled_at_any_byte_is_noticed_and_plugged_in_again()


def test_a_driver_that_waits_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sleeps(Lamp):
        def handshake(self) -> Identity:
            time.sleep(0.5)
            return super().handshake()

    monkeypatch.setattr(lockstep, "PATIENCE", 0.1)
    with pytest.raises(AssertionError, match="waits by itself"):
        contract_of(Sleeps).test_the_handshake_says_who_is_there()


def test_a_driver_without_a_firmware_version() -> None:
    class Nameless(Lamp):
        def handshake(self) -> Identity:
            return Identity(firmware="", model=self.ask(b"ID?", answer=b"ID").decode())

    with pytest.raises(AssertionError, match="without a firmware version"):
        contract_of(Nameless).test_the_handshake_says_who_is_there()


def test_a_driver_whose_description_is_no_data() -> None:
    class Mystic(Lamp):
        @classmethod
        def describe(cls, identity: Identity | None) -> dict[str, Any]:
            return {**super().describe(identity), "self": (1, 2)}

    with pytest.raises(AssertionError, match="JSON cannot"):
        contract_of(Mystic).test_it_describes_itself_as_data()


def test_a_driver_that_takes_any_settings() -> None:
    class Anything(msgspec.Struct, frozen=True):
        most: int = 90

    class Swallows(Lamp):
        Settings = Anything

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract_of(Swallows).test_settings_that_do_not_fit_are_refused_with_their_names()


def test_a_command_that_returns_something_else() -> None:
    class Lies(Lamp):
        @command
        def dim(self, percent: int) -> bool:
            """Lie."""
            return "done"  # type: ignore[return-value]

    with pytest.raises(pytest.fail.Exception, match=r"dim\(.*\) returned 'done'"):
        contract_of(Lies).test_each_command_takes_what_its_annotations_say()


def test_a_command_that_never_succeeds() -> None:
    class Fails(Lamp):
        @command
        def blink(self) -> None:
            """Ask what nobody answers."""
            self.ask(b"BLINK")

    with pytest.raises(AssertionError, match="blink never succeeds: no answer to b'BLINK'"):
        contract_of(Fails).test_each_command_takes_what_its_annotations_say()


def test_a_command_with_a_bug() -> None:
    class Breaks(Lamp):
        @command
        def divide(self, percent: int) -> float:
            """Divide."""
            self.ask(b"DIM 1")
            return 1 / percent

    with pytest.raises(AssertionError, match="its driver raised ZeroDivisionError"):
        contract_of(Breaks).test_each_command_takes_what_its_annotations_say()


def test_a_command_whose_arguments_nobody_can_make_up() -> None:
    class Picky(Lamp):
        @command
        def christen(self, text: Annotated[str, msgspec.Meta(pattern="^a+b$")]) -> None:
            """Take a name."""
            self.ask(b"DIM 1")

    with pytest.raises(pytest.fail.Exception, match="give some in `arguments`"):
        contract_of(Picky).test_each_command_takes_what_its_annotations_say()
    contract_of(
        Picky, arguments={"christen": [{"text": "aab"}]}
    ).test_each_command_takes_what_its_annotations_say()


def test_a_driver_that_keeps_everything_it_hears() -> None:
    class Hoards(Lamp):
        heard: list[bytes] = []

        def received(self, frame: bytes) -> None:
            self.heard.append(frame + b" ")

    with pytest.raises(AssertionError, match="it grew by"):
        contract_of(Hoards).test_nonsense_is_refused_in_words_or_ignored()


def test_tests_that_cannot_apply_are_not_there() -> None:
    class Unasked(Lamp):
        heartbeat = None

    plain = contract_of(Lamp)
    assert plain.test_the_heartbeat_is_answered is not None
    assert plain.test_over_its_simulator_it_is_the_same is None  # it names no simulator
    assert contract_of(Unasked).test_the_heartbeat_is_answered is None
    assert contract_of(Lamp, packets=True).test_every_slicing_of_the_stream_gives_the_same is None


def test_a_contract_without_a_board_says_what_is_missing() -> None:
    class Bare(LampContract):
        make_board = LampContract.__mro__[1].make_board  # type: ignore[attr-defined]

    with pytest.raises(NotImplementedError, match="return the simulator's board"):
        Bare().test_the_handshake_says_who_is_there()


def test_a_usb_driver_that_believes_every_answer() -> None:
    class Believes(Meter):
        @command
        def level(self) -> Annotated[int, "%"]:
            """Take what comes for a level."""
            return self.control_in(LEVEL, 1)[0]

    contract = type("Contract", (MeterContract,), {"driver": Believes})()
    with pytest.raises(IndexError) as bug:
        contract.test_an_answer_that_is_nonsense_is_refused_in_words()
    assert bug.value.__notes__ == ["level({}) was answered with nonsense"]
    with pytest.raises(AssertionError, match="lost: its driver raised IndexError"):
        contract.test_a_byte_that_is_lost_anywhere_is_got_over()


def test_a_usb_driver_that_waits_for_the_rest_of_its_message_for_ever() -> None:
    class Sulks(Meter):
        def received(self, frame: bytes) -> None:
            if self.expected > 60:
                raise ProtocolError("this is never long enough")
            super().received(frame)

    contract = type("Contract", (MeterContract,), {"driver": Sulks})()
    with pytest.raises(AssertionError, match="it refuses what it took before"):
        contract.test_nonsense_is_refused_in_words_or_ignored()


def test_a_usb_driver_s_simulator_needs_an_opener(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="what opens the simulator's socket"):
        MeterContract().make_opener(tmp_path)
