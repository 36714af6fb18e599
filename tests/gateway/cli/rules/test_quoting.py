"""Values in rules: never out of their quotes, never more or less than what was meant."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.cli.rules.quoting import RuleError, assigned, compared, is_glob
from tests.udev.rule_file import fits, read

odd = st.text(alphabet="ab\"\\*?[]!^-|%${}=,#' \n\t\0é:.", max_size=12)
texts = st.text(max_size=40) | odd
globs = st.text(alphabet="ab.-!^:\\[]*?", max_size=8)


@given(texts)
@example('" , RUN+="/bin/sh')
@example('\\"')
@example('a\\" , RUN+="x')
@example("a\nRUN")
def test_a_value_never_leaves_its_quotes(value: str) -> None:
    try:
        written = compared(value)
    except RuleError:
        return
    ((token, last),) = read(f'ENV{{A}}=={written}, SYMLINK+="end"\n')
    assert (token.key, token.name, last.value) == ("ENV", "A", "end")
    if not is_glob(value):
        assert token.value == value


@given(texts)
@example("$env{PATH} %k")
@example('a"')
def test_nothing_is_substituted_in_what_is_assigned(value: str) -> None:
    try:
        written = assigned(value)
    except RuleError:
        return
    ((token, _),) = read(f'ENV{{A}}={written}, SYMLINK+="end"\n')
    assert token.value.replace("$$", "").replace("%%", "").count("$") == 0
    assert token.value.replace("$$", "$").replace("%%", "%") == value
    assert token.value.count("%") % 2 == token.value.count("$") % 2 == 0


@given(globs, st.text(alphabet="ab.-!^:\\[]", max_size=6))
@example("[!a]*", "b")
@example("[]a]", "]")
@example("a\\*", "a\\b")
@example("[a", "[a")
@example("[!]x]*", "]")
@example("[a-b]?", "a.")
@example("[[][*][?]", "[*?")
def test_a_glob_means_the_same_to_udev(glob: str, said: str) -> None:
    try:
        written = compared(glob)
    except RuleError:
        return
    ((token, _),) = read(f'ENV{{A}}=={written}, SYMLINK+="end"\n')
    assert fits(token.value, said) is (fnmatchcase(said, glob) if is_glob(glob) else said == glob)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "lacks the key"),
        ("a|b", "splits"),
        ("a\nb", "control character"),
        ("a\0", "control character"),
        ("ends\\", "escape the closing quote"),
        ("x" * 300, "more than 256"),
        ("[[:alpha:]]*", "differently"),
        ("[^a]", "differently"),
        ("[z-a]", "differently"),
    ],
)
def test_what_no_rule_can_say_is_refused_with_the_reason(value: str, why: str) -> None:
    with pytest.raises(RuleError, match=why):
        compared(value)
