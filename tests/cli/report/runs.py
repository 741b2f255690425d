"""Runs as `pipebus bench` leaves them, made up: every figure is chosen, all of them hold together."""

import math
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import (
    SCHEMA,
    Check,
    Environment,
    Phase,
    Quantiles,
    Run,
    ServerUse,
    Tick,
)

MIB = 1_024**2
STAGES = {"read": 4e-6, "queue": 3e-6, "handler": 31e-6, "write": 12e-6}


def quantiles(values: Iterable[float]) -> Quantiles:
    histogram = Histogram()
    histogram.record_many(values)
    return histogram.to_quantiles()


def latencies(
    count: int, *, middle: float = 360e-6, spread: float = 0.25, seed: int = 1
) -> list[float]:
    """Return log-normal durations, as latencies are."""
    random = Random(seed)
    return [middle * math.exp(spread * random.gauss(0.0, 1.0)) for _ in range(count)]


def ticks(
    values: list[float], seconds: float = 10.0, count: int = 20, *, rss: float = 48.0 * MIB
) -> list[Tick]:
    """Return a timeline of equal shares of `values`."""
    made = []
    each = len(values) // count
    for index in range(count):
        own = sorted(values[index * each : (index + 1) * each])
        made.append(
            Tick(
                at_s=(index + 1) * seconds / count,
                length_s=seconds / count,
                requests=len(own),
                errors=0,
                p50_s=own[len(own) // 2] if own else None,
                p99_s=own[len(own) * 99 // 100] if own else None,
                server_rss_bytes=int(rss),
                server_cpu_s=0.2,
            )
        )
    return made


def use(**changed: Any) -> ServerUse:
    made = ServerUse(
        cpu_s=2.1,
        rss_before_bytes=46 * MIB,
        rss_after_bytes=48 * MIB,
        rss_peak_bytes=49 * MIB,
        fds_before=12,
        fds_after=12,
        gc_pauses_s=[0.002, 0.003],
    )
    return msgspec.structs.replace(made, **changed)


def phase(values: list[float] | None = None, **changed: Any) -> Phase:
    """Return a phase of ten seconds over one connection, in which nothing stands out."""
    values = latencies(20_000) if values is None else values
    made = Phase(
        name="steady",
        parameters={"connections": 1, "body_bytes": 230},
        duration_s=10.0,
        warmup_s=1.0,
        requests=len(values),
        errors={},
        statuses={"200": len(values)},
        bytes_sent=340 * len(values),
        bytes_received=410 * len(values),
        connections_opened=1,
        client_cpu_s=1.9,
        latency=quantiles(values),
        stage_means_s=dict(STAGES),
        server=use(),
        timeline=ticks(values),
        checks=[Check("every body is the one that was sent", ok=True)],
    )
    return msgspec.structs.replace(made, **changed)


def run(*phases: Phase, **changed: Any) -> Run:
    """Return a run of these phases; of one in which nothing stands out by default."""
    made = Run(
        schema=SCHEMA,
        scenario="steady",
        loop="closed",
        target="pipebus echo (asyncio, selector, llhttp)",
        options={"connections": 1, "duration_s": 10.0},
        seed=1,
        environment=Environment(
            started="2026-11-25T09:30:00Z",
            pipebus="0.1.0",
            python="3.11.7",
            platform="Linux-6.1-x86_64",
            cores=2,
            load_before=0.1,
            versions={"h11": "0.16.0", "httptools": "0.9.0"},
        ),
        phases=list(phases) or [phase()],
    )
    return msgspec.structs.replace(made, **changed)
