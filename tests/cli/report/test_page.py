"""The page: whole, self-contained, and nothing that a run says becomes markup."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus_cli.bench.run import Check, Phase, Run
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.axis import count_label, duration_label, linear, logarithmic, size_label
from pipebus_cli.report.compare import compare
from pipebus_cli.report.findings import find
from pipebus_cli.report.html import page
from pipebus_cli.report.markup import tag, visible
from tests.cli.report.runs import latencies, phase, quantiles, run, use

VALUES = latencies(1_500)
VOID = {"meta", "br", "hr"}


def shown(made: Run, other: Run | None = None) -> str:
    analysis = analyse(made)
    against = None if other is None else compare(analysis, analyse(other))
    return page(analysis, find(analysis), against)


class Seen(HTMLParser):
    """What is in a page; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.elements]

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == name]


def full() -> Run:
    """A run with everything that a report can show."""
    late = phase(
        [value + 0.001 for value in VALUES],
        name="open",
        service=quantiles(VALUES),
        per_client=[500, 500, 500],
        errors={"timeout": 3},
        parameters={"connections": 3, "rate": 150},
    )
    return run(late, phase(VALUES, name="other", parameters={"connections": 4}), loop="open")


def hostile(text: str) -> Run:
    """A run in which every string is `text`."""
    made = phase(
        VALUES,
        name=text,
        parameters={text: text, "connections": 2},
        errors={text: 1},
        statuses={text: 1_500},
        per_client=[750, 750],
        stage_means_s={text: 1e-6},
        checks=[Check(text, ok=False, detail=text)],
    )
    environment = msgspec.structs.replace(
        run().environment,
        started=text,
        pipebus=text,
        python=text,
        platform=text,
        versions={text: text},
    )
    return run(made, scenario=text, target=text, options={text: text}, environment=environment)


HARMLESS = Seen(shown(hostile("harmless"), hostile("harmless")))
NASTY = st.text(max_size=40) | st.sampled_from(
    [
        "</style><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '" onload="alert(1)',
        "' onmouseover='alert(1)",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "&lt;script&gt;",
        "</svg></title></desc><script>",
        "{{7*7}}${7*7}",
        "\x00\x1b[31m\x7f",
        "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
        "javascript:alert(1)",
        "{}",
        "%s%n",
    ]
)


@pytest.mark.untraced
@settings(max_examples=25, deadline=None)
@given(NASTY)
def test_what_a_run_says_never_becomes_markup(text: str) -> None:
    made = shown(hostile(text), hostile(text))
    seen = Seen(made)
    assert seen.names == HARMLESS.names
    assert [sorted(one) for _, one in seen.elements] == [
        sorted(one) for _, one in HARMLESS.elements
    ]
    assert made.encode("utf-8").decode("utf-8") == made
    assert visible(text).strip() in seen.text.replace("\N{NO-BREAK SPACE}", " ") or "\xa0" in text


def test_the_page_is_alone() -> None:
    made = shown(full(), full())
    seen = Seen(made)
    assert not {"script", "link", "img", "iframe", "object", "embed", "use", "image"} & set(
        seen.names
    )
    assert not [
        key for _, one in seen.elements for key in one if key in ("src", "href") or key[:2] == "on"
    ]
    assert "url(" not in made
    assert "@import" not in made
    policies = [one["content"] for one in seen.of("meta") if one.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert len(made) < 200_000


def test_every_picture_is_named_and_described() -> None:
    seen = Seen(shown(full(), full()))
    ids = [one["id"] for _, one in seen.elements if "id" in one]
    assert len(set(ids)) == len(ids)
    pictures = [one for one in seen.of("svg") if one.get("role") == "img"]
    assert len(pictures) >= 12
    for one in pictures:
        assert {one["aria-labelledby"], one["aria-describedby"]} <= set(ids)
    assert all(one.get("scope") for one in seen.of("th"))
    assert len(seen.of("caption")) == len(seen.of("table"))
    assert seen.of("html") == [{"lang": "en"}]


def test_headings_do_not_skip_a_level() -> None:
    levels = [
        int(name[1]) for name in Seen(shown(full(), full())).names if name in ("h1", "h2", "h3")
    ]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_no_figure_is_without_a_place() -> None:
    made = shown(full(), full())
    assert not re.search(
        r"\b(?:nan|inf|None)\b", re.sub(r"<style>.*?</style>", "", made, flags=re.DOTALL)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"requests": 0, "statuses": {}, "latency": quantiles([]), "timeline": []},
        {"server": None, "stage_means_s": {}},
        {"latency": quantiles([0.0] * 1_500), "stage_means_s": {}},
        {"latency": quantiles([1e-9] * 1_499 + [9.0]), "stage_means_s": {}},
        {"stage_means_s": {"handler": 0.0}},
        {"stages": {"a stage of another server": quantiles([1e-6])}},
        {"connections_opened": 0, "client_cpu_s": 0.0, "checks": []},
        {"per_client": [1_500] + [0] * 199},
        {"server": use(gc_pauses_s=[])},
    ],
)
def test_what_is_missing_leaves_a_page(changed: dict[str, Any]) -> None:
    one: Phase = phase(VALUES, **changed)
    for made in (run(one), run(one, phase(VALUES, name="another"))):
        seen = Seen(shown(made))
        assert "Performance analysis" in seen.text


def other_settings() -> Run:
    """A run that shares a phase with `full`, and little else."""
    shared = phase(VALUES, name="open", checks=[], stage_means_s={}, timeline=[])
    alone = phase(VALUES, name="alone", checks=[], per_client=[1_500] * 1)
    return run(shared, alone, options={"connections": 9, "json": "x.json"}, loop="open")


def test_against_a_run_of_other_settings() -> None:
    made = Seen(shown(other_settings(), full())).text
    assert "What else differs" in made
    assert "option connections" in made
    assert "x.json" not in made
    assert "Only in the other run: other." in made
    assert "Only in this run: alone." in made
    assert "too short" in made
    assert "The server did not tell where its time goes." in made


def test_ticks_without_an_answer() -> None:
    silent = [
        msgspec.structs.replace(
            tick, requests=0, p50_s=None, p99_s=None, server_rss_bytes=None if index % 2 else 1_024
        )
        for index, tick in enumerate(phase(VALUES).timeline)
    ]
    assert "Throughput over time" in shown(run(phase(VALUES, timeline=silent)))


def test_many_ticks_are_summed_up_for_the_chart() -> None:
    one = phase(VALUES)
    many = [
        msgspec.structs.replace(
            one.timeline[0], at_s=(index + 1) / 200, length_s=1 / 200, requests=0
        )
        for index in range(2_000)
    ]
    made = shown(run(phase(VALUES, timeline=many)))
    line = re.search(
        r'<polyline class="line s1" points="([^"]*)"', made.partition("Throughput over")[2]
    )
    assert line is not None
    assert len(line[1].split()) <= 241


def colours(theme: str) -> dict[str, str]:
    made = shown(run())
    block = re.findall(r":root \{(.*?)\}", made, re.DOTALL)[theme == "dark"]
    return dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 1.4.3."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    of = colours(theme)
    text = ["ink", "quiet", "critical", "warning", "note", "good"]
    assert {
        name: contrast(of[name], of[on])
        for name in text
        for on in ("page", "sheet", "faint")
        if contrast(of[name], of[on]) < 4.5
    } == {}
    marks = ["s1", "s2", "s3", "s4", "s5", "rest"]
    assert {name for name in marks if contrast(of[name], of["sheet"]) < 3.0} == set()
    assert {name for name in marks if contrast(of[name], of["on"]) < 4.5} == set()


@given(st.floats(1e-9, 1e6), st.floats(1.0, 1e6))
def test_an_axis_holds_what_is_drawn(low: float, times: float) -> None:
    axis = logarithmic(low, low * times)
    assert axis.low < low <= low * times < axis.high
    assert 1 <= len(axis.marks) <= 10
    assert list(axis.marks) == sorted(set(axis.marks))
    assert all(axis.low <= mark <= axis.high for mark in axis.marks)
    straight = linear(low)
    assert straight.marks[0] == 0.0
    assert low <= straight.high * (1 + 1e-9)
    assert straight.high <= 2.6 * low


def test_marks_of_axes() -> None:
    assert duration_label(90e-6)(50e-6) == "50 µs"
    assert duration_label(12.0)(2.5) == "2.5 s"
    assert duration_label(600.0)(120.0) == "2 min"
    assert duration_label(77_400.0)(36_000.0) == "10 h"
    assert [count_label(value) for value in (0.0, 2_500.0, 75_000.0, 2.5e6)] == [
        "0",
        "2,500",
        "75,000",
        "2.5 M",
    ]
    assert size_label(3 * 1_024.0**2)(1_024.0**2) == "1 MiB"
    assert size_label(100.0)(50.0) == "50 bytes"
    assert linear(0.0).at(5.0) == 1.0


def test_attributes_are_quoted() -> None:
    assert tag("a", "<b>", title='"x" & y', class_=None) == (
        '<a title="&quot;x&quot; &amp; y">&lt;b&gt;</a>'
    )
