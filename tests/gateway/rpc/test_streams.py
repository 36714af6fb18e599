"""Handlers that yield: parts arrive as they are made, and no faster than they are read."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Application, Message, Process
from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError, RefusedError
from gateway.process.correspondent import Correspondent
from gateway.rpc import command, current_call, later, remote, tell, using
from gateway.rpc.open_stream import LINGER, OpenStream
from gateway.rpc.stream import Batch, Stream
from gateway.rpc.streams import MOST, PATIENCE, Streams
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import play
from tests.gateway.rpc.robot import Robot, retained
from tests.lab.os_processes import until

ONCE = RestartPolicy("temporary")
MODES = pytest.mark.parametrize("mode", ["thread", "fork"])


@MODES
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 63, 64, 65, 5_000])
def test_every_part_arrives_once_and_in_order(parts: int, mode: Any) -> None:
    def scene(main: Process) -> tuple[list[int], Any]:
        stream = remote(main, "robot").count(parts=parts)
        return list(stream), stream.returned

    assert play(scene, robot=(Robot, mode)) == (list(range(parts)), parts)


def test_parts_arrive_as_they_are_made(tmp_path: Path) -> None:
    class Dripping(Process):
        @command
        def drip(self) -> Iterator[int]:
            """Make each part when the one before has been read."""
            for number in range(3):
                assert until((tmp_path / str(number)).exists, 20.0)
                time.sleep(2 * LINGER)  # no quick one, which would have company
                yield number

    def scene(main: Process) -> list[int]:
        (tmp_path / "0").touch()
        read = []
        for number in using(remote(main, "dripping"), timeout=20.0).drip():
            read.append(number)
            (tmp_path / str(number + 1)).touch()
        return read

    assert play(scene, dripping=(Dripping, "fork")) == [0, 1, 2]


def test_a_combiner_makes_one_result_of_a_stream() -> None:
    def scene(main: Process) -> tuple[Any, Any]:
        robot = remote(main, "robot")
        begun = later(using(robot.count, combine=list))(parts=3)
        return using(robot.count, combine=sum)(parts=101), begun.result()

    assert play(scene, robot=(Robot, "fork")) == (5050, [0, 1, 2])


@MODES
def test_nothing_is_made_far_ahead_of_who_reads(mode: Any) -> None:
    def scene(main: Process) -> int:
        stream = using(remote(main, "robot").count, window=8)(parts=1_000_000)
        for number in stream:
            if number == 100:
                break
        remote(main, "robot").ping()
        made = retained(main, "counted", lambda number: number >= 100)
        stream.close()
        return int(made)

    # What was read, and two windows.
    assert play(scene, robot=(Robot, mode)) <= 100 + 2 * 8


@MODES
def test_leaving_the_loop_closes_the_generator(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, int]:
        for number in remote(main, "robot").count(parts=1_000_000):
            if number == 3:
                break
        over = retained(main, "counting is over")
        theirs = main.wait_for_reply(main.send("robot", "$statistics")).body["calls"]
        return over, theirs["streams"]

    assert play(scene, robot=(Robot, mode)) == (True, 0)


def test_a_stream_is_a_context() -> None:
    def scene(main: Process) -> Any:
        with remote(main, "robot").count(parts=1_000) as stream:
            assert next(stream) == 0
        assert list(stream) == []
        return retained(main, "counting is over")

    assert play(scene, robot=(Robot, "fork")) is True


def test_an_error_in_the_middle_comes_after_the_parts_before_it() -> None:
    def scene(main: Process) -> list[int]:
        stream = remote(main, "robot").stumble()
        parts = [next(stream), next(stream)]
        with pytest.raises(ValueError, match="a stone"):
            next(stream)
        return parts

    assert play(scene, robot=(Robot, "fork")) == [1, 2]


def test_a_part_that_cannot_be_sent_ends_the_stream_with_an_error() -> None:
    class Odd(Process):
        @command
        def odd(self) -> Iterator[Any]:
            yield 1
            yield object()

    def scene(main: Process) -> Any:
        stream = remote(main, "odd").odd()
        first = next(stream)
        with pytest.raises(TypeError, match="body is a object"):
            next(stream)
        return first, list(stream)

    assert play(scene, odd=(Odd, "fork")) == (1, [])


def test_a_dead_readers_stream_is_closed() -> None:
    class Short(Process):
        def birth(self) -> None:
            stream = remote(self, "robot").count(parts=1_000_000)
            next(stream)
            # What was pulled has come: nobody over there meets with its death by answering.
            stream._coming.result()
            # As if killed: nothing is closed in order.
            stream._is_open = False
            raise SystemExit(0)

    def scene(main: Process) -> Any:
        return retained(main, "counting is over")

    assert play(scene, robot=(Robot, "fork"), short=(Short, "fork")) is True


def test_nobody_pulls_or_closes_somebody_elses_stream() -> None:
    class Thief(Process):
        @command
        def steal(self, stream: str) -> str:
            self.send_control("robot", "$cancel", stream)
            try:
                self.wait_for_reply(
                    self.send("robot", "$next", {"stream": stream, "most": 5}, receipt=True)
                )
            except RefusedError as error:
                return str(error)
            return "stolen"

    def scene(main: Process) -> tuple[str, int]:
        stream = remote(main, "robot").count(parts=5_000)
        refusal = remote(main, "thief").steal(stream=stream._id)
        return refusal, sum(1 for _ in stream)

    refusal, read = play(scene, robot=(Robot, "fork"), thief=(Thief, "fork"))
    assert "no such stream" in refusal
    assert read == 5_000


def test_there_are_so_many_streams_at_a_time_and_no_more() -> None:
    def scene(main: Process) -> int:
        count = remote(main, "robot").count
        # In figures: where the bound is switched off it is another one.
        streams = [count(parts=1_000) for _ in range(256)]
        with pytest.raises(MailboxFullError, match="streams are open here already"):
            count(parts=1_000)
        streams.pop().close()
        remote(main, "robot").ping()
        # There is room again; the close was obeyed before the ping was read.
        streams.append(count(parts=1_000))
        for stream in streams:
            stream.close()
        return len(streams)

    assert play(scene, robot=(Robot, "fork")) == MOST


def test_a_stream_to_which_no_answer_is_wanted_is_not_begun() -> None:
    def scene(main: Process) -> Any:
        robot = remote(main, "robot")
        tell(robot.count)(parts=5)
        robot.ping()
        return main.wait_for_reply(main.send("robot", "$statistics")).body["calls"]["streams"]

    assert play(scene, robot=(Robot, "fork")) == 0


def test_a_stream_of_an_api_with_workers_does_not_block_the_others() -> None:
    class Slow(Process):
        call_workers = 2

        @command
        def drip(self) -> Iterator[int]:
            for number in range(2):
                time.sleep(1.5)
                yield number

        @command
        def quick(self) -> str:
            return "quick"

    def scene(main: Process) -> tuple[float, list[int]]:
        slow = remote(main, "slow")
        begun = later(using(slow.drip, combine=list))()
        began = time.monotonic()
        slow.quick()
        return time.monotonic() - began, begun.result()

    took, parts = play(scene, slow=(Slow, "fork"))
    assert took < 1.3
    assert parts == [0, 1]


class Parts(Process):
    """Yields what is hard to carry, or to take back."""

    @command
    def half(self) -> Any:
        """Yield two parts, and return what cannot be sent."""
        yield 1
        yield 2
        return object()

    @command
    def pictures(self, count: int, size: int) -> Any:
        """Yield many bytes, quickly."""
        picture = bytes(size)
        for number in range(count):
            yield [number, picture] if number % 2 else picture

    @command
    def known(self) -> Any:
        """Yield what is known of the call, each time."""
        for _ in range(4):
            call = current_call()
            yield [call.path, call.arguments, str(call.id)]

    @command
    def rest(self, until_there: str) -> None:
        """Wait for a file."""
        assert until(Path(until_there).exists, 20.0)

    @command
    def own_thread(self) -> int:
        """Return which thread this is."""
        return threading.get_ident()

    @command
    def closed_on(self) -> Any:
        """Yield, and publish on which thread this was closed."""
        try:
            while True:
                yield 1
        finally:
            self.publish("closed on", str(threading.get_ident()), retain=True)


class Patient(Parts):
    """Has a worker, which asks whether it is still wanted."""

    call_workers = 1

    @command
    def wait(self) -> Any:
        """Yield a part, and wait until nobody wants another."""
        yield 1
        call = current_call()
        deadline = time.monotonic() + 4
        while not call.is_cancelled and time.monotonic() < deadline:
            time.sleep(0.002)
        self.publish("unwanted", time.monotonic() < deadline, retain=True)
        yield 2


def test_what_cannot_be_returned_comes_after_the_parts() -> None:
    def scene(main: Process) -> list[int]:
        stream = remote(main, "parts").half()
        read = [next(stream), next(stream)]
        with pytest.raises(TypeError, match="body is a object"):
            next(stream)
        return read

    assert play(scene, parts=(Parts, "fork")) == [1, 2]


def test_large_parts_do_not_pile_up_in_one_batch() -> None:
    def scene(main: Process) -> int:
        # Sixty-four of them, one window, are more than a letter may hold.
        return sum(1 for _ in remote(main, "parts").pictures(count=150, size=1_100_000))

    assert play(scene, parts=(Parts, "fork")) == 150


def test_a_stream_whose_first_part_never_arrived_is_over() -> None:
    def scene(main: Process) -> Any:
        parts = remote(main, "parts")
        with pytest.raises(TypeError, match="is the most"):
            parts.pictures(count=1, size=70_000_000)
        return main.wait_for_reply(main.send("parts", "$statistics")).body["calls"]["streams"]

    assert play(scene, parts=(Parts, "fork")) == 0


def test_a_stream_of_who_died_before_it_was_opened_is_over(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"

    class Short(Process):
        def birth(self) -> None:
            self.send("parts", "known", receipt=True)
            os.kill(os.getpid(), signal.SIGKILL)

    results: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            parts = remote(self, "parts")
            resting = later(using(parts, timeout=20.0).rest)(until_there=str(go_on))
            with contextlib.suppress(GatewayError):
                self.start_process("short")
            go_on.touch()
            resting.result()
            parts.own_thread()
            told = self.wait_for_reply(self.send("parts", "$statistics")).body["calls"]
            results.append((told["unheard"], told["streams"]))
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("parts", Parts, mode="fork")
            self.add_process("short", Short, mode="fork", autostart=False, restart=ONCE)

    House(main=Main).run()
    assert results == [(1, 0)]


def test_whoever_yields_knows_of_the_call_that_opened_the_stream() -> None:
    def scene(main: Process) -> list[Any]:
        return list(remote(main, "parts").known())

    told = play(scene, parts=(Parts, "fork"))
    assert [each[:2] for each in told] == [["known", {}]] * 4
    assert len({id for _, _, id in told}) == 1


def test_whoever_yields_learns_while_it_is_stepped_that_nobody_reads_on() -> None:
    def scene(main: Process) -> Any:
        stream = remote(main, "patient").wait()
        assert next(stream) == 1
        main.light_sleep(0.1)
        stream.close()
        return retained(main, "unwanted", lambda told: told is not None)

    assert play(scene, patient=(Patient, "fork")) is True


def test_a_generator_is_closed_on_the_thread_of_its_process() -> None:
    def scene(main: Process) -> list[Any]:
        parts = remote(main, "parts")
        stream = parts.closed_on()
        next(stream)
        # In thread mode it is this very thread that tells of it.
        stream.close()
        return [str(parts.own_thread()), retained(main, "closed on")]

    own, closed_on = play(scene, parts=Parts)
    assert own == closed_on


def test_a_stream_is_read_by_one_thread_at_a_time() -> None:
    def scene(main: Process) -> list[str]:
        stream = remote(main, "robot").count(parts=3, pause=0.3)
        next(stream)
        told: list[str] = []

        def read() -> None:
            try:
                told.append(str(next(stream)))
            except ValueError as error:
                told.append(str(error))

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return [*told, *map(str, stream)]

    refused, *read = play(scene, robot=(Robot, "fork"))
    assert "another thread reads" in refused
    assert read == ["1", "2"]


def opened(streams: Streams, id: str, route: str) -> OpenStream:
    """Open a stream for somebody inside, or behind a router."""
    letter = Message(id, id, 1, 0.0, "main", "robot", "count", route=route)
    stream = OpenStream(letter, iter(()))
    streams.open(stream)
    return stream


def test_only_who_is_outside_has_to_pull_now_and_then() -> None:
    now = 0.0
    streams = Streams(lambda: now, lambda callback: callback())
    inside, outside = opened(streams, "1", ""), opened(streams, "2", "mqtt")
    now = 1.0
    assert streams.close_idle() == PATIENCE - 1.0
    now = 1.0 + PATIENCE
    assert streams.close_idle() is None
    assert (inside.is_closed, outside.is_closed) == (False, True)


def test_a_stream_that_was_closed_is_stepped_no_more() -> None:
    streams = Streams(lambda: 0.0, lambda callback: None)
    stream = opened(streams, "1", "")
    # Its generator is closed later, by who may.
    assert streams.close("1", stream.owner)
    with pytest.raises(RefusedError, match="it ended, or was closed"):
        streams.next(stream, 1)


def test_what_nobody_outside_pulls_is_closed_although_nobody_comes_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.rpc.streams.PATIENCE", 0.2)

    def scene(main: Process) -> Any:
        Correspondent("stranger@mqtt", main.office, main._box, "mqtt").send(
            "robot", "count", {"parts": 100}, receipt=True
        )
        return retained(main, "counting is over")

    assert play(scene, robot=Robot) is True


def test_a_stream_that_is_collected_as_garbage_takes_no_lock() -> None:
    def scene(main: Process) -> tuple[bool, int]:
        stream = remote(main, "robot").count(parts=1_000)
        next(stream)
        # Such a cycle is collected whenever somebody makes an object, under any lock.
        stream.itself = stream
        del stream
        main.stop_process("robot")

        def collect() -> None:
            with main.calls._lock:
                gc.collect()

        collector = threading.Thread(target=collect, daemon=True)
        collector.start()
        collector.join(5)
        main.mailman()
        ended = not collector.is_alive()
        return ended, main.calls.statistics()["not_cancelled"] if ended else 0

    assert play(scene, robot=Robot) == (True, 1)


def test_what_has_come_is_read_before_a_pull_that_fails_is_told_of() -> None:
    closed: list[str] = []

    def pull(stream: str) -> Any:
        raise RecipientGoneError("'robot' is gone")

    stream = Stream(Batch("1", [1, 2], True, None, None), pull, closed.append)
    assert [next(stream), next(stream), closed] == [1, 2, []]
    with pytest.raises(RecipientGoneError, match="'robot' is gone"):
        next(stream)
    assert closed == ["1"]
    assert list(stream) == []


def test_what_ends_a_stream_keeps_nothing_of_it(cycle_free: Any) -> None:
    stream = Stream(
        Batch("1", [1], False, RecipientGoneError("'robot' is gone"), None),
        lambda _: pytest.fail("nothing more comes"),
        print,
    )
    assert next(stream) == 1
    with cycle_free(), contextlib.suppress(RecipientGoneError):
        next(stream)
