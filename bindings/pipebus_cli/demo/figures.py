"""What is measured, and how it gets from the server's process to the client's."""

import math
from array import array
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How long something took, over all requests: nanoseconds."""

    count: int
    least: int
    mean: float
    p50: int
    p99: int
    most: int


def spread(samples: Sequence[int]) -> Spread:
    """Sum up durations; percentiles by nearest rank. Without samples every figure is 0."""
    ordered = sorted(samples)
    count = len(ordered)
    if not count:
        return Spread(0, 0, 0.0, 0, 0, 0)
    return Spread(
        count,
        ordered[0],
        sum(ordered) / count,
        ordered[math.ceil(0.50 * count) - 1],
        ordered[math.ceil(0.99 * count) - 1],
        ordered[-1],
    )


def samples() -> "array[int]":
    """Return an empty list of nanoseconds."""
    return array("q")


class BusFigures(msgspec.Struct, frozen=True):
    """What a bus counted, and what its one lossless subscriber of `net.>` was told."""

    published: int
    delivered: int
    dropped: int
    opened: int
    outcomes: dict[str, int]
    topics: dict[str, int]


class ServerFigures(msgspec.Struct, frozen=True):
    """The child's report."""

    processing: Spread
    creation: Spread
    publishing: Spread
    cpu: float
    """Seconds, user and system, from the moment it listened until it was drained."""
    elapsed: float
    """Seconds between the two."""
    bus: BusFigures


class ClientFigures(msgspec.Struct, frozen=True):
    """What the client saw."""

    answered: int
    """With status 200 and the right text."""
    failures: list[str]
    received: int
    """Bytes of response bodies."""
    rtt: Spread
    head: Spread
    body: Spread
    connects: list[float]
    """Of each connection that was opened, in seconds."""
    cpu: float
    elapsed: float
    bus: BusFigures


class RunFigures(msgspec.Struct, frozen=True):
    """One runtime's run."""

    runtime: str
    asked: int
    client: ClientFigures
    server: ServerFigures
