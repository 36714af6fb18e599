"""An SVG of what ``python -m benchmarks.fleet`` found: how nodes come back, and how late news is.

``python -m benchmarks.fleet_picture < found.json > fleet.svg`` draws it again. Pure
text; the colours suit a light page and a dark one. Left: the largest fleet's connections
after an outage, with jitter and without. Right: latency over the number of nodes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT = 900, 360
GREY, JITTER, BARE = "#888888", "#2a78d0", "#d0652a"


class Panel(NamedTuple):
    """A rectangle with axes; values from 0 to ``most`` are drawn into it."""

    left: float
    top: float
    width: float
    height: float
    most_x: float
    most_y: float

    def x(self, value: float) -> float:
        return round(self.left + self.width * value / self.most_x, 1)

    def y(self, value: float) -> float:
        return round(self.top + self.height * (1 - value / self.most_y), 1)


def picture(found: dict[str, Any]) -> str:
    """Return the SVG of what was ``found``."""
    runs = sorted(found["runs"], key=lambda run: run["nodes"])
    parts = [*_returns(runs[-1]), *_latencies(runs)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="12" fill="{GREY}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _returns(run: dict[str, Any]) -> list[str]:
    """Draw how many nodes were connected at each moment, with jitter and without."""
    kinds = ((JITTER, "outage", "with jitter"), (BARE, "outage_without_jitter", "without"))
    longest = max(run[key]["all_s"] for _, key, _ in kinds) * 1.05 or 1.0
    panel = Panel(60, 60, 360, 230, longest, run["nodes"])
    title = f"{run['nodes']} nodes after {run['outage']['outage_s']:g} s without a broker"
    parts = _frame(panel, title, "seconds since the broker is back", "nodes connected")
    for number, (colour, key, words) in enumerate(kinds):
        spread = run[key]
        points, sum_so_far = [(0.0, 0.0)], 0
        for place, count in enumerate(spread["histogram"], start=1):
            points.append((min(place * spread["bin_s"], longest), float(sum_so_far)))
            sum_so_far += count
            points.append((min(place * spread["bin_s"], longest), float(sum_so_far)))
        points.append((longest, float(sum_so_far)))
        parts.append(_line(panel, points, colour))
        most = spread["wanted"]["most_in_100_ms"]
        told = f"{words}: {most} want in within the same 100 ms"
        parts.append(_text(66, 52 - 14 * (1 - number), told, colour))
    return parts


def _latencies(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Draw the latency of readings over the number of nodes."""
    windows = [(run["nodes"], run["windows"]["devices"]["latency"]) for run in runs]
    told = [(nodes, latency) for nodes, latency in windows if latency["count"]]
    most = max((latency["p99_ms"] for _, latency in told), default=1.0) * 1.1
    panel = Panel(520, 60, 340, 230, runs[-1]["nodes"] * 1.05, most)
    parts = _frame(panel, "a reading, from node to operator", "nodes", "milliseconds")
    for number, (key, words, colour) in enumerate(
        (("p50_ms", "median", JITTER), ("p99_ms", "99 of 100", BARE))
    ):
        points = [(float(nodes), latency[key]) for nodes, latency in told]
        parts.append(_line(panel, points, colour))
        parts += [
            f'<circle cx="{panel.x(x)}" cy="{panel.y(y)}" r="3" fill="{colour}"/>'
            for x, y in points
        ]
        parts.append(_text(526, 52 - 14 * (1 - number), words, colour))
    return parts


def _frame(panel: Panel, title: str, below: str, beside: str) -> list[str]:
    right, bottom = panel.left + panel.width, panel.top + panel.height
    middle = (panel.left + right) / 2
    return [
        f'<path d="M{panel.left} {panel.top}V{bottom}H{right}" fill="none" stroke="{GREY}"/>',
        _text(panel.left, 20, title, GREY, bold=True),
        _text(middle, bottom + 34, below, GREY, anchor="middle"),
        _text(panel.left, bottom + 16, "0", GREY, anchor="middle"),
        _text(right, bottom + 16, _number(panel.most_x), GREY, anchor="end"),
        _text(panel.left - 6, panel.top + 4, _number(panel.most_y), GREY, anchor="end"),
        _beside(panel, beside),
    ]


def _beside(panel: Panel, words: str) -> str:
    x, y = panel.left - 40, panel.top + panel.height / 2
    turned = f'transform="translate({x} {y}) rotate(-90)"'
    return f'<text {turned} text-anchor="middle">{escape(words)}</text>'


def _line(panel: Panel, points: Sequence[tuple[float, float]], colour: str) -> str:
    drawn = " ".join(f"{panel.x(x)},{panel.y(y)}" for x, y in points)
    return f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _text(
    x: float, y: float, words: str, colour: str, *, anchor: str = "start", bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(words)}</text>"
    )


def main() -> None:
    """Draw what standard input tells."""
    sys.stdout.write(picture(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
