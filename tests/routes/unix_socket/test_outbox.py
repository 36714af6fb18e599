"""What waits for one client, and what gives way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routes.unix_socket.outbox import Outbox


def make(limit: int = 100) -> Outbox:
    return Outbox(limit, gap=lambda count: b"-%d\n" % count)


def drain(outbox: Outbox, chunk: int = 1000) -> bytes:
    written = b""
    while head := outbox.head():
        written += head[:chunk]
        outbox.wrote(min(chunk, len(head)))
    return written


def test_answers_go_before_publications() -> None:
    outbox = make()
    outbox.add_publication(b"p\n")
    assert outbox.add(b"a\n")
    assert drain(outbox) == b"a\np\n"
    assert outbox.is_empty


def test_a_line_that_was_begun_is_finished_first() -> None:
    outbox = make()
    outbox.add_publication(b"publication\n")
    outbox.head()
    outbox.wrote(3)
    assert outbox.add(b"a\n")
    assert drain(outbox) == b"lication\na\n"


def test_too_many_answers_are_not_taken() -> None:
    outbox = make(limit=10)
    assert outbox.add(b"12345678\n")
    assert not outbox.add(b"ab\n")


def test_the_oldest_publications_give_way_and_the_gap_is_told() -> None:
    outbox = make(limit=10)
    for line in (b"one\n", b"two\n", b"six\n", b"ten\n"):
        outbox.add_publication(line)
    assert outbox.dropped == 2
    assert drain(outbox) == b"-2\nsix\nten\n"


def test_one_that_is_larger_than_all_the_room_is_lost_alone() -> None:
    outbox = make(limit=10)
    outbox.add_publication(b"one\n")
    outbox.add_publication(b"far too long\n")
    assert drain(outbox) == b"-1\none\n"


@given(
    st.lists(st.integers(1, 30) | st.none()),
    st.integers(20, 60),
    st.integers(1, 9),
)
def test_each_publication_is_written_or_counted(steps, limit, chunk) -> None:
    """A step is a publication's size, or None for a turn of writing."""
    outbox = make(limit)
    written, added = b"", 0
    for step in steps:
        if step is None:
            head = outbox.head()
            written += head[:chunk]
            outbox.wrote(min(chunk, len(head)))
        else:
            outbox.add_publication(b"p" * step + b"\n")
            added += 1
    lines = (written + drain(outbox)).split(b"\n")[:-1]
    gaps = [int(line[1:]) for line in lines if line.startswith(b"-")]
    assert sum(gaps) == outbox.dropped
    assert len(lines) - len(gaps) + sum(gaps) == added
