"""What somebody types at the prompt of ``gateway simulate``, as calls of simulated devices.

Pure. Refused (`RefusedError`, with what would be right): words that are none, devices
that are none, numbers that are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.config.mistake import suggest
from gateway.errors import RefusedError

ALL = "all"

WORDS = {
    "unplug": ("", "pull its cable"),
    "plug": ("", "plug it in"),
    "hang": ("[SECONDS]", "have it hear and say nothing, until it is mended or unplugged"),
    "noise": ("PART", "have this part of all bytes changed, 0 to 1"),
    "drift": ("PPM", "have its clock be wrong by so many parts in a million"),
    "mend": ("", "end its faults"),
    "step": ("SECONDS", "let so much time pass on its board, at once"),
    "status": ("", "say how it is"),
}
"""What can be done to a device: what is to be given, and what it means."""

HELP = "\n".join(
    [
        *(f"{word} DEVICE {given}".ljust(24) + said for word, (given, said) in WORDS.items()),
        f"DEVICE may be {ALL}; quit, or Ctrl-D, ends.",
    ]
)


class Wish(NamedTuple):
    """One word for some devices, with its arguments; ``help`` and ``quit`` are for none."""

    word: str
    devices: Sequence[str] = ()
    arguments: Sequence[float] = ()


def understood(line: str, devices: Sequence[str]) -> Wish | None:
    """Return what ``line`` wishes; None for an empty one.

    >>> understood("hang pump 3", ["pump", "gps"])
    Wish(word='hang', devices=['pump'], arguments=[3.0])
    >>> understood("unplag pump", ["pump"])
    Traceback (most recent call last):
    gateway.errors.RefusedError: there is no 'unplag': did you mean 'unplug'?
    """
    words = line.split()
    if not words:
        return None
    word, *given = words
    if word in ("help", "quit"):
        return Wish(word)
    if word not in WORDS:
        raise RefusedError(f"there is no {word!r}: {suggest(word, [*WORDS, 'help', 'quit'])}")
    if not given and word == "status":
        given = [ALL]
    if not given:
        raise RefusedError(f"{word} which device? {', '.join(devices)}, or {ALL}")
    name, *numbers = given
    if name != ALL and name not in devices:
        raise RefusedError(f"there is no device {name!r}: {suggest(name, devices)}")
    wanted = WORDS[word][0]
    least, most = int(bool(wanted) and not wanted.startswith("[")), int(bool(wanted))
    if not least <= len(numbers) <= most:
        raise RefusedError(f"right is: {word} DEVICE {wanted}".rstrip())
    return Wish(word, list(devices) if name == ALL else [name], [_number(n) for n in numbers])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RefusedError(f"{text!r} is no number") from None
