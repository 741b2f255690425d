"""The charts of a report, each drawn from the analysis and described in words."""

import math
from typing import Final

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import Tick
from pipebus_cli.report.analysis import OUTSIDE, Analysis, Breakdown, Part, PhaseAnalysis
from pipebus_cli.report.axis import (
    Axis,
    count_label,
    duration_label,
    elapsed,
    linear,
    logarithmic,
    own_duration_label,
    size_label,
    sizes,
)
from pipebus_cli.report.markup import Html, join, tag
from pipebus_cli.report.plot import Plot, Point, picture
from pipebus_cli.report.tables import percentile
from pipebus_cli.report.units import digits, duration, rate, share, size

BINS: Final = 48
STEPS: Final = 160
MOST_TICKS: Final = 240
ROW: Final = 56
LETTERS: Final = 36
LEAST_S: Final = 1e-9
"""What is drawn on a logarithmic axis is not 0."""
COLOURS: Final = {"read": "s4", "queue": "s2", "handler": "s1", "write": "s3", OUTSIDE: "rest"}


def curve(key: str, lines: list[tuple[str, Histogram]], *, fill: bool = False) -> Html:
    """Draw latency against percentile: the share of slower requests shrinks tenfold per step."""
    lines = [(name, one) for name, one in lines if one.count]
    nines = max(1.0, max(math.log10(one.count) for _, one in lines))
    steps = tuple(float(step) for step in range(1, math.floor(nines) + 1))
    x = Axis(0.0, nines, (math.log10(2), *steps) if nines < 6 else steps)
    low = min(max(one.min_s, LEAST_S) for _, one in lines)
    y = logarithmic(low, max(max(one.max_s, LEAST_S) for _, one in lines), 6)
    plot = Plot(
        x,
        y,
        280,
        x_label=lambda value: f"{100 * (1 - 10**-value):.6g} %",
        y_label=own_duration_label,
    )
    drawn = [_steps(one, x) for _, one in lines]
    if fill and len(drawn) == 2:
        plot.between(drawn[0], drawn[1], "s2")
    for index, points in reversed(list(enumerate(drawn))):
        plot.line(points, f"s{index % 5 + 1}" + (" dashed" if index >= 5 else ""))
    _, first = lines[0]
    for part in (0.5, 0.9, 0.99, 0.999, 0.9999):
        if part == 0.5 or (1 - part) * first.count >= 9.999:
            value = first.quantile(part)
            label = f"{percentile(part)} {duration(value)}"
            where = -math.log10(1 - part)
            plot.point(where, value, label, "s1", label if part in (0.5, 0.99) else "")
    told = "; ".join(
        f"{name}: p50 {duration(one.quantile(0.5))}, p99 {duration(one.quantile(0.99))},"
        f" maximum {duration(one.max_s)}"
        for name, one in lines
    )
    return plot.svg(key, "Latency by percentile", f"Both axes are logarithmic. {told}.")


def _steps(one: Histogram, x: Axis) -> list[Point]:
    places = [x.high * step / STEPS for step in range(STEPS + 1)]
    places = [place for place in places if place <= math.log10(one.count) + 1e-9] or [0.0]
    values = one.quantiles([1 - 10**-place for place in places])
    points = [(place, max(value, LEAST_S)) for place, value in zip(places, values, strict=True)]
    return [*points, (math.log10(one.count), max(one.max_s, LEAST_S))]


def histogram(key: str, one: Histogram) -> Html:
    """Draw how many requests took how long."""
    x = logarithmic(max(one.min_s, LEAST_S), max(one.max_s, LEAST_S), 5)
    ratio = (x.high / x.low) ** (1 / BINS)
    edges = [x.low * ratio**step for step in range(BINS + 1)]
    counts = [0.0] * BINS
    for bucket in one.buckets():
        # A bucket may be wider than a bin where they are few: its count is shared out.
        low, high = max(bucket.low_s, one.min_s), min(bucket.high_s, one.max_s)
        first, last = (
            min(BINS - 1, int(x.at(max(value, LEAST_S)) * BINS)) for value in (low, max(low, high))
        )
        for index in range(first, last + 1):
            counts[index] += bucket.count / (last - first + 1)
    y = linear(max(counts), 3)
    plot = Plot(x, y, 280, x_label=own_duration_label, y_label=count_label)
    for index, number in enumerate(counts):
        if number:
            low, high = edges[index], edges[index + 1]
            plot.bar(
                low,
                low * (high / low) ** 0.9,
                number,
                f"{duration(low)} to {duration(high)}: about {digits(number)} requests",
            )
    p50, p99 = one.quantiles((0.5, 0.99))
    plot.rule(p50, "p50")
    plot.rule(p99, "p99", lift=16)
    return plot.svg(
        key,
        "Requests by latency",
        f"{one.count:,} requests from {duration(one.min_s)} to {duration(one.max_s)} on a"
        f" logarithmic axis; half of them up to {duration(p50)}.",
    )


def condensed(ticks: list[Tick]) -> list[Tick]:
    """Put neighbours together until a chart can show them: sums, and the highest percentile."""
    together = -(-len(ticks) // MOST_TICKS) or 1
    if together == 1:
        return ticks
    return [
        Tick(
            at_s=group[-1].at_s,
            length_s=sum(tick.length_s for tick in group),
            requests=sum(tick.requests for tick in group),
            errors=sum(tick.errors for tick in group),
            p50_s=max((tick.p50_s for tick in group if tick.p50_s is not None), default=None),
            p99_s=max((tick.p99_s for tick in group if tick.p99_s is not None), default=None),
            server_rss_bytes=max(
                (t.server_rss_bytes for t in group if t.server_rss_bytes is not None), default=None
            ),
        )
        for group in (ticks[at : at + together] for at in range(0, len(ticks), together))
    ]


def throughput(key: str, ticks: list[Tick]) -> Html:
    """Draw requests per second against time."""
    points = [(tick.at_s, tick.requests / tick.length_s) for tick in ticks]
    points.insert(0, (max(0.0, ticks[0].at_s - ticks[0].length_s), points[0][1]))
    x = elapsed(ticks[-1].at_s)
    plot = Plot(x, linear(max(value for _, value in points), 3), 150, y_label=count_label)
    plot.area(points, "s1")
    plot.line(points, "s1")
    values = [value for _, value in points]
    return plot.svg(
        key,
        "Throughput over time",
        f"Between {rate(min(values))} and {rate(max(values))} in an interval.",
    )


def latency(key: str, ticks: list[Tick]) -> Html:
    """Draw p50 and p99 of each interval against time."""
    p50 = [(tick.at_s, max(tick.p50_s, LEAST_S)) for tick in ticks if tick.p50_s is not None]
    p99 = [(tick.at_s, max(tick.p99_s, LEAST_S)) for tick in ticks if tick.p99_s is not None]
    values = [value for _, value in (*p50, *p99)]
    y = logarithmic(min(values), max(values), 4)
    plot = Plot(elapsed(ticks[-1].at_s), y, 170, y_label=own_duration_label)
    for points, kind in ((p99, "s2"), (p50, "s1")):
        if points:
            plot.line(points, kind)
            for at, value in points if len(points) <= 40 else []:
                plot.point(at, value, f"until {duration(at)}: {duration(value)}", f"{kind} small")
    return plot.svg(
        key,
        "Latency over time",
        f"p50 and p99 of each interval on a logarithmic axis, between {duration(min(values))}"
        f" and {duration(max(values))}.",
    )


def memory(key: str, ticks: list[Tick]) -> Html:
    """Draw the server's memory against time."""
    points = [
        (tick.at_s, float(tick.server_rss_bytes))
        for tick in ticks
        if tick.server_rss_bytes is not None
    ]
    highest = max(value for _, value in points)
    x = elapsed(ticks[-1].at_s)
    plot = Plot(
        x,
        sizes(highest),
        150,
        x_label=duration_label(ticks[-1].at_s),
        y_label=size_label(highest),
    )
    plot.area(points, "s3")
    plot.line(points, "s3")
    return plot.svg(
        key,
        "Memory of the server over time",
        f"Resident set, from {size(points[0][1])} to {size(points[-1][1])}, at most {size(highest)}.",
    )


def stages(key: str, one: Breakdown) -> Html:
    """Draw the mean request as one bar, and the server's part of it again, enlarged."""
    inside = [part for part in one.parts if part.name in COLOURS and part.name != OUTSIDE]
    others = [part for part in inside if part.seconds]
    left = sum(part.seconds for part in one.parts if part.name not in COLOURS)
    drawn = [
        tag("text", f"One request at the client: {duration(one.whole_s)}", class_="label", y="14"),
        *_stack(one.parts, one.whole_s, 22),
    ]
    if others:
        start = 1_000 * left / one.whole_s
        end = start + 1_000 * one.server_s / one.whole_s
        drawn.append(
            tag(
                "svg",
                tag("polygon", class_="zoom", points=f"{start:.1f},0 {end:.1f},0 1000,30 0,30"),
                y="58",
                width="100%",
                height="30",
                viewBox="0 0 1000 30",
                preserveAspectRatio="none",
            )
        )
        drawn += _stack(tuple(inside), one.server_s, 88)
        drawn.append(
            tag(
                "text",
                f"Of it in the server: {duration(one.server_s)}",
                class_="label",
                y="140",
            )
        )
    told = "; ".join(
        f"{part.name} {duration(part.seconds)} ({share(part.seconds, one.whole_s)})"
        for part in one.parts
    )
    return picture(
        key,
        "Where one request's time goes",
        f"Mean of {duration(one.whole_s)}: {told}.",
        152 if others else 66,
        join(drawn),
    )


def colour(name: str) -> str:
    """Return the class of a part."""
    return COLOURS.get(name, "s5")


def _stack(parts: tuple[Part, ...], whole: float, top: int) -> list[Html]:
    drawn, start = [], 0.0
    for part in parts:
        if not part.seconds:
            continue
        wide = 100 * part.seconds / whole
        told = f"{part.name}: {duration(part.seconds)}, {share(part.seconds, whole)}"
        drawn.append(
            tag(
                "rect",
                tag("title", told),
                class_=f"piece {colour(part.name)}",
                x=f"{start:.3f}%",
                width=f"{wide:.3f}%",
                y=top,
                height=36,
            )
        )
        # Only where it surely fits, on a phone, too.
        if wide * 3.0 > 8.0 * len(part.name) + 8:
            drawn.append(
                tag(
                    "text",
                    part.name,
                    class_=f"on {colour(part.name)}",
                    x=f"{start + wide / 2:.3f}%",
                    y=top + 22,
                    text_anchor="middle",
                )
            )
        start += wide
    return drawn


def fairness(key: str, one: PhaseAnalysis) -> Html:
    """Draw the requests of each client as bars."""
    numbers = one.phase.per_client
    count = len(numbers)
    marks = tuple(
        mark for mark in linear(float(count), 5).marks if 1 <= mark <= count and mark % 1 == 0
    )
    x = Axis(0.5, count + 0.5, (1.0, *(mark for mark in marks if mark > 1)))
    plot = Plot(
        x,
        linear(float(max(numbers)), 3),
        180,
        x_label=lambda value: f"{value:.0f}",
        y_label=count_label,
    )
    for index, number in enumerate(numbers, 1):
        plot.bar(index - 0.4, index + 0.4, number, f"client {index}: {number:,} requests", "s3")
    return plot.svg(
        key,
        "Requests by client",
        f"{count} clients, from {min(numbers):,} to {max(numbers):,} requests.",
    )


def _named(one: PhaseAnalysis) -> str:
    """Return the name of a phase, as much as a phone has room for."""
    name = one.phase.name
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


def phases_throughput(key: str, analysis: Analysis) -> Html:
    """Draw the throughput of each phase as a bar."""
    highest = max(one.per_second for one in analysis.phases) or 1.0
    drawn: list[Html] = []
    for index, one in enumerate(analysis.phases):
        top = index * ROW
        wide = 100 * one.per_second / highest
        drawn += [
            tag("text", _named(one), class_="label", x="0", y=top + 14),
            tag("text", rate(one.per_second), class_="mark", x="0", y=top + 30),
            tag("rect", class_="track", x="0", y=top + 36, width="100%", height=10),
            tag("rect", class_="bar s1", x="0", y=top + 36, width=f"{wide:.2f}%", height=10),
        ]
    told = "; ".join(f"{one.phase.name}: {rate(one.per_second)}" for one in analysis.phases)
    return picture(key, "Throughput by phase", told, ROW * len(analysis.phases), join(drawn))


def phases_latency(key: str, analysis: Analysis) -> Html:
    """Draw p50, p99 and maximum of each phase on one logarithmic axis."""
    known = [one for one in analysis.phases if one.latency.count]
    figures = [
        [max(value, LEAST_S) for value in one.latency.quantiles((0.5, 0.99, 1.0))] for one in known
    ]
    axis = logarithmic(min(min(one) for one in figures), max(max(one) for one in figures), 5)
    drawn: list[Html] = []
    for index, (one, (p50, p99, most)) in enumerate(zip(known, figures, strict=True)):
        top = index * ROW
        at50, at99, at100 = (f"{100 * axis.at(value):.2f}%" for value in (p50, p99, most))
        drawn += [
            tag("text", _named(one), class_="label", x="0", y=top + 14),
            tag(
                "text",
                f"{duration(p50)} / {duration(p99)} / {duration(most)}",
                class_="mark",
                x="0",
                y=top + 30,
            ),
            tag("rect", class_="track", x="0", y=top + 36, width="100%", height=10),
            tag("line", class_="span s2", x1=at50, x2=at100, y1=top + 41, y2=top + 41),
            tag("line", class_="span s1", x1=at50, x2=at99, y1=top + 41, y2=top + 41),
            tag(
                "circle",
                tag("title", f"p50 {duration(p50)}"),
                class_="dot s1",
                cx=at50,
                cy=top + 41,
                r=5,
            ),
            tag(
                "circle",
                tag("title", f"p99 {duration(p99)}"),
                class_="dot s4",
                cx=at99,
                cy=top + 41,
                r=5,
            ),
            tag(
                "circle",
                tag("title", f"max {duration(most)}"),
                class_="dot s2",
                cx=at100,
                cy=top + 41,
                r=5,
            ),
        ]
    end = ROW * len(known)
    for mark in axis.marks:
        place = axis.at(mark)
        anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
        drawn.append(
            tag(
                "text",
                own_duration_label(mark),
                class_="mark",
                x=f"{100 * place:.2f}%",
                y=end + 12,
                text_anchor=anchor,
            )
        )
    told = "; ".join(
        f"{one.phase.name}: p50 {duration(p50)}, p99 {duration(p99)}, maximum {duration(most)}"
        for one, (p50, p99, most) in zip(known, figures, strict=True)
    )
    return picture(key, "Latency by phase", told, end + 18, join(drawn))
