"""A main process and two workers that greet each other, one in a thread, one forked.

Run it: ``python examples/hello_world.py``. It prints both answers and ends.
"""

from __future__ import annotations

from gateway import Application, Message, Process


class Worker(Process):
    """Answers every salutation."""

    def birth(self) -> None:
        """Say which letters are for us."""
        self.add_filter(subject=r"(?i)^salutation$", callback=self.on_salutation)

    def on_salutation(self, message: Message) -> None:
        """Greet whoever wrote."""
        self.reply(message, f"Hello {message.sender}, {self.name} speaking!")


class Main(Process):
    """Writes to both workers, prints what they answer, and ends."""

    def life(self) -> None:
        """Greet once."""
        for worker in ("thread-worker", "fork-worker"):
            letter = self.send(worker, "salutation", "Hello!")
            print(self.wait_for_reply(letter).body)
        self.die()


class HelloWorld(Application):
    """Two workers around one main process."""

    def build(self) -> None:
        """The same class, once as a thread and once as an OS process of its own."""
        self.add_process("thread-worker", Worker)
        self.add_process("fork-worker", Worker, mode="fork")


if __name__ == "__main__":
    raise SystemExit(HelloWorld(main=Main).run())
