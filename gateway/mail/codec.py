"""Letters as bytes: msgpack between our own processes, JSON for everybody else.

msgpack is compact and keeps bytes and times apart; nothing in it can run
code, as a pickle could. JSON is what programs outside read: bytes become
``{"$bytes": base64}``, times become RFC 3339 text.

Refused: NaN and infinities in JSON (RFC 8259 has none), JSON integers of more
than 64 bits, whatever is no letter at all (`ProtocolError`).
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.errors import BodyError, ProtocolError
from gateway.mail.body import checked, restored
from gateway.mail.message import Message

_letter_encoder = msgspec.msgpack.Encoder()
_letter_decoder = msgspec.msgpack.Decoder(Message)
_body_decoder = msgspec.msgpack.Decoder()

encode = _letter_encoder.encode
"""Return a letter, or a body alone, as msgpack bytes."""

encode_into = _letter_encoder.encode_into
"""Write a letter as msgpack bytes into a bytearray, which then has their length."""

unpack = _letter_decoder.decode
"""Return a letter whose body is yet to be restored, or raise what `BROKEN` holds."""

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(data: bytes | memoryview) -> Message:
    """Return the letter in ``data``; raise `ProtocolError` where there is none."""
    try:
        message = unpack(data)
        if not message.body_type:
            return message
        return replace(message, body=restored(message.body, message.body_type))
    except (*BROKEN, BodyError) as error:
        raise ProtocolError(f"{len(data)} bytes that are no letter: {error}") from error


def decode_body(data: bytes, body_type: str) -> Any:
    """Return the body in ``data`` that travelled apart; raise `ProtocolError` for none."""
    try:
        body = _body_decoder.decode(data)
        return restored(body, body_type) if body_type else body
    except (*BROKEN, BodyError) as error:
        raise ProtocolError(f"{len(data)} bytes that are no body: {error}") from error


def to_json(value: Any) -> bytes:
    r"""Return ``value``, a body or a Struct, as JSON.

    >>> to_json({"raw": b"\x00\xff"})
    b'{"raw":{"$bytes":"AP8="}}'
    """
    try:
        return msgspec.json.encode(_outward(value, "body"))
    except UnicodeEncodeError as error:
        raise BodyError(f"body holds text that is no Unicode: {error}") from error


def from_json(data: bytes | str) -> Any:
    """Return the body in ``data``; raise `BodyError` that says what is wrong.

    >>> from_json(b'{"raw":{"$bytes":"AP8="}}')
    {'raw': b'\\x00\\xff'}
    """
    try:
        value = _inward(msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(f"no JSON: {error}") from error
    except RecursionError as error:
        raise BodyError("no JSON that anybody would read: nested too deep") from error
    return checked(value)[0]


def to_json_line(message: Message) -> bytes:
    """Return ``message`` as one line of JSON with its newline, headers by name."""
    fields: dict[str, Any] = {
        name: value
        for name in message.__struct_fields__
        if (value := getattr(message, name)) is not None and value is not False and value != ""
    }
    fields["body"] = message.body
    return to_json(fields) + b"\n"


def _outward(value: Any, where: str) -> Any:
    kind = type(value)
    if kind is float:
        if math.isfinite(value):
            return value
        raise BodyError(f"{where} is {value}: JSON has no such number")
    if kind is bytes:
        return {"$bytes": b64encode(value).decode("ascii")}
    if kind is dict:
        return {key: _outward(item, f"{where}[{key!r}]") for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_outward(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, msgspec.Struct):
        return _outward(msgspec.to_builtins(value, builtin_types=(bytes, datetime)), where)
    return value


def _inward(value: Any) -> Any:
    if type(value) is dict:
        if len(value) == 1 and type(text := value.get("$bytes")) is str:
            try:
                return b64decode(text, validate=True)
            except ValueError as error:
                raise BodyError(f"$bytes holds no base64: {error}") from error
        return {key: _inward(item) for key, item in value.items()}
    if type(value) is list:
        return [_inward(item) for item in value]
    return value
