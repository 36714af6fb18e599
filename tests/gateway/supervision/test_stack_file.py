"""The stacks of one OS process are read from its memory file, once and never without a bound."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.supervision.stack_file import LARGEST, StackFile, make_stack_file


@pytest.fixture
def written() -> Iterator[int]:
    descriptor = make_stack_file()
    yield descriptor
    os.close(descriptor)


def test_what_was_written_since_the_order_is_read_with_the_oldest_thread_first(
    written: int,
) -> None:
    os.write(written, b"of an earlier time")
    file = StackFile(os.getpid())
    os.write(written, b"Thread 2:\n  File b\n\nCurrent thread 1:\n")
    os.write(written, b"  File a\n")
    assert file.take() == "Current thread 1:\n  File a\n\nThread 2:\n  File b"
    assert os.fstat(written).st_size == 0
    os.write(written, b"next")
    assert StackFile(os.getpid()).take() == "", "it is emptied as it is opened"


def test_of_very_many_stacks_the_end_is_kept(written: int) -> None:
    file = StackFile(os.getpid())
    os.write(written, b"x" * 2 * LARGEST + b"\n\nmain")
    told = file.take()
    assert told.startswith("main\n\nxxx")
    assert told.endswith(f"({LARGEST + 6} bytes more are left out)")
    assert len(told) < LARGEST + 100


def test_no_program_that_it_starts_has_the_file(written: int) -> None:
    assert not os.get_inheritable(written)


def test_one_that_cannot_be_emptied_is_not_kept_open(
    written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, length: int) -> None:
        refused.append(descriptor)
        raise PermissionError

    refused: list[int] = []
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(PermissionError):
        StackFile(os.getpid())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(refused[0])


def test_who_has_none_cannot_be_read() -> None:
    with pytest.raises(FileNotFoundError):
        StackFile(os.getpid())
