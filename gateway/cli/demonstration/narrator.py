"""A main process that does one thing after the other, and waits for each.

Letters are handled while it waits, on its own thread. A wait ends in one of
three ways: what was awaited has come; its deadline has passed, which is
`StepFailed`; or it is all over, by Ctrl-C or the end of the time, which is
`Curtain`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from time import monotonic
from typing import Any, TypeVar

from gateway.cli.demonstration.loop_thread import LoopThread
from gateway.cli.demonstration.stage import Stage
from gateway.errors import CallTimeoutError, GatewayError, MailboxFullError, RecipientGoneError
from gateway.process.process import Process

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that most things may take before the story is given up."""


class StepFailed(GatewayError):  # noqa: N818  it is the step that failed, within the story
    """What was awaited did not come before its deadline; the text says why."""


class Curtain(Exception):  # noqa: N818  nothing went wrong
    """It is over: the time, or the patience of whoever watches."""


class TimeOver(Curtain):
    """It is over since its time is."""


class Narrator(Process):
    """Waits for conditions, and for coroutines on its loop."""

    def birth(self) -> None:
        """Run a loop for coroutines."""
        self.stage: Stage = self.application
        self.loop = LoopThread("witness")
        self.loop.start()

    def death(self) -> None:
        """End the loop."""
        if hasattr(self, "loop"):
            self.loop.stop()

    def until(
        self,
        condition: Callable[[], object],
        awaited: str,
        why: Callable[[], str] = lambda: "",
        *,
        within: float = PATIENCE,
    ) -> None:
        """Wait up to ``within`` seconds for ``condition``, asked after each letter and nudge.

        ``awaited`` and ``why`` make the sentence that `StepFailed` says.
        """
        deadline = monotonic() + within
        while not condition():
            if not self._wait_for_mail(deadline):
                reason = why()
                raise StepFailed(
                    f"{awaited} did not come within {within:g} s"
                    + (f": {reason}" if reason else "")
                )

    def pause(self, seconds: float) -> None:
        """Let the audience look; letters are handled meanwhile."""
        deadline = monotonic() + seconds
        while self._wait_for_mail(deadline):
            pass

    def result(
        self, coroutine: Coroutine[Any, Any, T], awaited: str, *, within: float = PATIENCE
    ) -> T:
        """Return what ``coroutine`` returns; its `GatewayError` becomes `StepFailed`.

        ``within`` and ``awaited`` are those of `until`.
        """
        future: Future[T] = self.loop.submit(coroutine)
        future.add_done_callback(lambda _: self.nudge())
        try:
            self.until(future.done, awaited, within=within)
            return future.result(0)
        except StepFailed:
            raise
        except GatewayError as error:
            raise StepFailed(str(error)) from error
        finally:
            future.cancel()

    def nudge(self) -> None:
        """Have the condition that is waited for looked at again; from any thread."""
        self._box.wake()

    def ask(self, recipient: str, subject: str, body: Any = None) -> Any:
        """Return the body of the answer to a letter; None where there is none in time."""
        try:
            return self.wait_for_reply(self.send(recipient, subject, body, timeout=0.5), 1.0).body
        except (CallTimeoutError, RecipientGoneError, MailboxFullError):
            return None

    def _wait_for_mail(self, deadline: float) -> bool:
        """Handle what comes next; False at the deadline. Raises `Curtain` where it is over."""
        ends_at = self.stage.ends_at
        now = monotonic()
        if not self.is_active or self.stage.storyteller.gone is not None:
            raise Curtain
        if ends_at is not None and now >= ends_at:
            raise TimeOver
        if now >= deadline:
            return False
        self.mailman(min(deadline, ends_at if ends_at is not None else deadline) - now)
        return True
