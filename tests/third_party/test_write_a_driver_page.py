"""docs/write_a_driver.md, done as it says: written, tested, installed, run and talked to."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_documentation import Block, blocks_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "write_a_driver.md"
SECONDS = 300.0
SOON = 60.0


def blocks(language: str) -> list[Block]:
    return [block for block in blocks_in(PAGE) if block.language == language]


class Author:
    """Somebody with this page, an environment and an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        self.environment = {
            **environment,
            "PYTHONPATH": f"{self.site}{os.pathsep}{ROOT}",
            "GATEWAY_SOCKET": str(folder / "sockets" / "gateway.sock"),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: Path) -> Author:
    """One who has followed the page up to its test."""
    author = Author(tmp_path_factory.mktemp("page"))
    done = author.run("gateway", "new-driver", "greenhouse")
    assert done.returncode == 0, done.stderr
    files = [block for block in blocks("python") if block.text.startswith("# ")]
    assert len(files) == 3
    for block in files:
        name, _, text = block.text.removeprefix("# ").partition("\n")
        file = author.folder / "greenhouse" / name
        assert file.exists(), f"new-driver writes no {name}"
        file.write_text(text, encoding="utf-8")
    return author


@pytest.mark.timeout(SECONDS)
def test_the_pages_driver_keeps_the_contract(author: Author) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", "temporary"]
    done = author.run("pytest", *options, "greenhouse")
    assert done.returncode == 0, done.stdout
    assert "greenhouse_driver.driver:Greenhouse: silver" in done.stdout


def test_the_pages_commands_are_the_gateways(author: Author) -> None:
    said = "".join(block.text for block in blocks("sh"))
    for line in said.splitlines():
        words = line.split()
        if words[0] == "gateway":
            assert author.run("gateway", words[1], "--help").returncode == 0, line


@pytest.fixture
def gateway(author: Author) -> Iterator[Author]:
    """The gateway of the page, with its sockets and the simulated board in another folder."""
    options = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip = ["install", "--quiet", "--no-deps", *options, "--target", str(author.site)]
    installed = author.run("pip", *pip, "./greenhouse")
    assert installed.returncode == 0, installed.stderr
    port = author.folder / "board"
    text = blocks("toml")[0].text.replace("/tmp/greenhouse", str(port))
    ours = f'[gateway]\nsockets = "{author.folder / "sockets"}"\n\n'
    (author.folder / "gateway.toml").write_text(ours + text)
    simulator = ["greenhouse_driver.simulator", "--link", str(port)]
    started = [author.start(*simulator), author.start("gateway", "run", "-c", "gateway.toml")]
    try:
        yield author
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(SOON)


@pytest.mark.timeout(SECONDS)
def test_the_pages_board_is_talked_to_through_a_running_gateway(gateway: Author) -> None:
    assert gateway.run("gateway", "check", "gateway.toml").returncode == 0
    letter = ["gateway", "send", "greenhouse@serial", "window"]
    deadline = time.monotonic() + SOON
    while (done := gateway.run(*letter, '{"opened": 40}')).returncode != 0:
        assert time.monotonic() < deadline, done.stderr
    refused = gateway.run(*letter, '{"opened": 101}')
    assert refused.returncode == 1
    assert "window(opened: int [%] 0…100)" in refused.stderr
    listed = gateway.run("gateway", "ps", "--json")
    assert "greenhouse" in json.dumps(json.loads(listed.stdout))
