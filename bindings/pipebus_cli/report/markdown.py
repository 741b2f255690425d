"""A report as Markdown, for a pull request: the same figures, without the charts."""

import re
from typing import Final

from pipebus_cli.report import tables
from pipebus_cli.report.analysis import Analysis, PhaseAnalysis
from pipebus_cli.report.compare import Comparison
from pipebus_cli.report.finding import Finding, Group, grouped
from pipebus_cli.report.markup import visible
from pipebus_cli.report.metrics import key_metrics
from pipebus_cli.report.tables import Table

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&@$!:])")
NOISE: Final = (
    "Different only if the 99 % interval of the ratio excludes 1, and the change is at least 5 %. Too"
    " noisy: the interval is wider than 25 %. Too short: fewer than eight ticks."
)
_LEVEL: Final = {"critical": "🔴", "warning": "🟠", "note": "🔵", "good": "🟢"}


def text(value: str) -> str:
    """Write text so that no Markdown, HTML, mention or link is made of it, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(visible(value).split()))


def document(analysis: Analysis, findings: list[Finding], comparison: Comparison | None) -> str:
    """Return the whole report."""
    run = analysis.run
    parts = [
        f"# Performance: {text(run.scenario)}",
        # A paragraph begins with a word of ours: the run's could be a list's sign.
        f"Target\\: {text(run.target)}, {text(run.loop)} loop, {text(run.environment.started)}",
        f"**{text(tables.headline(analysis))}**",
        "## Findings",
        _findings(findings),
    ]
    if comparison is not None:
        parts += ["## Against the other run", *_comparison(comparison)]
    if len(analysis.phases) > 1:
        parts += ["## Phases", _table(tables.phases(analysis))]
    parts.append("## Key metrics")
    parts += [_captioned(one) for one in key_metrics(analysis)]
    for one in analysis.phases:
        parts += _phase(one, named=len(analysis.phases) > 1)
    checks = tables.checks(analysis)
    if checks is not None:
        parts += ["## Checks", _table(checks)]
    parts.append(_folded(tables.environment(analysis)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(findings: list[Finding]) -> str:
    groups = grouped(findings)
    if not groups:
        return "No rule found anything amiss."
    return "\n".join(_finding(one) for one in groups)


def _finding(group: Group) -> str:
    one = group.first
    if one.severity == "good" and len(group.evidence) > 1:
        return f"- {_LEVEL[one.severity]} **{text(one.title)}** in {len(group.evidence)} phases"
    evidence = " ".join(
        f"{text(phase)}\\: {text(told)}" if phase and len(group.evidence) > 1 else text(told)
        for phase, told in group.evidence
    )
    where = f" ({text(one.phase)})" if one.phase and len(group.evidence) == 1 else ""
    advice = f" *{_advice(one.advice)}*" if one.advice else ""
    rule = f" (rule\\: {text(one.threshold)})" if one.severity != "good" else ""
    return f"- {_LEVEL[one.severity]} **{text(one.title)}**{where}: {evidence}{advice}{rule}"


def _advice(told: str) -> str:
    """Keep what stands in backticks as code. It is ours, not the run's."""
    return "".join(
        f"`{part}`" if index % 2 else _SPECIAL.sub(r"\\\1", part)
        for index, part in enumerate(told.split("`"))
    )


def _comparison(comparison: Comparison) -> list[str]:
    parts = [
        _table(tables.comparison(comparison)),
        NOISE,
    ]
    settings = tables.settings(comparison)
    if settings is not None:
        parts.append(_captioned(settings))
    for names, whose in ((comparison.only_other, "the other"), (comparison.only_this, "this")):
        if names:
            parts.append(f"Only in {whose} run: {text(', '.join(names))}.")
    return parts


def _phase(one: PhaseAnalysis, *, named: bool) -> list[str]:
    of = f", {text(one.phase.name)}" if named else ""
    parts = [f"## Where one request's time goes{of}"]
    if one.breakdown is None:
        parts.append(text(one.no_breakdown))
    else:
        parts.append(_table(tables.breakdown(one.breakdown)))
    if one.levels:
        parts += [f"## Latency by percentile{of}", _table(tables.percentiles(one))]
    if len(one.phase.timeline) > 1:
        parts.append(_folded(tables.timeline(one.phase.timeline), of))
    if one.fairness is not None:
        parts.append(_folded(tables.clients(one), of))
    return parts


def _table(one: Table) -> str:
    words = {index % len(one.columns) for index in one.text_columns} | {0}
    lines = [
        [text(name) or " " for name in one.columns],
        [":---" if index in words else "---:" for index in range(len(one.columns))],
        *([text(value) or " " for value in row] for row in one.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _captioned(one: Table) -> str:
    return f"**{text(one.caption)}**\n\n{_table(one)}"


def _folded(one: Table, of: str = "") -> str:
    return f"<details><summary>{one.caption}{of}</summary>\n\n{_table(one)}\n\n</details>"
