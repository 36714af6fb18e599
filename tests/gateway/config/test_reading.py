from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config import reading
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.config.provenance import Origin


def mistake_in(file: Path) -> Mistake:
    with pytest.raises(ConfigErrors) as caught:
        reading.read(file)
    (mistake,) = caught.value.mistakes
    assert mistake.file == str(file)
    return mistake


def test_values_come_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[gateway]\nnode = 'n'\n")
    document, origins = reading.read(file)
    assert document == {"gateway": {"node": "n"}}
    assert origins["gateway", "node"] == Origin(str(file), 2)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2")
    document, origins = reading.read(file)
    assert document == {"a": 1, "b": 2}
    assert origins["b",].line == 2


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("[gateway]\nnode = kitchen\n", 2, "text stands in quotes"),
        ("a = 1\n\na = 2\n", 3, "give each key once"),
        ("[a]\n[b]\n[a]\n", 3, "open each table once"),
        ('a = "b\nc = 1', 1, "close the quotes"),
        ("a = 1\nb = [1,\n2\n", 3, "close the array"),
        ("just words\n", 1, "key = value"),
        ('a = "\\d"', 1, "double it"),
        ('a = 1\n"\\d" = 1', 2, "double it"),
        (f"a = {'9' * 5000}", 1, "smaller number"),
    ],
)
def test_bad_toml_is_named_with_its_line(tmp_path: Path, text: str, line: int, advice: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    mistake = mistake_in(file)
    assert mistake.line == line
    assert mistake.problem.startswith("is not TOML")
    assert advice in mistake.advice


NESTED = {
    "arrays": "a = " + "[" * 101 + "]" * 101,
    "tables": "a = " + "{a=" * 101 + "1" + "}" * 101,
    "a key": ".".join("a" * 101) + " = 1",
    "arrays without end": "a = " + "[" * 20000,
    "tables without end": "a = " + "{a=" * 20000,
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_what_is_nested_without_end_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    assert mistake_in(file).problem == "is nested too deeply"


def test_an_absent_file(tmp_path: Path) -> None:
    assert mistake_in(tmp_path / "no.toml").problem == "there is no such file"
    file = tmp_path / "file"
    file.touch()
    assert mistake_in(file / "below.toml").problem == "cannot be read: Not a directory"


def test_a_folder(tmp_path: Path) -> None:
    mistake = mistake_in(tmp_path)
    assert mistake.problem == "is a folder"
    assert mistake.advice == f"name a file, such as {tmp_path}/gateway.toml"


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert mistake_in(tmp_path / "pipe").problem == "is no regular file"


def test_what_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"a = 1\nb = 'caf\xe9'\n")
    mistake = mistake_in(file)
    assert (mistake.line, mistake.problem) == (2, "is not UTF-8 text")


def test_a_file_that_is_too_large_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LIMIT", 10)
    file = tmp_path / "a.toml"
    file.write_text("a = 123456")
    assert reading.read(file)[0] == {"a": 123456}
    file.write_text("a = 1234567")
    assert mistake_in(file).problem == "has more than 10 bytes"


def test_a_path_that_can_be_none() -> None:
    assert "null" in mistake_in(Path("a\0b")).problem


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a = 1")
    file.chmod(0)
    own = os.geteuid()
    if own == 0:  # root may read everything, so be nobody for a moment
        os.seteuid(65534)
    try:
        mistake = mistake_in(file)
    finally:
        os.seteuid(own)
    assert mistake.problem == "may not be read"
