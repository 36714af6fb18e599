"""Lines that people read."""

from __future__ import annotations

from gateway.cli.table import coloured, hanging, table, text


def test_columns_stand_below_each_other_whatever_their_colour() -> None:
    lines = table(
        ("A", "STATE", "N"),
        [("x", "failed", "7"), ("longer", "absent", "12")],
        right=frozenset({2}),
        paint=lambda row, column, cell: coloured(cell, cell, on=True) if column == 1 else cell,
    )
    assert lines == [
        "A       STATE    N",
        "x       \x1b[31mfailed\x1b[0m   7",
        "longer  \x1b[2mabsent\x1b[0m  12",
    ]


def test_a_word_without_a_colour_and_a_file_get_none() -> None:
    assert coloured("x", "x", on=True) == "x"
    assert coloured("failed", "failed", on=False) == "failed"


def test_a_coloured_start_takes_no_more_room_than_it_shows() -> None:
    start = coloured("failed", "failed", on=True) + "  "
    first, second = hanging(start, "the cable was pulled out of it", 32)
    assert first.endswith("the cable was pulled out")
    assert second == " " * 8 + "of it"


def test_nothing_writes_to_the_terminals_controls() -> None:
    assert text("a\x1b[2J") == "a\\x1b[2J"
    assert text(None) == "-"
