"""What is published for a durable subscriber waits for it, also while it is dead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KEEPER = """
    class Keeper(Process):
        def birth(self):
            self.subscribe("numbers/#", lambda m: say("retained", m.body), spool=TERMS)
            self.reader = self.open_spool(TERMS)
            self.watch(self.reader.fileno(), self.on_bell)
            self.on_bell(0)
        def on_bell(self, events):
            self.reader.quiet()
            while taken := self.reader.take(16):
                for each in taken:
                    say("read", each.message.body)
                    if each.message.body == FATAL and not os.path.exists(MARK):
                        open(MARK, "x").close()
                        os.kill(os.getpid(), 9)
                    self.reader.confirm([each])
        def death(self):
            self.reader.close()
"""


@pytest.mark.parametrize("publisher", ["thread", "fork"])
def test_a_killed_reader_loses_nothing(start: Any, tmp_path: Path, publisher: str) -> None:
    program = start(f"""
    FATAL, MARK = 40, {str(tmp_path / "mark")!r}
    {KEEPER}
    class Publisher(Process):
        def birth(self):
            self.add_filter(subject="go", callback=self.on_go)
        def on_go(self, message):
            for number in range(100):
                self.publish("numbers/one", number)
            self.publish("numbers/last", "kept", retain=True)
            self.reply(message)
    class Main(Process):
        def birth(self):
            self.wait_for_reply(self.send("publisher", "go"), 20)
    class App(Application):
        def build(self):
            self.add_process("keeper", Keeper, mode="fork", restart=SOON)
            self.add_process("publisher", Publisher, mode={publisher!r}, depends=["keeper"])
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    program.wait_for("read 99")
    program.wait_for("retained kept")
    program.interrupt()
    assert program.end() == 0, program.complaints()
    read = [int(line.removeprefix("read ")) for line in program.said if line.startswith("read ")]
    assert list(dict.fromkeys(read)) == list(range(100))
    assert read.count(40) == 2, "what was in its hands when it was killed comes again"
    assert len(read) <= 100 + 16


@pytest.mark.parametrize("publisher", ["thread", "fork"])
def test_what_is_published_before_the_reader_is_born_waits_for_it(
    start: Any, publisher: str
) -> None:
    program = start(f"""
    FATAL, MARK = -1, ""
    {KEEPER}
    class Publisher(Process):
        def birth(self):
            self.publish("numbers/one", 1)
            self.publish("letters/one", "not asked for")
    class App(Application):
        def build(self):
            self.add_process("publisher", Publisher, mode={publisher!r})
            self.add_process(
                "keeper", Keeper, mode="fork", depends=["publisher"], spools={{"numbers/#": TERMS}}
            )
    sys.exit(App(sockets=SOCKETS).run())
    """)
    program.wait_for("read 1")
    program.interrupt()
    assert program.end() == 0, program.complaints()
    assert program.said == ["read 1"]


def test_spools_come_too_late_for_an_application_that_runs(start: Any) -> None:
    program = start("""
    class Main(Process):
        def birth(self):
            try:
                self.application.add_process("late", "robot:Late", spools={"a/#": TERMS})
            except ConfigError as error:
                say(error)
            self.die()
    sys.exit(Application(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    assert program.said == ["'late' comes too late for spools: add it in build()"]


def test_what_was_written_before_the_end_is_read_after_the_next_start(
    start: Any, tmp_path: Path
) -> None:
    """The whole application ends with letters unread; the next one reads them."""
    script = f"""
    FATAL, MARK = -1, ""
    {KEEPER}
    class Main(Process):
        def birth(self):
            if not os.path.exists({str(tmp_path / "second")!r}):
                self.subscribe("numbers/#", print, spool=TERMS)
                for number in range(10):
                    self.publish("numbers/one", number)
                open({str(tmp_path / "second")!r}, "x").close()
                self.die()
            else:
                reader = self.open_spool(TERMS)
                say([each.message.body for each in reader.take(100)])
                reader.close()
                self.die()
    sys.exit(Application(main=Main, sockets=SOCKETS).run())
    """
    first = start(script)
    assert first.end() == 0, first.complaints()
    second = start(script)
    assert second.end() == 0, second.complaints()
    assert second.said == [str(list(range(10)))]


@pytest.mark.parametrize("publisher", ["thread", "fork"])
def test_an_orderly_end_leaves_nothing_in_memory_alone(
    start: Any, tmp_path: Path, publisher: str
) -> None:
    """Everybody ends, some with a last word, and the machine restarts."""
    flash = tmp_path / "flash"
    program = start(f"""
    import shutil
    from pathlib import Path
    from msgspec.structs import replace
    from gateway.bus.spool import SpoolReader
    TERMS = replace(TERMS, flash={str(flash)!r})
    class Keeper(Process):
        def birth(self):
            self.subscribe("numbers/#", print, spool=TERMS)
            self.reader = self.open_spool(TERMS)
            self.add_filter(subject="confirm", callback=self.on_confirm)
        def on_confirm(self, message):
            self.reader.confirm(self.reader.take(1))
            self.reader.flush()
            self.reader.take(1)
            self.reply(message)
        def death(self):
            self.reader.close()
    class Publisher(Process):
        def birth(self):
            self.add_filter(subject="go", callback=self.on_go)
        def on_go(self, message):
            for number in range(10):
                self.publish("numbers/one", number)
            self.reply(message)
        def death(self):
            self.publish("numbers/one", "the last word")
    class Main(Process):
        def birth(self):
            self.wait_for_reply(self.send("publisher", "go"), 10)
            self.wait_for_reply(self.send("keeper", "confirm"), 10)
            self.die()
    class App(Application):
        def build(self):
            self.add_process("keeper", Keeper, mode="fork")
            self.add_process("publisher", Publisher, mode={publisher!r}, depends=["keeper"])
    app = App(main=Main, sockets=SOCKETS)
    app.run()
    shutil.rmtree(SOCKETS)
    reader = SpoolReader(Path(SOCKETS), TERMS)
    say([each.message.body for each in reader.take(100)])
    reader.close()
    """)
    assert program.end() == 0, program.complaints()
    assert program.said == [str([*range(1, 10), "the last word"])]


def test_unsubscribing_ends_it(start: Any) -> None:
    program = start("""
    class Main(Process):
        def birth(self):
            self.subscribe("numbers/#", print, spool=TERMS)
            reader = self.open_spool(TERMS)
            self.publish("numbers/one", 1)
            self.unsubscribe("numbers/#")
            while self.application and self._office.book.spools("numbers/one"):
                self.mailman(0.1)
            self.publish("numbers/one", 2)
            say([each.message.body for each in reader.take(100)])
            reader.close()
            self.die()
    sys.exit(Application(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    assert program.said == ["[1]"]
