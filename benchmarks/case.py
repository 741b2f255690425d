"""What a case is, and how one is run: every contender in turn, round by round."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_ROUNDS: Final = 3
COMPILED: Final = ", compiled"
"""Ends the names of those of our rows that run on the wheel of `make compiled`."""

Values = Mapping[str, float]
"""What one measurement found, in seconds and bytes; `failed` counts wrong or missing answers."""
Measure = Callable[[str, str, int], Values | None]
"""Measure (contender, variant, seconds); None: that contender has no such thing."""


@dataclass(frozen=True)
class Setup:
    """Where and with what everything is measured."""

    python: Path
    """Of the benchmarks' own environment."""
    measured_core: int
    """For what is measured."""
    load_core: int
    """For what loads or answers it."""
    generator: str = "wrk"
    """`wrk`, or `own` for ours."""
    driver: str = "auto"
    wire: str = "auto"
    compiled: Path | None = None
    """The Python of an environment that has the compiled wheel; None: those rows are left out."""


@dataclass(frozen=True)
class Column:
    """A column of a case's table, and how its number is shown."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 0


@dataclass(frozen=True)
class Variant:
    """One group of rows. `compared` are measured in at least `least_rounds` rounds."""

    name: str
    least_rounds: int = 0
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A table. The ratio is that of `cost`, to the first contender of a variant."""

    name: str
    title: str
    contenders: tuple[str, ...]
    variants: tuple[Variant, ...]
    columns: tuple[Column, ...]
    cost: str
    opened: Callable[[Setup, Sequence[str]], AbstractContextManager[Measure]]
    """Start the contenders named; what it gives measures one of them."""
    quick_contenders: tuple[str, ...]
    quick_variants: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """How much of each case is run."""

    rounds: int | None = None
    """None: `DEFAULT_ROUNDS`, and more where a variant asks for them."""
    seconds: int = 1
    only: tuple[str, ...] = ()
    """Parts of contenders' names; empty: all."""
    quick: bool = False


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    variant: str
    contender: str
    round: int
    values: Values


def both_builds(*names: str) -> tuple[str, ...]:
    """Return rows of ours and, behind each, the same one compiled."""
    return tuple(name + built for name in names for built in ("", COMPILED))


def chosen(case: Case, plan: Plan, missing: Iterable[str] = ()) -> tuple[list[str], list[Variant]]:
    """Return the contenders and the variants that a plan asks for; those `missing` left out."""
    contenders = case.quick_contenders if plan.quick and not plan.only else case.contenders
    left = [
        name
        for name in contenders
        if name not in missing and any(part in name for part in plan.only or [""])
    ]
    variants = [v for v in case.variants if not plan.quick or v.name in case.quick_variants]
    return left, variants


def turns(
    contenders: Sequence[str], variants: Sequence[Variant], rounds: int | None
) -> list[tuple[int, str, str]]:
    """Return (round, variant, contender) in the order of measuring.

    Each round begins with another contender, so that a change of the machine's mood meets all.
    """
    most = rounds or max(DEFAULT_ROUNDS, *(variant.least_rounds for variant in variants))
    order = []
    for number in range(most):
        turn = number % len(contenders)
        for variant in variants:
            for name in [*contenders[turn:], *contenders[:turn]]:
                least = variant.least_rounds if name in variant.compared else 0
                if number < (rounds or max(DEFAULT_ROUNDS, least)):
                    order.append((number + 1, variant.name, name))
    return order


def run(case: Case, setup: Setup, plan: Plan, missing: Iterable[str] = ()) -> list[Sample]:
    """Run a case; empty if the plan leaves it no contender. Progress goes to stderr."""
    if setup.compiled is None:
        missing = [*missing, *(name for name in case.contenders if name.endswith(COMPILED))]
    contenders, variants = chosen(case, plan, missing)
    if not contenders or not variants:
        return []
    samples: list[Sample] = []
    with case.opened(setup, contenders) as measure:
        for number, variant, name in turns(contenders, variants, plan.rounds):
            values = measure(name, variant, plan.seconds)
            if values is not None:
                samples.append(Sample(variant, name, number, values))
                print(_progress(case, samples[-1]), file=sys.stderr, flush=True)
    samples.sort(key=lambda s: contenders.index(s.contender))
    samples.sort(key=lambda s: [variant.name for variant in variants].index(s.variant))
    return samples


def _progress(case: Case, sample: Sample) -> str:
    column = next(column for column in case.columns if column.key == case.cost)
    figure = f"{sample.values[case.cost] * column.scale:,.{column.digits}f}"
    where = f"{case.name}, round {sample.round}: {sample.variant}: {sample.contender}"
    return f"{where}: {column.title} {figure}"
