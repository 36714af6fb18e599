"""Questions and answers: what fits, what a slave refuses, what is nonsense."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

from drivers.modbus_rtu import pdus
from drivers.modbus_rtu.framing import RtuAnswers
from drivers.modbus_rtu.plan import alone
from drivers.modbus_rtu.settings import ModbusRegister
from gateway.errors import ProtocolError, RefusedError

ROOT = Path(__file__).parents[3]
HOLDING = pdus.read_request(alone("a", ModbusRegister(address=107, unit_id=17, type="uint32")))


@pytest.mark.parametrize(
    ("keys", "words", "expected"),
    [
        ({"address": 107}, None, "01 03 00 6b 00 01"),
        ({"address": 8, "function": "input", "type": "float32"}, None, "01 04 00 08 00 02"),
        ({"address": 19, "function": "coil", "unit_id": 17}, None, "11 01 00 13 00 01"),
        ({"address": 196, "function": "discrete"}, None, "01 02 00 c4 00 01"),
        ({"address": 1, "writable": True}, [3], "01 06 00 01 00 03"),
        ({"address": 1, "multiple": True}, [3], "01 10 00 01 00 01 02 00 03"),
        ({"address": 1, "type": "uint32"}, [10, 258], "01 10 00 01 00 02 04 00 0a 01 02"),
        ({"address": 172, "function": "coil"}, [1], "01 05 00 ac ff 00"),
        ({"address": 172, "function": "coil"}, [0], "01 05 00 ac 00 00"),
        ({"address": 19, "function": "coil", "multiple": True}, [1], "01 0f 00 13 00 01 01 01"),
    ],
)
def test_questions_are_those_of_the_standard(keys, words, expected: str) -> None:
    register = ModbusRegister(**keys)
    if words is None:
        assert pdus.read_request(alone("a", register)).hex(" ") == expected
    else:
        assert pdus.write_request(register, words).hex(" ") == expected


def test_frames_are_those_of_pymodbus() -> None:
    pdu = DecodePDU(is_server=True).decode(HOLDING[1:])
    assert pdu is not None
    pdu.dev_id = 17
    assert FramerRTU(DecodePDU(is_server=True)).buildFrame(pdu) == RtuAnswers().encode(HOLDING)


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ("11 03 04 00 01 00 02", True),
        ("11 83 02", True),
        ("12 03 04 00 01 00 02", False),
        ("11 04 04 00 01 00 02", False),
        ("11 03 02 00 01", False),
        ("11 03 04 00 01", False),
        ("11 84 02", False),
    ],
)
def test_an_answer_has_the_slave_the_function_and_the_size_of_its_question(
    answer: str, fits: bool
) -> None:
    assert pdus.is_answer(HOLDING, bytes.fromhex(answer)) is fits


def test_an_order_is_answered_by_its_own_repetition() -> None:
    order = pdus.write_request(ModbusRegister(address=1), [3])
    assert pdus.is_answer(order, order)
    assert not pdus.is_answer(order, bytes.fromhex("01 06 00 01 00 04"))
    many = pdus.write_request(ModbusRegister(address=1, type="uint32"), [3, 4])
    assert pdus.is_answer(many, bytes.fromhex("01 10 00 01 00 02"))


def test_words_and_bits_come_out_of_answers() -> None:
    assert pdus.answer_of(HOLDING, bytes.fromhex("11 03 04 00 01 ff ff")) == [1, 65535]
    coil = pdus.read_request(alone("a", ModbusRegister(address=0, function="coil")))
    assert pdus.answer_of(coil, bytes.fromhex("01 01 01 01"))[0] is True


@pytest.mark.parametrize(
    ("code", "words"), [(2, "no such address"), (6, "busy"), (99, "exception 99")]
)
def test_an_exception_is_a_refusal_in_words(code: int, words: str) -> None:
    with pytest.raises(RefusedError, match=f"unit 17: .*{words}"):
        pdus.answer_of(HOLDING, bytes([17, 0x83, code]))


@given(payload=st.binary(min_size=3, max_size=254))
def test_any_frame_is_an_answer_or_an_error_of_ours(payload: bytes) -> None:
    for request in (HOLDING, payload[:1] + b"\x03\x00\x00\x00" + payload[2:3]):
        try:
            pdus.answer_of(request, payload)
        except (ProtocolError, RefusedError):
            pass


def test_without_pymodbus_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['pymodbus'] = None; import drivers.modbus_rtu.driver"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'hardware-gateway[modbus]'" in done.stderr
