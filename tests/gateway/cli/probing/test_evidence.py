"""Which driver is told first."""

from __future__ import annotations

from gateway.cli.probing.evidence import Evidence, as_json, better, ranked
from gateway.device.identity import Identity

BOARD = Identity(firmware="1.0", model="bench", serial_number="")
PROVEN = Evidence(driver="z", identity=BOARD, baud=9600, asked=True)
DECLARED = Evidence(driver="y", looks_like="ID_VENDOR_ID=2341", asked=True, problem="no answer")
HEARD = Evidence(driver="x", frames=9, garbage=1, baud=9600, asked=True, problem="no answer")
NOISY = Evidence(driver="w", frames=1, garbage=9, asked=True, problem="no answer")
NOTHING = Evidence(driver="a", garbage=40, asked=True, problem="no answer to b'ID'")
UNASKED = Evidence(driver="b")


def test_proof_beats_a_declaration_beats_what_was_heard() -> None:
    found = ranked([NOTHING, NOISY, UNASKED, DECLARED, PROVEN, HEARD])
    assert [each.driver for each in found] == ["z", "y", "x", "w", "a", "b"]


def test_noise_alone_speaks_for_nobody() -> None:
    assert [each.speaks for each in (PROVEN, DECLARED, HEARD, NOTHING, UNASKED)] == [
        *(True, True, True),
        *(False, False),
    ]


def test_the_evidence_is_a_sentence() -> None:
    assert PROVEN.said() == "the board identified itself at 9600 baud: firmware 1.0, model bench"
    assert DECLARED.said() == "it is for ID_VENDOR_ID=2341; no answer"
    assert HEARD.said() == "9 whole frames were heard, and 1 damaged at 9600 baud; no answer"
    assert NOTHING.said() == "no answer to b'ID'"
    assert UNASKED.said() == "it was not asked: the time was up, or another had answered"


def test_the_better_finding_of_two_rates_is_kept() -> None:
    assert better(HEARD, PROVEN) is PROVEN
    assert better(PROVEN, HEARD) is PROVEN
    assert better(NOTHING, UNASKED) is NOTHING


def test_the_same_as_data() -> None:
    assert as_json(PROVEN)["identity"]["model"] == "bench"
    assert as_json(NOTHING)["said"] == NOTHING.said()
