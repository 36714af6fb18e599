"""Calls that come over MQTT, and their answers: from bytes to meaning and back.

A call is a message to ``gateway/<node>/devices/<device>/<command>/call``. Its
payload is one of:

- nothing at all: a command without arguments;
- a JSON object without the key ``args``: the arguments themselves,
  ``{"on": true}``;
- a JSON object with the key ``args``: an envelope, which may bear an ``id``
  beside them and nothing else, ``{"args": {"on": true}, "id": 7}``. A command
  that has a parameter called ``args`` is called through an envelope.

The answer goes to MQTT 5's response topic with the caller's correlation data,
or else to ``…/<command>/reply``, where an ``id`` (text or a 64-bit integer)
tells callers apart::

    {"ok": true, "result": null, "id": 7}
    {"ok": false, "error": {"code": "refused", "reason": "…"}, "id": 7}

``id`` is there where the call bore one. Codes are those of `gateway.errors`.

A call is carried out at least once: a client that publishes it again, because
it did not see its own acknowledgement, has it carried out again. What the
*broker* sends again (the DUP flag) is left out, since a connection of ours
always begins clean and so has already brought the first copy.

Pure. Nothing raises for what came from outside: it becomes a `Refusal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from gateway.errors import BodyError, GatewayError
from gateway.mail.body import DEPTH
from gateway.mail.codec import from_json, to_json
from routes.mqtt.arguments import problem_with
from routes.mqtt.incoming import Incoming
from routes.mqtt.topics import Topics

Kind = Literal[
    "not_a_call",
    "duplicate",
    "stale",
    "response_topic",
    "too_large",
    "too_deep",
    "no_json",
    "no_object",
    "envelope",
    "unknown_device",
    "unknown_command",
    "arguments",
    "not_allowed",
    "busy",
    "undeliverable",
    "failed",
    "timeout",
]
"""What a refusal is counted as; its code is what the caller is told."""

_ID_LIMIT = 128


class ReplyTo(msgspec.Struct, frozen=True):
    """Where an answer goes, and what lets its caller know it again."""

    topic: str
    correlation_data: bytes | None = None
    id: str | int | None = None


class Call(msgspec.Struct, frozen=True):
    """A call that can be sent to its device.

    ``expires_in`` (s) is how long its caller wants it carried out, None where
    that was not said.
    """

    device: str
    command: str
    arguments: dict[str, Any]
    reply_to: ReplyTo
    expires_in: float | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A call that is not carried out; ``reply_to`` is None where nobody is to be told."""

    kind: Kind
    code: str
    reason: str
    reply_to: ReplyTo | None = None


def parse_call(
    incoming: Incoming,
    topics: Topics,
    devices: Mapping[str, Mapping[str, Any]],
    *,
    max_payload: int,
) -> Call | Refusal:
    """Return what ``incoming`` asks for, or why it is refused.

    ``devices`` are the bodies of ``devices/<name>/info`` by device name.
    """
    opened = open_call(incoming, topics, max_payload=max_payload)
    if isinstance(opened, Refusal):
        return opened
    found = _look_up(incoming.topic, topics, devices, *opened)
    if isinstance(found, Refusal) or incoming.expires_in is None:
        return found
    # What has a moment left gets a second.
    return msgspec.structs.replace(found, expires_in=max(1, incoming.expires_in))


def open_call(
    incoming: Incoming, topics: Topics, *, max_payload: int
) -> tuple[dict[str, Any], ReplyTo] | Refusal:
    """Return the arguments of a call, whatever it is that is called, and where its answer goes."""
    default = topics.default_reply(incoming.topic)
    if default is None:
        return Refusal("not_a_call", "bad_body", "the topic is not that of a call")
    if incoming.duplicate:
        return Refusal("duplicate", "expired", "the broker has sent this before")
    reply_to = ReplyTo(default, incoming.correlation_data)
    wished = incoming.response_topic
    if wished is not None:
        if not topics.may_answer_to(wished):
            reason = f"no answer can go to the response topic {wished[:100]!r}"
            return Refusal("response_topic", "refused", reason, reply_to)
        reply_to = ReplyTo(wished, incoming.correlation_data)
    if incoming.retained:
        reason = "the call was retained from an earlier time: publish calls without retain"
        return Refusal("stale", "expired", reason, reply_to)
    read = _read(incoming.payload, max_payload)
    if isinstance(read, tuple):
        return Refusal(read[0], "bad_body", read[1], reply_to)
    opened = _open(read)
    if isinstance(opened, str):
        return Refusal("envelope", "bad_body", opened, reply_to)
    return opened.arguments, msgspec.structs.replace(reply_to, id=opened.id)


def result_body(call: Call, result: Any, *, max_payload: int) -> bytes:
    """Return the JSON of an answer; of an error where the answer cannot be written."""
    return answer_body(call.reply_to, result, max_payload=max_payload)


def answer_body(reply_to: ReplyTo, result: Any, *, max_payload: int) -> bytes:
    """Return the JSON of an answer to ``reply_to``; of an error where it cannot be written."""
    try:
        body = to_json(_with_id({"ok": True, "result": result}, reply_to))
    except (BodyError, ValueError) as error:
        return error_body(reply_to, "bad_body", f"the answer cannot be written: {error}")
    if len(body) > max_payload:
        reason = f"the answer has {len(body)} bytes, more than max_payload = {max_payload}"
        return error_body(reply_to, "bad_body", reason)
    return body


def error_body(reply_to: ReplyTo, code: str, reason: str) -> bytes:
    """Return the JSON of an error."""
    # What is quoted from outside may hold half a surrogate pair, which is no UTF-8.
    plain = reason[:1000].encode("utf-8", "replace").decode()
    return to_json(_with_id({"ok": False, "error": {"code": code, "reason": plain}}, reply_to))


class _Opened(msgspec.Struct):
    arguments: dict[str, Any]
    id: str | int | None = None


def _read(payload: bytes, max_payload: int) -> dict[str, Any] | tuple[Kind, str]:
    if len(payload) > max_payload:
        size = len(payload)
        return "too_large", f"the call has {size} bytes, more than max_payload = {max_payload}"
    if not payload:
        return {}
    if is_deeper_than(payload, DEPTH):
        return "too_deep", f"the call is nested deeper than {DEPTH} levels"
    try:
        body = from_json(payload)
        # Half a surrogate pair can be escaped in JSON, and be written nowhere.
        to_json(body)
    except (GatewayError, ValueError) as error:
        return "no_json", f"the call is no JSON: {_first_line(error).removeprefix('no JSON: ')}"
    if not isinstance(body, dict):
        return (
            "no_object",
            f'the call is no JSON object: write {{"name": value}}, not {_show(body)}',
        )
    return body


def _open(body: dict[str, Any]) -> _Opened | str:
    """Tell an envelope from plain arguments; text says what is wrong with the envelope."""
    if "args" not in body:
        return _Opened(body)
    others = sorted(body.keys() - {"args", "id"})
    if others:
        return f"beside args there may only be id, not {', '.join(map(repr, others))[:100]}"
    arguments, identifier = body["args"], body.get("id")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return f"args is no JSON object but {_show(arguments)}"
    if type(identifier) not in (str, int, type(None)):
        return f"id is neither text nor an integer but {_show(identifier)}"
    if isinstance(identifier, str) and len(identifier) > _ID_LIMIT:
        return f"id is longer than {_ID_LIMIT} characters"
    return _Opened(arguments, identifier)


def _look_up(
    topic: str,
    topics: Topics,
    devices: Mapping[str, Mapping[str, Any]],
    arguments: dict[str, Any],
    reply_to: ReplyTo,
) -> Call | Refusal:
    try:
        device, command, _ = topics.call(topic)
    except ValueError as error:
        return Refusal("unknown_device", "unknown_address", str(error)[:200], reply_to)
    info = devices.get(device)
    if info is None:
        reason = f"there is no device {device!r} here; there is {_list(devices)}"
        return Refusal("unknown_device", "unknown_address", reason, reply_to)
    commands = info.get("commands")
    offered = commands if isinstance(commands, Mapping) else {}
    if command not in offered:
        reason = f"{device} has no command {command!r}; it has {_list(offered)}"
        return Refusal("unknown_command", "unknown_address", reason, reply_to)
    problem = problem_with(arguments, offered[command])
    if problem:
        return Refusal("arguments", "refused", f"{command}: {problem}", reply_to)
    return Call(device, command, arguments, reply_to)


def _with_id(body: dict[str, Any], reply_to: ReplyTo) -> dict[str, Any]:
    return body if reply_to.id is None else {**body, "id": reply_to.id}


# A string that does not end takes all the rest, so that no quote in it is
# ever tried as the beginning of another: the scan stays linear.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def is_deeper_than(data: bytes, limit: int) -> bool:
    """Tell whether JSON is nested deeper than ``limit``, without reading it."""
    depth = 0
    for match in _TOKEN.finditer(data):
        if match[0] in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif match[0] in b"]}":
            depth -= 1
    return False


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _list(names: Mapping[str, Any]) -> str:
    known = sorted(names)
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return shown or "none"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
