"""What README and docs/ show is run: Python in page order, and the command's options exist."""

import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.environment import without_coverage
from tests.examples.conftest import ROOT, child
from tests.examples.test_examples import ask

PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE: Final = re.compile(r"^```(\S*) ?(.*)\n((?s:.*?))^```$", re.MULTILINE)
LANGUAGES: Final = {"python", "console", "mermaid", "text"}
"""`text` is for what is no program: the signatures in architecture.md, say."""


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is what a reader would save it as, if the page says so."""

    language: str
    file: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(found[1], found[2], found[3], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def python_pages() -> list[Path]:
    def runs(block: Block) -> bool:
        return block.language == "python" and not block.file

    return [page for page in PAGES if any(runs(block) for block in blocks(page))]


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """A module that is importable while the test runs, as dataclasses and type hints need it."""
    made = types.ModuleType("a_page_of_the_docs")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def call_tests(module: types.ModuleType, done: set[str]) -> None:
    """Call the tests that a block has defined, with each of their parameters."""
    for name, found in list(vars(module).items()):
        if not name.startswith("test_") or name in done:
            continue
        done.add(name)
        marks = getattr(found, "pytestmark", [])
        if not marks:
            found()
        for mark in marks:
            argument, values = mark.args
            for value in values:
                found(**{argument: value})


def test_the_extractor_finds_what_there_is() -> None:
    assert {page.name for page in python_pages()} >= {
        "handlers.md", "bus.md", "client.md", "testing.md", "operations.md"
    }  # fmt: skip
    for page in PAGES:
        assert 2 * len(blocks(page)) == len(re.findall("^```", page.read_text(), re.MULTILINE))
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{page.name}:{block.line}"


@pytest.mark.parametrize("page", python_pages(), ids=lambda page: page.name)
def test_the_blocks_of_a_page(page: Path, module: types.ModuleType) -> None:
    done: set[str] = set()
    for block in blocks(page):
        if block.language == "python" and not block.file:
            # Blank lines in front, so that a traceback names the line of the page.
            code = compile("\n" * block.line + block.code, str(page), "exec")
            exec(code, vars(module))
            call_tests(module, done)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    for block in blocks(ROOT / "README.md"):
        if block.file:
            (tmp_path / block.file).write_text(block.code)
    return tmp_path


def test_the_readmes_program(readme: Path, runtime: str) -> None:
    command = ("-m", "pipebus_cli", "serve", "shop:pipeline", "--port", "0", "--runtime", runtime)
    with child(*command, cwd=readme) as (url, output):
        assert ask(f"{url}/orders/tea", b"") == b'{"item":"tea","price":3}'
    assert "ordered: tea\n" in output
    assert "answered: 201 /orders/tea\n" in output


def test_the_readmes_tests(readme: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    done = subprocess.run(
        command, cwd=readme, env=without_coverage(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def command_lines() -> list[str]:
    return [
        line.removeprefix("$ ")
        for page in PAGES
        for block in blocks(page)
        if block.language == "console"
        for line in block.code.splitlines()
        if line.startswith("$ ")
    ]


def test_the_commands_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    helps: dict[str, str] = {}
    seen = 0
    for line in command_lines():
        program, *words = line.partition("#")[0].split()
        if program == "make":
            assert words[0] in targets, line
        elif program == "pipebus":
            seen += 1
            if words[0] not in helps:
                asked = [sys.executable, "-m", "pipebus_cli", words[0], "--help"]
                helps[words[0]] = subprocess.run(
                    asked, env=without_coverage(), capture_output=True, text=True, check=True
                ).stdout
            for option in words[1:]:
                if option.startswith("-"):
                    assert re.search(rf"(?<!\S){option}(?!\S)", helps[words[0]]), line
    assert seen > 5


def test_the_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), f"{page.name} -> {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
                assert anchor in anchors, f"{page.name} -> {target}"
