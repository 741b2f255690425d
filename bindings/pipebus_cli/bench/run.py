"""What a run leaves: the contents of `RUN.json`. Durations in seconds, sizes in bytes, always.

A run is made of phases, one for each thing that was varied (a number of clients, a size of bodies);
a report is computed from this alone.
"""

from typing import Any, Final

import msgspec

SCHEMA: Final = 1


class Quantiles(msgspec.Struct, frozen=True):
    """A histogram of latencies as it is kept: see `histogram.Histogram`."""

    digits: int
    """Subbuckets of a power of two are 2 ** digits: the relative error is at most 2 ** -(digits + 1)."""
    counts: dict[str, int]
    """Index of the bucket -> how many; JSON has no numbers as keys."""
    count: int
    sum_s: float
    min_s: float
    max_s: float


class Tick(msgspec.Struct, frozen=True):
    """One interval of the timeline."""

    at_s: float
    """Its end, since the phase began (warm-up excluded). The lengths of all add up to `duration_s`."""
    length_s: float
    requests: int
    errors: int
    p50_s: float | None
    p99_s: float | None
    server_rss_bytes: int | None = None
    """At its end."""
    server_cpu_s: float | None = None
    """During it."""
    server_fds: int | None = None
    """Open files, at its end."""


class Check(msgspec.Struct, frozen=True):
    """Something that had to be so; one that is not fails the run."""

    name: str
    ok: bool
    detail: str = ""


class ServerUse(msgspec.Struct, frozen=True):
    """What the server took, where its process is known."""

    cpu_s: float
    rss_before_bytes: int
    rss_after_bytes: int
    rss_peak_bytes: int
    fds_before: int
    fds_after: int
    gc_pauses_s: list[float] = []


class Phase(msgspec.Struct, frozen=True):
    """One measured stretch."""

    name: str
    """Such as `steady`, or `10 clients`."""
    parameters: dict[str, Any]
    """What was varied or set: connections, rate, body bytes, ..."""
    duration_s: float
    warmup_s: float
    requests: int
    """Answered as they should be."""
    errors: dict[str, int]
    """Kind -> how many: `timeout`, `connect`, `reset`, `wrong body`, `status 503`, ..."""
    statuses: dict[str, int]
    bytes_sent: int
    bytes_received: int
    connections_opened: int
    client_cpu_s: float
    latency: Quantiles
    """Of the `requests`, and of nothing else: its count is theirs. From when a request should have been sent (open loop) or was sent (closed loop)."""
    service: Quantiles | None = None
    """Open loop: from when it was really sent. The difference to `latency` is what a stall hides."""
    per_client: list[int] = []
    """Requests of each client, where fairness is looked at."""
    stages: dict[str, Quantiles] = {}
    """Where the server's time went, by stage (read, queue, handler, write), if it tells."""
    stage_means_s: dict[str, float] = {}
    """The same as means, from sums and counts of the server's own metrics."""
    server: ServerUse | None = None
    timeline: list[Tick] = []
    checks: list[Check] = []


class Environment(msgspec.Struct, frozen=True):
    """On what it ran."""

    started: str
    """RFC 3339, UTC."""
    pipebus: str
    python: str
    platform: str
    cores: int
    load_before: float
    """Load average of a minute, before it began."""
    versions: dict[str, str]


class Run(msgspec.Struct, frozen=True):
    """A whole run."""

    schema: int
    scenario: str
    loop: str
    """`closed` (a connection sends again when it was answered) or `open` (by the clock)."""
    target: str
    """The URL; or `pipebus echo (asyncio, selector, llhttp)`, where it was started for the run."""
    options: dict[str, Any]
    seed: int
    environment: Environment
    phases: list[Phase]
    results: dict[str, float | None] = {}
    """What a scenario found over its phases, such as `knee_per_s`; None: it did not find it."""
    interrupted: bool = False
    """It was ended early: what is here is what there was until then."""
