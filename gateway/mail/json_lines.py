r"""Requests and answers as JSON lines, whoever speaks them: a program outside, or a client.

A request is an object with an ``op`` and, where an answer is wanted, an ``id``
that comes back with it::

    {"op":"send","id":3,"to":"board@serial","subject":"led"}
    {"id":3,"ok":true,"body":null}
    {"id":3,"ok":false,"error":{"code":"link_lost","reason":"…"}}

What operations there are is said by a union of structs, tagged by ``op``.
Sans-I/O. Refused, as a `Refusal` that says why: what is no JSON object, unknown
operations and keys, wrong types.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gateway.errors import BodyError, GatewayError, ProtocolError, described
from gateway.mail.body import checked
from gateway.mail.codec import from_json, to_json

Id = int | Annotated[str, Meta(max_length=64)] | None
"""What a request may bear, and its answer bears again."""

REASON = 4096
"""Characters that the reason of a failure may have; a reason may quote anything."""

T = TypeVar("T")


class Refusal(msgspec.Struct, frozen=True):
    """A line that is no request, and why; ``id`` where one could be read."""

    id: Id
    error: GatewayError


def parse(line: bytes, requests: type[T], *, example: str, operations: str = "") -> T | Refusal:
    """Return the one of ``requests`` that stands in ``line``, or why there is none.

    ``example`` is shown to whoever wrote no object, ``operations`` to whoever
    wrote an unknown one.

    >>> class Die(msgspec.Struct, frozen=True, tag_field="op", tag="die"):
    ...     id: Id = None
    >>> parse(b'{"op":"die","id":7}', Die, example="")
    Die(id=7)
    >>> str(parse(b"5", Die, example='{"op":"die"}').error)
    'no request: write an object, like {"op":"die"}'
    >>> parse(b'{"op":"die","id":7,"body":{"$bytes":"!"}}', Die, example="").id
    7
    """
    try:
        said = from_json(line)
    except BodyError as error:
        return Refusal(_id_in(line), ProtocolError(f"no request: {error}"))
    if not isinstance(said, dict):
        return Refusal(None, ProtocolError(f"no request: write an object, like {example}"))
    try:
        return msgspec.convert(said, requests)
    except msgspec.ValidationError as error:
        hint = f"; op is {operations}" if operations and "op`" in str(error) else ""
        return Refusal(id_of(said), ProtocolError(f"no request: {error}{hint}"))


def id_of(said: dict[str, Any]) -> Id:
    """Return the id that the request ``said`` bears; None where no answer could bear it."""
    try:
        found: Id = checked(msgspec.convert(said.get("id"), Id))[0]
    except (msgspec.ValidationError, BodyError):
        return None
    return found


class _Bearer(msgspec.Struct):
    """What is read of a request whose body no letter carries."""

    id: Any = None


_bearer_decoder = msgspec.json.Decoder(_Bearer)


def _id_in(line: bytes) -> Id:
    try:
        return id_of({"id": _bearer_decoder.decode(line).id})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def done(id: Id, **told: Any) -> bytes:
    r"""Return the line that says that the request ``id`` was done; raise `BodyError` for no JSON.

    >>> done(1, body={"raw": b"ok"})
    b'{"id":1,"ok":true,"body":{"raw":{"$bytes":"b2s="}}}\n'
    """
    return to_json({"id": id, "ok": True, **told}) + b"\n"


def failure(id: Id, error: GatewayError) -> bytes:
    r"""Return the line that says why ``id`` failed.

    >>> failure(None, ProtocolError("no request"))
    b'{"id":null,"ok":false,"error":{"code":"protocol","reason":"no request"}}\n'
    """
    told = {**described(error), "reason": reason_of(error)}
    return to_json({"id": id, "ok": False, "error": told}) + b"\n"


def reason_of(error: GatewayError) -> str:
    """Return why, as JSON can hold it: half a surrogate pair cannot be written."""
    return str(error).encode("utf-8", "replace").decode()[:REASON]
