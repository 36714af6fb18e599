from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import plugins
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.errors import ConfigError

GROUP = "gateway.test_plugins"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a distribution on the path that offers entry points in `GROUP`."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(distribution: str, **points: str) -> None:
        info = tmp_path / f"{distribution}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))

    return add


def mistake_of(name: str, group: str = GROUP) -> Mistake:
    with pytest.raises(ConfigErrors) as caught:
        plugins.find(group, name)
    (mistake,) = caught.value.mistakes
    assert isinstance(caught.value, ConfigError)
    assert (mistake.file, mistake.line, mistake.key) == ("", None, "")
    return mistake


def test_ours_are_installed_like_anybodys() -> None:
    assert "bench_board" in plugins.names(plugins.DRIVERS)
    assert {"mqtt", "serial", "unix_socket"} <= set(plugins.names(plugins.ROUTES))
    assert plugins.find(plugins.DRIVERS, "bench_board").__module__ == "drivers.bench_board.driver"


def test_a_third_partys_class_is_found(install: Callable[..., None]) -> None:
    install("theirs", clock="gateway.clock:RealClock", mail="gateway.mail.message:Message")
    assert plugins.names(GROUP) == ["clock", "mail"]
    assert plugins.find(GROUP, "clock").__name__ == "RealClock"


def test_a_name_that_nobody_offers(install: Callable[..., None]) -> None:
    install("theirs", wheels="x:Wheels", lamp="x:Lamp")
    assert mistake_of("wheel") == Mistake(
        problem="there is no plug-in 'wheel'", advice="did you mean 'wheels'?"
    )
    assert mistake_of("zzz").advice == "one of: lamp, wheels"
    assert mistake_of("a", "gateway.nothing").advice == "none is installed in gateway.nothing"
    assert mistake_of("bench_bord", plugins.DRIVERS).problem == "there is no driver 'bench_bord'"


def test_listing_imports_nothing(install: Callable[..., None]) -> None:
    install("theirs", wheels="no.such.module:Wheels")
    assert plugins.names(GROUP) == ["wheels"]


@pytest.mark.parametrize("value", ["no_such_module:Wheels", "gateway.clock:Wheels"])
def test_one_that_cannot_be_imported(install: Callable[..., None], value: str) -> None:
    install("theirs", wheels=value)
    mistake = mistake_of("wheels")
    assert "'wheels' cannot be imported: " in mistake.problem
    assert mistake.advice == "reinstall theirs, or what is missing"


def test_one_that_is_broken(install: Callable[..., None], tmp_path: Path) -> None:
    module = tmp_path / "broken_plug_in.py"
    module.write_text("\nraise RuntimeError('no luck')\n")
    install("theirs", wheels="broken_plug_in:Wheels")
    assert mistake_of("wheels") == Mistake(
        problem=f"the plug-in 'wheels' cannot be imported: RuntimeError: no luck ({module}:2)",
        advice="mend it there",
    )


def test_one_that_is_no_class(install: Callable[..., None]) -> None:
    install("theirs", wheels="gateway.errors:error_for")
    assert "is no class" in mistake_of("wheels").problem


def test_one_that_two_packages_offer(install: Callable[..., None]) -> None:
    install("theirs", wheels="a:Wheels")
    install("mine", wheels="b:Wheels")
    assert mistake_of("wheels").problem.endswith("a:Wheels (theirs), b:Wheels (mine)")
