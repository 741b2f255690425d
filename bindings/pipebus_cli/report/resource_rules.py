"""Rules about connections, memory, files, CPU and clients. Each states the threshold that it has."""

from collections.abc import Iterator
from typing import Final

from pipebus_cli.bench.run import Tick
from pipebus_cli.report.analysis import Analysis, PhaseAnalysis
from pipebus_cli.report.finding import Finding
from pipebus_cli.report.time_rules import thirds
from pipebus_cli.report.units import count, digits, duration, rate, share, size

BUSY: Final = 0.85
REUSE: Final = 10.0
GC_SHARE: Final = 0.01
FAIR: Final = 0.9
DRIFT_TICKS: Final = 9
MEMORY_GROWTH: Final = 0.05
MEMORY_BYTES: Final = 2 * 1_024**2
FD_GROWTH: Final = 5
RATE_KEPT: Final = 0.95


def reuse(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find connections that serve few requests: the handshake is paid again and again."""
    opened = one.phase.connections_opened
    if not opened or one.attempts < 2 * REUSE:
        return
    each = one.attempts / opened
    evidence = (
        f"{count(opened, 'connection')} opened for {count(one.attempts, 'request')}:"
        f" {digits(each)} on each."
    )
    threshold = (
        f"fewer than {REUSE:.0f} requests on a connection, and more connections than asked for"
    )
    if each < REUSE and opened > (one.connections or 0):
        yield Finding(
            "connection-reuse",
            "warning",
            "Connections are not reused",
            evidence,
            threshold,
            "Each new one costs a round trip, with TLS two or three. See who closes them:"
            " `Connection: close`, an idle timeout, or errors.",
            one.phase.name,
        )
    elif each >= REUSE:
        yield Finding(
            "connection-reuse",
            "good",
            "Connections are reused",
            evidence,
            threshold,
            "",
            one.phase.name,
        )


def collections(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find garbage collections that stop the server."""
    use = one.phase.server
    if use is None or not use.gc_pauses_s:
        return
    total, longest = sum(use.gc_pauses_s), max(use.gc_pauses_s)
    if total >= GC_SHARE * one.phase.duration_s:
        yield Finding(
            "gc",
            "warning",
            "Garbage collections stop the server",
            f"{count(len(use.gc_pauses_s), 'pause')}, {duration(total)} together"
            f" ({share(total, one.phase.duration_s)} of the time), the longest {duration(longest)}.",
            f"{100 * GC_SHARE:.0f} % of the time in pauses",
            "`gc.freeze()` after start-up keeps what is here to stay out of them; look for what"
            " makes circles.",
            one.phase.name,
        )


def memory(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find memory that grows and goes on growing."""
    ticks = [tick for tick in one.phase.timeline if tick.server_rss_bytes is not None]
    if len(ticks) < DRIFT_TICKS:
        return
    first, middle, last = thirds([float(tick.server_rss_bytes or 0) for tick in ticks])
    threshold = (
        f"the last third {100 * MEMORY_GROWTH:.0f} % and {size(MEMORY_BYTES)} above the first,"
        " and above the middle"
    )
    grown = last - first
    if grown >= MEMORY_BYTES and grown >= MEMORY_GROWTH * first and last - middle >= grown / 4:
        requests = _between_thirds(ticks)
        each = f", {size(grown / requests)} for each request" if requests else ""
        yield Finding(
            "memory-drift",
            "warning",
            "The server's memory keeps growing",
            f"{size(first)}, {size(middle)}, {size(last)}: medians of the first, middle and last"
            f" third of the timeline{each}.",
            threshold,
            "Run `pipebus bench soak` for longer; if it goes on, something is kept for every request.",
            one.phase.name,
        )
    else:
        yield Finding(
            "memory-drift",
            "good",
            "The server's memory is stable",
            f"{size(first)} in the first third of the timeline, {size(last)} in the last.",
            threshold,
            "",
            one.phase.name,
        )


def _between_thirds(ticks: list[Tick]) -> int:
    """Return how many requests lie between the middles of the first and of the last third."""
    half = len(ticks) // 6
    return sum(tick.requests for tick in ticks[half : len(ticks) - half])


def descriptors(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find files that stay open, from before to after or over the timeline."""
    use = one.phase.server
    if use is None:
        return
    grown, told = (
        use.fds_after - use.fds_before,
        f"{use.fds_before:,} before, {use.fds_after:,} after",
    )
    seen = [float(tick.server_fds) for tick in one.phase.timeline if tick.server_fds is not None]
    if len(seen) >= DRIFT_TICKS:
        # After it, the load's connections are closed, which would hide a leak.
        first, _, last = thirds(seen)
        if last - first > grown:
            grown = round(last - first)
            told = f"{first:,.0f} in the first third of the timeline, {last:,.0f} in the last"
    if grown > FD_GROWTH:
        yield Finding(
            "fd-drift",
            "warning",
            "The server keeps files open",
            f"{told}.",
            f"more than {FD_GROWTH} more than before",
            "Something is not closed. `ls -l /proc/PID/fd` of the server names it.",
            one.phase.name,
        )
    else:
        yield Finding(
            "fd-drift",
            "good",
            "The server closes what it opens",
            f"{told} (files and sockets).",
            f"more than {FD_GROWTH} more than before",
            "",
            one.phase.name,
        )


def pace(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Hold an open loop against its rate."""
    asked = one.phase.parameters.get("rate")
    if analysis.run.loop != "open" or isinstance(asked, bool) or not isinstance(asked, int | float):
        return
    reached = one.attempts / one.phase.duration_s
    if asked > 0 and reached < RATE_KEPT * asked:
        yield Finding(
            "pace",
            "warning",
            "The rate was not kept",
            f"{rate(reached)} of {rate(asked)} asked for ({share(reached, asked)}).",
            f"less than {100 * RATE_KEPT:.0f} % of the rate",
            "The server, or the machine of the client, can do no more: see their CPU.",
            one.phase.name,
        )


def generator(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find a load generator that had no time left: it measures itself."""
    busy = one.phase.client_cpu_s / one.phase.duration_s
    if busy >= BUSY:
        yield Finding(
            "load-generator",
            "warning",
            "The load generator was busy",
            f"It used {share(busy, 1.0) if busy <= 1 else digits(busy)} of one core.",
            f"{100 * BUSY:.0f} % of a core",
            "Its own waiting is in the latencies, and the server may be able to do more.",
            one.phase.name,
        )


def fairness(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Find clients that get less than others."""
    if one.fairness is None:
        return
    least, most = min(one.phase.per_client), max(one.phase.per_client)
    evidence = (
        f"Jain's index is {one.fairness:.3f} over {len(one.phase.per_client)} clients: the least had"
        f" {count(least, 'request')}, the most {most:,}."
    )
    threshold = f"Jain's index below {FAIR} (1: all the same; 1/n: one has all)"
    if one.fairness < FAIR:
        yield Finding(
            "fairness",
            "warning",
            "Some clients get much more than others",
            evidence,
            threshold,
            "Connections are not served in turn, or the processes behind one address have"
            " unequal numbers of them.",
            one.phase.name,
        )
    else:
        yield Finding(
            "fairness", "good", "Clients are served evenly", evidence, threshold, "", one.phase.name
        )
