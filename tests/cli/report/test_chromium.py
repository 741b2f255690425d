"""The page in a real browser: it opens in silence, fetches nothing, and can be read."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from pipebus_cli.bench.run import Run
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.compare import compare
from pipebus_cli.report.findings import find
from pipebus_cli.report.html import page
from tests.cli.report.chromium import Chromium, chromium
from tests.cli.report.runs import STAGES, latencies, phase, quantiles, run, ticks, use
from tests.cli.report.test_page import contrast, hostile

pytestmark = pytest.mark.peer("chromium")
PHONE, DESKTOP = 390, 1_200


def stalled() -> Run:
    """An open loop against a server that stood still for a second, and leaks."""
    random = Random(3)
    service = latencies(20_000, spread=0.35)
    latency = [
        value + max(0.0, (11_000 - index) / 1_000) * (index >= 10_000)
        for index, value in enumerate(service)
    ]
    timeline = [
        msgspec.structs.replace(tick, server_rss_bytes=int(46e6 + 6e5 * index))
        for index, tick in enumerate(ticks(latency, count=40))
    ]
    shares = [1_250 + random.randrange(-60, 60) for _ in range(15)]
    made = phase(
        latency,
        name="2,000 a second",
        parameters={"connections": 16, "rate": 2_000},
        service=quantiles(service),
        timeline=timeline,
        errors={"timeout": 7},
        per_client=[*shares, 20_000 - sum(shares)],
        connections_opened=16,
        server=use(gc_pauses_s=[0.03] * 12, fds_after=80),
    )
    return run(made, scenario="rate", loop="open")


def several() -> Run:
    """More and more clients."""
    phases = []
    for clients, (middle, count) in {
        1: (360e-6, 2_000),
        2: (420e-6, 4_000),
        10: (1.3e-3, 7_000),
        50: (7.5e-3, 5_200),
    }.items():
        each = [count // clients] * clients
        made = phase(
            latencies(count, middle=middle, spread=0.2 + clients / 100, seed=clients),
            name=f"{clients} clients, some of them with names",
            parameters={"connections": clients},
            per_client=each,
            connections_opened=clients,
            stage_means_s=dict(STAGES),
        )
        phases.append(made)
    return run(*phases, scenario="clients")


RUNS = {"plain": run, "stalled": stalled, "several": several}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name, build in RUNS.items():
        analysis = analyse(build())
        made[name] = folder / f"{name}.html"
        made[name].write_text(page(analysis, find(analysis), compare(analysis, analysis)))
    return made


def opened(browser: Chromium, file: Path, width: int, theme: str) -> None:
    browser.open(file, width=width, theme=theme)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


@pytest.mark.parametrize("name", RUNS)
def test_it_says_and_fetches_nothing(browser: Chromium, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], width=DESKTOP, theme="light")
    assert browser.evaluate("document.title").startswith("Performance of ")
    urls = [told["request"]["url"] for told in browser.of("Network.requestWillBeSent")]
    assert urls == [pages[name].as_uri()]
    assert browser.of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []
    assert browser.evaluate("document.compatMode") == "CSS1Compat"


def test_the_browser_would_tell(browser: Chromium, tmp_path: Path) -> None:
    """What the test above looks for is reported when it is there."""
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><script>console.log(1); nosuch()</script><img src=none.png>")
    browser.open(bad, width=DESKTOP, theme="light")
    assert browser.of("Runtime.consoleAPICalled")
    assert browser.of("Runtime.exceptionThrown")
    assert len(browser.of("Network.requestWillBeSent")) == 2


def test_hostile_strings_do_nothing(browser: Chromium, tmp_path: Path) -> None:
    nasty = "</title></style></svg><script>window.hit=1</script><img src=x onerror='window.hit=1'>"
    analysis = analyse(hostile(nasty))
    file = tmp_path / "hostile.html"
    file.write_text(page(analysis, find(analysis), compare(analysis, analysis)))
    browser.open(file, width=DESKTOP, theme="light")
    assert browser.evaluate("window.hit === undefined && document.scripts.length === 0")
    assert len(browser.of("Network.requestWillBeSent")) == 1
    assert browser.of("Log.entryAdded") == []


CHARTS = """
Array.from(document.querySelectorAll('svg[role=img]')).map(svg => {
  const box = svg.getBoundingClientRect();
  const points = Array.from(svg.querySelectorAll('polyline')).map(one => one.getAttribute('points'));
  const boxes = Array.from(svg.querySelectorAll('rect.bar, rect.piece')).map(
    one => one.getBoundingClientRect());
  return {
    title: svg.querySelector('title').textContent,
    width: box.width,
    height: box.height,
    marks: points.reduce((sum, text) => sum + new Set(text.split(' ')).size, 0)
      + boxes.filter(one => one.width > 0 && one.height > 0).length
      + svg.querySelectorAll('circle').length,
    broken: /NaN|undefined|Infinity/.test(svg.outerHTML),
  };
})
"""


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_charts_have_data(browser: Chromium, pages: dict[str, Path], width: int) -> None:
    seen: set[str] = set()
    for file in pages.values():
        opened(browser, file, width, "light")
        for chart in browser.evaluate(CHARTS):
            seen.add(chart["title"])
            assert chart["width"] > 200, chart
            assert chart["height"] > 50, chart
            assert chart["marks"] >= 2, chart
            assert not chart["broken"], chart
    assert seen == {
        "Latency by percentile",
        "Latency by phase",
        "Latency over time",
        "Memory of the server over time",
        "Requests by client",
        "Requests by latency",
        "Throughput by phase",
        "Throughput over time",
        "Where one request's time goes",
    }


@pytest.mark.parametrize("width", [320, PHONE, DESKTOP])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_sticks_out(
    browser: Chromium, pages: dict[str, Path], name: str, width: int
) -> None:
    """Only tables may be wider than the screen, and they scroll on their own."""
    opened(browser, pages[name], width, "light")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    outside = browser.evaluate(
        """
        Array.from(document.querySelectorAll('svg[role=img] text'))
          .filter(one => one.getBoundingClientRect().left < 0
            || one.getBoundingClientRect().right > document.documentElement.clientWidth)
          .map(one => one.textContent)
        """
    )
    assert outside == []


OVERLAPS = """
Array.from(document.querySelectorAll('svg[role=img]')).flatMap(svg => {
  const words = Array.from(svg.querySelectorAll('text')).map(
    one => [one.textContent, one.getBoundingClientRect()]);
  return words.flatMap(([a, p], index) => words.slice(index + 1)
    .filter(([b, q]) => Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
      && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3)
    .map(([b, q]) => `${svg.querySelector('title').textContent}: ${a} | ${b}`));
})
"""


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", RUNS)
def test_words_in_charts_do_not_overlap(
    browser: Chromium, pages: dict[str, Path], name: str, width: int
) -> None:
    opened(browser, pages[name], width, "light")
    assert browser.evaluate(OVERLAPS) == []


WORDS = """
(() => {
  const opaque = colour => colour.startsWith('rgb(');
  const behind = one => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (opaque(colour)) return colour;
    }
    return 'none';
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = {};
  for (let node; node = walker.nextNode();) {
    const one = node.parentElement, style = getComputedStyle(one);
    if (!node.textContent.trim() || ['title', 'desc'].includes(one.localName)) continue;
    const svg = one instanceof SVGElement;
    let ground = behind(one);
    if (svg && one.classList.contains('on')) {
      const kind = Array.from(one.classList).find(name => name !== 'on');
      ground = getComputedStyle(one.closest('svg').querySelector(`rect.${kind}`)).fill;
    }
    found[`${svg ? style.fill : style.color} on ${ground}`] = node.textContent.trim();
  }
  return found;
})()
"""


def hexadecimal(colour: str) -> str:
    parts = colour.removeprefix("rgb(").removesuffix(")").split(",")
    return "#" + "".join(f"{int(part):02x}" for part in parts)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", RUNS)
def test_every_word_can_be_read_in_both_themes(
    browser: Chromium, pages: dict[str, Path], name: str, theme: str
) -> None:
    opened(browser, pages[name], PHONE, theme)
    grounds = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (hexadecimal(grounds) < "#808080") == (theme == "dark")
    found: dict[str, Any] = browser.evaluate(WORDS)
    assert len(found) >= 6
    weak = {
        pair: text
        for pair, text in found.items()
        if contrast(*(hexadecimal(one) for one in pair.split(" on "))) < 4.5
    }
    assert weak == {}
