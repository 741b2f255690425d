"""From samples to tables, as text and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.case import Case, Column, Sample
from benchmarks.targets import TARGETS, Samples, Target, Verdict, judge, meets


def table(case: Case, samples: Sequence[Sample]) -> str:
    """Return one table of medians over the rounds, with how far the cost went down and up."""
    cost = column_of(case, case.cost)
    titles = [column.title for column in case.columns]
    header = ["", "contender", *titles, f"{cost.title}: lowest - highest", "ratio", "rounds"]
    rows = []
    for variant in dict.fromkeys(sample.variant for sample in samples):
        group = [sample for sample in samples if sample.variant == variant]
        first = 0.0
        for name in dict.fromkeys(sample.contender for sample in group):
            mine = [sample.values for sample in group if sample.contender == name]
            costs = [values[case.cost] for values in mine]
            first = first or median(costs)
            rows.append([
                variant if name == group[0].contender else "",
                name,
                *(
                    show(median(values[column.key] for values in mine), column)
                    for column in case.columns
                ),
                f"{show(min(costs), cost)} - {show(max(costs), cost)}",
                f"{median(costs) / first:.2f}",
                str(len(mine)),
            ])  # fmt: skip
    return markdown(header, rows, left=2)


def show(figure: float, column: Column) -> str:
    """Return a figure in its column's unit."""
    return f"{figure * column.scale:,.{column.digits}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a table with aligned columns: the first `left` are words, the others numbers."""
    lines = [header, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (w + 2) if n < left else "-" * (w + 1) + ":" for n, w in enumerate(widths)
    )
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def summary(samples: Samples, cases: Mapping[str, Case]) -> str:
    """Return what was set out to reach beside what was measured, and the medians it comes from.

    Goals of which we have no figure are counted only; where just the other's is missing, the row
    says so.
    """
    header = ["case", "figure", "ours", "other", "must", "aim", "measured", "must", "aim"]
    rows = []
    for target in TARGETS:
        columns = [column_of(cases[target.case], key) for key in target.columns]
        verdict = judge(target, samples, columns[0].scale)
        if len(verdict.ours) == len(columns):
            rows.append([
                f"{target.case}, {target.variant}",
                " .. ".join(dict.fromkeys([columns[0].title, columns[-1].title])),
                f"{target.ours}: {_figures(verdict.ours, columns[0])}",
                _other(target, verdict, columns[0]),
                *(_bound(target, bound) for bound in (target.must, target.aim)),
                _quantity(target, verdict.measured),
                *(_met(target, verdict, bound) for bound in (target.must, target.aim)),
            ])  # fmt: skip
    text = markdown(header, rows, left=len(header))
    if len(rows) < len(TARGETS):
        text += f"\n\n{len(TARGETS) - len(rows)} more goals were no part of this run."
    return text


def column_of(case: Case, key: str) -> Column:
    """Return a column of a case."""
    return next(column for column in case.columns if column.key == key)


def _figures(figures: Sequence[float], column: Column) -> str:
    if not figures:
        return "-"
    extremes = (min(figures), max(figures))
    return " - ".join(dict.fromkeys(f"{figure:,.{column.digits}f}" for figure in extremes))


def _other(target: Target, verdict: Verdict, column: Column) -> str:
    if target.other is None:
        return ""
    return f"{target.other}: {_figures([] if verdict.other is None else [verdict.other], column)}"


def _bound(target: Target, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"{'>=' if target.kind == 'times less' else '<='} {_quantity(target, bound)}"


def _quantity(target: Target, figure: float | None) -> str:
    if figure is None:
        return "-"
    if target.kind == "most":
        return f"{figure:.2f}"
    return f"{figure:.2f}x less" if target.kind == "times less" else f"{figure:.2f}x"


def _met(target: Target, verdict: Verdict, bound: float | None) -> str:
    if bound is None:
        return ""
    kept = meets(target, verdict.measured, bound)
    return "not measured" if kept is None else "met" if kept else "NOT MET"


def page(title: str, facts: Mapping[str, str], text: str) -> str:
    """Return a report as Markdown."""
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return f"# {title}\n\n{lines}\n\n{text}\n"


def save(directory: Path, name: str, text: str, data: Mapping[str, Any]) -> Path:
    """Write `NAME.md` and, with every single figure, `NAME.json`; return the former."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    path = directory / f"{name}.md"
    path.write_text(text)
    return path


def save_case(
    directory: Path, case: Case, facts: Mapping[str, str], samples: Sequence[Sample]
) -> Path:
    """Save a case's table and its samples."""
    text = page(case.title, facts, table(case, samples))
    data = {"environment": dict(facts), "samples": [asdict(sample) for sample in samples]}
    return save(directory, case.name, text, data)


def save_summary(
    directory: Path, facts: Mapping[str, str], samples: Samples, cases: Mapping[str, Case]
) -> Path:
    """Save the goals and what was measured of them."""
    goals = []
    for target in TARGETS:
        scale = column_of(cases[target.case], target.columns[0]).scale
        verdict = judge(target, samples, scale)
        kept = {
            f"{name}_met": meets(target, verdict.measured, bound)
            for name, bound in (("must", target.must), ("aim", target.aim))
        }
        goals.append({**asdict(target), **asdict(verdict), **kept})
    text = page("Goals, and what was measured", facts, summary(samples, cases))
    return save(directory, "summary", text, {"environment": dict(facts), "goals": goals})
