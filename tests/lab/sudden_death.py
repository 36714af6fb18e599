"""SIGKILL within one OS process, as near as one can come: nobody gets any further."""

from __future__ import annotations

import pytest


class KilledError(BaseException):
    """Stands for SIGKILL; whoever this is raised at has no chance to clean up."""


def killed_at(patch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Have whoever calls ``name`` of ``owner``, a class or a module, be killed there."""

    def kill(*arguments: object, **options: object) -> None:
        raise KilledError

    patch.setattr(owner, name, kill)
