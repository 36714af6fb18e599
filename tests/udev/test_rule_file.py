"""The reader that the other tests trust: it refuses what udev would pass over."""

from __future__ import annotations

import pytest

from tests.udev.rule_file import Token, fits, read


def test_a_rule_is_read_token_by_token() -> None:
    (rule,) = read('ENV{A}=="x \\"y\\" \\z", \\\n  SYMLINK+="b"\n')
    assert rule == (Token("ENV", "A", "==", 'x "y" \\z'), Token("SYMLINK", None, "+=", "b"))


@pytest.mark.parametrize(
    "line",
    [
        'FOO=="x"',
        'ENV=="x"',
        'KERNEL{a}=="x"',
        'KERNEL="x"',
        'SYMLINK=="x"',
        'ENV{A}=="x',
        'ENV{A}=="x" SYMLINK+="b"',
        'ENV{A}=="x\\"',
        'ENV{A}=="x"y"',
        'GOTO="nowhere"',
        'LABEL="a"\nLABEL="a"',
        "words",
        'ENV{A}=="x", \\',
    ],
)
def test_what_udev_would_pass_over_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        read(f"{line}\n")


def test_globs_are_the_c_librarys() -> None:
    assert fits("a|b*", "bc")
    assert fits("[[]x\\\\*", "[x\\y")
    assert not fits("a?", "a")
    assert fits("a\\b", "a\\b")
