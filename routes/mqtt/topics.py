"""The map between topics on the bus and topics at the broker.

::

    bus                      broker
    devices/wheels/state     gateway/kitchen-pi/devices/wheels/state
                             gateway/kitchen-pi/status
                             gateway/kitchen-pi/devices/wheels/drive/call
                             gateway/kitchen-pi/devices/wheels/drive/reply

Names become single levels: ``/``, ``+``, ``#``, ``%`` and whatever cannot be
printed are percent-encoded (as UTF-8, capital digits), so any name is safe
and each has one spelling only. Pure; refused with `ValueError`: empty names,
other spellings, topics longer than MQTT allows, and topics of the bus that
would pass for a call, a reply or the status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations, zip_longest
from typing import NamedTuple

from gateway.errors import ConfigError
from gateway.mail.topic import LIMIT, check_topic

ROOT = "gateway"


class CallTopic(NamedTuple):
    """What a call's topic names; ``reply`` is where its answer goes by default."""

    device: str
    command: str
    reply: str


class Topics:
    """The topics of one node.

    >>> topics = Topics("kitchen-pi")
    >>> topics.outward("devices/wheels/state")
    'gateway/kitchen-pi/devices/wheels/state'
    >>> topics.call("gateway/kitchen-pi/devices/wheels/drive/call").command
    'drive'
    """

    def __init__(self, node: str) -> None:
        self._base = f"{ROOT}/{to_level(node)}"
        self.status = f"{self._base}/status"
        self.calls = f"{self._base}/devices/+/+/call"
        self.infos = f"{self._base}/devices/+/info"

    def outward(self, bus_topic: str) -> str:
        """Return where what is published as ``bus_topic`` goes."""
        check_topic(bus_topic)
        return self._checked(_quote_levels(bus_topic), bus_topic)

    def call(self, topic: str) -> CallTopic:
        """Cut the ``topic`` of a call; `ValueError` where it is none of this node's."""
        base, _, rest = topic.partition("/devices/")
        levels = rest.split("/")
        if base != self._base or len(levels) != 3 or levels[2] != "call":
            raise ValueError(f"{topic!r} is not the topic of a call")
        device, command, _ = levels
        return CallTopic(
            from_level(device), from_level(command), f"{base}/devices/{device}/{command}/reply"
        )

    def call_to(self, device: str, command: str) -> str:
        """Return where a call of ``command`` goes."""
        return f"{self._base}/devices/{to_level(device)}/{to_level(command)}/call"

    def of_device(self, device: str, topic: str) -> str:
        """Return where what ``device`` publishes as ``topic`` goes; refuses as `outward` does."""
        check_topic(topic)
        return self._checked(f"devices/{to_level(device)}/{_quote_levels(topic)}", topic)

    def device_of(self, topic: str) -> str:
        """Return whose info ``topic`` is; `ValueError` where it is none of this node's."""
        device = topic.removeprefix(f"{self._base}/devices/").removesuffix("/info")
        if topic != f"{self._base}/devices/{device}/info":
            raise ValueError(f"{topic!r} is not the topic of a device's info")
        return from_level(device)

    def default_reply(self, topic: str) -> str | None:
        """Return where the answer to a call goes, however its names are spelt.

        None for what is no call, or bears a topic to which nobody could answer.
        """
        if not topic.endswith("/call"):
            return None
        reply = f"{topic.removesuffix('call')}reply"
        return reply if self.may_answer_to(reply) else None

    def is_reserved(self, topic: str) -> bool:
        """Tell whether ``topic`` is this node's status, or some device's call or reply."""
        if topic == self.status:
            return True
        rest = topic.removeprefix(f"{self._base}/devices/")
        return rest != topic and rest.count("/") == 2 and rest.endswith(("/call", "/reply"))

    def may_answer_to(self, topic: str) -> bool:
        """Tell whether a caller may have its answer sent to ``topic``.

        Not to ``$`` topics, not to wildcards; and not to where we would speak
        in the place of somebody else: this node's own status and devices
        (but for their replies), any gateway's calls.
        """
        try:
            check_topic(topic)
        except ValueError:
            return False
        if topic.startswith("$") or not _is_utf8(topic):
            return False
        if topic.startswith(f"{ROOT}/") and topic.endswith("/call"):
            return False
        if topic.startswith(f"{self._base}/devices/"):
            return self.is_reserved(topic)
        return topic != self.status

    def _checked(self, levels: str, told_as: str) -> str:
        topic = f"{self._base}/{levels}"
        if len(topic.encode()) > LIMIT:
            raise ValueError(f"{told_as[:40]!r}… is too long for MQTT")
        if self.is_reserved(topic):
            raise ValueError(f"{told_as!r} is no topic for MQTT: calls and status go there")
        return topic


def overlap(one: str, other: str) -> bool:
    """Tell whether some topic falls under both patterns; a broker may then send it twice.

    >>> overlap("plant/+/on", "plant/soil/+"), overlap("plant/+/on", "plant/soil/off")
    (True, False)
    """
    for mine, theirs in zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, theirs):
            return True  # it also stands for no level at all
        if mine is None or theirs is None:
            return False
        if "+" not in (mine, theirs) and mine != theirs:
            return False
    return True


def refuse_overlaps(patterns: Iterable[str]) -> None:
    """Raise `ConfigError` where a topic falls under two of the patterns."""
    for one, other in combinations(patterns, 2):
        if overlap(one, other):
            raise ConfigError(
                f"{one!r} and {other!r} are subscribed to, and some topic falls under both:"
                " it might come twice; make one of them narrower"
            )


def to_level(name: str) -> str:
    """Return ``name`` as one level of a topic.

    >>> to_level("pump 1/left+right")
    'pump 1%2Fleft%2Bright'
    """
    if not name:
        raise ValueError("an empty name has no topic")
    return _quote(name)


def from_level(level: str) -> str:
    """Return the name that ``level`` stands for; `ValueError` where none does."""
    try:
        name = _CODE.sub(_decode, level)
    except UnicodeDecodeError as error:
        raise ValueError(f"{level!r} encodes no name") from error
    if not name or _quote(name) != level:
        raise ValueError(f"{level!r} is not how a name is spelt in a topic")
    return name


def _quote_levels(topic: str) -> str:
    return "/".join(map(_quote, topic.split("/")))


def _quote(text: str) -> str:
    return "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    if character.isprintable() and character not in "/+#%":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _decode(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogatepass")


_CODE = re.compile(r"(?:%[0-9A-F]{2})+")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
