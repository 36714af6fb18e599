"""The address book is a value: looking up is a pure function of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.directory import Book, Death, Subscription
from gateway.errors import AddressError
from gateway.mail.topic import matches

names = st.sampled_from(["serial", "mqtt", "main", "patrol"])
books = st.builds(
    Book,
    st.integers(0, 9),
    st.dictionaries(names, st.integers(1, 3)),
    st.lists(
        st.builds(Subscription, names, st.sampled_from(["a", "a/+", "#"]), st.integers(0, 9))
    ).map(tuple),
)


def test_mail_for_a_route_goes_to_its_router() -> None:
    book = Book(1, {"serial": 2, "main": 1})
    assert book.look_up("wheels@serial") == ("serial", 2)
    assert book.look_up("a@b@serial") == ("serial", 2)
    assert book.look_up("main") == ("main", 1)


def test_mail_for_no_route_of_ours_goes_to_the_carrier() -> None:
    book = Book(1, {"serial": 2, "mqtt": 3}, carrier="mqtt")
    assert book.look_up("main@kitchen-pi") == ("mqtt", 3)
    assert book.look_up("wheels@serial@kitchen-pi") == ("mqtt", 3)
    assert book.look_up("wheels@serial") == ("serial", 2)
    with pytest.raises(AddressError, match="did you mean 'serial'"):
        book.look_up("serail")
    gone = Book(1, {"serial": 2}, carrier="mqtt")
    with pytest.raises(AddressError, match="nobody here is called 'mqtt'"):
        gone.look_up("main@kitchen-pi")


def test_nobody_is_an_error_that_says_who_is_there() -> None:
    book = Book(1, {"serial": 2, "main": 1})
    with pytest.raises(AddressError, match="did you mean 'serial'"):
        book.look_up("wheels@serail")
    with pytest.raises(AddressError, match="there are main, serial"):
        book.look_up("xyz")
    with pytest.raises(AddressError):
        book.look_up("")


@given(books, books)
def test_the_gone_are_those_of_whom_no_same_life_is_left(older: Book, newer: Book) -> None:
    gone = newer.gone_since(older)
    assert gone == [
        Death(*life)
        for life in older.incarnations.items()
        if life not in newer.incarnations.items()
    ]
    assert not older.gone_since(older)


@given(books, st.sampled_from(["a", "a/b", "c"]), st.integers(-1, 9))
def test_each_subscriber_is_found_once(book: Book, topic: str, after: int) -> None:
    found = book.subscribers(topic, after=after)
    assert len(found) == len(set(found))
    assert set(found) == {
        each.mailbox
        for each in book.subscriptions
        if each.since > after and matches(each.pattern, topic)
    }


@given(books)
def test_a_book_survives_the_wire(book: Book) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Book) == book
