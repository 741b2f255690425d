"""What a report says about a run, computed: no word of prose, no pixel, no rounding."""

from dataclasses import dataclass
from typing import Final

import msgspec

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import Phase, Quantiles, Run
from pipebus_cli.report.checks import (
    STAGES_ABSURD,
    STAGES_ABSURD_S,
    STAGES_SLACK,
    STAGES_SLACK_S,
    ReportError,
    check,
)
from pipebus_cli.report.units import duration

LEVELS: Final = (0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999)
STAGES: Final = {
    "read": "head complete until dispatched; a collected body comes in here",
    "queue": "dispatched until a handler began",
    "handler": "the handler, until its answer is complete",
    "write": "answer complete until its last byte was handed to the system",
}
OUTSIDE: Final = "outside the server"
"""What no stage accounts for: the network, both kernels, the parsing of the head, the client."""
NOT_SENT: Final = "not yet sent"
"""Open loop: due, but waiting for the client or a free connection."""


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of a whole."""

    name: str
    seconds: float
    share: float
    what: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The mean request. The parts add up to `whole_s` exactly."""

    whole_s: float
    parts: tuple[Part, ...]

    @property
    def server_s(self) -> float:
        """Of it in the server's stages, in seconds."""
        return sum(part.seconds for part in self.parts if part.name not in (OUTSIDE, NOT_SENT))

    def seconds(self, name: str) -> float:
        """How long a part took; 0 for one that there is not."""
        return sum(part.seconds for part in self.parts if part.name == name)


@dataclass(frozen=True, slots=True)
class Level:
    """A point of the percentile curve: `part` of the requests took `seconds` or less."""

    part: float
    seconds: float


@dataclass(frozen=True, slots=True)
class PhaseAnalysis:
    """One phase, and what follows from it."""

    phase: Phase
    latency: Histogram
    service: Histogram | None
    levels: tuple[Level, ...]
    """Only those that at least ten requests lie beyond, and the maximum."""
    errors: int
    attempts: int
    per_second: float
    """Requests answered as they should be, in a second."""
    breakdown: Breakdown | None
    no_breakdown: str
    """Why there is none."""
    fairness: float | None
    """Jain's index of the clients' shares: 1 where all had the same, 1/n where one had all."""

    @property
    def connections(self) -> int | None:
        """How many it was told to use, if that is known."""
        value = self.phase.parameters.get("connections")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def server_cpu_per_request_s(self) -> float | None:
        """CPU of the server for each attempt, in seconds."""
        if self.phase.server is None or not self.attempts:
            return None
        return self.phase.server.cpu_s / self.attempts

    @property
    def client_cpu_per_request_s(self) -> float | None:
        """CPU of the load generator for each attempt, in seconds."""
        return self.phase.client_cpu_s / self.attempts if self.attempts else None


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run that holds together, and what follows from it."""

    run: Run
    phases: tuple[PhaseAnalysis, ...]

    @property
    def requests(self) -> int:
        """Answered as they should be, over all phases."""
        return sum(one.phase.requests for one in self.phases)

    @property
    def attempts(self) -> int:
        """All requests, over all phases."""
        return sum(one.attempts for one in self.phases)

    @property
    def duration_s(self) -> float:
        """Of all phases, warm-ups excluded, in seconds."""
        return sum(one.phase.duration_s for one in self.phases)


def analyse(run: Run) -> Analysis:
    """Compute all that a report says; `ReportError` if the run contradicts itself."""
    if run.interrupted:
        # The last phase may have been ended while it warmed up.
        begun = [phase for phase in run.phases if phase.duration_s or phase.requests]
        run = msgspec.structs.replace(run, phases=begun)
    check(run)
    return Analysis(run, tuple(_phase(phase) for phase in run.phases))


def _phase(phase: Phase) -> PhaseAnalysis:
    latency = Histogram.from_quantiles(phase.latency)
    errors = sum(phase.errors.values())
    breakdown, why = _breakdown(phase, errors)
    return PhaseAnalysis(
        phase=phase,
        latency=latency,
        service=None if phase.service is None else Histogram.from_quantiles(phase.service),
        levels=levels(latency),
        errors=errors,
        attempts=phase.requests + errors,
        per_second=phase.requests / phase.duration_s,
        breakdown=breakdown,
        no_breakdown=why,
        fairness=jain(phase.per_client),
    )


def levels(histogram: Histogram) -> tuple[Level, ...]:
    """Return the percentiles that the number of requests supports, and the maximum."""
    if not histogram.count:
        return ()
    told = [part for part in LEVELS if part == LEVELS[0] or (1 - part) * histogram.count >= 9.999]
    values = histogram.quantiles([*told, 1.0])
    return tuple(Level(part, value) for part, value in zip([*told, 1.0], values, strict=True))


def jain(shares: list[int]) -> float | None:
    """Return (sum of x)^2 / (n * sum of x^2); None for fewer than two clients or no request."""
    squares = sum(share * share for share in shares)
    if len(shares) < 2 or not squares:
        return None
    return sum(shares) ** 2 / (len(shares) * squares)


def _mean(one: Quantiles) -> float:
    return one.sum_s / one.count if one.count else 0.0


def stage_means(phase: Phase) -> dict[str, float]:
    """Return the mean of each stage that the server told of, in seconds, in their order in time."""
    told = {name: _mean(one) for name, one in phase.stages.items()} or phase.stage_means_s
    order = list(STAGES)
    return dict(
        sorted(told.items(), key=lambda one: order.index(one[0]) if one[0] in order else 99)
    )


def _breakdown(phase: Phase, errors: int) -> tuple[Breakdown | None, str]:
    """Take the mean request apart. Means add up; percentiles do not."""
    means = stage_means(phase)
    if not means:
        return None, "The server did not tell where its time goes."
    if not phase.latency.count:
        return None, "No request has a latency."
    whole = _mean(phase.latency)
    sent = whole if phase.service is None else _mean(phase.service)
    server = sum(means.values())
    # The server tells of its warm-up, too, which the client leaves out.
    slack = STAGES_SLACK + phase.warmup_s / (phase.warmup_s + phase.duration_s)
    if server > sent * (1 + slack) + STAGES_SLACK_S:
        told = f"{duration(server)}, more than the {duration(sent)} of the whole request"
        if not errors and server > sent * STAGES_ABSURD + STAGES_ABSURD_S:
            msg = f"the run contradicts itself: {phase.name}: the stages of the server take {told}"
            raise ReportError(msg)
        # It also counts what the client gave up on, whose latency is no request's.
        why = (
            "requests that failed are in them" if errors else "the server reads its clock too late"
        )
        return None, f"The server's stages take {told}: {why}, so nothing is taken apart."
    scale = min(1.0, sent / server) if server else 1.0
    parts = [Part(NOT_SENT, max(0.0, whole - sent), 0.0, "due, but not sent yet")]
    parts += [Part(name, mean * scale, 0.0, STAGES.get(name, "")) for name, mean in means.items()]
    parts.append(
        Part(
            OUTSIDE,
            max(0.0, sent - server),
            0.0,
            "network, both kernels, waiting to be read, parsing of the head, client",
        )
    )
    if phase.service is None:
        del parts[0]
    return (
        Breakdown(whole, tuple(Part(p.name, p.seconds, p.seconds / whole, p.what) for p in parts))
        if whole
        else None,
        "Requests took no time at all.",
    )
