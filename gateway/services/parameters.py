"""What may be said to a simulation: its annotated attributes, and the check against them.

A public attribute of the class that has an annotation and a value is a parameter,
with that value unless another is given::

    class Drive(Simulation):
        speed: Annotated[float, Unit("m/s"), Meta(ge=0, le=3)] = 1.0

What is only annotated, has no annotation, is a `ClassVar` or begins with an
underscore is the author's own affair.

Refused (`RefusedError`, with what would be right): names that are none, values that
do not fit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, get_origin, get_type_hints

from gateway.mail.signature import Command


class Parameters:
    """The parameters of one class.

    >>> class Drive:
    ...     speed: float = 1.0
    >>> Parameters(Drive).check({"speed": 2})
    {'speed': 2.0}
    >>> Parameters(Drive).check({"sped": 2})
    Traceback (most recent call last):
    gateway.errors.RefusedError: Drive has no parameter 'sped' (did you mean 'speed'?); \
right is Drive(speed: float (optional))
    """

    def __init__(self, kind: type) -> None:
        hints = get_type_hints(kind, include_extras=True)
        self.names = tuple(
            name
            for name, hint in hints.items()
            if not name.startswith("_")
            and hint is not ClassVar
            and get_origin(hint) is not ClassVar
            and hasattr(kind, name)
        )

        def signed(**values: Any) -> None:
            """Stand for the class, with a parameter for each of its own."""

        signed.__annotations__ = {name: hints[name] for name in self.names}
        signed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=getattr(kind, name),
                    annotation=hints[name],
                )
                for name in self.names
            ]
        )
        self._command = Command(kind.__name__, signed, bound=True)

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``values`` as their annotations have them; raise `RefusedError`."""
        return self._command.check(dict(values))

    def of(self, owner: object) -> dict[str, Any]:
        """Return the values that ``owner`` has."""
        return {name: getattr(owner, name) for name in self.names}
