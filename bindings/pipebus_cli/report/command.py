"""`pipebus report`: from the file of a run to a page or to Markdown."""

from pathlib import Path
from typing import Final

import msgspec

from pipebus_cli.bench.run import SCHEMA, Run
from pipebus_cli.errors import USAGE, CliError, explain
from pipebus_cli.report import html, markdown
from pipebus_cli.report.analysis import Analysis, analyse
from pipebus_cli.report.checks import ReportError
from pipebus_cli.report.compare import compare
from pipebus_cli.report.findings import find

_WRITERS: Final = {
    ".html": html.page,
    ".htm": html.page,
    ".md": markdown.document,
    ".markdown": markdown.document,
}


class _Version(msgspec.Struct):
    schema: int


def report(path: Path, against: Path | None, output: Path | None) -> None:
    """Write the report of a run; without `output`, Markdown to standard output."""
    write = markdown.document
    if output is not None:
        found = _WRITERS.get(output.suffix.lower())
        if found is None:
            msg = f"--output must end in .html or .md, not {output.name!r}"
            raise CliError(msg, USAGE)
        write = found
    analysis = load(path)
    comparison = None if against is None else compare(analysis, load(against))
    made = write(analysis, find(analysis), comparison)
    if output is None:
        print(made, end="")
        return
    try:
        output.write_text(made, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write {output}: {error.strerror}"
        raise CliError(msg) from error


def load(path: Path) -> Analysis:
    """Read the file of a run and analyse it; `CliError` says why it cannot be."""
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise CliError(msg) from error
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
        if schema != SCHEMA:
            msg = f"{path} has schema {schema}, this version reads {SCHEMA}"
            raise CliError(msg)
        return analyse(msgspec.json.decode(data, type=Run))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path} was not written by pipebus bench: {explain(error)}"
        raise CliError(msg) from error
    except ReportError as error:
        msg = f"{path}: {error}"
        raise ReportError(msg) from error
