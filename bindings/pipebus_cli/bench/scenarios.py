"""The scenarios: which phases, and what must be so of each.

A scenario is a generator of plans; it is sent each phase when it has run, and may go on by it.
"""

from collections.abc import Generator
from dataclasses import replace as replaced
from typing import Any, Final, Literal

import msgspec

from pipebus_cli.bench.job import Job
from pipebus_cli.bench.options import BenchOptions
from pipebus_cli.bench.phase import Plan, Seen
from pipebus_cli.bench.run import Check, Phase
from pipebus_cli.bench.target import Target

Results = dict[str, float | None]
Scenario = Generator[Plan, Phase, Results]
Loop = Literal["closed", "open"]

DURATION: Final = 10.0
RATE: Final = 1000.0
BURST: Final = 1000
_CLOSED, _OPEN = 10, 64


class Bench:
    """A target and options, made into plans."""

    def __init__(self, target: Target, options: BenchOptions) -> None:
        self.target = target
        self.options = options

    def duration(self, phases: int = 1) -> float | None:
        """Return the seconds of one of so many phases; None: it goes by --count alone."""
        options = self.options
        if options.duration is None and options.count is not None:
            return None
        return (DURATION if options.duration is None else options.duration) / phases

    def plan(self, name: str, *, phases: int = 1, **changes: Any) -> Plan:
        """Return a phase of the load that the options describe, with changes to the job."""
        options = self.options
        loop: Loop = changes.get("loop", "closed")
        duration = changes.setdefault("duration", self.duration(phases))
        warmup = options.warmup
        if warmup is None:
            warmup = 0.5 if duration is None else min(1.0, duration / 10)
        job = msgspec.structs.replace(
            Job(
                place=self.target.place,
                message=self.target.message,
                connections=options.connections or (_OPEN if loop == "open" else _CLOSED),
                count=options.count,
                warmup=warmup,
                timeout=options.timeout,
                seed=options.seed,
                tick=_tick(duration or DURATION),
            ),
            **changes,
        )
        parameters: dict[str, Any] = {"connections": job.connections}
        if job.loop == "open" and job.rate is not None:
            parameters |= {"rate": job.rate, "spacing": job.spacing}
        if job.message.body_bytes is not None:
            parameters["body_bytes"] = job.message.body_bytes
        if job.count is not None:
            parameters["count"] = job.count
        return Plan(name, job, parameters)


def _tick(duration: float) -> float:
    """Return the length of an interval: a second, but 20 of a short phase, and 1,000 of a long one."""
    return max(0.1, min(1.0, duration / 20), duration / 1000)


def steady(bench: Bench) -> Scenario:
    """Send on each connection, again and again, as soon as the answer is there."""
    yield bench.plan("steady")
    return {}


def rate(bench: Bench) -> Scenario:
    """Send by the clock, whatever becomes of the requests before."""
    options = bench.options
    asked = options.rate or RATE
    yield bench.plan(
        f"{asked:,.10g} a second", loop="open", rate=asked, spacing=options.spacing or "poisson"
    )
    return {}


def burst(bench: Bench) -> Scenario:
    """Send many in one second, then as many at one moment; none may be lost."""
    options = bench.options
    count = options.count or BURST
    common: dict[str, Any] = {"loop": "open", "count": count, "duration": None, "warmup": 0.0}

    def lost(seen: Seen) -> list[Check]:
        missing = count - seen.done.requests
        detail = f"{missing:,} of {count:,} were not answered" if missing else ""
        return [Check(f"all {count:,} are answered", ok=not missing, detail=detail)]

    for plan in (
        # The server's first requests are another matter than a burst.
        bench.plan("before", connections=1, count=max(10, count // 10), duration=None, warmup=0.0),
        bench.plan(
            f"{count:,} in a second",
            rate=float(count),
            spacing=options.spacing or "fixed",
            **common,
        ),
        bench.plan(f"{count:,} at once", rate=None, **common),
    ):
        yield plan if plan.name == "before" else replaced(plan, looks=(lost,))
    return {}


def clients(bench: Bench) -> Scenario:
    """Let more and more clients send at the same time, each on its connection."""
    numbers = bench.options.client_numbers()

    def served(seen: Seen) -> list[Check]:
        starved = sum(1 for count in seen.done.per_client if not count)
        detail = f"{starved:,} of {len(seen.done.per_client):,} got no answer" if starved else ""
        return [Check("every client is served", ok=not starved, detail=detail)]

    for number in numbers:
        name = f"{number:,} client{'' if number == 1 else 's'}"
        plan = bench.plan(name, phases=len(numbers), connections=number)
        yield replaced(plan, looks=(served,))
    return {}


def fairness(per_client: list[int]) -> float:
    """Return Jain's index: 1 where all got the same, 1 / n where one got it all."""
    squares = sum(count * count for count in per_client)
    return sum(per_client) ** 2 / (len(per_client) * squares) if squares else 1.0
