"""Handlers that yield: parts arrive as they are made, and no faster than they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import Process
from gateway.errors import MailboxFullError, RefusedError
from gateway.rpc import command, later, remote, tell, using
from gateway.rpc.streams import MOST
from gateway.testing.stage import play
from tests.gateway.rpc.robot import Robot, retained

MODES = pytest.mark.parametrize("mode", ["thread", "fork"])


@MODES
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 63, 64, 65, 5_000])
def test_every_part_arrives_once_and_in_order(parts: int, mode: Any) -> None:
    def scene(main: Process) -> tuple[list[int], Any]:
        stream = remote(main, "robot").count(parts=parts)
        return list(stream), stream.returned

    assert play(scene, robot=(Robot, mode)) == (list(range(parts)), parts)


def test_parts_arrive_as_they_are_made() -> None:
    def scene(main: Process) -> list[float]:
        began = time.monotonic()
        return [time.monotonic() - began for _ in remote(main, "robot").count(parts=3, pause=1.0)]

    first, *others = play(scene, robot=(Robot, "fork"))
    assert first < 0.9
    assert all(number - 0.05 <= at < number + 0.9 for number, at in enumerate(others, 1))


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
        streams = [count(parts=1_000) for _ in range(MOST)]
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
