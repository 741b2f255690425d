"""What must hold of a run: the balance of both buses, and that no part exceeds its whole."""

import os
from typing import NamedTuple

from pipebus.http.client_events import CLIENT_ERROR, CLIENT_REQUEST, CLIENT_RESPONSE
from pipebus.http.events import (
    CONNECTION_CLOSE,
    CONNECTION_OPEN,
    HTTP_ERROR,
    HTTP_REQUEST,
    HTTP_RESPONSE,
)
from pipebus_cli.demo.figures import BusFigures, RunFigures, Spread


class Balance(NamedTuple):
    """Two counts that must be the same."""

    what: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        """Whether they are."""
        return self.left == self.right


def balances(run: RunFigures) -> list[Balance]:
    """Return every pair of counts that must agree."""
    ours, theirs = run.client.bus, run.server.bus
    sent, got = ours.topics, theirs.topics
    return [
        Balance("requests asked for = answered rightly", run.asked, run.client.answered),
        *_bus("client", ours),
        Balance(
            f"client: {CLIENT_REQUEST} = {CLIENT_RESPONSE}",
            sent.get(CLIENT_REQUEST, 0),
            sent.get(CLIENT_RESPONSE, 0),
        ),
        Balance(f"client: {CLIENT_ERROR} = 0", sent.get(CLIENT_ERROR, 0), 0),
        Balance(
            "client's requests = server's requests",
            sent.get(CLIENT_REQUEST, 0),
            got.get(HTTP_REQUEST, 0),
        ),
        *_bus("server", theirs),
        Balance(
            f"server: {HTTP_REQUEST} = {HTTP_RESPONSE}",
            got.get(HTTP_REQUEST, 0),
            got.get(HTTP_RESPONSE, 0),
        ),
        Balance(f"server: {HTTP_ERROR} = 0", got.get(HTTP_ERROR, 0), 0),
        Balance(
            "connections: opened by the client = accepted by the server",
            len(run.client.connects),
            got.get(CONNECTION_OPEN, 0),
        ),
        Balance(
            "server: connections opened = closed",
            got.get(CONNECTION_OPEN, 0),
            got.get(CONNECTION_CLOSE, 0),
        ),
        Balance("connections used = 1", got.get(CONNECTION_OPEN, 0), 1),
    ]


def _bus(whose: str, bus: BusFigures) -> list[Balance]:
    return [
        Balance(f"{whose}: exchanges opened = outcomes", bus.opened, sum(bus.outcomes.values())),
        Balance(f"{whose}: exchanges opened = replied", bus.opened, bus.outcomes.get("replied", 0)),
        Balance(
            f"{whose}: events published = told to the subscriber of net.>",
            bus.published,
            sum(bus.topics.values()),
        ),
        Balance(f"{whose}: events dropped = 0", bus.dropped, 0),
    ]


def violations(run: RunFigures) -> list[str]:
    """Return what is wrong with a run, one line each; nothing: it is sound."""
    client, server = run.client, run.server
    found = [
        f"{one.what}: {one.left:,} and {one.right:,}" for one in balances(run) if not one.holds
    ]
    found += client.failures
    if not client.failures:
        found += _durations(run)
    cores = os.cpu_count() or 1
    for whose, of in (("client", client), ("server", server)):
        if not 0.0 <= of.cpu <= of.elapsed * cores:
            found.append(f"CPU of the {whose}: {of.cpu:.3f} s in {of.elapsed:.3f} s, {cores} cores")
    return [f"{run.runtime}: {line}" for line in found]


def _durations(run: RunFigures) -> list[str]:
    client, server = run.client, run.server
    named = {
        "RTT": client.rtt,
        "time to head": client.head,
        "body read": client.body,
        "server processing": server.processing,
        "response creation": server.creation,
        "bus publish": server.publishing,
    }
    found = []
    for name, one in named.items():
        if one.count != run.asked:
            found.append(f"{name} was measured {one.count:,} times for {run.asked:,} requests")
        if not (one.least <= one.p50 <= one.p99 <= one.most and one.least <= one.mean <= one.most):
            found.append(f"{name}: minimum, mean, median, 99 % and maximum are out of order")
    wholes = {
        "time to head": "RTT",
        "body read": "RTT",
        "server processing": "time to head",
        "response creation": "server processing",
        "bus publish": "server processing",
    }
    for part, whole in wholes.items():
        if not _within(named[part], named[whole]):
            found.append(f"{part} exceeds {whole}, of which it is a part")
    if client.head.mean + client.body.mean > client.rtt.mean * 1.000001:
        found.append("time to head and body read exceed RTT together")
    if server.creation.mean + server.publishing.mean > server.processing.mean:
        found.append("response creation and bus publish exceed server processing together")
    if max(client.connects, default=0.0) * 1e9 > client.rtt.most:
        found.append("connect time exceeds the longest RTT, of which it is a part")
    return found


def _within(part: Spread, whole: Spread) -> bool:
    """Whether the part is the smaller in each figure: true if it is so in each request."""
    return (
        part.least <= whole.least
        and part.mean <= whole.mean
        and part.p50 <= whole.p50
        and part.p99 <= whole.p99
        and part.most <= whole.most
    )
