"""Have what can be called answered by a process.

Whatever a process marks with `command` is served from its birth. More is served
with `serve`, under a path of its own, and registered with `api_of`, at the root::

    class Robot(Process):
        @command
        def stop(self) -> None: ...

        def birth(self) -> None:
            serve(self, Camera(), "camera", workers=2)
            api_of(self).add("arm.grip", grip)

Refused (`ValueError`): two APIs at one path.
"""

from __future__ import annotations

from gateway.mail.signature import marked_in
from gateway.process.process import Process
from gateway.rpc.api import Api
from gateway.rpc.desk import WAITING
from gateway.rpc.ends import desk_of


def serve(
    process: Process, source: object, at: str = "", *, workers: int = 0, waiting: int = WAITING
) -> Api:
    """Answer calls of ``source``, an `Api` or any object with marked methods, under ``at``.

    With ``workers`` so many are carried out at a time, on threads of the
    process, while ``waiting`` others wait; without, on the process's own thread.
    Returns the API.

    >>> from gateway import Process
    >>> from gateway.mail.signature import command
    >>> from gateway.rpc.tree import remote
    >>> from gateway.testing.stage import play
    >>> class Camera:
    ...     @command
    ...     def shoot(self) -> str:
    ...         return "a picture"
    >>> class Robot(Process):
    ...     def birth(self):
    ...         serve(self, Camera(), "camera", workers=2)
    >>> play(lambda main: remote(main, "robot").camera.shoot(), robot=Robot)
    'a picture'
    """
    api = source if isinstance(source, Api) else Api(source)
    desk_of(process).serve(api, at, workers=workers, waiting=waiting)
    return api


def api_of(process: Process) -> Api:
    """Return what ``process`` serves at its root, to register there."""
    desk = desk_of(process)
    found = desk.at("")
    if found is None:
        found = Api()
        desk.serve(found)
    return found


def serve_commands(process: Process) -> None:
    """Answer calls of the methods that ``process`` marked, if there are any."""
    if marked_in(type(process)):
        serve(process, process, workers=process.call_workers)
