"""The command: two kinds of report, and one line for what cannot be reported."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus_cli.errors import CliError
from pipebus_cli.main import main
from pipebus_cli.report.command import load, report
from tests.cli.report.runs import latencies, phase, run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "RUN.json").write_bytes(msgspec.json.encode(run()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "RUN.json", "-o", "report.html"]) == 0
    assert (here / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr() == ("", "")


def test_markdown_in_a_file_and_on_standard_output(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "RUN.json", "--output", "report.md"]) == 0
    assert main(["report", "RUN.json"]) == 0
    assert capsys.readouterr().out == (here / "report.md").read_text(encoding="utf-8")


def test_against_another_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = run(phase(latencies(20_000, middle=450e-6)))
    (here / "OTHER.json").write_bytes(msgspec.json.encode(slow))
    assert main(["report", "RUN.json", "--against", "OTHER.json"]) == 0
    assert "| better |" in capsys.readouterr().out


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(run()), **fields})


CANNOT: list[tuple[bytes, str]] = [
    (b"", "RUN.json was not written by pipebus bench: "),
    (b"{", "RUN.json was not written by pipebus bench: "),
    (b"\xff\xfe", "RUN.json was not written by pipebus bench: "),
    (b"[1]", "RUN.json was not written by pipebus bench: Expected `object`"),
    (b"{}", "RUN.json was not written by pipebus bench: Object missing required field `schema`"),
    (b"[" * 100_000, "RUN.json was not written by pipebus bench: "),
    (changed(schema=7), "RUN.json has schema 7, this version reads 1"),
    (changed(phases=3), "RUN.json was not written by pipebus bench: Expected `array`"),
    (changed(phases=[]), "RUN.json: the run contradicts itself: it has no phases"),
]


@pytest.mark.parametrize(("content", "told"), CANNOT)
def test_what_cannot_be_reported_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    (here / "RUN.json").write_bytes(content)
    assert main(["report", "RUN.json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pipebus: error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["none.json"], 1, "cannot read none.json: No such file or directory"),
        (["."], 1, "cannot read .: Is a directory"),
        (["RUN.json", "--against", "none.json"], 1, "cannot read none.json: No such file"),
        (["RUN.json", "-o", "no/such/report.html"], 1, "cannot write no/such/report.html: No such"),
        (
            ["RUN.json", "-o", "report.pdf"],
            2,
            "--output must end in .html or .md, not 'report.pdf'",
        ),
        (["RUN.json", "--nosuch"], 2, "Unknown option: --nosuch"),
        ([], 2, 'Command "report" parameter RUN_FILE requires'),
    ],
)
def test_a_wrong_request_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, told: str
) -> None:
    assert main(["report", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pipebus: error: {told}")
    assert err.count("\n") == 1


SMALL = json.loads(msgspec.json.encode(run(phase(latencies(50), timeline=[]))))
VALUES = st.sampled_from([None, True, 0, -1, 1e300, 2**70, "", "x", [], {}, [0], {"a": 1}])


def places(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where everything in a document is."""
    inside = (
        thing.items()
        if isinstance(thing, dict)
        else enumerate(thing)
        if isinstance(thing, list)
        else ()
    )
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(places(SMALL)), value=VALUES)
def test_any_file_is_reported_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[Any, ...], value: object
) -> None:
    document = json.loads(json.dumps({"": SMALL}))
    inner = document
    for key in ("", *place)[:-1]:
        inner = inner[key]
    inner[("", *place)[-1]] = value
    file = tmp_path_factory.getbasetemp() / "some.json"
    file.write_text(json.dumps(document[""]))
    output = file.with_suffix(".html")
    try:
        load(file)
    except CliError as error:
        told = str(error)
    else:
        for suffix in (".html", ".md"):
            report(file, None, output.with_suffix(suffix))
        return
    assert told.startswith(str(file))
