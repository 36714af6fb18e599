"""What stands in the documentation is true as far as a machine can tell.

Examples with ``>>>`` run, Python compiles, TOML and JSON parse, links lead somewhere.
"""

from __future__ import annotations

import doctest
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("udev/**/*.md")])

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str


def blocks_in(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, found["language"], found["text"])
        for found in FENCE.finditer(text)
    ]


def run_python(block: Block) -> None:
    if ">>>" not in block.text:
        compile(block.text, str(block.page), "exec")
        return
    example = doctest.DocTestParser().get_doctest(
        block.text, {}, block.page.name, str(block.page), block.line
    )
    said: list[str] = []
    if doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed:
        pytest.fail("".join(said), pytrace=False)


CHECKS: dict[str, Callable[[Block], object]] = {
    "python": run_python,
    "pycon": run_python,
    "toml": lambda block: tomllib.loads(block.text),
    "json": lambda block: json.loads(block.text),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_of_a_page_is_true(page: Path) -> None:
    for block in blocks_in(page):
        if block.language in CHECKS:
            CHECKS[block.language](block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [found["target"].split("#")[0] for found in LINK.finditer(prose)]
    lost = [
        target
        for target in targets
        if target and ":" not in target and not (page.parent / target).exists()
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def broken(:\n"),
        ("pycon", ">>> 1 + 1\n3\n"),
        ("toml", "a = b\n"),
        ("json", "{'a': 1}\n"),
    ],
)
def test_an_example_that_is_not_true_is_caught(tmp_path: Path, language: str, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```{language}\n{text}```\n\nand ```text\n")
    (block,) = blocks_in(page)
    assert (block.line, block.text) == (4, text)
    with pytest.raises((SyntaxError, ValueError, pytest.fail.Exception)):
        CHECKS[language](block)
