"""What a check has found, and how it is shown.

A finding is ``fine``, ``wrong`` or ``unknown`` (the check-up could not look), says
what it saw in words of a technician, and where something is wrong, what to type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from gateway.cli.table import coloured, hanging, text

Verdict = Literal["fine", "wrong", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    says: str
    mend: str = ""


def fine(check: str, says: str) -> Finding:
    """Nothing is wrong there."""
    return Finding(check, "fine", says)


def wrong(check: str, says: str, mend: str) -> Finding:
    """Something is, and ``mend`` is what to do."""
    return Finding(check, "wrong", says, mend)


def unknown(check: str, says: str, mend: str = "") -> Finding:
    """It could not be seen."""
    return Finding(check, "unknown", says, mend)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as data."""
    bad = sum(each.verdict == "wrong" for each in findings)
    return {"ok": not bad, "wrong": bad, "findings": msgspec.to_builtins(list(findings))}


def render(findings: Sequence[Finding], columns: int, *, colour: bool) -> list[str]:
    """Return the findings as lines: what is wrong comes last, where the eye is."""
    order = {"fine": 0, "unknown": 1, "wrong": 2}
    width = max((len(each.check) for each in findings), default=0)
    lines = []
    for each in sorted(findings, key=lambda each: order[each.verdict]):
        verdict = coloured(each.verdict.ljust(7), each.verdict, on=colour)
        lines += hanging(f"{verdict}  {each.check.ljust(width)}  ", text(each.says), columns)
        for number, step in enumerate(each.mend.split("\n") if each.mend else []):
            start = "mend it: " if number == 0 else "         "
            lines += hanging(f"{'':9}{'':{width}}  {start}", text(step), columns)
    bad = sum(each.verdict == "wrong" for each in findings)
    unseen = sum(each.verdict == "unknown" for each in findings)
    last = (
        "nothing is wrong" if not bad else f"{bad} {'thing is' if bad == 1 else 'things are'} wrong"
    )
    if unseen:
        last += f", {unseen} could not be looked at"
    return [*lines, "", last]
