"""Who asked for a receipt learns of each letter that a killed reader did not get to."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.application import Application
from gateway.bus.lanes import Order
from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError, RefusedError
from gateway.mail.filters import Run
from gateway.mail.message import Message, error_in
from gateway.process.callback_threads import AT_ONCE
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import play_in
from tests.lab.os_processes import sleeps, until

PATIENCE = 20.0

AGAIN = RestartPolicy("permanent", first=0.01, ceiling=0.01, most=100)


class Reader(Process):
    """Notes in a folder what it has handled, and stands still at the letter that says so."""

    run: Run = "here"

    def birth(self) -> None:
        self.add_filter(subject="^pid$", callback=lambda message: self.reply(message, os.getpid()))
        self.add_filter(subject="^gate$", callback=self.on_gate)
        self.add_filter(subject="^work$", callback=self.on_work, run=self.run)

    def on_gate(self, message: Message) -> None:
        folder = Path(message.body)
        (folder / "waits").touch()
        assert until((folder / "open").exists, PATIENCE)

    def on_work(self, message: Message) -> None:
        folder, number, is_last = message.body
        (Path(folder) / str(number)).touch()
        if is_last and not (Path(folder) / "killed").exists():
            threading.Event().wait()


class OnThreads(Reader):
    run: Run = "thread"


class Router(Reader):
    """Has a further mailbox, which a thread of its own reads."""

    def birth(self) -> None:
        super().birth()
        self.box = self.open_mailbox("far")
        self.add_child_thread("far", self.serve)

    def death(self) -> None:
        self.close_mailbox(self.box)

    def serve(self) -> None:
        while (message := self.box.get(None)) is not None:
            (self.on_gate if message.subject == "gate" else self.on_work)(message)


def pid_of(main: Process, name: str) -> int:
    found: list[int] = []

    def is_there() -> bool:
        with contextlib.suppress(GatewayError):
            found.append(main.wait_for_reply(main.send(name, "pid"), PATIENCE).body)
        return bool(found)

    assert until(is_there, PATIENCE)
    return found[0]


def kill_in_the_midst(
    main: Process, folder: Path, *, many: int, last: int, to: str = "reader", standing: int = 1
) -> tuple[set[int], list[int]]:
    """Return which letters were handled, and which were bounced, of ``many`` to a killed reader.

    It is killed when ``standing`` of its threads stand still, at the letter ``last`` or a later.
    """
    bounces: list[Message] = []
    main.add_filter(kind="^bounce$", callback=bounces.append)
    pid = pid_of(main, "reader")
    main.send(to, "gate", str(folder))
    assert until((folder / "waits").exists, PATIENCE)
    sent: dict[str, int] = {}

    def write() -> None:
        for number in range(many):
            if number == 9:
                (folder / "open").touch()
            body = [str(folder), number, number >= last]
            letter = main.send(to, "work", body, receipt=True, priority=number % 3)
            sent[letter.message_id] = number
        (folder / "open").touch()

    # What finds no room any more once the reader stands still is refused to its writer.
    writer = threading.Thread(target=quietly, args=(write,))
    writer.start()
    assert until(lambda: sum(each >= last for each in handled_in(folder)) == standing, PATIENCE)

    def stands_still() -> bool:
        """Whether nothing is on its way into the reader's memory."""
        before = len(sent)
        writer.join(0.5)
        return len(sent) == before and sleeps(pid)

    assert until(stands_still, PATIENCE)
    # Its next life gets what found no room before, and is not to stand still.
    (folder / "killed").touch()
    os.kill(pid, signal.SIGKILL)
    writer.join(PATIENCE)
    # Its next life begins when everybody was told.
    assert pid_of(main, "reader") != pid
    assert books(main) == []

    def told() -> list[int]:
        main.mailman()
        return [sent[each.in_reply_to or ""] for each in bounces]

    # What the next life got it may be handling still.
    everybody = set(sent.values())
    known = until(lambda: handled_in(folder) | set(told()) == everybody, PATIENCE)
    assert known, "somebody was never told"
    assert {type(error_in(each)) for each in bounces} == {RecipientGoneError}
    return handled_in(folder), told()


def handled_in(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


def books(main: Process) -> list[str]:
    """Return the files of receipts that are there of the reader's first life."""
    return [path.name for path in main._office._folder.path.glob("reader.1.*receipts*")]


def quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(GatewayError):
        act()


@pytest.mark.parametrize(("many", "last"), [(11, 3), (60, 30), (300, 150)])
@pytest.mark.parametrize(
    ("role", "to", "order"),
    [
        (Reader, "reader", "fifo"),
        (Reader, "reader", "priority"),
        (Router, "far@reader", "fifo"),
    ],
)
def test_each_letter_is_handled_or_bounced_and_none_both(
    tmp_path: Path, many: int, last: int, role: type[Process], to: str, order: Order
) -> None:
    def build(application: Application) -> None:
        application.add_process("reader", role, mode="fork", restart=AGAIN, mailbox_order=order)

    def scene(main: Process) -> tuple[set[int], list[int]]:
        return kill_in_the_midst(main, tmp_path, many=many, last=last, to=to)

    status, (handled, told) = play_in(build, scene)
    assert status == 0
    assert len(told) == len(set(told))
    assert not handled & set(told)
    assert handled, "it was killed before it had begun"
    assert told, "it was killed when it had done everything"


def test_what_waits_for_a_thread_is_bounced_as_well(tmp_path: Path) -> None:
    def build(application: Application) -> None:
        application.add_process("reader", OnThreads, mode="fork", restart=AGAIN)

    def scene(main: Process) -> tuple[set[int], list[int]]:
        return kill_in_the_midst(main, tmp_path, many=40, last=0, standing=AT_ONCE)

    status, (handled, told) = play_in(build, scene)
    assert status == 0
    assert not handled & set(told)
    assert len(told) == len(set(told)) == 40 - AT_ONCE


class Quick(Reader):
    """Counts each letter that it handles where whoever is forked from here sees it."""

    handled = memoryview(b"")

    def on_work(self, message: Message) -> None:
        self.handled[message.body] += 1


def test_killed_at_any_moment_of_a_flood_it_leaves_no_more_than_one_letter_in_doubt() -> None:
    choice = random.Random(seed := random.randrange(10**6))
    # By the letters' numbers.
    Quick.handled = memoryview(mmap.mmap(-1, 1_000_000))
    kills, numbers = 25, itertools.count()
    bounces: list[Message] = []

    def scene(main: Process) -> None:
        main.add_filter(kind="^bounce$", callback=bounces.append)
        for _ in range(kills):
            pid = pid_of(main, "reader")
            bounces.clear()
            sent: dict[str, int] = {}
            killer = threading.Timer(choice.uniform(0.0, 0.03), os.kill, (pid, signal.SIGKILL))
            killer.start()
            with contextlib.suppress(GatewayError):
                # Its next life may be there before anybody has seen that this one is over.
                while killer.is_alive():
                    letter = main.send("reader", "work", next(numbers), receipt=True)
                    sent[letter.message_id] = letter.body
            killer.join()
            assert pid_of(main, "reader") != pid
            main.mailman()
            told = {sent[each.in_reply_to] for each in bounces if each.in_reply_to}
            assert len(told) == len(bounces), f"somebody was told twice [seed {seed}]"
            handled = {number for number in sent.values() if Quick.handled[number]}
            assert not handled & told, f"handled and bounced [seed {seed}]"
            assert len(sent) - len(handled) - len(told) <= 1, f"never told [seed {seed}]"

    def build(application: Application) -> None:
        application.add_process("reader", Quick, mode="fork", restart=AGAIN)

    assert play_in(build, scene)[0] == 0


def told_by(main: Process) -> list[int]:
    """Return how often whoever is called asking was told of each letter that bounced."""
    found: list[int] = main.wait_for_reply(main.send("asking", "told")).body
    return found


class Asking(Process):
    """Writes to the reader, and counts what bounces."""

    def birth(self) -> None:
        self.told: Counter[str | None] = Counter()
        self.add_filter(kind="^bounce$", callback=self.on_bounce)
        self.add_filter(subject="^ask$", callback=self.on_ask)
        self.add_filter(subject="^told$", callback=self.on_told)
        self.add_filter(subject="^flood$", callback=self.on_flood)

    def on_flood(self, message: Message) -> None:
        """Write as much as there is room for, or 60, and read no bounces until the reader left."""
        folder, to, subject, how = message.body
        many = 0
        with contextlib.suppress(MailboxFullError):
            for _ in range(60):
                self.send(to, subject, receipt=True, timeout=0.2)
                many += 1
        self.send("reader", "leave", [folder, how])
        assert until((Path(folder) / "left").exists, PATIENCE)
        self.reply(message, many)

    def on_bounce(self, bounce: Message) -> None:
        self.told[bounce.in_reply_to] += 1

    def on_ask(self, message: Message) -> None:
        folder, many = message.body
        self.send("reader", "gate", folder)
        assert until((Path(folder) / "waits").exists, PATIENCE)
        (Path(folder) / "open").touch()
        sent = 0
        with contextlib.suppress(MailboxFullError):
            for number in range(many):
                body = [folder, number, number == 20]
                self.send("reader", "work", body, receipt=True, timeout=0.5)
                sent += 1
        self.reply(message, sent)

    def on_told(self, message: Message) -> None:
        self.reply(message, sorted(self.told.values()))


def test_a_writer_in_another_os_process_is_told_of_more_than_its_socket_holds(
    tmp_path: Path,
) -> None:
    def build(application: Application) -> None:
        application.add_process("reader", Reader, mode="fork", restart=AGAIN)
        application.add_process("asking", Asking, mode="fork")

    def scene(main: Process) -> None:
        pid = pid_of(main, "reader")
        asked = main.send("asking", "ask", [str(tmp_path), 60])
        sent = main.wait_for_reply(asked, PATIENCE).body
        assert until(lambda: 20 in handled_in(tmp_path), PATIENCE)
        os.kill(pid, signal.SIGKILL)
        assert pid_of(main, "reader") != pid

        assert until(lambda: sum(told_by(main)) >= sent - 21, PATIENCE)
        assert told_by(main) == [1] * (sent - 21)
        assert sent > 21

    assert play_in(build, scene)[0] == 0


class Stubborn(OnThreads):
    """Ends what it holds, and then hangs in its death."""

    def death(self) -> None:
        self.cleanup(timeout=0.1)
        threading.Event().wait()


def test_what_it_has_bounced_itself_before_it_is_killed_is_bounced_once(tmp_path: Path) -> None:
    def build(application: Application) -> None:
        application.shutdown_timeout = 1.0
        application.add_process("reader", Stubborn, mode="fork", restart=AGAIN)

    def scene(main: Process) -> tuple[list[str | None], int]:
        bounces: list[str | None] = []
        main.add_filter(kind="^bounce$", callback=lambda each: bounces.append(each.in_reply_to))
        pid_of(main, "reader")
        sent = [
            main.send("reader", "work", [str(tmp_path), number, True], receipt=True).message_id
            for number in range(20)
        ]
        assert until(lambda: len(handled_in(tmp_path)) == AT_ONCE, PATIENCE)
        with contextlib.suppress(GatewayError):
            main.stop_process("reader", timeout=PATIENCE)
        main.mailman()
        assert set(bounces) <= set(sent)
        assert books(main) == []
        return bounces, len(handled_in(tmp_path))

    _, (bounces, handled) = play_in(build, scene)
    assert len(bounces) == len(set(bounces)) == 20 - handled


class Refusing(Reader):
    """Sends back what it gets, for ``x@reader`` as well, and closes its further mailbox."""

    def birth(self) -> None:
        super().birth()
        self.add_filter(subject="^no$", callback=self.on_no)
        self.add_filter(subject="^leave$", callback=self.on_leave)
        self.box = self.open_mailbox("far")

    def on_no(self, message: Message) -> None:
        raise RefusedError("no")

    def on_leave(self, message: Message) -> None:
        folder, how = message.body
        self.close_mailbox(self.box)
        (Path(folder) / "left").touch()
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        self.die()


@pytest.mark.parametrize("how", ["killed", "in order"])
@pytest.mark.parametrize(
    ("to", "subject"), [("reader", "no"), ("x@reader", "no"), ("far@reader", "in vain")]
)
def test_bounces_that_wait_as_its_os_process_ends_come_once(
    tmp_path: Path, to: str, subject: str, how: str
) -> None:
    """Of what it refused itself, behind it, or had lying in a mailbox that it closed."""

    def build(application: Application) -> None:
        application.add_process("reader", Refusing, mode="fork", restart=AGAIN)
        application.add_process("asking", Asking, mode="fork")

    def scene(main: Process) -> None:
        pid = pid_of(main, "reader")
        body = [str(tmp_path), to, subject, how]
        many = main.wait_for_reply(main.send("asking", "flood", body), PATIENCE).body
        assert pid_of(main, "reader") != pid

        assert until(lambda: len(told_by(main)) >= many, PATIENCE)
        # One at the most was just being bounced.
        assert sum(told_by(main)) <= many + (how == "killed")

    assert play_in(build, scene)[0] == 0


def test_who_ends_in_order_bounces_what_it_holds_once_and_leaves_no_book(tmp_path: Path) -> None:
    def scene(main: Process) -> tuple[list[str], list[str]]:
        bounces: list[Message] = []
        main.add_filter(kind="^bounce$", callback=bounces.append)
        main.wait_for_reply(main.send("reader", "pid"))
        main.send("reader", "gate", str(tmp_path))
        assert until((tmp_path / "waits").exists, PATIENCE)
        sent = [
            main.send("reader", "work", [str(tmp_path), n, False], receipt=True).message_id
            for n in range(9)
        ]
        stopping = threading.Thread(target=main.stop_process, args=("reader",))
        stopping.start()
        (tmp_path / "open").touch()
        stopping.join(PATIENCE)
        main.mailman()
        assert books(main) == []
        handled = [sent[number] for number in handled_in(tmp_path)]
        return sorted(sent), sorted(handled + [each.in_reply_to or "" for each in bounces])

    status, (sent, told) = play_in(
        lambda application: application.add_process("reader", Reader, mode="fork"), scene
    )
    assert status == 0
    assert told == sent
