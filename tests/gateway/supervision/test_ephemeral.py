"""Members that are forgotten when they are over."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.process.process import Process
from gateway.supervision.recruit import spec_of
from gateway.testing.stage import play
from tests.lab.os_processes import until

PATIENCE = 20.0


class Passing(Process):
    """Ends when it is told to, well or badly."""

    def birth(self) -> None:
        self.add_filter(subject="^end$", callback=lambda message: self.die())
        self.add_filter(subject="^fail$", callback=lambda message: 1 / 0)
        self.add_filter(subject="^life$", callback=self.tell)

    def tell(self, message: Any) -> None:
        self.reply(message, self._box.incarnation)


def data(name: str = "passing", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "process": f"{__name__}:Passing",
        "frequency": 0.0,
        "restart": {"kind": "temporary"},
        "ephemeral": True,
        **more,
    }


def life_of(main: Process, name: str) -> int:
    found: int = main.wait_for_reply(main.send(name, "life"), PATIENCE).body
    return found


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
@pytest.mark.parametrize("how", ["end", "fail", "stop"])
def test_one_that_is_over_leaves_its_name_and_nothing_else(mode: str, how: str) -> None:
    def scene(main: Process) -> None:
        states: list[Any] = []
        main.subscribe("processes/passing/state", lambda message: states.append(message.body))

        def lived() -> int:
            return [told["state"] for told in states if told].count("living")

        def has_lived(times: int) -> bool:
            main.mailman()
            return lived() == times

        before = main.application.statistics()
        lives = []
        for number in range(1, 4):
            told = main.application.add_member(data(mode=mode))
            lives.append(life_of(main, "passing"))
            assert told == lives[-1]
            # Its word that it lives, and ours that it is to end, come by different ways.
            assert until(partial(has_lived, number), PATIENCE)
            if how == "stop":
                main.poison_pill("passing")
            else:
                main.send("passing", how)
            assert until(lambda: main.process_names() == ["main"], PATIENCE)
        assert lives == [1, 2, 3], "no life is taken for another"
        after = main.application.statistics()
        for count in ("members", "retained"):
            assert after[count] == before[count]
        assert after["mail_of_the_forgotten"]["delivered"] >= 3

        main.mailman()
        assert states[-1] is None
        assert lived() == 3

    play(scene)


def test_another_name_begins_with_a_life_of_its_own() -> None:
    def scene(main: Process) -> None:
        main.application.add_member(data(mode="fork"))
        life_of(main, "passing")
        main.poison_pill("passing")
        main.application.add_member(data("other", mode="fork"))
        assert life_of(main, "other") == 2
        main.application.add_member(data(mode="fork"))
        assert life_of(main, "passing") == 2

    play(scene)


def test_one_on_whom_others_depend_is_kept() -> None:
    def scene(main: Process) -> None:
        main.application.add_member(data(mode="thread"))
        life_of(main, "passing")
        main.application.add_member(data("other", mode="thread", depends=["passing"]))
        life_of(main, "other")
        main.poison_pill("passing")
        assert main.process_names() == ["main", "other", "passing"]
        main.poison_pill("other")
        assert main.process_names() == ["main"]

    play(scene)


def test_one_that_is_restarted_is_not_over() -> None:
    def scene(main: Process) -> None:
        soon = {"kind": "permanent", "first": 0.01, "ceiling": 0.01}
        main.application.add_member(data(mode="thread", restart=soon))
        assert life_of(main, "passing") == 1
        main.send("passing", "end")

        def is_back() -> bool:
            return main._office.book.incarnations.get("passing") == 2

        assert until(is_back, PATIENCE)
        assert life_of(main, "passing") == 2

    play(scene)


def test_one_that_nobody_starts_cannot_be_ephemeral() -> None:
    with pytest.raises(ConfigError, match="nobody who starts it"):
        spec_of(data(autostart=False))
