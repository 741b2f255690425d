"""Families as text: Prometheus' format 0.0.4, and OpenMetrics 1.0.

Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/
OpenMetrics: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from pipebus.telemetry.families import Family, HistogramSample, Labels

Format = Literal["prometheus", "openmetrics"]

CONTENT_TYPES: Final[dict[Format, str]] = {
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

_LABEL: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
"""Of the older format, which leaves quotes in a help text alone."""


def negotiate(accept: str) -> Format:
    """Choose by the value of an `Accept` field (RFC 9110 section 12.5.1).

    OpenMetrics only where it is named, in version 1.0.0 or none, and not liked less than plain
    text; whoever takes neither is given plain text all the same.
    """
    openmetrics = 0.0
    plain: dict[str, float] = {}
    for member in accept.split(","):
        media_range, *rest = (part.strip().lower() for part in member.split(";"))
        parameters = dict(_parameter(text) for text in rest)
        quality = _quality(parameters.get("q", "1"))
        if media_range == "application/openmetrics-text":
            if parameters.get("version", "1.0.0") == "1.0.0":
                openmetrics = max(openmetrics, quality)
        elif media_range in ("text/plain", "text/*", "*/*"):
            plain[media_range] = max(plain.get(media_range, 0.0), quality)
    # The most specific range counts for plain text.
    liked = plain.get("text/plain", plain.get("text/*", plain.get("*/*", 0.0)))
    return "openmetrics" if openmetrics > 0.0 and openmetrics >= liked else "prometheus"


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def render(families: Iterable[Family], form: Format) -> str:
    """Write families as text; those without a sample are left out."""
    openmetrics = form == "openmetrics"
    lines: list[str] = []
    for family in families:
        if family.samples:
            _render_family(family, openmetrics, lines)
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n" if lines else ""


def _render_family(family: Family, openmetrics: bool, lines: list[str]) -> None:
    name = family.name
    sample_name = f"{name}_total" if family.type == "counter" else name
    described = name if openmetrics else sample_name
    lines.append(f"# HELP {described} {family.help.translate(_LABEL if openmetrics else _HELP)}")
    lines.append(f"# TYPE {described} {family.type}")
    if openmetrics and family.unit:
        lines.append(f"# UNIT {described} {family.unit}")
    for sample in family.samples:
        if isinstance(sample, HistogramSample):
            _render_histogram(name, sample, lines)
        else:
            lines.append(f"{sample_name}{_labels(sample.labels)} {_number(sample.value)}")


def _render_histogram(name: str, sample: HistogramSample, lines: list[str]) -> None:
    inner = _pairs(sample.labels)
    before = f"{name}_bucket{{{inner}," if inner else f"{name}_bucket{{"
    counts = (*sample.counts, sample.observations)
    # Most lines of a scrape are these, and a server does nothing else meanwhile.
    ends = _ends_of_buckets(sample.bounds)
    lines += [f"{before}{end}{count}" for end, count in zip(ends, counts, strict=True)]
    labels = f"{{{inner}}}" if inner else ""
    lines.append(f"{name}_sum{labels} {_number(sample.sum)}")
    lines.append(f"{name}_count{labels} {sample.observations}")


def _labels(labels: Labels) -> str:
    inner = _pairs(labels)
    return f"{{{inner}}}" if inner else ""


def _pairs(labels: Labels) -> str:
    return ",".join(f'{name}="{value.translate(_LABEL)}"' for name, value in labels if value)


def _number(value: float) -> str:
    """Write a number: a whole one without a point, whether it was counted as int or as float."""
    return repr(float(value)).removesuffix(".0")


@lru_cache(maxsize=64)
def _ends_of_buckets(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*(f'le="{bound!r}"}} ' for bound in bounds), 'le="+Inf"} ')
