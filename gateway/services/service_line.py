"""Carries calls to one life of a mailbox, and to none of its successors.

What was handed out for one life must not meet another that bears the same name:
it would have another state, or other functions. So each call looks whether that
life is still in the book, which costs no letter, and who is dead is known as such
at once.

Refused (`RecipientGoneError`): calls to a life that is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.errors import AddressError, RecipientGoneError
from gateway.rpc.ends import calls_of
from gateway.rpc.references import found_in
from gateway.rpc.stream import Answer
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction
from gateway.rpc.tree import Remote
from gateway.services.finder import Finder

T = TypeVar("T")


class ServiceLine:
    """The calls of one process to one life of ``address``; `gateway.rpc.tree.Line` in other words.

    ``what`` says in errors what lives there.
    """

    def __init__(self, finder: Finder, address: str, life: int, what: str) -> None:
        self.finder = finder
        self.life = life
        self._address = address
        self._what = what
        self._office = finder.process._office
        self._calls = calls_of(finder.process)

    def is_alive(self) -> bool:
        """Whether that life goes on, as far as is known here."""
        return self._office.book.incarnations.get(self._address) == self.life

    def call(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> T:
        """Call and wait; raise the error that came instead of an answer."""
        if self._office.book.incarnations.get(address) != self.life:
            raise self._gone()
        try:
            return self._calls.call(address, path, body, terms, take)
        except AddressError:
            if not self.is_alive():
                raise self._gone() from None
            raise

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Transaction[T]:
        """Call, and return at once the transaction that its result is asked of."""
        self._refuse_the_dead()
        return self._calls.begin(address, path, body, terms, take)

    def tell(self, address: str, path: str, body: Any, terms: Terms) -> None:
        """Call without an answer."""
        self._refuse_the_dead()
        self._calls.tell(address, path, body, terms)

    def stream(self, address: str, terms: Terms, answer: Answer) -> Any:
        """Return what follows after ``answer``, the first batch of a stream."""
        return self._calls.stream(address, terms, answer)

    def found(self, body: Any) -> Any:
        """Return an answer with what its references stand for."""
        return found_in(body, self.finder.find)

    def _refuse_the_dead(self) -> None:
        if not self.is_alive():
            raise self._gone()

    def _gone(self) -> RecipientGoneError:
        return RecipientGoneError(f"{self._what} is gone: it was closed, or it died")


class ServiceRemote(Remote):
    """A function of a service, or one that another process handed out."""

    _line: ServiceLine
