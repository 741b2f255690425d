"""`pipebus top`: what a server does now, from two scrapes of its /metrics."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipebus_cli.bench.metrics import Change, Samples, scrape
from pipebus_cli.errors import USAGE, CliError
from pipebus_cli.report.markup import visible
from pipebus_cli.report.units import digits, duration, share

DURATION: Final = "http_server_request_duration_seconds"
SHOWN: Final = 12
"""Queues and breakers of each kind, the fullest first."""
WIDTH: Final = 100
"""Where there is no terminal, in columns."""
STATES: Final = {0.0: "closed", 1.0: "half-open", 2.0: "open"}


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one responder or subscription."""

    name: str
    queued: float
    limit: float
    running: float | None = None
    """Responders: handlers that have not ended."""
    slots: float | None = None
    dropped_per_s: float = 0.0
    """Subscriptions: what was lost."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker that there is."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Now:
    """What a server does, between two scrapes. Rates are a second's."""

    restarted: bool
    """A counter went back: the process is another. The rates are 0 then."""
    requests_per_s: float
    statuses_per_s: dict[str, float]
    """By the first digit, `2xx`; `none` where no answer was begun."""
    mean_s: float | None
    p50_s: float | None
    """The bound of the bucket that the median is in: it is no greater."""
    p99_s: float | None
    in_flight: float
    in_flight_limit: float
    connections: float
    accepted_per_s: float
    refused_per_s: dict[str, float]
    """Requests refused without being dispatched, by the reason; only those above 0."""
    exchanges_open: float
    outcomes_per_s: dict[str, float]
    dropped_per_s: dict[str, float]
    """Events lost on the bus, by the reason; only those above 0."""
    queues: tuple[Queue, ...]
    breakers: tuple[Breaker, ...]


def compute(before: Samples, after: Samples, seconds: float) -> Now:
    """Return what happened in the `seconds` between two scrapes."""
    restarted = (
        any(
            value < before.get(key, 0.0)
            for key, value in after.items()
            if key[0].endswith(("_total", "_count", "_bucket"))
        )
        or not {key for key in before if key[0] == f"{DURATION}_count"} <= after.keys()
    )
    change = Change(after if restarted else before, after)

    def by(name: str, label: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for key, value in after.items():
            if key[0] == name:
                kind = dict(key[1]).get(label, "none")
                grown = (value - change.before.get(key, 0.0)) / seconds
                found[kind] = found.get(kind, 0.0) + grown
        return found

    def gauge(name: str) -> float:
        return sum(value for key, value in after.items() if key[0] == name)

    statuses: dict[str, float] = {}
    for status, each in by(f"{DURATION}_count", "http_response_status_code").items():
        kind = "none" if status == "none" else f"{status[:1]}xx"
        statuses[kind] = statuses.get(kind, 0.0) + each
    requests = change.total(f"{DURATION}_count")
    p50, p99 = (_bound(change, part) for part in (0.5, 0.99))
    return Now(
        restarted=restarted,
        requests_per_s=requests / seconds,
        statuses_per_s=_above_0(statuses),
        mean_s=change.total(f"{DURATION}_sum") / requests if requests else None,
        p50_s=p50,
        p99_s=p99,
        in_flight=gauge("pipebus_requests_in_flight"),
        in_flight_limit=gauge("pipebus_requests_in_flight_limit"),
        connections=gauge("pipebus_connections_open"),
        accepted_per_s=change.total("pipebus_connections_accepted_total") / seconds,
        refused_per_s=_above_0(by("pipebus_requests_refused_total", "reason")),
        exchanges_open=gauge("pipebus_exchanges_open"),
        outcomes_per_s=_above_0(by("pipebus_exchanges_ended_total", "outcome")),
        dropped_per_s=_above_0(by("pipebus_events_dropped_total", "reason")),
        queues=tuple(_queues(change, seconds)),
        breakers=tuple(_breakers(after)),
    )


def _above_0(rates: dict[str, float]) -> dict[str, float]:
    return {name: each for name, each in sorted(rates.items()) if each > 0.0}


def _bound(change: Change, part: float) -> float | None:
    """Return the bound of the bucket that a quantile is in; infinity beyond the last."""
    bounds: dict[float, float] = {}
    for key, value in change.after.items():
        if key[0] == f"{DURATION}_bucket":
            bound = float(dict(key[1])["le"])
            bounds[bound] = bounds.get(bound, 0.0) + value - change.before.get(key, 0.0)
    most = max(bounds.values(), default=0.0)
    if not most:
        return None
    return next(bound for bound in sorted(bounds) if bounds[bound] >= part * most)


def _queues(change: Change, seconds: float) -> Iterator[Queue]:
    after = change.after
    for (name, labels), queued in after.items():
        of = dict(labels)
        if name == "pipebus_responder_queued":
            yield Queue(
                of.get("responder", ""),
                queued,
                after.get(("pipebus_responder_queue_limit", labels), 0.0),
                after.get(("pipebus_responder_running", labels)),
                after.get(("pipebus_responder_slots", labels)),
            )
        elif name == "pipebus_subscription_queued":
            yield Queue(
                " ".join(of.get(label, "") for label in ("kind", "pattern", "handler")).strip(),
                queued,
                after.get(("pipebus_subscription_queue_limit", labels), 0.0),
                dropped_per_s=change.total("pipebus_subscription_dropped_total", **of) / seconds,
            )


def _breakers(after: Samples) -> Iterator[Breaker]:
    for (name, labels), state in sorted(after.items(), key=lambda one: -one[1]):
        of = dict(labels)
        if name == "pipebus_responder_breaker_state":
            yield Breaker(of.get("responder", ""), STATES.get(state, "?"))
        elif name == "pipebus_client_breaker_state":
            origin = f"{of.get('url_scheme')}://{of.get('server_address')}:{of.get('server_port')}"
            yield Breaker(origin, STATES.get(state, "?"))


def screen(now: Now, url: str) -> RenderableType:
    """Return what is shown. Names are a program's, and no markup."""
    parts: list[RenderableType] = [_summary(now, url)]
    if now.queues:
        parts.append(_queue_table(now))
    if now.breakers:
        table = _table("Breaker", "State")
        for one in now.breakers[:SHOWN]:
            table.add_row(Text(visible(one.name)), Text(one.state, style=_style(one.state)))
        parts.append(table)
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _style(state: str) -> str:
    return {"open": "bold red", "half-open": "yellow"}.get(state, "")


def _rates(rates: dict[str, float]) -> str:
    return ", ".join(f"{visible(name)} {digits(each)}/s" for name, each in rates.items()) or "none"


def _at_most(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "beyond the last bucket" if seconds == float("inf") else f"<= {duration(seconds)}"


def _summary(now: Now, url: str) -> Table:
    table = Table(box=None, show_header=False, title=Text(visible(url)), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    mean = "-" if now.mean_s is None else duration(now.mean_s)
    rows = {
        "Requests": f"{digits(now.requests_per_s)}/s ({_rates(now.statuses_per_s)})",
        "Latency": f"mean {mean}, p50 {_at_most(now.p50_s)}, p99 {_at_most(now.p99_s)}",
        "In flight": f"{now.in_flight:,.0f} of {now.in_flight_limit:,.0f}",
        "Connections": f"{now.connections:,.0f} open, {digits(now.accepted_per_s)}/s accepted",
        "Exchanges": f"{now.exchanges_open:,.0f} open; ended: {_rates(now.outcomes_per_s)}",
    }
    for name, told in rows.items():
        table.add_row(name, Text(told))
    for name, rates in (("Refused", now.refused_per_s), ("Dropped", now.dropped_per_s)):
        table.add_row(name, Text(_rates(rates), style="bold red" if rates else ""))
    if now.restarted:
        table.add_row("", Text("a counter went back: the server was started again", style="yellow"))
    return table


def _queue_table(now: Now) -> Table:
    table = _table("Queue", "Waiting", "Of", "Full", "Running", "Slots", "Dropped/s")
    fullest = sorted(
        now.queues, key=lambda one: (-one.queued / max(1.0, one.limit), -one.dropped_per_s)
    )
    for one in fullest[:SHOWN]:
        table.add_row(
            Text(visible(one.name), overflow="ellipsis", no_wrap=True),
            f"{one.queued:,.0f}",
            f"{one.limit:,.0f}",
            share(one.queued, one.limit),
            "-" if one.running is None else f"{one.running:,.0f}",
            "-" if one.slots is None else f"{one.slots:,.0f}",
            digits(one.dropped_per_s),
        )
    return table


def top(url: str, interval: float, *, once: bool) -> None:
    """Show what a server does until Ctrl-C; once where `once` or standard output is no terminal.

    `interval` is in seconds, between two scrapes. Raises `CliError` if the first one fails, or any
    where it is shown once.
    """
    if not 0.1 <= interval <= 3_600.0:
        msg = f"--interval must be 0.1 to 3600 seconds, not {interval:g}"
        raise CliError(msg, USAGE)
    try:
        known = urlsplit(url).scheme == "http" and urlsplit(url).port != 0
    except ValueError:  # a port beyond 65535
        known = False
    if not known:
        msg = f"{url!r} is no http://HOST:PORT of an admin listener"
        raise CliError(msg, USAGE)
    console = Console()
    before, at = scrape(url), time.monotonic()
    if once or not sys.stdout.isatty():
        if not console.is_terminal:
            console.width = WIDTH
        time.sleep(interval)
        console.print(screen(compute(before, scrape(url), time.monotonic() - at), url))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(interval)
                try:
                    after, now = scrape(url), time.monotonic()
                except CliError as error:
                    live.update(Text(str(error), style="bold red"), refresh=True)
                    continue
                live.update(screen(compute(before, after, now - at), url), refresh=True)
                before, at = after, now
    except KeyboardInterrupt:
        return  # how it is meant to end
