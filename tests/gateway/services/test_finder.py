"""Who finds what a reference stands for."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gateway.errors import RefusedError
from gateway.process.process import Process
from gateway.services import Services
from gateway.services.finder import finder_here, found_here
from gateway.testing.stage import play
from tests.lab.little_robot import Robot

PATIENCE = 20.0


def test_where_nobody_has_services_nothing_is_found() -> None:
    with pytest.raises(RefusedError, match="has no services here"):
        found_here({"service": "robot", "life": 1})
    with pytest.raises(RefusedError):
        Services.here()


def test_it_is_who_has_the_thread(house: Services) -> None:
    found: list[Any] = [finder_here()]
    house.process.add_child_thread("looks", lambda: found.append(finder_here()))
    thread = threading.Thread(target=lambda: found.append(finder_here()))
    thread.start()
    thread.join(PATIENCE)
    house.process.join_child_threads(PATIENCE)
    with house.remote_function(lambda: found.append(finder_here())) as handed:
        house.start("robot", Robot).call(handed)
    assert [each.process for each in found] == [house.process] * 4


@pytest.mark.parametrize(
    "told",
    [{}, {"service": "robot"}, {"function": "f", "at": "functions@main"}, {"life": 1, "at": 3}],
)
def test_nonsense_refers_to_nothing(house: Services, told: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="refers to nothing"):
        house._home.find(told)


def test_what_comes_from_outside_refers_to_nothing(house: Services, robot: Robot) -> None:
    from dataclasses import dataclass

    from gateway.rpc.ends import desk_of
    from gateway.rpc.references import MARK

    @dataclass
    class Outside:
        route: str = "mqtt"

    message: Any = Outside()
    body = {MARK: True, "*": [{"$reference": {"service": "robot", "life": 1}}]}
    with pytest.raises(RefusedError, match="whoever calls is to be inside"):
        desk_of(house.process)._answers.found_in(body, message)


class OnLoop(Process):
    """Wants services on an event loop."""

    async def birth(self) -> None:
        try:
            Services(self)
        except RuntimeError as error:
            self.said = str(error)
        self.add_filter(subject="^said$", callback=lambda m: self.reply(m, self.said))


def test_a_process_on_a_loop_has_none_since_a_proxy_waits() -> None:
    def scene(main: Process) -> str:
        said: str = main.wait_for_reply(main.send("loop", "said"), PATIENCE).body
        return said

    assert "shares a loop, and a proxy waits" in play(scene, loop=(OnLoop, "asyncio"))
