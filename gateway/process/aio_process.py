"""A process whose birth, life, death and callbacks are coroutines on a shared event loop.

Subclass `AsyncProcess` (or `Process`, which is given these methods) and add it
with ``mode="asyncio"``. Many of them share one loop on one thread of the main
OS process, which must never wait for one of them::

    class Patrol(AsyncProcess):
        async def birth(self) -> None:
            await self.subscribe("devices/wheels/odometry", self.on_odometry)
            self.add_filter(subject="^go$", callback=self.on_go)

        async def on_go(self, message: Message) -> None:
            answer = await self.ask("wheels@serial", "drive", {"left": 10, "right": 10})
            self.reply(message, answer.body)

Callbacks are plain functions or coroutine functions. One letter is handled at
a time: while a callback awaits, the others on the loop go on, and this
process's own mail stays in its order. Where a letter matches several filters
the plain callbacks run first; of several in one filter those before the first coroutine.

What would wait is awaited here: `wait_for_reply`, `subscribe`, `light_sleep`,
`frequency_sleep`, `register_callbacks`, `join_child_threads`, `start_process`,
`stop_process`, `restart_process`, `poison_pill`, `process_names`,
`active_subprocesses`, `set_log_level` and `cleanup` return a `Pending`, as do
`ask`, which writes and waits at once, and `send_patiently`; locks are taken by
``async with self.get_locks(...)``. `send` never waits on the loop's thread,
whatever its ``timeout``: a full mailbox raises `MailboxFullError` at once, and
`send_patiently` is what waits for room. On other threads `send` waits as ever.

Refused by name, with a `RuntimeError`: `mailman` (the loop hands the mail out),
`open_mailbox` (its reader would be a thread: use the modes thread or fork), and
taking a `Pending` for its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from inspect import isawaitable
from itertools import count
from math import inf
from threading import get_ident
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeVar

from msgspec import to_builtins

from gateway.bus.directory import BOSS
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import CallTimeoutError, GatewayError, MailboxFullError
from gateway.mail.address import Address
from gateway.mail.filters import Callback, Run, in_turn
from gateway.mail.message import NORMAL, Message
from gateway.mail.topic import check_pattern
from gateway.process.aio_locks import LoopLocks, PendingLocks
from gateway.process.aio_mailbox import LoopMailbox
from gateway.process.callbacks import EventCallback
from gateway.process.context import Context
from gateway.process.neighbour import Crew, names_in, os_processes_in
from gateway.process.pending import Home, Pending
from gateway.process.porters import Porters
from gateway.process.process import Process
from gateway.process.stray import end_stray
from gateway.process.subscription import Subscription
from gateway.process.tasks import ChildTasks
from gateway.process.threads import Child
from gateway.process.whereabouts import handles_letters, letter_in_hand, tasks_for, within
from gateway.timeout import FAR, USUAL, in_seconds

log = logging.getLogger(__name__)

T = TypeVar("T")


class Due(NamedTuple):
    """What a callback wants awaited before the next letter is handled."""

    message: Message | None
    """The letter that is being handled, if any."""
    awaited: Awaitable[Any]
    results: Iterable[Any] = ()
    """Of the callbacks whose turn is after it, each called as its result is asked for."""
    bounces: bool = True
    """Whether a `GatewayError` goes back to who wrote the letter; otherwise it is a bug."""


class AsyncProcess(Process):
    """One worker on the loop; see the module's head."""

    is_on_loop: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._loop = asyncio.get_running_loop()
        self._loop_thread = get_ident()
        self.letters = LoopMailbox(self._box)
        """Its mailbox, to be awaited."""
        self._deliver_answer = self._answer_patiently
        self._locks: LoopLocks = LoopLocks(monotonic=self._clock.monotonic)
        self._told_to_end = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._child_tasks = ChildTasks(self.name, self._child_failed)
        self._porters = Porters(self.name, self._child_threads)
        self._due: deque[Due] = deque()
        self._gathered: list[Pending[None]] | None = None
        self._dropped: BaseException | None = None
        self._home = Home(self.name, self._loop, self._loop_thread, self._has_dropped)
        self._late_answers = count(1)
        self._follows = count(1)

    # To be written by authors

    async def birth(self) -> None:
        """Get ready: open what is needed, add filters. The mailbox is open already."""

    async def life(self) -> None:
        """Do the work of one frame, and return."""

    async def death(self) -> None:
        """Put things back; runs whatever happened, also where a deadline cancelled the life."""

    # Mail

    def send(
        self,
        recipient: str,
        subject: str,
        body: Any = None,
        *,
        priority: int = NORMAL,
        expires_in: float | None = None,
        timeout: float = USUAL,
        receipt: bool = False,
        thread: Message | None = None,
        headers: dict[str, str] | None = None,
        awaited: bool = False,
    ) -> Message:
        """Deliver a letter and return it, as `Process.send`.

        On the loop's thread ``timeout`` is not waited for: a full mailbox
        raises `MailboxFullError` at once.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     letter = actor.send("echo", "say", "hello")
        ...     return (await actor.wait_for_reply(letter)).body
        >>> play_on_loop(scene, echo=Echo)
        'hello'
        """
        # Mostly nobody has said how long.
        if timeout is not USUAL:
            timeout = in_seconds(timeout)
        return super().send(
            recipient,
            subject,
            body,
            priority=priority,
            expires_in=expires_in,
            timeout=0.0 if get_ident() == self._loop_thread else timeout,
            receipt=receipt,
            thread=thread,
            headers=headers,
            awaited=awaited,
        )

    def send_patiently(
        self, recipient: str, subject: str, body: Any = None, *, timeout: float = USUAL, **how: Any
    ) -> Pending[Message]:
        """Deliver a letter, waiting up to ``timeout`` seconds before a full mailbox.

        ``how`` is what `send` takes besides. A thread of this process waits
        where that is needed, so that only this coroutine does.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     letter = await actor.send_patiently("echo", "say", "hello", timeout=2.0)
        ...     return letter.recipient
        >>> play_on_loop(scene, echo=Echo)
        'echo'
        """
        if timeout is not USUAL:
            timeout = in_seconds(timeout)
        begin = partial(self._send_patiently, recipient, subject, body, timeout, how)
        return self.pending("send_patiently", begin)

    async def _send_patiently(
        self, recipient: str, subject: str, body: Any, timeout: float, how: dict[str, Any]
    ) -> Message:
        deliver = super().send
        try:
            return deliver(recipient, subject, body, timeout=0.0, **how)
        except MailboxFullError:
            if timeout <= 0:
                raise
        return await self._porters.carry(
            partial(deliver, recipient, subject, body, timeout=timeout, **how)
        )

    def ask(
        self, recipient: str, subject: str, body: Any = None, *, timeout: float = USUAL, **how: Any
    ) -> Pending[Message]:
        """Write a letter and return the reply to it, both within ``timeout`` seconds.

        ``how`` is what `send` takes besides. Raises what `send` and
        `wait_for_reply` raise.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     return (await actor.ask("echo", "say", "hello", timeout=2.0)).body
        >>> play_on_loop(scene, echo=Echo)
        'hello'
        """
        if timeout is not USUAL:
            timeout = in_seconds(timeout)
        begin = partial(self._write_and_wait, recipient, subject, body, timeout, how)
        return Pending("ask", begin, self._home)

    async def _write_and_wait(
        self, recipient: str, subject: str, body: Any, timeout: float, how: dict[str, Any]
    ) -> Message:
        deadline = self._monotonic() + timeout
        try:
            # Mostly there is room.
            letter = super().send(recipient, subject, body, timeout=0.0, **how)
        except MailboxFullError:
            letter = await self._send_patiently(recipient, subject, body, timeout, how)
        return await self.letters.wait_for(letter, deadline - self._monotonic())

    def wait_for_reply(  # type: ignore[override]  # it is awaited
        self, message: Message, timeout: float = USUAL
    ) -> Pending[Message]:
        """Await the reply to ``message``; raises as `Process.wait_for_reply` does.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     letters = [actor.send("echo", "say", number) for number in range(3)]
        ...     return [(await actor.wait_for_reply(letter)).body for letter in letters]
        >>> play_on_loop(scene, echo=Echo)
        [0, 1, 2]
        """
        return self.pending("wait_for_reply", partial(self.letters.wait_for, message, timeout))

    def mailman(self, timeout: float = 0.0) -> NoReturn:
        """Refuse: here the loop hands the mail out.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.mailman()
        >>> play_on_loop(scene)
        Traceback (most recent call last):
        RuntimeError: mailman is for threads: the loop hands an asyncio process its mail
        """
        raise RuntimeError("mailman is for threads: the loop hands an asyncio process its mail")

    def open_mailbox(self, local: str, *, size: int = 64, timeout: float = 5.0) -> NoReturn:
        """Refuse: such a mailbox is read by a thread of its own.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.open_mailbox("near")
        >>> play_on_loop(scene)
        Traceback (most recent call last):
        RuntimeError: open_mailbox needs a thread that reads: run the process in mode thread or fork
        """
        raise RuntimeError(
            "open_mailbox needs a thread that reads: run the process in mode thread or fork"
        )

    def subscribe(  # type: ignore[override]  # it is awaited
        self,
        pattern: str,
        callback: Callback,
        *,
        spool: SpoolTerms | None = None,
        timeout: float = 5.0,
    ) -> Pending[None]:
        """Await the subscription; what is retained has been handed to ``callback`` then.

        With a ``spool`` as `Process.subscribe`. The reader that `open_spool` returns waits for
        nothing: have the loop, or `watch`, tell when its descriptor is readable.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.publish("door", "open", retain=True)
        ...     await actor.subscribe("door", lambda message: print(message.body))
        >>> play_on_loop(scene)
        open
        """
        timeout = in_seconds(timeout)
        check_pattern(pattern)

        async def stand() -> None:
            subscription = Subscription(pattern, callback, self._noting(callback))
            waits_already, stands = self._has_spool(pattern), False
            try:
                self._subscriptions = (*self._subscriptions, subscription)
                terms = {"pattern": pattern, "spool": to_builtins(spool)}
                asked = self._tell_boss("subscribe", terms)
                answer = await self.letters.wait_for(asked, timeout)
                stands = True
                self._given_up.discard(pattern)
                self._offer(subscription, answer.body)
                await self._finish()
            except BaseException as error:
                # As on a thread. Nothing is awaited here: its task may be cancelled.
                if not (stands and isinstance(error, Exception)):
                    self._undo(subscription, waits_already)
                raise

        gathered = self._gathered
        # What is gathered is told of as one.
        pending = self.pending("subscribe", stand, droppable=gathered is not None)
        if gathered is not None:
            gathered.append(pending)
        return pending

    def follow(self, pattern: str, callback: Callback) -> None:
        """Subscribe, as every mode can: it stands a little later.

        >>> import asyncio
        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     heard = asyncio.Event()
        ...     actor.publish("door", "open", retain=True)
        ...     actor.follow("door", lambda message: heard.set())
        ...     return await heard.wait()
        >>> play_on_loop(scene)
        True
        """
        name = f"follow {pattern} ({next(self._follows)})"
        self.add_child_task(name, self.subscribe(pattern, callback))

    # Events

    def register_callbacks(  # type: ignore[override]  # it is awaited
        self, device: str = "", **callbacks: EventCallback
    ) -> Pending[None]:
        """Name who is called for events; await it where they are a device's.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.register_callbacks(full=lambda event: print(event.details))
        ...     actor.callback_event("full", paper=0)
        >>> play_on_loop(scene)
        {'paper': 0}
        """
        gathered = self._gathered = []
        try:
            noted = {event: self._noting(callback) for event, callback in callbacks.items()}
            super().register_callbacks(device, **noted)
        finally:
            self._gathered = None

        async def stand() -> None:
            for subscription in gathered:
                await subscription

        return self.pending("register_callbacks", stand, droppable=not gathered)

    # Time

    def light_sleep(self, seconds: float) -> Pending[bool]:  # type: ignore[override]
        """Await ``seconds``, or the end of the process; the result tells whether it goes on.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     rested = await actor.light_sleep(0.01)
        ...     actor.die()
        ...     return rested, await actor.light_sleep(3600)
        >>> play_on_loop(scene)
        (True, False)
        """
        seconds = inf if seconds == inf else in_seconds(seconds, "a sleep", FAR)
        return self.pending("light_sleep", partial(self._sleep, seconds))

    def frequency_sleep(self) -> Pending[bool]:  # type: ignore[override]  # it is awaited
        """Await the next frame, and begin it; the result tells whether the process goes on.

        For a life, or a task, that keeps a loop of its own. Raises `ValueError` where
        there is no frequency.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.frequency = 100
        ...     return await actor.frequency_sleep(), actor.current_frame
        >>> play_on_loop(scene)
        (True, 1)
        """
        self._until_next_frame()

        async def sleep() -> bool:
            goes_on = await self._sleep(self._until_next_frame())
            if goes_on:
                self._frames.advance(self._clock.monotonic())
            return goes_on

        return self.pending("frequency_sleep", sleep)

    async def _sleep(self, seconds: float) -> bool:
        if not self._ending.is_set and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._told_to_end.wait()
            except TimeoutError:
                return not self._ending.is_set
        else:
            await asyncio.sleep(0)
        return not self._ending.is_set

    # Children

    def add_child_task(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work`` beside the mail; this process owns it, cancels it, and dies of its errors.

        Raises `ValueError` where a task of that name runs already.

        >>> import asyncio
        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     done = asyncio.Event()
        ...     async def work():
        ...         await actor.light_sleep(0.01)
        ...         done.set()
        ...     actor.add_child_task("work", work())
        ...     return await done.wait()
        >>> play_on_loop(scene)
        True
        """
        self._child_tasks.start(name, work)

    def join_child_threads(  # type: ignore[override]  # it is awaited
        self, timeout: float = 2.0
    ) -> Pending[list[str]]:
        """Await the child threads; the result names those that still run.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.add_child_thread("greeter", lambda: print("hello"))
        ...     return await actor.join_child_threads()
        >>> play_on_loop(scene)
        hello
        []
        """
        timeout = in_seconds(timeout)
        join = partial(self._join, self._child_threads.children(), timeout, get_ident())
        return self.pending("join_child_threads", join)

    async def _join(self, children: list[Child], timeout: float, asking: int) -> list[str]:
        """Wait for ``children``, but for the thread ``asking``, and hold up no thread for it."""
        ended = asyncio.Event()
        tell = partial(self.call_on_loop, ended.set)
        others = [
            child for child in children if child.thread is not None and child.thread.ident != asking
        ]
        self._child_threads.on_end(tell)
        try:
            async with asyncio.timeout(timeout):
                while any(child.runs for child in others):
                    await ended.wait()
                    ended.clear()
        except TimeoutError:
            pass
        finally:
            self._child_threads.forget(tell)
        return [child.name for child in children if child.runs]

    # Locks

    def get_locks(self, *names: str, timeout: float = 5.0) -> PendingLocks:
        """Hold the locks ``names``, all where none is named, in an ``async with`` block.

        Its other tasks, and everybody else on the loop, go on meanwhile. Child
        threads, which share these locks, write ``with`` as ever, which raises
        `RuntimeError` on the loop's thread. Otherwise as `Process.get_locks`.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.add_locks("arm", "camera")
        ...     async with actor.get_locks("camera", "arm", timeout=1.0):
        ...         print("both are ours")
        >>> play_on_loop(scene)
        both are ours
        """
        return PendingLocks(self._locks, names, timeout, self._loop_thread)

    # The others

    def start_process(  # type: ignore[override]  # it is awaited
        self, name: str, *, timeout: float = 10.0
    ) -> Pending[None]:
        """Await the start of the process ``name``; raises as `Process.start_process` does.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     await actor.stop_process("echo")
        ...     await actor.start_process("echo")
        ...     return (await actor.ask("echo", "say", "again")).body
        >>> play_on_loop(scene, echo=Echo)
        'again'
        """
        return self._ordered("start_process", "start", name, timeout)

    def stop_process(  # type: ignore[override]  # it is awaited
        self, name: str, *, timeout: float = 15.0
    ) -> Pending[None]:
        """Await the end of the process ``name``.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     await actor.stop_process("echo")
        ...     return actor.recipients()
        >>> play_on_loop(scene, echo=Echo)
        ['actor', 'boss', 'main']
        """
        return self._ordered("stop_process", "stop", name, timeout)

    def restart_process(  # type: ignore[override]  # it is awaited
        self, name: str, *, timeout: float = 25.0
    ) -> Pending[None]:
        """Await the end of the process ``name`` and its next start.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     await actor.restart_process("echo")
        ...     return (await actor.ask("echo", "say", "again")).body
        >>> play_on_loop(scene, echo=Echo)
        'again'
        """
        return self._ordered("restart_process", "restart", name, timeout)

    def poison_pill(  # type: ignore[override]  # it is awaited
        self, name: str, *, timeout: float = 10.0
    ) -> Pending[str]:
        """Await how the process ``name`` ended of it; raises as `Process.poison_pill` does.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     return await actor.poison_pill("echo")
        >>> play_on_loop(scene, echo=Echo)
        'it ended by itself'
        """
        timeout = in_seconds(timeout)
        Address.parse(name)
        if name == self.name:
            raise ValueError(f"{name!r} takes no poison of its own: use die()")
        return self._ordered("poison_pill", "poison_pill", name, timeout)

    def _ordered(self, said: str, verb: str, name: str, timeout: float) -> Pending[Any]:
        timeout = in_seconds(timeout)

        async def order() -> Any:
            given_up = (CallTimeoutError, asyncio.CancelledError)
            with self._office.ordering(self._box, verb, name, given_up) as ordered:
                return (await self.letters.wait_for(ordered, timeout)).body

        return self.pending(said, order)

    def process_names(  # type: ignore[override]  # it is awaited
        self, *, timeout: float = 5.0
    ) -> Pending[list[str]]:
        """Await the names of the application's processes, whether they live or not.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     return await actor.process_names()
        >>> play_on_loop(scene)
        ['actor', 'main']
        """
        return self._of_the_crew("process_names", names_in, timeout)

    def active_subprocesses(  # type: ignore[override]  # it is awaited
        self, *, timeout: float = 5.0
    ) -> Pending[dict[str, int]]:
        """Await the process id of each process that runs in an OS process of its own.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     await actor.ask("far", "say")
        ...     return list(await actor.active_subprocesses())
        >>> play_on_loop(scene, near=Echo, far=(Echo, "fork"))
        ['far']
        """
        return self._of_the_crew("active_subprocesses", os_processes_in, timeout)

    def _of_the_crew(self, said: str, told: Callable[[Crew], T], timeout: float) -> Pending[T]:
        timeout = in_seconds(timeout)

        async def look() -> T:
            return told((await self.ask(BOSS, "ps", timeout=timeout)).body)

        return self.pending(said, look)

    # Settings

    def set_log_level(  # type: ignore[override]  # it is awaited
        self, level: str, name: str = "", *, timeout: float = 5.0
    ) -> Pending[dict[str, Any]]:
        """Await that the whole gateway logs from ``level`` upwards, as `Process.set_log_level`.

        >>> from gateway.testing.stage import Echo, play_on_loop
        >>> async def scene(actor):
        ...     levels = await actor.set_log_level("debug", "echo")
        ...     await actor.set_log_level("default", "echo")
        ...     return levels["processes"]
        >>> play_on_loop(scene, echo=Echo)
        {'echo': 'debug'}
        """
        timeout = in_seconds(timeout)

        async def tell() -> dict[str, Any]:
            asked = self._tell_boss("log-level", {"name": name, "level": level})
            levels: dict[str, Any] = (await self.letters.wait_for(asked, timeout)).body
            return levels

        return self.pending("set_log_level", tell)

    # Ending

    def cleanup(  # type: ignore[override]  # it is awaited
        self, timeout: float = 2.0
    ) -> Pending[list[str]]:
        """Await the end of what the process was lent, as `Process.cleanup`.

        >>> from gateway.testing.stage import play_on_loop
        >>> async def scene(actor):
        ...     actor.add_child_thread("pump", lambda: actor.light_sleep(3600).result())
        ...     actor.die()
        ...     return await actor.cleanup()
        >>> play_on_loop(scene)
        []
        """
        return self.pending("cleanup", partial(self._clean, in_seconds(timeout), get_ident()))

    async def _clean(self, timeout: float, asking: int) -> list[str]:
        try:
            self._close_ends()
            self._send_back_what_waits()
            return await self._join(self._child_threads.children(), timeout, asking)
        finally:
            self._signals.close()

    # Within

    def _refuse_coroutines(self, *callbacks: Any) -> None:
        if any(map(asyncio.iscoroutinefunction, callbacks)):
            raise ValueError("a coroutine is awaited: start it by add_child_task")

    def _carried(self, callbacks: Sequence[Callback], run: Run) -> Callback:
        if run != "here":
            if any(map(asyncio.iscoroutinefunction, callbacks)):
                raise ValueError(f"a coroutine runs here, on the loop, and not in a {run}")
            return super()._carried(callbacks, run)
        if len(callbacks) < 2:
            return in_turn(callbacks)
        in_turn(callbacks)  # refuses what cannot be called
        called = tuple(callbacks)

        def call_all(message: Message) -> None:
            results = (callback(message) for callback in called)
            for result in results:
                if isawaitable(result):
                    # The others have to wait for it.
                    self._due.append(Due(message, result, results))
                    return

        return call_all

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        return {
            "tasks": self._child_tasks.alive(),
            "waits_for_room": self._porters.under_way,
            **super().statistics(),
        }

    def pending(
        self, name: str, begin: Callable[[], Coroutine[Any, Any, T]], *, droppable: bool = False
    ) -> Pending[T]:
        """Return what stands for ``begin()``, called ``name``, until it is awaited."""
        return Pending(
            name, begin, self._home._replace(on_dropped=None) if droppable else self._home
        )

    def _has_dropped(self, error: BaseException) -> None:
        # Also where nobody looks at what its children did any more.
        self._dropped = error
        self._child_failed(error)

    @handles_letters
    def _call(self, callback: Callback, message: Message) -> None:
        """Call a filter's callback; what it wants awaited is due when the plain ones have run."""
        try:
            result = callback(message)
        except GatewayError as error:
            self._refused(message, error)
        else:
            if isawaitable(result):
                self._due.append(Due(message, result))

    def _have_looked_at(self) -> None:
        # Several tasks share the thread, and the one that reads may sleep.
        self._box.wake()

    def is_on_its_thread(self) -> bool:
        """Tell whether this is the thread of the loop."""
        return get_ident() == self._loop_thread

    def held_up_by(self) -> str:
        """Return the task that keeps this process from hearing that it is to end, or ``""``.

        For any thread: by then its loop has not gone round since it was told.
        """
        if not self._ending.is_set or self._told_to_end.is_set():
            return ""
        task = asyncio.current_task(self._loop)
        return "" if task is None else task.get_name()

    def call_on_loop(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` on the loop's thread, soon; from any thread."""
        with contextlib.suppress(RuntimeError):
            # A loop that is closed by now has nothing left to be told.
            self._loop.call_soon_threadsafe(callback, context=within(self.name))

    def await_later(self, message: Message, due: Awaitable[Any]) -> None:
        """Have ``due`` awaited, which came of ``message``, before the next letter is handled."""
        self._due.append(Due(message, due))

    def _refused(self, message: Message, error: GatewayError) -> None:
        end_stray(self._box, error)
        log.info("%s refused %r of %s: %s", self.name, message.subject, message.sender, error)
        self.bounce(message, error)

    def _noting(self, callback: Any) -> Any:
        """Return ``callback``, with what it wants awaited noted as due."""
        if not callable(callback):
            return callback

        def call(about: Any) -> None:
            result = callback(about)
            if isawaitable(result):
                self._due.append(Due(letter_in_hand(), result, bounces=False))
                # On another thread, as of an event, there is no task at all.
                if not self.is_on_its_thread() or asyncio.current_task() is not self._task:
                    self._box.wake()

        return call

    async def _settle(self, result: Any) -> None:
        """Await what an author's method returned, and whatever became due in it."""
        if isawaitable(result):
            await result
        if self._due:
            await self._finish()

    async def _finish(self) -> None:
        while self._due:
            due = self._due.popleft()
            await self._go_on(due.message, due)

    @handles_letters
    async def _go_on(self, message: Message | None, due: Due) -> None:
        before = tasks_for.set("" if message is None else message.thread_id)
        try:
            await due.awaited
            for result in due.results:
                if isawaitable(result):
                    await result
        except GatewayError as error:
            if message is None or not due.bounces:
                raise
            self._refused(message, error)
        finally:
            tasks_for.reset(before)

    def _answer_patiently(self, answer: Message, timeout: float = 5.0) -> None:
        """Deliver a reply or a bounce; where its reader is slow, beside the loop."""
        if get_ident() != self._loop_thread:
            self._office.answer(answer, timeout)
            return
        try:
            self._office.answer(answer, 0.0)
        except MailboxFullError:
            name = f"answer-{next(self._late_answers)}"
            self.add_child_task(name, self._answer_late(answer, timeout))

    async def _answer_late(self, answer: Message, timeout: float) -> None:
        try:
            answers = partial(self._office.answer, answer, timeout)
            # It may be the last thing that this process does.
            await self._porters.carry(answers, to_the_end=True)
        except GatewayError as error:
            log.warning("%s could not answer %s: %s", self.name, answer.recipient, error)

    # From here on for the runner

    def _enter_loop(self) -> None:
        self._task = asyncio.current_task()
        self._loop.add_reader(self._ending.fileno(), self._hear_the_end)

    def _hear_the_end(self) -> None:
        self._loop.remove_reader(self._ending.fileno())
        self._told_to_end.set()

    async def _leave_loop(self) -> None:
        """End what this process owns here, within some seconds; then watch nothing more."""
        self._told_to_end.set()
        for due in self._due:
            if asyncio.iscoroutine(due.awaited):
                due.awaited.close()
        self._due.clear()
        try:
            await self._child_tasks.end(2.0)
            await self._clean(2.0, self._loop_thread)
        finally:
            self._loop.remove_reader(self._ending.fileno())
            self.letters.close()


def with_loop(factory: type[Process]) -> type[AsyncProcess]:
    """Return ``factory`` itself where it is an `AsyncProcess`, else one made of it."""
    if issubclass(factory, AsyncProcess):
        return factory
    if issubclass(AsyncProcess, factory):
        return AsyncProcess
    return type(
        factory.__name__,
        (factory, AsyncProcess),
        {"__module__": factory.__module__, "__qualname__": factory.__qualname__},
    )
