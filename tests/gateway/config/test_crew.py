"""``[crew.<name>]``: what may stand there, and where a mistake is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import plugins
from gateway.appliance import Appliance
from gateway.config.crew import LONGEST, CrewMember, Held, Restart
from gateway.config.loading import load
from gateway.config.mistake import ConfigErrors
from gateway.config.schema import Configuration
from gateway.errors import ConfigError
from gateway.process.process import Process
from gateway.timeout import MOST

Load = Callable[[str], Configuration]
Mistakes = Callable[[str], list[str]]

PAGE = Path(__file__).parents[3] / "docs" / "crew.md"

DRIVE = """
[routes.serial]

[crew.drive]
depends = ["serial", "lidar"]
tock = 0.02
limit = 3600
restart = { kind = "transient", most = 3 }
parameters = { port = "/dev/ttyUSB0" }

[crew.drive.processes.left]
process = "robot.wheels:Wheel"

[crew.drive.processes.right]
process = "robot.wheels:Wheel"
frequency = 5

[crew.lidar]
mode = "external"
command = ["./lidar", "--hz", "10"]
"""


def test_a_crew_is_read(loaded: Load) -> None:
    crew = loaded(DRIVE).crew
    assert list(crew) == ["drive", "lidar"]
    assert crew["drive"] == CrewMember(
        processes={
            "left": Held(process="robot.wheels:Wheel"),
            "right": Held(process="robot.wheels:Wheel", frequency=5.0),
        },
        depends=("serial", "lidar"),
        tock=0.02,
        limit=3600.0,
        restart=Restart(kind="transient", most=3),
        parameters={"port": "/dev/ttyUSB0"},
    )
    assert crew["lidar"].command == ("./lidar", "--hz", "10")


WHEEL = 'process = "robot.wheels:Wheel"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[crew.a]", ["1: crew.a: has to have a process, or processes, or the mode 'extern…"]),
        (
            f"[crew.a]\n{WHEEL}\ntik = 1",
            ["3: crew.a.tik: unknown key; one of: process, processes, com…"],
        ),
        (f"[crew.a]\n{WHEEL}\ntock = 0", ["3: crew.a.tock: cannot be 0; write a number above 0 …"]),
        (
            f"[crew.a]\n{WHEEL}\ntock = 1.0\nfrequency = 1.0",
            ["3: crew.a.tock: tock = 1 says the same as a frequency: no frequency bes…"],
        ),
        (f"[crew.a]\n{WHEEL}\nreal = false", ["3: crew.a.real: real = false asks for simulated…"]),
        (f"[crew.a]\n{WHEEL}\nmode = 'steam'", ['3: crew.a.mode: cannot be "steam"; write on…']),
        (f"[crew.a]\n{WHEEL}\nmode = 'external'", ["2: crew.a.process: has to have a process…"]),
        ("[crew.a]\nprocess = 'wheel'", ['2: crew.a.process: cannot be "wheel"; write text: …']),
        ("[crew.a]\nprocess = 'no.such:Class'", ["2: crew.a.process: no 'no.such:Class'; ask"]),
        (
            "[crew.a.processes.b]\nprocess = 'no.such:Class'",
            ["2: crew.a.processes.b.process: no 'no.such:Class'; ask"],
        ),
        (
            f"[crew.a.processes.b]\n{WHEEL}\nlimit = 5",
            ["3: crew.a.processes.b.limit: unknown key; …"],
        ),
        (
            f"[crew.a]\n{WHEEL}\nrestart = {{ first = 9.0 }}",
            ["3: crew.a.restart.first: first is 9 s and ceiling less: 5 s"],
        ),
        (f"[crew.main]\n{WHEEL}", ["1: crew.main: the gateway itself has a process 'main'; cho…"]),
        (
            f"[routes.serial]\n[crew.serial]\n{WHEEL}",
            ["2: crew.serial: there is a route 'serial', and both are processes; choose …"],
        ),
        (
            f"[routes.serial]\n[crew.a]\n{WHEEL}\ndepends = ['seriel']",
            ["4: crew.a.depends[0]: there is no process 'seriel'; did you mean 'serial'?"],
        ),
        (
            f"[crew.a]\n{WHEEL}\ndepends = ['b']\n[crew.b]\n{WHEEL}\ndepends = ['a']",
            ["3: crew.a.depends: these depend on each other in a circle: a → b → a; lea…"],
        ),
        ("[crew]\na = 5", ["2: crew.a: cannot be 5; write a table: [crew.a]"]),
        ("crew = 5", ["1: crew: cannot be 5; write a table: [crew]"]),
    ],
)
def test_mistakes_in_a_crew(mistakes: Mistakes, text: str, said: list[str]) -> None:
    found = mistakes(text)
    for line, words in zip(found, said, strict=True):
        assert line.startswith(words.removesuffix("…")), found


class Halt(Process):
    """Ends the application as soon as the crew lives."""

    def birth(self) -> None:
        """Ask each of the crew, and end."""
        for name in ("left@pair", "right@pair", "alone"):
            assert self.wait_for_reply(self.send(name, "say", name)).body == name
        self.die()


def test_a_crew_is_run_and_nothing_else_needs_to_be_configured(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"""
        [gateway]
        sockets = "{tmp_path}/s"
        [crew.pair.processes.left]
        process = "gateway.testing.stage:Echo"
        [crew.pair.processes.right]
        process = "gateway.testing.stage:Echo"
        [crew.alone]
        process = "gateway.testing.stage:Echo"
        mode = "thread"
        depends = ["pair"]
    """)
    appliance = Appliance(load(file, find=plugins.find), main=Halt)
    assert appliance.run() == 0


def test_the_page_shows_what_can_be_read(tmp_path: Path) -> None:
    blocks = [part.split("```")[0] for part in PAGE.read_text().split("```toml\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        file = tmp_path / "gateway.toml"
        file.write_text(f"[routes.serial]\n{block}")

        def find(group: str, name: str, /) -> type[Any]:
            return Process if group == plugins.PROCESSES else plugins.find(group, name)

        assert load(file, find=find).crew


def test_a_class_that_cannot_be_found_says_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("""
        [crew.a]
        process = "gateway.no_such:Class"
        [crew.b]
        process = "gateway.errors:GatewayError"
    """)
    with pytest.raises(ConfigErrors) as caught:
        load(file, find=plugins.find)
    missing, other = map(str, caught.value.mistakes)
    assert "no class 'gateway.no_such:Class': No module named" in missing
    assert "write module:qualname" in missing
    assert "is no Process; name a subclass of gateway.Process" in other


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nsockets = "{tmp_path}/s"\n')
    with pytest.raises(ConfigError, match="no routes are configured"):
        Appliance(load(file, find=plugins.find)).run()


def test_the_longest_time_is_what_anybody_can_wait() -> None:
    """It stands in both rooms, since neither may know the other."""
    assert LONGEST == MOST
