"""An API as it stands in the configuration: paths, and what is called for each.

::

    [apis.robot]
    workers = 2

    [apis.robot.functions]
    "arm.grip" = "mypackage.arm:grip"
    camera = "mypackage.camera:Camera"

It is a process of its own, ``robot``, that answers calls of ``robot.arm.grip``. What is
named is a function, an object or a class: of an object the marked methods are served
below its path, and of a class those of one that is made without arguments.

Refused: what the types say, and paths that are none. Whether the functions are there,
somebody else asks; nothing is imported or started here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.crew import Seconds, WhenStuck

CallableName = Annotated[
    str,
    Meta(pattern=r"^[\w.]+:[\w.]+\Z", description="a function of a module, as module:name"),
]


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API; see the module's head.

    Up to ``workers`` calls are carried out at a time, on threads, while ``waiting`` others
    wait; without workers one after the other. In the mode ``asyncio`` the functions may be
    coroutines. It is born once all lives that it ``depends`` on. Without workers a function that
    takes long is no progress meanwhile: where there is a ``stuck_after`` it has to be longer.
    """

    functions: Annotated[dict[str, CallableName], Meta(min_length=1)]
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    waiting: Annotated[int, Meta(ge=0, le=10_000)] = 64
    mode: Literal["fork", "thread", "asyncio"] = "fork"
    depends: tuple[str, ...] = ()
    stuck_after: Seconds | None = None
    when_stuck: WhenStuck = "report"


def is_path(path: str) -> bool:
    """Tell whether ``path`` may be called.

    >>> is_path("arm.grip"), is_path("arm..grip"), is_path("_secret")
    (True, False, False)
    """
    return all(name.isidentifier() and not name.startswith("_") for name in path.split("."))
