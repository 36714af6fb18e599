"""A main process that lives in a loop of your own, as a GUI's, beside a worker.

Run it: ``python examples/own_loop.py``. It counts three ticks of the worker
and ends.

The loop here is the standard library's `selectors`, so that it runs without a
screen. A toolkit's own loop takes its place: give it the descriptor, and have
it call ``main.step``. With tkinter::

    with Counter(main=Main).running() as main:
        window = tkinter.Tk()

        def on_mail(*_):
            main.step()
            if not main.is_active:
                window.quit()

        window.createfilehandler(main, tkinter.READABLE, on_mail)
        window.mainloop()

With Qt::

        notifier = QSocketNotifier(main.fileno(), QSocketNotifier.Type.Read)
        notifier.activated.connect(on_mail)
        application.exec()

A main process with a ``life`` is stepped in time as well: what ``step`` returns
is the number of seconds until its next frame.
"""

from __future__ import annotations

import selectors

from gateway import Application, Message, Process


class Ticker(Process):
    """Tells its frames, in an OS process of its own."""

    def life(self) -> None:
        """Publish the number of this frame."""
        self.publish("ticks", self.current_frame)


class Main(Process):
    """What the window shows; its callbacks run on the window's thread."""

    def birth(self) -> None:
        """Listen to the ticker."""
        self.seen = 0
        self.subscribe("ticks", self.on_tick)

    def on_tick(self, message: Message) -> None:
        """Show one tick; after the third it is enough."""
        self.seen += 1
        print("tick", self.seen)
        if self.seen == 3:
            self.die()


class Counter(Application):
    """A window, so to speak, and a ticker."""

    def build(self) -> None:
        """Ten ticks a second."""
        self.add_process("ticker", Ticker, mode="fork", frequency=10.0)


if __name__ == "__main__":
    counter = Counter(main=Main)
    with counter.running() as main, selectors.DefaultSelector() as loop:
        loop.register(main, selectors.EVENT_READ)
        pause = main.step()
        while main.is_active:
            loop.select(pause)
            pause = main.step()
    raise SystemExit(counter.status)
