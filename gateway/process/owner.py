"""A neighbour that owns threads, locks, signals and descriptors, and gives them back.

Each kind is kept by a part of its own (`ChildThreads`, `CallbackThreads`,
`Locks`, `Signals`); here stand the words for them. A child thread that raises
is a bug of its process, which dies of it.

Refused: what the parts refuse, as they say.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import RLock, Thread
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import RecipientGoneError
from gateway.mail.filters import Callback, Run, in_turn
from gateway.mail.message import Message
from gateway.process.callback_threads import CallbackThreads
from gateway.process.forked_callback import forked
from gateway.process.locks import Lock, Locks
from gateway.process.neighbour import Neighbour
from gateway.process.signals import SignalCallback, Signals, signal_names
from gateway.process.stray import end_stray, turn_away
from gateway.process.threads import ChildThreads
from gateway.timeout import in_seconds

_THREAD = "_thread_"


class Owner(Neighbour):
    """Who owns what its operating system lends it; see the module's head."""

    def __init__(
        self,
        name: str,
        office: Office,
        mailbox: Mailbox,
        route: str = "",
        *,
        make_thread: Callable[..., Thread] = Thread,
        make_lock: Callable[[], Lock] = RLock,
    ) -> None:
        super().__init__(name, office, mailbox, route)
        self._child_error: BaseException | None = None
        self._child_threads = ChildThreads(
            name,
            self._child_failed,
            monotonic=self._clock.monotonic,
            make_thread=make_thread,
        )
        self._callback_threads = CallbackThreads(
            self._child_threads, self._call_there, receipts=mailbox.receipts
        )
        self._locks = Locks(make_lock=make_lock, monotonic=self._clock.monotonic)
        self._signals = Signals(name, mailbox)

    # Child threads

    def add_child_thread(self, name: str, target: Callable[[], object]) -> None:
        """Start ``target`` on a thread that this process owns and dies with.

        Raises `ValueError` where a thread of that name runs.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("greeter", lambda: print("hello"))
        ...     return main.join_child_threads()
        >>> play(scene)
        hello
        []
        """
        self._refuse_coroutines(target)
        self._child_threads.start(name, target)

    def launch_threads(self) -> list[str]:
        """Start every method called ``_thread_*`` as a child thread, named by what follows that.

        Returns the names.

        >>> from gateway import Process
        >>> from gateway.testing.stage import play
        >>> class Lamp(Process):
        ...     def birth(self):
        ...         print(self.launch_threads())
        ...     def _thread_blink(self):
        ...         while self.light_sleep(0.5):
        ...             pass
        >>> play(lambda main: None, lamp=Lamp)
        ['blink']
        """
        methods = [name for name in dir(type(self)) if name.startswith(_THREAD)]
        names = [method.removeprefix(_THREAD) for method in methods]
        for name, method in zip(names, methods, strict=True):
            self.add_child_thread(name, getattr(self, method))
        return names

    def child_threads_alive(self) -> list[str]:
        """Return the names of the child threads that run.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("sleeper", lambda: main.light_sleep(3600))
        ...     return main.child_threads_alive()
        >>> play(scene)
        ['sleeper']
        """
        return self._child_threads.alive()

    def join_child_threads(self, timeout: float = 2.0) -> list[str]:
        """Wait for the child threads; return the names of those that still run.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("sleeper", lambda: main.light_sleep(3600))
        ...     return main.join_child_threads(timeout=0.01)
        >>> play(scene)
        ['sleeper']
        """
        return self._child_threads.join(in_seconds(timeout))

    def child_thread_janitor(self) -> int:
        """Forget the child threads that have ended; return how many.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("quick", lambda: None)
        ...     main.join_child_threads()
        ...     return main.child_thread_janitor()
        >>> play(scene)
        1
        """
        return self._child_threads.clear_ended()

    def remove_child_threads(self, *names: str) -> list[str]:
        """Forget those of ``names`` that have ended; return which those were.

        One that runs cannot be forgotten, since nobody would own it then.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("quick", lambda: None)
        ...     main.join_child_threads()
        ...     return main.remove_child_threads("quick", "nobody")
        >>> play(scene)
        ['quick']
        """
        return self._child_threads.remove(*names)

    def worker_threads(self, name: str, at_once: int, waiting: int) -> CallbackThreads:
        """Return what runs callbacks on up to ``at_once`` child threads called ``name``.

        ``waiting`` letters wait for one at the most. Whoever asked for it closes it.
        """
        return CallbackThreads(
            self._child_threads,
            self._call_there,
            name=name,
            at_once=at_once,
            waiting=waiting,
            receipts=self._box.receipts,
        )

    def _send_back_what_waits(self) -> None:
        """Begin no callback on a thread any more, and bounce what waited for one."""
        for message in self._callback_threads.close():
            self.bounce(message, RecipientGoneError(f"{self.name!r} ended before it answered"))

    def _call_there(self, callback: Callback, message: Message) -> None:
        """Call ``callback`` on a thread, to which no child of `os.fork()` comes back."""
        self._call(callback, message)
        turn_away(self._box)

    def _child_failed(self, error: BaseException) -> None:
        end_stray(self._box, error)
        self._child_error = error
        self._box.wake()

    def _carried(self, callbacks: Sequence[Callback], run: Run) -> Callback:
        if run == "fork":
            return in_turn([forked(callback, self._hand_to_fork) for callback in callbacks])
        self._refuse_coroutines(*callbacks)
        called = in_turn(callbacks)
        if run == "thread":
            return self._callback_threads.wrap(called)
        if run != "here":
            raise ValueError(f"a callback runs here, in a thread or in a fork, not in a {run!r}")
        return called

    # Locks

    def add_locks(self, *names: str) -> None:
        """Make a lock for each name that has none yet; this process's threads share them.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.add_locks("arm", "camera"))
        """
        self._locks.add(*names)

    def get_locks(self, *names: str, timeout: float = 5.0) -> AbstractContextManager[None]:
        """Hold the locks ``names``, all where none is named, in a ``with`` block.

        Taken together they are taken in one order, so that no two threads
        block each other. Raises `CallTimeoutError` where they are not ours
        after ``timeout`` seconds, `ValueError` for a name that nobody added.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_locks("arm", "camera")
        ...     with main.get_locks("camera", "arm"):
        ...         return "both are ours"
        >>> play(scene)
        'both are ours'
        """
        return self._locks.take(*names, timeout=timeout)

    # Signals

    def bind_signals(self, *names: str, callback: SignalCallback | None = None) -> None:
        """Call ``callback(name)`` for each signal of ``names``, `signal_trap` where None.

        It runs on this process's thread, between letters, and not within the
        handler. SIGTERM ends the process all the same. What came before
        `death` is called before it, what comes later is not; a stop may send
        SIGTERM or not, so what always has to be done belongs there. What
        stood before is put back when the process ends. Raises `ValueError` for signals that
        cannot be caught, and in a process that does not live on the main
        thread of its OS process, as in thread mode all but the main one.

        >>> import os, signal
        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.bind_signals("SIGUSR1", callback=print)
        ...     os.kill(os.getpid(), signal.SIGUSR1)
        ...     return main.mailman(timeout=5.0)
        >>> play(scene)
        SIGUSR1
        0
        """
        self._signals.bind(self.signal_trap if callback is None else callback, *names)

    def signal_trap(self, name: str) -> object:
        """Take a signal that was bound without a callback; this one only wakes.

        >>> import os, signal
        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.bind_signals("SIGHUP")
        ...     os.kill(os.getpid(), signal.SIGHUP)
        ...     return main.mailman(timeout=5.0)
        >>> play(scene)
        0
        """

    def backup_signals(self) -> dict[str, Any]:
        """Note what is bound now, for `restore_signals`; return it as `current_signals` does.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     before = main.backup_signals()
        ...     main.bind_signals("SIGHUP")
        ...     main.restore_signals()
        ...     return main.current_signals() == before
        >>> play(scene)
        True
        """
        return self._signals.backup()

    def restore_signals(self) -> bool:
        """Put back what the last backup noted, and forget it; tell whether there was one.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.restore_signals())
        False
        """
        return self._signals.restore()

    def current_signals(self) -> dict[str, Any]:
        """Return what stands for each signal: a function, or one of `signal.Handlers`.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.current_signals()["SIGUSR2"].name)
        'SIG_DFL'
        """
        return self._signals.current()

    @staticmethod
    def signal_names() -> dict[str, int]:
        """Return the number of every signal that this machine knows, by name.

        >>> from gateway.testing.stage import play
        >>> play(lambda main: main.signal_names()["SIGINT"])
        2
        """
        return signal_names()

    def _call_for_signals(self) -> None:
        self._signals.call_pending()

    # Descriptors

    def watch(self, fd: int, callback: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call ``callback(events)`` on this process's thread whenever ``fd`` is ready."""
        self._box.watch(fd, callback, events)

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer; do so before it is closed."""
        self._box.unwatch(fd)

    # Ending

    def cleanup(self, timeout: float = 2.0) -> list[str]:
        """End what the process was lent: threads, signals, letters that wait for a thread.

        Called by itself after `death`; an author calls it there who needs the
        threads gone before. Waits ``timeout`` seconds for them, and returns
        the names of those that still run.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_child_thread("pump", lambda: main.light_sleep(3600))
        ...     main.die()
        ...     return main.cleanup()
        >>> play(scene)
        []
        """
        timeout = in_seconds(timeout)
        try:
            self._close_ends()
            self._send_back_what_waits()
            return self.join_child_threads(timeout)
        finally:
            self._signals.close()
