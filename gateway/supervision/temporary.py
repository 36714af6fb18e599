"""The folder that a process is given for one life, and that ends with it.

Mode 0700, empty at birth, beside the application's sockets and so, on an
appliance, in memory. Removed by the boss when that life is over, however it
ended; what a killed application left goes at the next start. Refused: to follow
links out of it.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from gateway.bus.wire import socket_name

log = logging.getLogger(__name__)


def folder_of(root: Path, name: str, incarnation: int) -> Path:
    """Return where the folder of one life is.

    >>> folder_of(Path("/run/gateway/temporary"), "plant/soil", 2)
    PosixPath('/run/gateway/temporary/plant%2Fsoil.2')
    """
    return root / socket_name(name, incarnation, "mail")


def make_folder(root: Path, name: str, incarnation: int) -> Path:
    """Make the folder of one life, empty, and return it."""
    folder = folder_of(root, name, incarnation)
    remove_folder(root, name, incarnation)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def remove_folder(root: Path, name: str, incarnation: int) -> None:
    """Remove the folder of one life with all that is in it; none there is fine."""
    _remove(folder_of(root, name, incarnation))


def clear(root: Path) -> None:
    """Remove what an application that was killed has left."""
    _remove(root)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        # As where it was made somebody else's; it goes with the machine's next start.
        log.warning("the temporary folder %s cannot be removed: %s", folder, error)
