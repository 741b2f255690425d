"""From runs to one table, as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.load import Result

COLUMNS: Final = (
    "connections", "server", "req/s", "lowest - highest", "p50 ms", "p99 ms", "CPU us/req", "ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One server under load, once."""

    server: str
    connections: int
    result: Result
    cpu: float
    """Of the server, in seconds."""

    @property
    def rate(self) -> float:
        return self.result.requests / self.result.seconds

    @property
    def cost(self) -> float:
        """Return the CPU of one request, in microseconds."""
        return self.cpu / self.result.requests * 1e6


def table(runs: Sequence[Run]) -> list[list[str]]:
    """Return the rows: medians over the rounds. The ratio is of CPU per request, to the first."""
    rows = []
    for connections in dict.fromkeys(run.connections for run in runs):
        group = [run for run in runs if run.connections == connections]
        first = 0.0
        for name in dict.fromkeys(run.server for run in runs):
            mine = [run for run in group if run.server == name]
            cost = median(run.cost for run in mine)
            first = first or cost
            rates = [run.rate for run in mine]
            rows.append([
                str(connections), name, f"{median(rates):,.0f}",
                f"{min(rates):,.0f} - {max(rates):,.0f}",
                f"{median(run.result.p50 for run in mine) * 1000:.2f}",
                f"{median(run.result.p99 for run in mine) * 1000:.2f}",
                f"{cost:.0f}", f"{cost / first:.2f}",
            ])  # fmt: skip
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns; all but the server's name are numbers."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(COLUMNS))]

    def show(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if n == 1 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join(f"{'-' * (w + 1)}{'-' if n == 1 else ':'}" for n, w in enumerate(widths))
    return "\n".join([show(COLUMNS), f"|{rule}|", *map(show, rows)])


def page(environment: dict[str, str], how: str, runs: Sequence[Run]) -> str:
    """Return the report as Markdown."""
    facts = "\n".join(f"- {name}: {value}" for name, value in environment.items())
    return f"# Echo: POST 230 bytes, keep-alive\n\n{facts}\n- {how}\n\n{markdown(table(runs))}\n"


def save(directory: Path, environment: dict[str, str], how: str, runs: Sequence[Run]) -> Path:
    """Write `echo.md` and, with every single run, `echo.json`; return the former."""
    directory.mkdir(parents=True, exist_ok=True)
    data = {"environment": environment, "how": how, "runs": [asdict(run) for run in runs]}
    (directory / "echo.json").write_text(json.dumps(data, indent=1) + "\n")
    path = directory / "echo.md"
    path.write_text(page(environment, how, runs))
    return path
