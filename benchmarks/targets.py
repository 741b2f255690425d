"""What the project set out to reach, as data, and what was measured of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, Literal

from benchmarks.case import Sample, both_builds
from benchmarks.cases import bus, client, echo, large
from benchmarks.servers import (
    ASYNCIO_ASYNC,
    ASYNCIO_DEF,
    ASYNCIO_H11,
    GO,
    HYPERCORN_TRIO,
    TRIO_ASYNC,
    TRIO_DEF,
    TRIO_H11,
    UVICORN,
    UVICORN_H11,
)

Samples = Mapping[str, Sequence[Sample]]
"""By case."""
Kind = Literal["times less", "ratio", "most", "spread"]

FLAT: Final = 1.25
"""What the goal's "flat" is taken for: the dearest size costs at most a quarter more."""


@dataclass(frozen=True)
class Target:
    """A figure of a case and its bounds: `must`, and what is aimed at; None: there is none.

    `kind` says what is measured of the medians, the dearest of `columns` where there are several:
    `times less`, the other contender over ours, at least; `ratio`, ours over the other, at most;
    `most`, ours, at most, in the column's unit; `spread`, the dearest over the cheapest, at most.
    """

    kind: Kind
    case: str
    variant: str
    columns: tuple[str, ...]
    ours: str
    other: str | None
    must: float | None
    aim: float | None


@dataclass(frozen=True)
class Verdict:
    """What was measured of a target; None where it or a row that it needs was not."""

    ours: tuple[float, ...]
    other: float | None
    measured: float | None


def judge(target: Target, samples: Samples, scale: float = 1.0) -> Verdict:
    """Measure a target; `scale` is that of its column."""
    found = [_median(target, target.ours, column, samples) for column in target.columns]
    ours = tuple(figure * scale for figure in found if figure is not None)
    other = None
    if target.other is not None:
        figure = _median(target, target.other, target.columns[0], samples)
        other = None if figure is None else figure * scale
    measured = None
    if len(ours) == len(target.columns):
        if target.kind == "most":
            measured = max(ours)
        elif target.kind == "spread":
            measured = max(ours) / min(ours)
        elif other is not None:
            measured = other / ours[0] if target.kind == "times less" else ours[0] / other
    return Verdict(ours, other, measured)


def meets(target: Target, measured: float | None, bound: float | None) -> bool | None:
    """Return whether a bound is kept; None if there is none, or nothing was measured."""
    if bound is None or measured is None:
        return None
    return measured >= bound if target.kind == "times less" else measured <= bound


def _median(target: Target, contender: str, column: str, samples: Samples) -> float | None:
    values = [
        sample.values[column]
        for sample in samples.get(target.case, ())
        if (sample.variant, sample.contender) == (target.variant, contender)
    ]
    return median(values) if values else None


def _echo(
    kind: Kind, headers: int, ours: str, other: str, bounds: tuple[float | None, float]
) -> Target:
    return Target(
        kind, echo.CASE.name, f"64 connections, {headers} headers", ("cpu",), ours, other, *bounds
    )


def _echoes() -> list[Target]:
    found = []
    for headers in (3, 10):
        for ours in (ASYNCIO_DEF, TRIO_DEF):
            found += [
                _echo("times less", headers, ours, UVICORN, (1.4, 1.8)),
                _echo("ratio", headers, ours, GO, (None, 1.2)),
            ]
        found += [
            _echo("times less", headers, ASYNCIO_ASYNC, UVICORN, (1.3, 1.6)),
            _echo("times less", headers, TRIO_ASYNC, UVICORN, (1.1, 1.4)),
            _echo("times less", headers, TRIO_DEF, HYPERCORN_TRIO, (20, 28)),
            _echo("times less", headers, ASYNCIO_H11, UVICORN_H11, (1.5, 2.0)),
            _echo("times less", headers, TRIO_H11, UVICORN_H11, (1.5, 2.0)),
        ]
    return found


def _others_over_http() -> list[Target]:
    one, big, ten = echo.CASE.name, large.CASE.name, client.CASE.name
    found = []
    for ours in (ASYNCIO_DEF, TRIO_DEF):
        found += [
            Target("ratio", one, echo.ONE, ("p50",), ours, UVICORN, 1.1, 0.9),
            Target("times less", big, large.VARIANT, ("cpu",), ours, UVICORN, 1.2, 1.6),
            Target("most", big, large.VARIANT, ("memory",), ours, None, 64, 44),
        ]
    for ours in (client.ASYNCIO, client.TRIO):
        found += [
            Target("times less", ten, client.TEN, ("cpu",), ours, client.AIOHTTP, 2.5, 4),
            Target("times less", ten, client.TEN, ("cpu",), ours, client.HTTPX, 18, 30),
        ]
    return found


def _buses() -> list[Target]:
    sizes = tuple(map(str, bus.SIZES))
    name, core = bus.CASE.name, bus.CORE
    found = []
    for variant, must, aim in (
        (bus.EXACT, 0.6, 0.45),
        (bus.WILDCARD, 0.6, 0.45),
        (bus.EXACT_NEW, 3, 1.5),
        (bus.WILDCARD_NEW, 3, 1.5),
    ):
        found += [
            Target("most", name, variant, sizes, core, None, must, aim),
            Target("spread", name, variant, sizes, core, None, FLAT, None),
        ]
    found.append(Target("most", name, bus.REQUEST, sizes[:1], core, None, 2.5, 1.5))
    return found


TARGETS: Final = tuple(
    replace(target, ours=name)
    for target in (*_echoes(), *_others_over_http(), *_buses())
    for name in both_builds(target.ours)
)
"""Each is judged of our row, and of the same row compiled: `ours` says which."""
