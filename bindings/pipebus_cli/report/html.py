"""A report as one HTML file: no script, nothing fetched, readable on a phone and in the dark."""

from importlib.resources import files
from typing import Final

from pipebus_cli.report import charts, tables
from pipebus_cli.report.analysis import Analysis, PhaseAnalysis
from pipebus_cli.report.compare import Comparison
from pipebus_cli.report.finding import Finding, Group, grouped
from pipebus_cli.report.markup import Html, tag
from pipebus_cli.report.metrics import key_metrics
from pipebus_cli.report.pieces import advice, figure, folded, kept, section, table
from pipebus_cli.report.units import digits, duration, share

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is fetched, and no script runs, even if one got in."""
LINES: Final = 6
"""Phases whose percentile curves are drawn in one chart."""


def page(analysis: Analysis, findings: list[Finding], comparison: Comparison | None) -> str:
    """Return the whole file."""
    run = analysis.run
    name = f"Performance of {run.target}: {run.scenario}"
    style = (files("pipebus_cli.report") / "style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", name),
        tag("style", Html(style)),
    )
    body = tag(
        "main",
        _header(analysis),
        *_findings(findings, named=len(analysis.phases) > 1),
        *_comparison(analysis, comparison),
        *_phases(analysis),
        *_metrics(analysis),
        *_environment(analysis),
        tag(
            "footer",
            f"Computed from the run's file alone by pipebus report. Times are durations, with their"
            f" unit; KiB and MiB are powers of 1,024; p99 is what 99 % of the requests did not"
            f" exceed, known to {100 * 2.0 ** -(1 + _digits(analysis)):.1f} %.",
        ),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _digits(analysis: Analysis) -> int:
    return min(one.latency.digits for one in analysis.phases)


def _header(analysis: Analysis) -> Html:
    run = analysis.run
    return tag(
        "header",
        tag(
            "p",
            f"{run.target} · {run.scenario}, {run.loop} loop · {run.environment.started}",
            class_="of",
        ),
        tag("h1", "Performance analysis"),
        tag("p", kept(tables.headline(analysis)), class_="lead"),
        tag("dl", *(_tile(name, value) for name, value in _tiles(analysis)), class_="tiles"),
    )


def _tiles(analysis: Analysis) -> list[tuple[str, str]]:
    told = [
        ("Requests", f"{analysis.attempts:,}"),
        ("Answered rightly", share(analysis.requests, analysis.attempts)),
    ]
    best = max(analysis.phases, key=lambda one: one.per_second)
    many = len(analysis.phases) > 1
    told.append(("Best phase, requests/s" if many else "Requests/s", digits(best.per_second)))
    measured = [one for one in analysis.phases if one.latency.count]
    if measured:
        where = ", worst phase" if many else ""
        for part in (0.5, 0.99):
            worst = max(one.latency.quantile(part) for one in measured)
            told.append((f"Latency {tables.percentile(part)}{where}", duration(worst)))
        told.append(("Slowest", duration(max(one.latency.max_s for one in measured))))
    return told


def _tile(name: str, value: str) -> Html:
    number, _, unit = value.partition(" ")
    below = unit and tag("small", unit)
    return tag("div", tag("dt", name), tag("dd", number, " ", below))


def _findings(findings: list[Finding], *, named: bool) -> list[Html]:
    groups = grouped(findings)
    open_points = [one for one in groups if one.first.severity != "good"]
    fine = [one for one in groups if one.first.severity == "good"]
    content = []
    if open_points:
        content.append(
            tag("ul", *(_finding(one, named=named) for one in open_points), class_="findings")
        )
    else:
        content.append(tag("p", "No rule found anything amiss."))
    if fine:
        content.append(tag("ul", *(_fine(one) for one in fine), class_="fine"))
    return [section("Findings", "findings", *content)]


def _evidence(group: Group) -> list[tuple[str, str]]:
    """Return phase and figures; without the phase where there is only one."""
    return [(phase if len(group.evidence) > 1 else "", told) for phase, told in group.evidence]


def _finding(group: Group, *, named: bool) -> Html:
    one = group.first
    where = f" · {one.phase}" if named and one.phase and len(group.evidence) == 1 else ""
    return tag(
        "li",
        tag("div", f"{one.severity}{where}", class_="level"),
        tag("h3", one.title),
        *(
            tag("p", *((tag("b", f"{phase}: "),) if phase else ()), kept(told))
            for phase, told in _evidence(group)
        ),
        *((tag("p", tag("b", "What to do: "), *advice(one.advice)),) if one.advice else ()),
        tag("p", f"Rule: {one.threshold}.", class_="threshold"),
        class_=one.severity,
    )


def _fine(group: Group) -> Html:
    told = [
        tag("small", kept(f"{phase}: {text}" if phase else text))
        for phase, text in _evidence(group)
    ]
    if len(told) > 1:
        told = [tag("details", tag("summary", f"in {len(told)} phases"), *told)]
    return tag("li", group.first.title, *told, title=f"Rule: {group.first.threshold}")


def _comparison(analysis: Analysis, comparison: Comparison | None) -> list[Html]:
    if comparison is None:
        return []
    other = comparison.other.run
    content = [
        tag(
            "p",
            f"The other run: {other.target}, {other.environment.started}. A figure counts as different"
            " only if the 99 % interval of the ratio (from the ticks of both timelines) excludes 1,"
            " and the change is at least 5 %. Too noisy: the interval is wider than 25 %; too short:"
            " fewer than eight ticks.",
            class_="quiet",
        ),
        tag("div", table(tables.comparison(comparison)), class_="sheet"),
    ]
    settings = tables.settings(comparison)
    if settings is not None:
        content.append(tag("div", table(settings), class_="sheet"))
    for names, whose in ((comparison.only_other, "the other"), (comparison.only_this, "this")):
        if names:
            content.append(tag("p", f"Only in {whose} run: {', '.join(names)}.", class_="quiet"))
    shared = {one.phase.name: one for one in comparison.other.phases}
    for index, one in enumerate(analysis.phases[:LINES]):
        with_whom = shared.get(one.phase.name)
        if with_whom is not None and one.latency.count and with_whom.latency.count:
            content.append(
                figure(
                    f"Latency by percentile, both runs: {one.phase.name}",
                    "Lower is better. Each step to the right leaves a tenth of the requests.",
                    charts.curve(
                        f"against-{index}",
                        [("this run", one.latency), ("other run", with_whom.latency)],
                    ),
                    keys=[("this run", "s1"), ("other run", "s2")],
                )
            )
    return [section("Against the other run", "against", tag("div", *content, class_="stack"))]


def _phases(analysis: Analysis) -> list[Html]:
    if len(analysis.phases) == 1:
        return _charts(analysis.phases[0], 0)
    measured = [one for one in analysis.phases if one.latency.count]
    overview = [
        figure("Throughput by phase", "", charts.phases_throughput("phases-throughput", analysis))
    ]
    if measured:
        overview.append(
            figure(
                "Latency by phase",
                "p50, p99 and maximum, on a logarithmic axis.",
                charts.phases_latency("phases-latency", analysis),
                keys=[("p50", "s1"), ("p99", "s4"), ("maximum", "s2")],
            )
        )
    content = [tag("div", *overview, class_="grid")]
    if 1 < len(measured) <= LINES:
        lines = [(one.phase.name, one.latency) for one in measured]
        content.append(
            figure(
                "Latency by percentile",
                "Each step to the right leaves a tenth of the requests.",
                charts.curve("phases-curve", lines),
                keys=[(name, f"s{index % 5 + 1}") for index, (name, _) in enumerate(lines)],
            )
        )
    content.append(tag("div", table(tables.phases(analysis)), class_="sheet"))
    each = [
        tag("details", tag("summary", one.phase.name), *_charts(one, index), class_="phase")
        for index, one in enumerate(analysis.phases)
    ]
    return [
        section("Phases", "phases", tag("div", *content, class_="stack")),
        section("Each phase", "each", *each),
    ]


def _charts(one: PhaseAnalysis, index: int) -> list[Html]:
    """Return the sections of charts of one phase."""
    return [
        made
        for made in (
            _where(one, index),
            _latency(one, index),
            _timeline(one, index),
            _fair(one, index),
        )
        if made is not None
    ]


def _where(one: PhaseAnalysis, index: int) -> Html | None:
    title, key = "Where one request's time goes", f"where-{index}"
    if one.breakdown is None:
        return section(title, key, tag("p", one.no_breakdown, class_="quiet"))
    colours = {part.name: charts.colour(part.name) for part in one.breakdown.parts}
    return section(
        title,
        key,
        figure(
            "The mean request, taken apart",
            "Means, since only they add up; those of the server include the warm-up.",
            charts.stages(f"stages-{index}", one.breakdown),
            table(tables.breakdown(one.breakdown), swatches=colours),
        ),
    )


def _latency(one: PhaseAnalysis, index: int) -> Html | None:
    if not one.latency.count:
        return None
    lines = [("latency", one.latency)]
    keys = None
    told = "Each step to the right leaves a tenth of the requests. Both axes are logarithmic."
    if one.service is not None and one.service.count:
        lines.append(("service", one.service))
        keys = [("latency: from when it was due", "s1"), ("service: from when it was sent", "s2")]
        told += " What lies between the lines is waiting that a client in a closed loop hides."
    return section(
        "Latency",
        f"latency-{index}",
        tag(
            "div",
            figure(
                "By percentile",
                told,
                charts.curve(f"curve-{index}", lines, fill=True),
                folded(tables.percentiles(one)),
                keys=keys,
            ),
            figure(
                "How many took how long",
                "Requests by latency, on a logarithmic axis.",
                charts.histogram(f"histogram-{index}", one.latency),
                folded(tables.histogram(one)),
            ),
            class_="grid",
        ),
    )


def _timeline(one: PhaseAnalysis, index: int) -> Html | None:
    ticks = charts.condensed(one.phase.timeline)
    if len(ticks) < 2:
        return None
    panels = [
        tag("h3", "Throughput, requests/s"),
        charts.throughput(f"throughput-{index}", ticks),
    ]
    if any(tick.p50_s is not None for tick in ticks):
        panels += [
            tag("h3", "Latency in each interval"),
            charts.latency(f"over-time-{index}", ticks),
            tag(
                "ul",
                tag("li", "p50", class_="key s1"),
                tag("li", "p99", class_="key s2"),
                class_="keys",
            ),
        ]
    if any(tick.server_rss_bytes is not None for tick in ticks):
        panels += [tag("h3", "Memory of the server"), charts.memory(f"memory-{index}", ticks)]
    panelled = tag(
        "figure",
        tag("div", *panels, class_="stack"),
        folded(tables.timeline(one.phase.timeline)),
        class_="sheet",
    )
    return section("Timeline", f"timeline-{index}", panelled)


def _fair(one: PhaseAnalysis, index: int) -> Html | None:
    if one.fairness is None:
        return None
    return section(
        "Fairness",
        f"fair-{index}",
        figure(
            "Requests by client",
            f"Jain's index {one.fairness:.3f}: 1 where all had the same.",
            charts.fairness(f"clients-{index}", one),
            folded(tables.clients(one)),
        ),
    )


def _metrics(analysis: Analysis) -> list[Html]:
    made = [tag("div", table(one, "key-metrics"), class_="sheet") for one in key_metrics(analysis)]
    checks = tables.checks(analysis)
    if checks is not None:
        made.append(tag("div", table(checks), class_="sheet"))
    return [section("Key metrics", "metrics", tag("div", *made, class_="stack"))]


def _environment(analysis: Analysis) -> list[Html]:
    on = tag("div", table(tables.environment(analysis)), class_="sheet")
    return [section("Where and how", "environment", on)]
