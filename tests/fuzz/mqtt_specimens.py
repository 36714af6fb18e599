"""Messages as nobody ought to publish them to a gateway: made at random, or spoilt, or both.

`Maker.make` returns one publish. Most go to where calls are heard; of those, some
are calls that a gateway carries out, most are nearly such calls, and the rest is
anything at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.fuzz.specimens import mutated
from tests.lab.hostile_broker import fixed

NODE = "lab"
BASE = f"gateway/{NODE}/devices"
MAX_PAYLOAD = 4096
LEAST_ID, MOST_ID = -(2**63), 2**64 - 1


def _command(**types: str) -> dict[str, Any]:
    parameters = {
        name: {"type": type_text, "unit": "", "required": True} for name, type_text in types.items()
    }
    return {"description": "", "parameters": parameters, "returns": "None"}


DEVICES: dict[str, dict[str, Any]] = {
    "board": {
        "commands": {
            "led": _command(on="bool"),
            "drive": _command(left="int", right="int | None"),
            "mode": _command(name="Literal['a', 'b|c']"),
            "raw": _command(data="bytes", many="list[int]"),
            "odd": _command(args="dict"),
            "ping": _command(),
        }
    },
    "pump 1/left": {"commands": {"ping": _command()}},
    "broken": {"commands": None},
    "worse": {"commands": {"ping": {"parameters": [1]}, "led": 7}},
}
"""What the gateway knows of its devices, as ``devices/<name>/info`` has it."""

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("board/led", {"on": True}),
    ("board/drive", {"left": 1, "right": None}),
    ("board/mode", {"name": "b|c"}),
    ("board/raw", {"data": {"$bytes": "AA=="}, "many": [1, 2]}),
    ("board/odd", {"args": {"args": {}}}),
    ("board/ping", {}),
    ("pump 1%2Fleft/ping", {}),
]
"""Calls that are as they should be: topic and arguments."""

TOPICS = [
    "board/none",
    "nobody/ping",
    "broken/ping",
    "worse/ping",
    "worse/led",
    "/led",
    "board/",
    "/",
    "board/+",
    "+/led",
    "#/led",
    "board/led\0",
    "board/%2F",
    "board/%2f",
    "board/%FF",
    "board/%",
    "%62oard/led",
    "board\u202e/led",
    "\ufeffboard/led",
    "board/" + "x" * 60_000,
]

WISHES = [
    "answers/1",
    "answers/+",
    "#",
    "",
    "$SYS/broker",
    f"gateway/{NODE}/status",
    f"{BASE}/board/state",
    f"{BASE}/board/led/call",
    f"{BASE}/board/led/reply",
    "gateway/other/devices/board/led/call",
    "x" * 65_535,
]
"""Response topics; one with NUL is no MQTT, and ends a connection."""

PIECES = [
    "",
    "null",
    "[]",
    "7",
    '"text"',
    "{}",
    '{"args": null}',
    '{"args": []}',
    '{"args": {}, "id": 1.5}',
    '{"args": {}, "id": [1]}',
    '{"args": {}, "extra": 1}',
    '{"on": "yes"}',
    '{"on": 1}',
    '{"on": null}',
    '{"on": true, "on": false}',
    '{"ON": true}',
    '{"left": 1e999, "right": 0}',
    '{"left": 99999999999999999999999, "right": 0}',
    '{"left": NaN, "right": Infinity}',
    '{"on": true}x',
    '{"on": true',
    "{'on': true}",
    '{"\\ud800": true}',
    '{"on": "\\udfff"}',
    '{"$bytes": "!"}',
    '{"data": {"$bytes": 7}, "many": {}}',
    '{"data": {"$bytes": "AA=="}, "many": [[[[]]]]}',
    "\ufeff{}",
    "// {}",
    "[" * 500,
    "[" * 500 + "]" * 500,
    '{"a":' * 300 + "1" + "}" * 300,
    '"' + "\\" * 999,
    "[" + "1," * 1500 + "1]",
    " " * 4000 + "{}",
    "1" * 4000,
]
"""Payloads."""


@dataclass(frozen=True)
class Publish:
    """One message; ``topic`` as bytes, since it need be no UTF-8."""

    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    response_topic: bytes | None = None
    correlation_data: bytes | None = None
    user: int = 0
    """How many user properties there are."""
    expiry: int | None = None

    def pack(self, level: int, number: int) -> bytes:
        """Return the packet, for a client of protocol ``level``."""
        head = 0x30 | self.duplicate << 3 | self.qos << 1 | self.retain
        identifier = number.to_bytes(2) if self.qos else b""
        properties = self._properties() if level == 5 else b""
        return fixed(head, _counted(self.topic) + identifier + properties + self.payload)

    def _properties(self) -> bytes:
        packed = b""
        if self.expiry is not None:
            packed += b"\x02" + self.expiry.to_bytes(4)
        if self.response_topic is not None:
            packed += b"\x08" + _counted(self.response_topic)
        if self.correlation_data is not None:
            packed += b"\x09" + _counted(self.correlation_data)
        packed += (b"\x26" + _counted(b"message_id") + _counted(b"m-1")) * self.user
        # The length of the properties is written as that of a packet is.
        return fixed(0, packed)[1:]


class Maker:
    """Makes one publish after the other, and at times an earlier one again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._earlier: list[Publish] = []

    def make(self) -> Publish:
        """Return the next."""
        random = self._random
        if self._earlier and random.random() < 0.1:
            # Replayed by whoever listened, or sent again by the broker.
            again = random.choice(self._earlier)
            return replace(again, duplicate=random.random() < 0.5 and again.qos > 0)
        made = self._new()
        if len(self._earlier) < 50:
            self._earlier.append(made)
        else:
            self._earlier[random.randrange(50)] = made
        return made

    def _new(self) -> Publish:
        random = self._random
        name, arguments = random.choice(CALLS)
        topic = f"{BASE}/{name}/call".encode()
        payload = self._write(arguments)
        if random.random() < 0.3:
            topic = self._topic()
        if random.random() < 0.5:
            payload = self._payload(payload)
        has = random.random
        return Publish(
            topic=topic,
            payload=payload,
            qos=random.randrange(2),
            retain=has() < 0.05,
            response_topic=random.choice(WISHES).encode() if has() < 0.3 else None,
            correlation_data=random.randbytes(random.choice((0, 4, 100))) if has() < 0.3 else None,
            user=random.choice((1, 2, 100)) if has() < 0.1 else 0,
            expiry=random.randrange(1 << 32) if has() < 0.1 else None,
        )

    def _topic(self) -> bytes:
        random = self._random
        kind = random.random()
        if kind < 0.5:
            return f"{BASE}/{random.choice(TOPICS)}/call".encode()
        if kind < 0.7:
            return mutated(f"{BASE}/board/led/call".encode(), random) or b"x"
        if kind < 0.8:
            return random.randbytes(1 + random.randrange(30))
        wrong = random.choice(("board/led/reply", "board/state", "board/led/call/call", "call"))
        return random.choice((f"{BASE}/{wrong}", f"gateway/x/devices/{wrong}", wrong)).encode()

    def _write(self, arguments: dict[str, Any]) -> bytes:
        kind = self._random.random()
        if not arguments and kind < 0.3:
            return b""
        if kind < 0.6 and "args" not in arguments:
            return json.dumps(arguments).encode()
        identifier = self._random.choice((None, 7, "seven", LEAST_ID, MOST_ID, "x" * 200))
        return json.dumps({"args": arguments, "id": identifier}).encode()

    def _payload(self, sound: bytes) -> bytes:
        random = self._random
        kind = random.random()
        if kind < 0.45:
            return random.choice(PIECES).encode()
        if kind < 0.75:
            return mutated(sound, random)
        if kind < 0.85:
            return random.randbytes(random.randrange(200))
        if kind < 0.9:
            return sound.decode().encode(random.choice(("utf-16", "utf-32", "utf-8-sig")))
        if kind < 0.98:
            piece = random.choice(PIECES).encode()
            return mutated(piece, random)
        return random.choice((b"x", b"[", b"\xff", b'{"a":')) * random.randrange(1, MAX_PAYLOAD)


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
