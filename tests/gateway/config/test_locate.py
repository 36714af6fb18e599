from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.locate import lines_of
from gateway.config.provenance import Path

DOCUMENT = '''\
# a house
title = "one"
owner.name = 'x = 1'   # dotted

[gateway]
node = "kitchen" # [not.a.table]
sockets = """
[also.no.table]
key = 3 \\""" ""still""\
"""
motto = \'\'\'
don''t = "
\'\'\'\'\'
since = 1979-05-27 07:32:00

[devices."left wheel".settings]
limits = [
    1,      # ], a comment
    [2, 3],
    { low = 1, "high.est" = [
        4,
    ] },
]

[[spare]]
port = { path = "/dev/x", "baud" = 9600, deep.er = true }
[spare.box]
shelf = 1
[[spare.labels]]
[[ spare . "labels" ]]
text = "}"
[[spare]]
[devices]
none = []
[devices.'left wheel']
late = {}
'''

EXPECTED: dict[Path, int] = {
    ("title",): 2,
    ("owner",): 3,
    ("owner", "name"): 3,
    ("gateway",): 5,
    ("gateway", "node"): 6,
    ("gateway", "sockets"): 7,
    ("gateway", "motto"): 10,
    ("gateway", "since"): 13,
    ("devices",): 32,
    ("devices", "left wheel"): 34,
    ("devices", "left wheel", "settings"): 15,
    ("devices", "left wheel", "settings", "limits"): 16,
    ("devices", "left wheel", "settings", "limits", 0): 17,
    ("devices", "left wheel", "settings", "limits", 1): 18,
    ("devices", "left wheel", "settings", "limits", 1, 0): 18,
    ("devices", "left wheel", "settings", "limits", 1, 1): 18,
    ("devices", "left wheel", "settings", "limits", 2): 19,
    ("devices", "left wheel", "settings", "limits", 2, "low"): 19,
    ("devices", "left wheel", "settings", "limits", 2, "high.est"): 19,
    ("devices", "left wheel", "settings", "limits", 2, "high.est", 0): 20,
    ("spare",): 24,
    ("spare", 0): 24,
    ("spare", 0, "port"): 25,
    ("spare", 0, "port", "path"): 25,
    ("spare", 0, "port", "baud"): 25,
    ("spare", 0, "port", "deep"): 25,
    ("spare", 0, "port", "deep", "er"): 25,
    ("spare", 0, "box"): 26,
    ("spare", 0, "box", "shelf"): 27,
    ("spare", 0, "labels"): 28,
    ("spare", 0, "labels", 0): 28,
    ("spare", 0, "labels", 1): 29,
    ("spare", 0, "labels", 1, "text"): 30,
    ("spare", 1): 31,
    ("devices", "none"): 33,
    ("devices", "left wheel", "late"): 35,
}


def paths_in(value: Any, path: Path = ()) -> set[Path]:
    """Return every path of a document as `tomllib` reads it."""
    found = {path} if path else set()
    if isinstance(value, dict):
        inside = list(value.items())
    else:
        inside = list(enumerate(value)) if isinstance(value, list) else []
    for part, inner in inside:
        found |= paths_in(inner, (*path, part))
    return found


def test_every_way_to_write_a_key_is_found_on_its_line() -> None:
    assert lines_of(DOCUMENT) == EXPECTED
    assert set(EXPECTED) == paths_in(tomllib.loads(DOCUMENT))


def test_windows_line_ends_count_like_others() -> None:
    assert lines_of(DOCUMENT.replace("\n", "\r\n")) == EXPECTED


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("\n\n# only a comment", {}),
        ("a = 1", {("a",): 1}),
        ('"" = 1\n\'\' . "b\\u0041" = 2', {("",): 1, ("", "bA"): 2}),
        ('a = """"quoted""""\nb = 1', {("a",): 1, ("b",): 2}),
        ('a = """x"""""\nb = 1', {("a",): 1, ("b",): 2}),
        ("a = ''\nb = \"\"\nc = 1", {("a",): 1, ("b",): 2, ("c",): 3}),
        ("[a.b.c]\n[a]\n[a.b]", {("a",): 2, ("a", "b"): 3, ("a", "b", "c"): 1}),
        ("a = [ # [\n]\nb = 1", {("a",): 1, ("b",): 3}),
        ("a = [\n\n1\n,\n\n2\n,\n]\nb = 1", {("a",): 1, ("a", 0): 3, ("a", 1): 6, ("b",): 9}),
        ("3.14 = 1\ninf = 2", {("3",): 1, ("3", "14"): 1, ("inf",): 2}),
    ],
)
def test_small_documents(text: str, lines: dict[Path, int]) -> None:
    if '"" =' not in text:
        assert set(lines) == paths_in(tomllib.loads(text))
    assert lines_of(text) == lines


@given(st.text(alphabet="ab.=[]{}\"',#\n \\1", max_size=60))
def test_it_ends_on_anything_and_agrees_with_tomllib_where_that_reads_it(text: str) -> None:
    lines = lines_of(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(lines) == paths_in(document)


# Documents made on purpose. Each key is unique, so that the line it should have is
# the line on which its text stands, whatever has been written around it.

STRINGS = [
    '"plain"',
    "'c:\\'",
    '"esc \\" ] } # \\n"',
    '"""\nk0 = 1\n[no]\n"""',
    "'''\n'' \" = \n'''",
    '"""a""""',
    '""',
]
SCALARS = [
    *STRINGS,
    "1",
    "0x1",
    "1e5",
    "nan",
    "true",
    "2020-01-01T00:00:00Z",
    "2020-01-01 00:00:00",
]
BLANKS = ["", " ", "\t", "\n", "\n# ] comment \" '\n", " # }\n\n"]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Write a random valid document whose keys are k1, k2, … each used once."""
    count = 0

    def key() -> str:
        nonlocal count
        count += 1
        return draw(st.sampled_from(["k{}", '"k{}"', "'k{}'", '"\\u006b{}"'])).format(count)

    def dotted() -> str:
        return draw(st.sampled_from([".", " . "])).join(
            key() for _ in range(draw(st.integers(1, 3)))
        )

    def value(depth: int) -> str:
        kind = draw(st.integers(0, 3)) if depth else 0
        if kind == 1:
            gap = st.sampled_from(BLANKS)
            items = [
                draw(gap) + value(depth - 1) + draw(gap) for _ in range(draw(st.integers(0, 3)))
            ]
            trailing: bool = draw(st.booleans())
            tail = "," if items and trailing else ""
            return f"[{','.join(items)}{tail}{draw(gap)}]"
        if kind == 2:
            pairs = [f"{dotted()} = {value(depth - 1)}" for _ in range(draw(st.integers(0, 3)))]
            return "{ " + ", ".join(pairs) + " }"
        return draw(st.sampled_from(SCALARS))

    def pairs() -> list[str]:
        end = st.sampled_from(["", "  # k0 = 1", "\n", " # ["])
        return [f"{dotted()} = {value(3)}{draw(end)}" for _ in range(draw(st.integers(0, 3)))]

    lines: list[str] = pairs()
    arrays: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.integers(0, 3))
        if kind == 0 and arrays:
            lines.append(f"[[{draw(st.sampled_from(arrays))}]]")
        elif kind == 1 and arrays:
            lines.append(f"[{draw(st.sampled_from(arrays))}.{dotted()}]")
        elif kind == 2:
            name = dotted()
            arrays.append(name)
            lines.append(f"[[ {name} ]] # k0")
        else:
            lines.append(f"[{dotted()}]")
        lines += pairs()
    return "\n".join(lines)


@given(documents())
def test_each_key_is_found_on_the_line_where_it_is_written(text: str) -> None:
    found = lines_of(text)
    assert set(found) == paths_in(tomllib.loads(text))
    rows = text.split("\n")
    for path, line in found.items():
        number = path[-1]
        if isinstance(number, str):
            row = rows[line - 1]
            assert number in row or number.replace("k", "\\u006b") in row
