"""Questions and answers of Modbus, encoded and decoded by pymodbus; no byte is moved.

pymodbus (3.8 or newer) knows the PDUs; links, deadlines and states are the
gateway's. A payload here is the slave's number and its PDU, without the CRC.

Refused: an answer that does not fit its question (`ProtocolError`); what a slave
answers with an exception comes out as `RefusedError`, in words.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.modbus_rtu.plan import Batch
from drivers.modbus_rtu.settings import ModbusRegister
from gateway.errors import ProtocolError, RefusedError

try:
    from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
    from pymodbus.pdu.bit_message import (
        ReadCoilsRequest,
        ReadDiscreteInputsRequest,
        WriteMultipleCoilsRequest,
        WriteSingleCoilRequest,
    )
    from pymodbus.pdu.register_message import (
        ReadHoldingRegistersRequest,
        ReadInputRegistersRequest,
        WriteMultipleRegistersRequest,
        WriteSingleRegisterRequest,
    )
except ImportError as error:
    raise ImportError(
        "the driver modbus_rtu needs pymodbus 3.8 or newer: "
        "pip install 'hardware-gateway[modbus]' in the gateway's environment"
    ) from error

_READS: dict[str, type[ModbusPDU]] = {
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
}
_DECODER = DecodePDU(is_server=False)
_REASONS = {
    1: "it does not have this function",
    2: "it has no such address",
    3: "it does not take this value",
    4: "it failed while carrying this out",
    5: "it has accepted this and needs more time",
    6: "it is busy; try again later",
    7: "it cannot carry this out",
    8: "its memory has a parity error",
    10: "the gateway before it has no path to it",
    11: "the gateway before it gets no answer from it",
}
"""Exception codes (Modbus application protocol V1.1b3, 7)."""


def read_request(batch: Batch) -> bytes:
    """Return the question for a batch."""
    kind = _READS[batch.function]
    return _payload(batch.unit_id, kind(address=batch.address, count=batch.count))


def write_request(register: ModbusRegister, words: Sequence[int]) -> bytes:
    """Return the order to hold ``words``."""
    address = register.address
    request: ModbusPDU
    if register.is_bit:
        bits = [bool(word) for word in words]
        single = WriteMultipleCoilsRequest if register.multiple else WriteSingleCoilRequest
        request = single(address=address, bits=bits)
    elif len(words) == 1 and not register.multiple:
        request = WriteSingleRegisterRequest(address=address, registers=list(words))
    else:
        request = WriteMultipleRegistersRequest(
            address=address, registers=list(words), count=len(words)
        )
    return _payload(register.unit_id, request)


def is_answer(request: bytes, payload: bytes) -> bool:
    """Say whether ``payload`` may answer ``request``: the same slave, function and size.

    Modbus RTU numbers no questions, so two reads of one size cannot be told
    apart; an order is repeated with its address and its value or count.
    """
    if len(payload) < 3 or payload[:1] != request[:1] or payload[1] & 0x7F != request[1]:
        return False
    if payload[1] & 0x80:
        return len(payload) == 3
    if request[1] > 4:
        return payload == request[:6]
    count = int.from_bytes(request[4:6], "big")
    return payload[2] == len(payload) - 3 == (2 * count if request[1] > 2 else (count + 7) // 8)


def answer_of(request: bytes, payload: bytes) -> Sequence[int | bool]:
    """Return the words or bits that a payload brings, nothing for an order.

    Raises `RefusedError` where the slave answers with an exception.
    """
    if not is_answer(request, payload):
        raise ProtocolError(f"{payload.hex(' ')} is no answer to {request.hex(' ')}")
    pdu = _DECODER.decode(payload[1:])
    if pdu is None:
        raise ProtocolError(f"{payload.hex(' ')} makes no sense")
    if isinstance(pdu, ExceptionResponse):
        reason = _REASONS.get(pdu.exception_code, f"exception {pdu.exception_code}")
        raise RefusedError(f"unit {payload[0]}: {reason}")
    return [*(pdu.bits if request[1] in (1, 2) else pdu.registers)]


def _payload(unit_id: int, pdu: ModbusPDU) -> bytes:
    return bytes([unit_id, pdu.function_code]) + pdu.encode()
