"""`--fail-if 'p99>50ms'`: a condition on a phase that fails the run."""

import re
from typing import Final

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import Phase
from pipebus_cli.numbers import duration, whole_number

_CONDITION: Final = re.compile(
    r"\s*([a-z_]+|p[0-9]+(?:\.[0-9]+)?)\s*([<>])\s*([0-9.]+[A-Za-z%]*)\s*"
)
_PERCENTILE: Final = re.compile(r"p([0-9.]+)")
STAGES: Final = ("read", "queue", "handler", "write")
_LATENCIES: Final = ("min", "mean", "max")
_MEMORY: Final = ("rss_peak", "rss_growth")
_NUMBERS: Final = ("rate", "errors", "fds_growth")


class Threshold:
    """A condition; `ValueError` for text that is none.

    Latencies (`min`, `mean`, `p50` ... `p99.99`, `max`) and mean stages of the server (`read`,
    `queue`, `handler`, `write`) are durations, `rss_peak` and `rss_growth` bytes, `rate` requests a
    second, `error_rate` a percentage of all that was tried, `errors` and `fds_growth` numbers.
    """

    text: str

    def __init__(self, text: str) -> None:
        self.text = text
        found = _CONDITION.fullmatch(text)
        if found is None:
            msg = f"no condition: {text!r} (such as 'p99>50ms')"
            raise ValueError(msg)
        self._name = found[1]
        self._above = found[2] == ">"
        self._bound = self._read(found[3])

    def _read(self, value: str) -> float:
        name = self._name
        part = _PERCENTILE.fullmatch(name)
        if part is not None and not 0 <= float(part[1]) <= 100:
            msg = f"no percentile: {name}"
            raise ValueError(msg)
        if part is not None or name in _LATENCIES or name in STAGES:
            if value[-1].isdigit():
                msg = f"{self.text!r}: a duration has a unit here (us, ms, s)"
                raise ValueError(msg)
            if value.endswith("us"):
                return duration(value[:-2]) / 1e6
            return duration(value)
        if name in _MEMORY:
            return whole_number(value)
        if name == "error_rate" and value.endswith("%"):
            return float(value[:-1]) / 100
        if name in (*_NUMBERS, "error_rate"):
            return float(value)
        msg = f"{self.text!r}: there is no {name}"
        raise ValueError(msg)

    def measure(self, phase: Phase) -> float | None:
        """Return what is compared, in seconds, bytes or numbers; None where it is not known."""
        name, latency, server = self._name, phase.latency, phase.server
        part = _PERCENTILE.fullmatch(name)
        errors = sum(phase.errors.values())
        if part is not None or name in _LATENCIES:
            if not latency.count:
                return None
            if part is not None:
                return Histogram.from_quantiles(latency).quantile(float(part[1]) / 100)
            values = {"min": latency.min_s, "max": latency.max_s}
            return values.get(name, latency.sum_s / latency.count)
        if name in STAGES:
            return phase.stage_means_s.get(name)
        if name == "errors":
            return errors
        if name == "error_rate":
            return errors / (errors + phase.requests) if errors + phase.requests else None
        if name == "rate":
            return phase.requests / phase.duration_s if phase.duration_s else None
        if server is None:
            return None
        return {
            "rss_peak": server.rss_peak_bytes,
            "rss_growth": server.rss_after_bytes - server.rss_before_bytes,
            "fds_growth": server.fds_after - server.fds_before,
        }[name]

    def holds(self, phase: Phase) -> tuple[bool, str]:
        """Return whether it holds of a phase, and what was measured.

        What is not known counts as held: a gate must not stand open because nothing was measured.
        """
        value = self.measure(phase)
        if value is None:
            return True, "not measured"
        held = value > self._bound if self._above else value < self._bound
        return held, f"{self._name} is {self._show(value)}"

    def _show(self, value: float) -> str:
        if _PERCENTILE.fullmatch(self._name) or self._name in (*_LATENCIES, *STAGES):
            return f"{value * 1000:.3f} ms"
        if self._name in _MEMORY:
            return f"{value / 1024**2:.1f} MiB"
        if self._name == "error_rate":
            return f"{value:.3%}"
        return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
