"""A stub types what can be called: mypy believes it, and finds what is wrong."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.signature import Unit, command
from gateway.rpc import Api
from gateway.rpc.stubs import stub_of

ROOT = Path(__file__).parents[3]


Newton = Annotated[int, Unit("N"), msgspec.Meta(ge=1, le=20)]


class Way(msgspec.Struct, frozen=True):
    """What no other module knows."""

    metres: float


class Arm:
    """One method for each way in which something can be typed."""

    @command
    def grip(
        self, force: Annotated[int, Unit("N"), msgspec.Meta(ge=1, le=20)], *, hard: bool
    ) -> str:
        """Close the \"\"\"hand\"\"\"; a back\\slash."""
        return ""

    @command
    def go(self, way: Way, how: Literal["fast", "slow"] = "slow") -> tuple[int, int]:
        """Go."""
        return 0, 0

    @command
    def scan(self, sizes: list[int] | None = None) -> Iterator[float]:
        """Look."""
        yield 0.0

    @command
    def sweep(self, pair: tuple[int, ...] = ()) -> Generator[dict[str, int], None, str]:
        """Look."""
        yield {}
        return ""

    @command
    async def listen(self) -> AsyncIterator[bytes]:
        """Hear."""
        yield b""


def robot() -> Api:
    api = Api()
    api.include(Arm(), "arm")
    api.add("arm.grip.softly", lambda: None)
    api.add("lamp.class", lambda: None)
    api.add("lamp.any", lambda *args: None)
    return api


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Have mypy, strict, judge some lines beside the stub of `robot`."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "robot_api.py").write_text(stub_of("robot", robot().describe()))
    head = (
        "from typing import Any\n"
        "from gateway.rpc.tree import later, remote, tell, using\n"
        "from robot_api import Robot\n"
        "def scene(process: Any) -> None:\n"
        '    robot = remote(process, "robot", Robot)\n'
    )

    def check(*lines: str) -> list[str]:
        used = folder / "used.py"
        used.write_text(head + "".join(f"    {line}\n" for line in lines))
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "used.py"],
            cwd=folder,
            env={**os.environ, "MYPYPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    return check


@pytest.mark.timeout(300)
def test_mypy_believes_what_is_right_and_finds_what_is_wrong(checked: Any) -> None:
    right = (
        "text: str = robot.arm.grip(3, hard=True)",
        "pair: list[Any] = robot.arm.go({}, 'fast')",
        "total: float = sum(robot.arm.scan([1]))",
        "parts: list[dict[str, int]] = list(robot.arm.sweep())",
        "heard: list[bytes] = list(robot.arm.listen())",
        "late: str = later(robot.arm.grip)(3, hard=True).result()",
        "tell(using(robot, timeout=60).arm.go)(1)",
        "robot.arm.grip.softly()",
        "robot.lamp.any(1, 2)",
    )
    assert checked(*right) == []
    wrong = (
        "robot.arm.grip('hard', hard=True)",
        "robot.arm.grip(3)",
        "robot.arm.girp(3)",
        "robot.arm.go({}, 'far')",
        "number: int = robot.arm.grip(3, hard=True)",
        "later(robot.arm.go)(way={}, howe='fast')",
    )
    found = checked(*wrong)
    lines = {line.split(":")[1] for line in found if ": error:" in line}
    assert lines == {str(number) for number in range(6, 6 + len(wrong))}, found


def test_what_python_has_no_name_for_is_left_out_and_said() -> None:
    text = stub_of("robot", {"lamp.class": {}, "lamp.on": {}})
    assert "# 'lamp.class' has no name in Python: it is left out." in text
    assert "def on(self, *args: Any, **kwargs: Any) -> Any:" in text


def test_what_says_not_what_it_returns_is_typed_as_anything() -> None:
    def nothing() -> None: ...

    api = Api()
    api.add("silent", lambda: 3)
    api.add("nothing", nothing)
    stub = stub_of("robot", api.describe())
    assert "def silent(self) -> Any:" in stub
    assert "def nothing(self) -> None:" in stub


def test_an_address_without_anything_to_call_is_an_empty_class() -> None:
    assert "class Wheels:\n    pass\n" in stub_of("wheels@serial", {})


_texts = st.text(max_size=30)
_types = _texts | st.sampled_from(
    ["int", "str | None", "list[int]", "dict[str, Any]", "Literal['a', 1]", "x.Y[int]", "tuple[()]"]
)
_parameters = st.dictionaries(
    st.sampled_from(["a", "b", "c", "if", "a b"]),
    st.fixed_dictionaries({}, optional={"type": _types, "required": st.booleans(), "unit": _texts}),
)
_maps = st.dictionaries(
    st.sampled_from(["a", "a.b", "a.b.c", "for", "a.if", "x y", ""]) | _texts,
    st.fixed_dictionaries(
        {},
        optional={
            "description": _texts,
            "parameters": _parameters | st.none(),
            "returns": _types,
            "stream": st.booleans(),
        },
    )
    | st.integers(),
)


@given(_maps)
def test_whatever_a_map_says_the_stub_compiles(told: Any) -> None:
    ast.parse(stub_of("robot", told))
