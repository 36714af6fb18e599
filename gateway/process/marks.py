"""Filters that are written above their method: ``@on(subject="^stop$")``.

They are added before `birth`, those of a base class first. A method that
overrides a marked one takes its place under the same filters, unless it is
marked itself: then its own marks count. Set to None, it takes nothing.

Refused (`ValueError`), when the class is made: broken patterns, and
``run="fork"``, since a method belongs to its process. Likewise (`TypeError`)
an id or a route that is no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from gateway.mail.filters import Callback, Run, check_patterns, check_words

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__gateway_filters__"


def on(
    *,
    id: str = "",
    run: Run = "here",
    route: str | None = None,
    fallthrough: bool = False,
    description: str = "",
    **patterns: str,
) -> Callable[[F], F]:
    """Have the method below called with each letter that matches, as by `Process.add_filter`.

    ``id`` is the method's name unless said otherwise, ``description`` the
    first line of its docstring. Several stand one above the other.

    >>> from gateway import Process, on
    >>> from gateway.testing.stage import play
    >>> class Lamp(Process):
    ...     @on(subject="^colour$")
    ...     def colour(self, message):
    ...         self.reply(message, "red")
    >>> play(lambda main: main.wait_for_reply(main.send("lamp", "colour")).body, lamp=Lamp)
    'red'
    """
    if run == "fork":
        raise ValueError("a method cannot run in a forked process: add_filter takes functions")
    check_words(id=id, route=route)
    check_patterns(patterns)
    options: dict[str, Any] = {
        "id": id,
        "run": run,
        "route": route,
        "fallthrough": fallthrough,
        "description": description,
        **patterns,
    }

    def mark(method: F) -> F:
        # The uppermost comes last, and first among the filters.
        setattr(method, _MARKS, [options, *getattr(method, _MARKS, ())])
        return method

    return mark


def marks_of(kind: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each marked method's name with the options of its filter, bases first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for base in reversed(kind.__mro__):
        for name, value in vars(base).items():
            if value is None:
                found.pop(name, None)
            elif marks := getattr(value, _MARKS, None):
                found[name] = marks
    for name, marks in found.items():
        method: Callback = getattr(kind, name)
        first_line = (method.__doc__ or "").strip().partition("\n")[0]
        for number, options in enumerate(marks, 1):
            yield (
                name,
                {
                    **options,
                    "id": options["id"] or (name if number == 1 else f"{name}-{number}"),
                    "description": options["description"] or first_line,
                },
            )
