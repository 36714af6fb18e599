"""What a program outside may do, decided by the user it runs as.

The kernel vouches for the user (SO_PEERCRED). Trusted users may do
everything; others only what is written for them, which is nothing unless it
is. Pure, but for the look-up of names when it is made: a user that this
machine does not know is granted nothing, and named in `unknown`.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterable, Sequence

from gateway.errors import RefusedError
from gateway.routing.access import AccessList
from routes.unix_socket.settings import Guest


def uid_of(name: str) -> int | None:
    """Return the number of the user ``name``, None where there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


class Rights:
    """Who may write to whom, and who may look.

    >>> rights = Rights({0}, [Guest(user=1000, to="*@serial", subject="led")], [1001])
    >>> rights.check_send(0, "main", "stop")
    >>> rights.check_send(1000, "board@serial", "led")
    >>> rights.check_look(1000, "ps")
    Traceback (most recent call last):
    gateway.errors.RefusedError: 'ps' is not open to user 1000: run it as root or as the \
gateway's own user, or add the user to observers under [routes.unix_socket]
    """

    def __init__(
        self,
        trusted: Iterable[int],
        allow: Sequence[Guest] = (),
        observers: Sequence[int | str] = (),
        *,
        find: Callable[[str], int | None] = uid_of,
    ) -> None:
        self.unknown: list[str] = []
        """Names that no user of this machine bears."""
        self._trusted = frozenset(trusted)
        rules: dict[int, list[Guest]] = {}
        for guest in allow:
            if (uid := self._number(guest.user, find)) is not None:
                rules.setdefault(uid, []).append(guest)
        self._lists = {uid: AccessList(found) for uid, found in rules.items()}
        numbers = (self._number(user, find) for user in observers)
        self._observers = frozenset(uid for uid in numbers if uid is not None)

    def check_send(self, uid: int, to: str, subject: str) -> None:
        """Raise `RefusedError` where user ``uid`` may not write ``subject`` to ``to``."""
        if uid in self._trusted:
            return
        rules = self._lists.get(uid)
        if rules is None or not rules.allows(to, subject):
            raise RefusedError(
                f"user {uid} may not write {subject!r} to {to!r}: run it as root or as the"
                " gateway's own user, or allow it under [[routes.unix_socket.allow]]"
            )

    def check_look(self, uid: int, what: str) -> None:
        """Raise `RefusedError` where user ``uid`` may not see ``what``: ``ps`` or ``tail``."""
        if uid not in self._trusted and uid not in self._observers:
            raise RefusedError(
                f"{what!r} is not open to user {uid}: run it as root or as the gateway's own"
                " user, or add the user to observers under [routes.unix_socket]"
            )

    def check_trusted(self, uid: int, what: str) -> None:
        """Raise `RefusedError` where user ``uid`` may not do ``what``, which no guest ever may."""
        if uid not in self._trusted:
            raise RefusedError(
                f"{what!r} is not open to user {uid}: run it as root or as the gateway's own user"
            )

    def _number(self, user: int | str, find: Callable[[str], int | None]) -> int | None:
        if isinstance(user, int):
            return user
        found = find(user)
        if found is None and user not in self.unknown:
            self.unknown.append(user)
        return found
