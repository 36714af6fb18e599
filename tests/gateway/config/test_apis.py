"""``[apis.<name>]``: what may stand there, where a mistake is found, and what it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import plugins
from gateway.appliance import Appliance
from gateway.cli.main import main as command_line
from gateway.config.apis import ApiConfig
from gateway.config.loading import load
from gateway.config.mistake import ConfigErrors
from gateway.config.schema import Configuration
from gateway.process.process import Process
from gateway.rpc import later, remote

LAB = "tests.lab.callables"
ROBOT = f"""
[apis.robot]
workers = 2

[apis.robot.functions]
"math.add" = "{LAB}:add"
count = "{LAB}:count"
where = "{LAB}:where"
arm = "{LAB}:Arm"
spare = "{LAB}:ARM"
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Configuration]:
    def read(text: str) -> Configuration:
        file = tmp_path / "gateway.toml"
        file.write_text(f'[gateway]\nsockets = "{tmp_path / "s"}"\n{text}')
        return load(file, find=plugins.find)

    return read


def played(configuration: Configuration, scene: Callable[[Process], Any]) -> Any:
    """Return what ``scene(main)`` returns beside what ``configuration`` describes."""
    results: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            try:
                results.append(scene(self))
            finally:
                self.die()

    assert Appliance(configuration, main=Main).run() == 0
    return results[0]


def test_an_api_is_read(read: Any) -> None:
    assert read(ROBOT).apis["robot"] == ApiConfig(
        functions={
            "math.add": f"{LAB}:add",
            "count": f"{LAB}:count",
            "where": f"{LAB}:where",
            "arm": f"{LAB}:Arm",
            "spare": f"{LAB}:ARM",
        },
        workers=2,
    )


def test_an_api_is_watched_where_that_is_asked_for(read: Any) -> None:
    appliance = Appliance(
        read(f'''
        [apis.arm]
        stuck_after = 5
        when_stuck = "restart"
        functions = {{ add = "{LAB}:add" }}

        [apis.slow]
        functions = {{ add = "{LAB}:add" }}
    ''')
    )
    appliance.build()
    specs = [appliance._specs[name] for name in ("arm", "slow")]
    assert [(each.stuck_after, each.when_stuck) for each in specs] == [
        (5.0, "restart"),
        (None, "report"),
    ]


def test_an_object_is_served_whatever_it_was_made_with(read: Any) -> None:
    functions = {"arm": f"{LAB}:MOUNTED"}
    assert read(f'[apis.a.functions]\narm = "{LAB}:MOUNTED"').apis["a"].functions == functions


def test_it_is_a_process_that_serves_functions_objects_and_classes(read: Any) -> None:
    def scene(main: Process) -> Any:
        robot = remote(main, "robot")
        return [
            robot.math.add(1, right=2),
            list(robot.count(3)),
            robot.arm.grip(5),
            robot.arm.grip(7),
            robot.spare.grip(9),
            main.active_subprocesses()["robot"] == robot.where(),
            dir(robot),
        ]

    assert played(read(ROBOT), scene) == [
        3,
        [0, 1, 2],
        0,
        5,
        0,
        True,
        ["arm", "count", "math", "spare", "where"],
    ]


def test_coroutines_are_served_in_the_mode_asyncio(read: Any) -> None:
    text = f"""
        [apis.choir]
        mode = "asyncio"
        functions = {{ whisper = "{LAB}:whisper", add = "{LAB}:add" }}
    """

    def scene(main: Process) -> Any:
        choir = remote(main, "choir")
        whispers = [later(choir.whisper)(text) for text in ("A", "B")]
        return [each.result() for each in whispers], choir.add(1, 2)

    assert played(read(text), scene) == (["a", "b"], 3)


def test_a_thread_of_the_gateway_serves_as_well(read: Any) -> None:
    text = f'[apis.sums]\nmode = "thread"\nfunctions = {{ add = "{LAB}:add" }}\n'
    assert played(read(text), lambda main: remote(main, "sums").add(4)) == 4


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("[apis.robot]", 3, "apis.robot.functions", "is missing; write a table"),
        ("[apis.robot]\nfunctions = {}", 4, "apis.robot.functions", "length >= 1; write a table"),
        (
            '[apis.robot.functions]\nadd = "no.such.module:add"',
            4,
            "apis.robot.functions.add",
            "there is no function 'no.such.module:add': No module named 'no'; write module:name",
        ),
        (
            f'[apis.robot.functions]\n"math.add" = "{LAB}:ad"',
            4,
            'apis.robot.functions."math.add"',
            "has no attribute 'ad'",
        ),
        (
            f'[apis.robot.functions]\nnumber = "{LAB}:NUMBER"',
            4,
            "apis.robot.functions.number",
            "is no function; name a function, or mark methods with @command",
        ),
        (
            '[apis.robot.functions]\nway = "pathlib:Path"',
            4,
            "apis.robot.functions.way",
            "is a class without marked methods",
        ),
        (
            f'[apis.robot.functions]\nneedy = "{LAB}:Needy"',
            4,
            "apis.robot.functions.needy",
            "command wave, parameter hand: has no type",
        ),
        (
            f'[apis.robot.functions]\narm = "{LAB}:Mounted"',
            4,
            "apis.robot.functions.arm",
            "Mounted' cannot be made without arguments: missing a required argument: 'base'; give",
        ),
        (
            f'[apis.robot.functions]\narm = "{LAB}:Hoped"',
            4,
            "apis.robot.functions.arm",
            "Hoped' cannot be made without arguments: it is abstract",
        ),
        (
            f'[apis.robot.functions]\nvague = "{LAB}:Vague"',
            4,
            "apis.robot.functions.vague",
            "(name 'Hand' is not defined)",
        ),
        (
            f'[apis.robot.functions]\n"_add" = "{LAB}:add"',
            4,
            "apis.robot.functions._add",
            "cannot be called; write names with dots between",
        ),
        ('[apis.robot.functions]\nadd = "add"', 4, "apis.robot.functions.add", "module:name"),
        ("[apis.robot]\nworker = 2", 4, "apis.robot.worker", "did you mean 'workers'"),
        (
            f'[apis.robot]\nzzz = 2\nfunctions.a = "{LAB}:add"\nworkers = 0',
            4,
            "apis.robot.zzz",
            "unknown key; one of: functions, workers, waiting, mode, depends",
        ),
        ("[apis.robot]\nworkers = -1", 4, "apis.robot.workers", "from 0 to 64"),
        ('[apis.robot]\nmode = "process"', 4, "apis.robot.mode", 'one of "asyncio", "fork"'),
        ("[apis.main]", 3, "apis.main", "the gateway itself has a process 'main'"),
        (
            '[crew.robot]\nprocess = "gateway:Process"\n[apis.robot]',
            5,
            "apis.robot",
            "there is a crew member 'robot', and both are processes",
        ),
        (
            f'[apis.a]\ndepends = ["b"]\nfunctions = {{ add = "{LAB}:add" }}',
            4,
            "apis.a.depends[0]",
            "there is no process 'b'",
        ),
        ("[api.robot]", 3, "api", "did you mean 'apis'"),
    ],
)
def test_a_mistake_names_file_line_and_key_and_what_would_be_right(
    read: Any, tmp_path: Path, text: str, line: int, key: str, said: str
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    found = {(mistake.line, mistake.key): str(mistake) for mistake in caught.value.mistakes}
    assert (line, key) in found, found
    assert said in found[line, key]
    assert found[line, key].startswith(f"{tmp_path / 'gateway.toml'}:{line}: ")


@pytest.mark.parametrize(
    ("source", "said", "at"),
    [
        ("\ndef broken(:\n", "SyntaxError: invalid syntax", 2),
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck", 1),
        ("import sys\nsys.exit(3)", "SystemExit: 3", 2),
        ("import os\nos.environ['NO SUCH THING']", "KeyError: 'NO SUCH THING'", 2),
        ("raise ValueError", "ValueError", 1),
    ],
)
def test_a_module_that_is_broken_is_a_mistake_like_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    said: str,
    at: int,
) -> None:
    name = f"broken_{at}_{len(source)}"
    module, file = tmp_path / f"{name}.py", tmp_path / "gateway.toml"
    module.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(
        f'[apis.robot.functions]\nh = "{name}:x"\n"_i" = "os:getpid"\n'
        f'[crew.drive]\nprocess = "{name}:Drive"\n'
    )
    assert command_line(["check", str(file)]) == 2
    first, second, third = capsys.readouterr().out.splitlines()
    told = f"cannot be imported: {said} ({module}:{at}); mend it there"
    assert first == f"{file}:2: apis.robot.functions.h: the function '{name}:x' {told}"
    assert "apis.robot.functions._i: cannot be called" in second
    assert third == f"{file}:5: crew.drive.process: the class '{name}:Drive' {told}"


def test_a_module_that_lacks_another_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    module = tmp_path / "lacks_another.py"
    module.write_text("import os\nimport no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigErrors) as caught:
        read('[apis.robot.functions]\nh = "lacks_another:x"')
    assert f"No module named 'no_such_thing' ({module}:2); write" in str(caught.value)


def test_a_route_of_the_same_name_is_found(read: Any) -> None:
    text = f'[routes.serial]\n[apis.serial.functions]\nadd = "{LAB}:add"\n'
    with pytest.raises(ConfigErrors, match="there is a route 'serial', and both are processes"):
        read(text)


def test_a_circle_through_an_api_is_found(read: Any) -> None:
    text = f"""
        [apis.a]
        depends = ["b"]
        functions = {{ add = "{LAB}:add" }}
        [apis.b]
        depends = ["a"]
        functions = {{ add = "{LAB}:add" }}
    """
    with pytest.raises(ConfigErrors, match=r"depend on each other in a circle: (a → b|b → a)"):
        read(text)


def test_check_counts_the_apis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(ROBOT)
    assert command_line(["check", str(file)]) == 0
    assert ", 1 API\n" in capsys.readouterr().out
