"""The tables of the Go programs' report, with this run's figures beside theirs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from pipebus_cli.demo.checks import balances
from pipebus_cli.demo.figures import RunFigures, Spread

WIDTH: Final = 118
"""Of the tables where there is no terminal, in columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the Go programs', theirs when they were run again, and ours."""

    name: str
    then: str
    again: str
    ours: Callable[[RunFigures], str]


def duration(nanoseconds: float) -> str:
    """Write a duration with its unit."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1_000:.1f} µs"
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.3f} ms"
    return f"{nanoseconds / 1_000_000_000:.3f} s"


def _rows(
    name: str,
    pick: Callable[[RunFigures], Spread],
    then: dict[str, str],
    again: dict[str, str],
) -> list[Row]:
    """Return the five figures of one duration."""
    figures: dict[str, Callable[[Spread], float]] = {
        "min": lambda one: one.least,
        "mean": lambda one: one.mean,
        "p50": lambda one: one.p50,
        "p99": lambda one: one.p99,
        "max": lambda one: one.most,
    }

    def row(figure: str, read: Callable[[Spread], float]) -> Row:
        return Row(
            f"{name}, {figure}",
            then.get(figure, "-"),
            again.get(figure, "-"),
            lambda run: duration(read(pick(run))),
        )

    return [row(figure, read) for figure, read in figures.items()]


def _rate(run: RunFigures) -> str:
    """Write the success rate; what is not all is never rounded to 100 %."""
    if run.client.answered == run.asked:
        return "100 %"
    return f"{min(99.999, 100 * run.client.answered / run.asked):.3f} %"


def _per_request(seconds: float, run: RunFigures) -> str:
    return f"{duration(seconds * 1e9 / run.asked)}"


SERVER: Final = [
    Row("Total requests", "25,816", "2,229", lambda run: f"{run.server.processing.count:,}"),
    Row(
        "Connections used",
        "1",
        "1",
        lambda run: f"{run.server.bus.topics.get('net.connection.open', 0):,}",
    ),
    *_rows(
        "Processing [1]",
        lambda run: run.server.processing,
        {"mean": "263.5 µs", "max": "979.8 µs"},
        {"mean": "161 µs", "p50": "122 µs"},
    ),
    *_rows(
        "Response creation [2]",
        lambda run: run.server.creation,
        {"mean": "57.4 µs"},
        {"mean": "27 µs", "p50": "18 µs"},
    ),
    *_rows(
        "Bus publish [3]",
        lambda run: run.server.publishing,
        {"mean": "21.8 µs"},
        {"mean": "13 µs", "p50": "2 µs"},
    ),
    Row(
        "CPU per request [4]",
        "1.162 ms",
        "-",
        lambda run: _per_request(run.server.cpu, run),
    ),
]

CLIENT: Final = [
    Row("Total requests", "25,816", "2,229", lambda run: f"{run.asked:,}"),
    Row("Success rate [5]", "100 %", "-", _rate),
    Row(
        "Response body, mean",
        "230 bytes",
        "-",
        lambda run: f"{run.client.received / max(1, run.client.rtt.count):.1f} bytes",
    ),
    *_rows(
        "RTT [6]",
        lambda run: run.client.rtt,
        {"min": "1.0 ms", "mean": "20.3 ms *", "max": "8.3 ms *"},
        {"mean": "0.90 ms", "p50": "0.62 ms"},
    ),
    Row(
        "Connect, once [7]",
        "36.8 ms *",
        "-",
        lambda run: duration(sum(run.client.connects) * 1e9),
    ),
    *_rows(
        "Time to head [8]",
        lambda run: run.client.head,
        {},
        {"mean": "0.83 ms", "p50": "0.57 ms"},
    ),
    *_rows(
        "Body read [9]",
        lambda run: run.client.body,
        {"mean": "77.6 µs"},
        {"mean": "35 µs", "p50": "12 µs"},
    ),
    Row(
        "CPU per request [4]",
        "1.511 ms",
        "-",
        lambda run: _per_request(run.client.cpu, run),
    ),
]

NOTES: Final = """\
Go, then: the report of two Go programs, which made this experiment first. Go, again: both rebuilt and rerun over
loopback on another machine. -: not measured.
* Unit artefacts: their log mixed "912us" with "2.03ms" and the report's script dropped the unit, so that a mean of
  20.3 ms stood above a maximum of 8.3 ms. The true mean was about 1-2 ms. The 36.8 ms were call -> head, not a
  connect: the client kept one connection all along. Compare "Go, again".
[1] Event taken by the handler -> response published on the bus: Engine.complete returned. Go's includes about
    34 log lines. Parsing, the request's own publish and the socket are in neither.
[2] From the request event to a response: the echo text is composed. Go's decodes and encodes JSON as well.
[3] The clock read around Engine.complete: the reply is published, paired with its connection, and encoded as HTTP.
    Go's is the publish alone.
[4] User and system CPU of the process / requests: the server's from listening to drained, the client's without the
    progress bar. Go's: 30 s and 39 s over 21.5 h, mostly waiting, / 25,816.
[5] Status 200 and the right text with the request's own number. The Go client never looked at the status.
[6] Client call -> body read, one request at a time. Both processes and their buses are in it.
[7] TCP only: the address is a number and there is no TLS. Part of the first request's RTT.
[8] Client call -> head of the response.
[9] Head -> body complete; head and body mostly come in one packet, so little but a wake-up is left."""


def print_tables(console: Console, runs: Sequence[RunFigures]) -> None:
    """Print the figures of the runs, each as a column."""
    for title, rows in (("Server performance", SERVER), ("Client performance", CLIENT)):
        console.print(_table(title, rows, runs))
    console.print(_balance(runs))
    console.print(NOTES, highlight=False, markup=False, soft_wrap=True)


def _new_table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _table(title: str, rows: Sequence[Row], runs: Sequence[RunFigures]) -> Table:
    table = _new_table(title, ["", "Go, then", "Go, again", *(run.runtime for run in runs)])
    for row in rows:
        name = row.name.replace("[", r"\[")
        table.add_row(name, row.then, row.again, *(row.ours(run) for run in runs))
    return table


def _balance(runs: Sequence[RunFigures]) -> Table:
    table = _new_table("Balance of the bus", ["", *(run.runtime for run in runs)])
    for of_runs in zip(*(balances(run) for run in runs), strict=True):
        cells = [f"{one.left:,} {'=' if one.holds else '!='} {one.right:,}" for one in of_runs]
        table.add_row(of_runs[0].what, *cells)
    return table
