"""Scales of charts: where a value lies, and which values are written beside the axis."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_DURATIONS: Final = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (300.0, 1.0, "s"))


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, which lie at 0 and 1."""

    low: float
    high: float
    marks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies, 0 to 1; what is outside lies at the end."""
        if self.log:
            value = max(value, self.low)
            place = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))


def linear(high: float, marks: int = 4) -> Axis:
    """Return an axis from 0 to a round number not below `high`."""
    if high <= 0.0:
        return Axis(0.0, 1.0, (0.0, 1.0))
    step = _round_up(high / marks)
    count = math.ceil(high / step * (1 - 1e-9))
    return Axis(0.0, count * step, tuple(index * step for index in range(count + 1)))


def elapsed(high: float) -> Axis:
    """Return an axis from 0 to `high` itself, with round marks."""
    rounded = linear(high)
    return Axis(0.0, high, tuple(mark for mark in rounded.marks if mark <= high * (1 + 1e-9)))


def logarithmic(low: float, high: float, most: int = 7) -> Axis:
    """Return a logarithmic axis around two values above 0, with marks at 1, 2 and 5 or at tens."""
    low, high = low * 0.94, high * 1.06
    if high < low * 1.6:
        middle = math.sqrt(low * high)
        low, high = middle / 1.3, middle * 1.3
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        marks = tuple(
            value
            for power in range(first, last + 1)
            for step in steps
            if low <= (value := step * 10.0**power) <= high
        )
        if len(marks) <= most:
            break
    else:
        marks = marks[:: -(-len(marks) // most)]
    return Axis(low, high, marks, log=True)


def _round_up(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= step * (1 - 1e-9))


def duration_label(high: float) -> Callable[[float], str]:
    """Return what writes the marks of an axis of durations, all in the unit of its highest."""
    for below, factor, unit in _DURATIONS:
        if high < below:
            return lambda value: f"{value * factor:,.4g} {unit}"
    if high < 7_200.0:
        return lambda value: f"{value / 60.0:,.4g} min"
    return lambda value: f"{value / 3_600.0:,.4g} h"


def own_duration_label(value: float) -> str:
    """Write a mark of a logarithmic axis in a unit of its own."""
    return duration_label(value * (1 + 1e-9))(value)


def count_label(value: float) -> str:
    """Write a count: 1,500 or 1.5 M."""
    if value >= 1e6:
        return f"{value / 1e6:,.4g} M"
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def size_label(high: float) -> Callable[[float], str]:
    """Return what writes the marks of an axis of bytes."""
    power, unit = next(
        (
            (power, unit)
            for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB"))
            if high >= 1_024.0**power
        ),
        (0, "bytes"),
    )
    return lambda value: f"{value / 1_024.0**power:,.4g} {unit}"


def sizes(high: float) -> Axis:
    """Return an axis of bytes whose marks are round in powers of 1,024."""
    unit = next((1_024.0**power for power in (3, 2, 1) if high >= 1_024.0**power), 1.0)
    axis = linear(high / unit, 3)
    return Axis(0.0, axis.high * unit, tuple(mark * unit for mark in axis.marks))
