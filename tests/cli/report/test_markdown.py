"""The Markdown: tables that are tables, and nothing that a run says becomes markup."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipebus_cli.bench.run import Run
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.compare import compare
from pipebus_cli.report.findings import find
from pipebus_cli.report.markdown import document
from tests.cli.report.runs import latencies, phase, run, use
from tests.cli.report.test_page import NASTY, full, hostile, other_settings

PARSER = MarkdownIt("commonmark").enable("table")


def shown(made: Run, other: Run | None = None) -> str:
    analysis = analyse(made)
    against = None if other is None else compare(analysis, analyse(other))
    return document(analysis, find(analysis), against)


def kinds(text: str) -> list[str]:
    """Return what a reader of Markdown makes of it: blocks, and what is inside of them."""
    return [
        name
        for token in PARSER.parse(text)
        for name in (
            token.type,
            *(child.type for child in token.children or () if child.type != "text"),
        )
    ]


HARMLESS = kinds(shown(hostile("harmless"), hostile("harmless")))


@pytest.mark.untraced
@settings(max_examples=25, deadline=None)
@given(
    NASTY.filter(lambda text: text.strip() != "")
    | st.sampled_from(
        [
            "| a | b |",
            "# h",
            "@everyone",
            "[x](http://y)",
            "`",
            "~~~",
            "***",
            "1\n\n2",
            "- a",
            "\\",
            "$x$",
        ]
    )
)
def test_what_a_run_says_never_becomes_markup(text: str) -> None:
    assert kinds(shown(hostile(text), hostile(text))) == HARMLESS


def test_the_report_of_a_run() -> None:
    made = shown(run(phase(latencies(5_000), client_cpu_s=9.5)))
    assert made.startswith("# Performance: steady\n")
    assert "**5,000 requests in 10.0 s, all answered as they should be." in made
    assert "🟠 **The load generator was busy** (steady): It used 95.0 % of one core." in made
    assert "| outside the server | 321 µs | 86.5 % |" in made
    assert "| p99.9 |" not in made, "ten requests must lie beyond"
    for caption in ("Server performance", "Client performance", "Throughput"):
        assert f"**{caption}**" in made


def test_several_phases_have_a_table_of_their_own() -> None:
    made = shown(full())
    assert "## Phases" in made
    assert "## Latency by percentile, open" in made
    assert "| Percentile | Latency | Service | Requests beyond |" in made


def test_against_another_run() -> None:
    slow = run(phase(latencies(20_000, middle=450e-6), parameters={}))
    made = shown(slow, run())
    assert "| p50, steady | 359 µs | 450 µs | +25.1 % |" in made
    assert "| worse |" in made
    assert "no difference" in shown(run(), run())


def test_phases_without_a_counterpart_are_named() -> None:
    one = phase(latencies(2_000), name="one")
    made = shown(run(one, phase(latencies(2_000), name="two")), run(one))
    assert "Only in this run: two." in made


def test_against_a_run_of_other_settings() -> None:
    made = shown(other_settings(), full())
    assert "**What else differs**" in made
    assert "Only in the other run: other." in made
    assert "| p50, open | 1.36 ms | 361 µs | -73.5 % | - | too short |" in made
    assert "The server did not tell where its time goes." in made
    assert "## Checks" not in made


def test_code_in_advice_stays_code() -> None:
    made = shown(run(phase(latencies(5_000), server=use(gc_pauses_s=[0.2]))))
    assert "*`gc.freeze()` after start-up" in made
