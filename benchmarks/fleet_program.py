"""A child program that is asked in lines of JSON and answers each with one.

The parent's end is `Program`; a child calls `serve` with what it can do. A child
ends when its standard input does, once what it was asked last is over, so that it does
not outlive its parent for long; Ctrl-C is the parent's to hear. Refused, with
`RuntimeError`: a child that fails, ends or does not answer in time.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

PATIENCE = 180.0
"""Seconds after which a child that does not answer is called hung."""
END = 20.0
"""Seconds that a child may take to end, once it is told to."""


class Program:
    """One child; as a context manager it is ended, whatever happened."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.module = module
        self._said = b""
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, what: str, /, **options: Any) -> Any:
        """Ask for ``what`` and return the answer."""
        self.tell(what, **options)
        return self.hear()

    def tell(self, what: str, /, **options: Any) -> None:
        """Ask for ``what``; the answer is to be fetched with `hear`."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"what": what, **options}).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"{self.module} has ended; see what it said above") from None

    def hear(self, within: float = PATIENCE) -> Any:
        """Return the next answer; wait for it up to ``within`` s."""
        assert self._child.stdout is not None
        pipe, limit = self._child.stdout.fileno(), monotonic() + within
        while b"\n" not in self._said:
            if not select.select([pipe], [], [], max(0.0, limit - monotonic()))[0]:
                raise RuntimeError(f"{self.module} has not answered within {within:g} s")
            read = os.read(pipe, 1 << 20)
            if not read:
                raise RuntimeError(f"{self.module} has ended; see what it said above")
            self._said += read
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        """Tell it to end, wait for that, and use force where it does not."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            self._child.wait(END)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(END)
        self._child.stdout.close()


def ask_all(programs: list[Program], what: str, /, **options: Any) -> list[Any]:
    """Ask all of ``programs`` at once; return their answers in order."""
    for program in programs:
        program.tell(what, **options)
    limit = monotonic() + PATIENCE
    return [program.hear(max(1.0, limit - monotonic())) for program in programs]


def serve(verbs: Mapping[str, Callable[..., Any]]) -> None:
    """Answer the lines of standard input until it ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer = verbs[asked.pop("what")](**asked)
        print(json.dumps(answer), flush=True)


def raise_descriptors(needed: int) -> None:
    """Allow this process ``needed`` descriptors; `SystemExit` where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{needed} descriptors are needed and the system allows {hard}: "
            f"raise the hard limit (ulimit -H -n {needed}, LimitNOFILE=), or take fewer --nodes"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
