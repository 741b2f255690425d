"""Rules about latency and where the time goes. Each states the threshold that it has."""

from collections.abc import Iterator
from statistics import median
from typing import Final

from pipebus_cli.report.analysis import OUTSIDE, Analysis, PhaseAnalysis
from pipebus_cli.report.finding import Finding
from pipebus_cli.report.units import change, count, digits, duration, rate, share

OUTSIDE_SHARE: Final = 0.7
BUSY: Final = 0.85
QUEUE_SHARE: Final = 0.25
QUEUE_S: Final = 0.001
TAIL: Final = 5.0
TAIL_CRITICAL: Final = 20.0
TAIL_COUNT: Final = 1_000
DRIFT_TICKS: Final = 9
LATENCY_GROWTH: Final = 0.25
OMISSION: Final = 2.0
OMISSION_S: Final = 0.001
HIDDEN: Final = 0.01


def network(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """See most of the time pass outside of the server; with a busy server, that is a queue."""
    if one.breakdown is None:
        return
    outside = one.breakdown.seconds(OUTSIDE)
    if outside < OUTSIDE_SHARE * one.breakdown.whole_s:
        return
    evidence = (
        f"{duration(outside)} of {duration(one.breakdown.whole_s)} on the mean"
        f" ({share(outside, one.breakdown.whole_s)}); the server's stages take"
        f" {duration(one.breakdown.server_s)}"
    )
    busy = None if one.phase.server is None else one.phase.server.cpu_s / one.phase.duration_s
    if busy is not None and busy >= BUSY:
        yield Finding(
            "saturated",
            "note",
            "Requests wait for their turn before the server reads them",
            f"{evidence}. The server's process used {share(busy, 1.0)} of one core.",
            f"{100 * OUTSIDE_SHARE:.0f} % of the time outside the server's stages, and {100 * BUSY:.0f} % of a core used",
            "This is no slow network: more is asked than the server can do. Fewer connections have a"
            " lower latency at the same throughput; more processes give more throughput.",
            one.phase.name,
        )
        return
    yield Finding(
        "network-bound",
        "note",
        "Most of a request's time passes outside the server",
        f"{evidence}."
        + ("" if busy is None else f" The server's process used {share(busy, 1.0)} of one core."),
        f"{100 * OUTSIDE_SHARE:.0f} % of the time outside the server's stages, and no busy server",
        "A faster handler would not be noticed. Look at the network, at waking up and waiting for a core"
        " on this machine, and at the client.",
        one.phase.name,
    )


def queueing(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find requests that wait in the server for a free handler."""
    if one.breakdown is None or not one.breakdown.server_s:
        return
    queue, server = one.breakdown.seconds("queue"), one.breakdown.server_s
    if queue >= QUEUE_SHARE * server and queue >= QUEUE_S:
        yield Finding(
            "queueing",
            "warning",
            "Requests wait for a free handler",
            f"{duration(queue)} of the {duration(server)} in the server on the mean"
            f" ({share(queue, server)}) are waiting in the queue.",
            f"{100 * QUEUE_SHARE:.0f} % of the server's time in the queue, and {duration(QUEUE_S)}",
            "Raise the number of handlers at once where they wait for something; where they"
            " compute, more processes help.",
            one.phase.name,
        )


def tail(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Compare the slowest of a hundred with the usual."""
    if one.latency.count < TAIL_COUNT:
        return
    p50, p99 = one.latency.quantiles((0.5, 0.99))
    if not p50:
        return
    ratio = p99 / p50
    evidence = f"p99 {duration(p99)} is {digits(ratio)} times p50 {duration(p50)}; the maximum is {duration(one.latency.max_s)}."
    threshold = f"p99 at least {TAIL:.0f} times p50 (critical from {TAIL_CRITICAL:.0f} on)"
    if ratio >= TAIL:
        yield Finding(
            "tail",
            "critical" if ratio >= TAIL_CRITICAL else "warning",
            "A long tail: one request in a hundred is much slower",
            evidence,
            threshold,
            "See in the timeline whether it comes in bursts (something stops: a collection, a disk,"
            " a neighbour) or all the time (some requests are dearer than others).",
            one.phase.name,
        )
    else:
        yield Finding("tail", "good", "Latency is even", evidence, threshold, "", one.phase.name)


def thirds(values: list[float]) -> tuple[float, float, float]:
    """Return the medians of the first, the middle and the last third."""
    third = len(values) // 3
    return (
        median(values[:third]),
        median(values[third : len(values) - third]),
        median(values[-third:]),
    )


def latency_drift(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find latency that rises over the run."""
    values = [tick.p50_s for tick in one.phase.timeline if tick.p50_s is not None]
    if len(values) < DRIFT_TICKS:
        return
    first, _, last = thirds(values)
    # Medians of noisy thirds differ by chance: most of the one must be above most of the other.
    third = len(values) // 3
    apart = sorted(values[-third:])[third // 4] > sorted(values[:third])[-1 - third // 4]
    if first and last >= first * (1 + LATENCY_GROWTH) and apart:
        yield Finding(
            "latency-drift",
            "warning",
            "Latency rises over the run",
            f"The p50 is {duration(first)} in the first third of the timeline,"
            f" {duration(last)} in the last ({change(last / first)}).",
            f"the last third {100 * LATENCY_GROWTH:.0f} % above the first, and their middle halves apart",
            "Something fills up (a table, a queue, a disk), or the machine slows down"
            " (heat, neighbours). A longer run tells.",
            one.phase.name,
        )


def omission(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find waiting that one way of measuring does not show (coordinated omission)."""
    if one.service is not None and one.service.count:
        hidden, shown = one.latency.quantile(0.99), one.service.quantile(0.99)
        if hidden >= OMISSION * shown and hidden - shown >= OMISSION_S:
            yield Finding(
                "coordinated-omission",
                "warning",
                "Requests went out late: the server fell behind the clock",
                f"p99 is {duration(hidden)} from when a request was due and {duration(shown)} from"
                " when it was sent.",
                f"p99 of the latency {OMISSION:.0f} times that of the service and"
                f" {duration(OMISSION_S)} more",
                "A client that waits for answers would not have seen this. Read the latency, and"
                " find the stall in the timeline.",
                one.phase.name,
            )
        return
    if analysis.run.loop != "closed" or not one.latency.count:
        return
    # While one connection waits for the slowest, it sends nothing; a user would have come anyway.
    longest = one.latency.max_s
    hidden_count = longest * one.per_second
    if hidden_count >= HIDDEN * one.attempts and longest >= TAIL_CRITICAL * one.latency.quantile(
        0.5
    ):
        yield Finding(
            "coordinated-omission",
            "warning",
            "A closed loop hides a stall",
            f"The slowest answer took {duration(longest)}. At {rate(one.per_second)} some"
            f" {digits(hidden_count)} more would have come meanwhile"
            f" ({share(hidden_count, one.attempts)} of all), and none of them was sent.",
            f"a maximum of {TAIL_CRITICAL:.0f} times p50, in which {100 * HIDDEN:.0f} % of the requests fit",
            "p99 does not show it. `pipebus bench rate` sends by the clock and does.",
            one.phase.name,
        )


def few(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Say that percentiles are of few requests."""
    if 0 < one.latency.count < TAIL_COUNT:
        yield Finding(
            "few",
            "note",
            "Few requests",
            f"{count(one.latency.count, 'latency', 'latencies')}.",
            f"fewer than {TAIL_COUNT:,}",
            "The 99th percentile of so few is chance; nothing is said about the tail.",
            one.phase.name,
        )
