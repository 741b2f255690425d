"""Every pairing of declaration, function and context, as mypy and pyright see it.

The source is made here: a line for each pairing, and those that a type checker must refuse end in
`# refused`. One run of each tool over all of it.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]

CONTEXTS: Final = (
    "",
    "Context[int]",
    "InlineContext[int]",
    "ThreadContext[int]",
    "BaseContext[int]",
)
GIVEN: Final = {
    "async": "Context[int]",
    "def": "InlineContext[int]",
    "thread": "ThreadContext[int]",
}
DECLARATIONS: Final = {
    "route": ('pipeline.route("/a"{})', "Request", "Response"),
    "stream": ('pipeline.route("/a", stream=True{})', "StreamRequest", "Response"),
    "respond": ('pipeline.respond("a"{})', "Event", "int"),
    "subscribe": ('pipeline.subscribe("a"{})', "Event", "None"),
    "tap": ('pipeline.tap("a"{})', "Event", "None"),
}

PREAMBLE: Final = """
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from pipebus import *

pipeline = Pipeline[int]("p")
"""

REST: Final = """
async def bare_text(request: Request) -> str: ...
def bare_bytes(request: Request) -> bytes: ...
async def of_another_state(request: Request, ctx: Context[str]) -> Response: ...
async def of_any_state(request: Request, ctx: Context[object]) -> Response: ...
def stream_in_plain_route(request: StreamRequest) -> Response: ...
def any_request(request: RequestInfo) -> Response: ...
async def nothing() -> Response: ...
def listens_and_answers(event: Event) -> int: ...
pipeline.route("/a")(bare_text)  # refused
pipeline.route("/a")(bare_bytes)  # refused
pipeline.route("/a")(of_another_state)  # refused
pipeline.route("/a")(of_any_state)
pipeline.route("/a")(stream_in_plain_route)  # refused
pipeline.route("/a")(any_request)
pipeline.route("/a")(nothing)  # refused
pipeline.subscribe("a")(listens_and_answers)  # refused
pipeline.respond("a")(listens_and_answers)
pipeline.route("/a", max_body=None)(any_request)
pipeline.route("/a", max_body="1")(any_request)  # refused
pipeline.subscribe("a", overflow="explode")  # refused

def of_value(error: ValueError, request: RequestInfo) -> Response: ...
async def of_value_async(error: ValueError, request: RequestInfo) -> Response: ...
def of_buffered(error: ValueError, request: Request) -> Response: ...
def of_value_text(error: ValueError, request: RequestInfo) -> str: ...
pipeline.on_error(ValueError)(of_value)
pipeline.on_error(ValueError)(of_value_async)
pipeline.on_error(UnicodeError)(of_value)
pipeline.on_error(Exception)(of_value)  # refused
pipeline.on_error(KeyError)(of_value)  # refused
pipeline.on_error(ValueError)(of_buffered)  # refused
pipeline.on_error(ValueError)(of_value_text)  # refused
pipeline.on_error(KeyboardInterrupt)  # refused

@asynccontextmanager
async def lifespan() -> AsyncGenerator[str, None]: yield ""
with_state: Pipeline[str] = Pipeline(lifespan=lifespan)
stateless: Pipeline[None] = Pipeline()
wrong_state: Pipeline[int] = Pipeline(lifespan=lifespan)  # refused
pipeline.include(stateless)
pipeline.include(Pipeline[object]())
pipeline.include(pipeline, prefix="/x")
pipeline.include(with_state)  # refused

async def uses(ctx: Context[int], inline: InlineContext[int], thread: ThreadContext[int]) -> None:
    number: int = ctx.state
    text: str = ctx.state  # refused
    event: Event = await ctx.publish("a", 1, subject="s", metadata={"k": "v"})
    ctx.publish("a").frobnicate()  # refused
    reply: Any = await ctx.request("a", timeout=None)
    inline.publish_nowait("a")
    inline.publish("a")  # refused
    inline.request("a")  # refused
    inline.sleep(1)  # refused
    thread.sleep(1)
    await ctx.sleep(1)
    status: int = (await ctx.client.post("http://x", json={})).status
    blocking: bytes = thread.client.get("http://x").body
    async with ctx.client.stream("GET", "http://x") as response:
        async for chunk in response: chunk.hex()
    with thread.client.stream("GET", "http://x") as answer:
        for chunk in answer: chunk.hex()
"""


def pairings() -> str:
    """Return a function and a declaration for each pairing."""
    lines: list[str] = []
    for name, (declaration, message, result) in DECLARATIONS.items():
        for mode, waits, context in itertools.product(GIVEN, (True, False), CONTEXTS):
            if waits != (mode == "async") and mode != "thread":
                continue  # an async def without thread=True is what `async` is, a def `def`
            fn = f"fn{len(lines)}"
            parameters = f"x: {message}" + (f", ctx: {context}" if context else "")
            lines.append(f"{'async ' * waits}def {fn}({parameters}) -> {result}: ...")
            right = (
                waits == (mode == "async")
                and context in ("", GIVEN[mode], "BaseContext[int]")
                and not (name == "stream" and mode != "async")
            )
            accepted = right or (name == "respond" and waits and unseen(mode, context))
            call = declaration.format(", thread=True" if mode == "thread" else "")
            lines.append(f"{call}({fn})" + ("" if accepted else "  # refused"))
    return "\n".join(lines)


def unseen(mode: str, context: str) -> bool:
    """Say whether a wrong async responder is one that only registration refuses.

    A responder may return anything: a coroutine too, for all that a type checker can be told.
    """
    if mode == "async":
        return context == GIVEN["def"]
    return context in ("", GIVEN["thread"], "BaseContext[int]")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("typing") / "pairings.py"
    path.write_text(PREAMBLE + pairings() + REST)
    return path


def refused(source: Path) -> set[int]:
    lines = source.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def test_the_source_has_both_kinds(source: Path) -> None:
    assert len(refused(source)) > 60
    assert sum("pipeline." in line for line in source.read_text().splitlines()) > 100


def test_mypy(source: Path) -> None:
    run = subprocess.run(
        [
            sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}",
            "--disable-error-code=empty-body", f"--cache-dir={source.parent / 'cache'}", str(source),
        ],
        capture_output=True, text=True, cwd=ROOT, env=without_coverage(), check=False,
    )  # fmt: skip
    found = {int(n) for n in re.findall(r"pairings\.py:(\d+): error", run.stdout)}
    assert found == refused(source), run.stdout + run.stderr
    assert "core/pipebus" not in run.stdout


def test_pyright(source: Path) -> None:
    config = {
        "include": [str(source)],
        "extraPaths": [str(ROOT / "core")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "reportReturnType": False,
        "reportUnusedVariable": False,
        "reportUnusedCoroutine": False,
        "reportWildcardImportFromLibrary": False,
        "reportUnusedFunction": False,
    }
    (source.parent / "pyrightconfig.json").write_text(json.dumps(config))
    run = subprocess.run(
        [
            sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable,
            "--project", str(source.parent),
        ],
        capture_output=True, text=True, env=without_coverage(), check=False,
    )  # fmt: skip
    report = json.loads(run.stdout)["generalDiagnostics"]
    found = {d["range"]["start"]["line"] + 1 for d in report if d["severity"] == "error"}
    assert found == refused(source), report
