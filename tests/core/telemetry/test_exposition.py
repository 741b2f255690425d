"""What is written against what prometheus-client's parsers read, and who is given which format."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from pipebus.telemetry.exposition import CONTENT_TYPES, Format, negotiate, render
from pipebus.telemetry.families import Family, HistogramSample, Sample

PARSERS: dict[Format, Callable[[str], Iterable[Metric]]] = {
    "prometheus": prometheus,
    "openmetrics": openmetrics,
}
FORMATS: tuple[Format, ...] = ("prometheus", "openmetrics")

COUNTER = Family(
    "app_jobs", "counter", "", 'Jobs "done".\nOr \\ not.',
    (Sample((("kind", "a"), ("why", "")), 3), Sample((("kind", "b"),), 0)),
)  # fmt: skip
GAUGE = Family("app_heap_bytes", "gauge", "bytes", "Heap.", (Sample((), 1.5),))
HISTOGRAM = Family(
    "app_wait_seconds", "histogram", "seconds", "Waits.",
    (HistogramSample((("kind", "a"),), (1e-06, 0.5), (1, 2), 4, 2.25),
     HistogramSample((), (1e-06, 0.5), (0, 0), 0, 0.0)),
)  # fmt: skip
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
EMPTY = Family("app_none", "gauge", "", "Nothing.", ())


def test_prometheus_text() -> None:
    assert (
        render([COUNTER, GAUGE, HISTOGRAM, EMPTY], "prometheus")
        == r"""# HELP app_jobs_total Jobs "done".\nOr \\ not.
# TYPE app_jobs_total counter
app_jobs_total{kind="a"} 3
app_jobs_total{kind="b"} 0
# HELP app_heap_bytes Heap.
# TYPE app_heap_bytes gauge
app_heap_bytes 1.5
# HELP app_wait_seconds Waits.
# TYPE app_wait_seconds histogram
app_wait_seconds_bucket{kind="a",le="1e-06"} 1
app_wait_seconds_bucket{kind="a",le="0.5"} 2
app_wait_seconds_bucket{kind="a",le="+Inf"} 4
app_wait_seconds_sum{kind="a"} 2.25
app_wait_seconds_count{kind="a"} 4
app_wait_seconds_bucket{le="1e-06"} 0
app_wait_seconds_bucket{le="0.5"} 0
app_wait_seconds_bucket{le="+Inf"} 0
app_wait_seconds_sum 0
app_wait_seconds_count 0
"""
    )


def test_openmetrics_text() -> None:
    assert (
        render([COUNTER, GAUGE], "openmetrics")
        == r"""# HELP app_jobs Jobs \"done\".\nOr \\ not.
# TYPE app_jobs counter
app_jobs_total{kind="a"} 3
app_jobs_total{kind="b"} 0
# HELP app_heap_bytes Heap.
# TYPE app_heap_bytes gauge
# UNIT app_heap_bytes bytes
app_heap_bytes 1.5
# EOF
"""
    )


def test_nothing() -> None:
    assert render([], "prometheus") == ""
    assert render([EMPTY], "openmetrics") == "# EOF\n"


@pytest.mark.parametrize("form", FORMATS)
def test_parsers_read_what_was_meant(form: Format) -> None:
    families = [COUNTER, GAUGE, HISTOGRAM]
    read = list(PARSERS[form](render(families, form)))
    for family, parsed in zip(families, read, strict=True):
        assert (parsed.name, parsed.type) == (family.name, family.type)
        assert parsed.documentation == family.help
        assert parsed.unit == (family.unit if form == "openmetrics" else "")
    samples = {(s.name, *sorted(s.labels.items())): s.value for p in read for s in p.samples}
    assert samples["app_jobs_total", ("kind", "a")] == 3
    assert samples["app_heap_bytes",] == 1.5
    assert samples["app_wait_seconds_bucket", ("kind", "a"), ("le", "1e-06")] == 1
    assert samples["app_wait_seconds_bucket", ("kind", "a"), ("le", "+Inf")] == 4
    assert samples["app_wait_seconds_sum", ("kind", "a")] == 2.25
    assert len(samples) == 2 + 1 + 2 * 5


@pytest.mark.parametrize("form", FORMATS)
@given(
    value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    number=st.floats(0, 1e308) | st.integers(0, 2**60),
)
def test_any_label_and_number(form: Format, value: str, number: float) -> None:
    family = Family("app_jobs", "counter", "", "Jobs.", (Sample((("kind", value),), number),))
    [parsed] = PARSERS[form](render([family], form))
    [sample] = parsed.samples
    assert sample.labels == {"kind": value}
    assert float(sample.value) == float(number)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "prometheus"),
        ("*/*", "prometheus"),
        ("text/html", "prometheus"),
        ("text/plain", "prometheus"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text; version=1.0.0", "openmetrics"),
        ('application/openmetrics-text; version="1.0.0"', "openmetrics"),
        ("application/openmetrics-text; version=0.0.1", "prometheus"),
        ("application/openmetrics-text; version=2.0.0", "prometheus"),
        ("Application/OpenMetrics-Text ; Q=0.5 , text/plain;q=0.4", "openmetrics"),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", "prometheus"),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.2,*/*;q=0.9", "openmetrics"),
        ("application/openmetrics-text;q=0.4,text/*;q=0.5,*/*;q=0.1", "prometheus"),
        ("application/openmetrics-text;q=0", "prometheus"),
        ("application/openmetrics-text;q=often", "prometheus"),
        ("application/openmetrics-text;q=nan", "prometheus"),
        ("application/openmetrics-text;q=5,text/plain;q=0.1", "prometheus"),
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
    ],
)
def test_negotiation(accept: str, form: Format) -> None:
    assert negotiate(accept) == form


@given(st.text(alphabet='*/;,q=.01 aopenmtricsx-"', max_size=60))
def test_whatever_is_accepted_has_an_answer(accept: str) -> None:
    assert negotiate(accept) in CONTENT_TYPES
