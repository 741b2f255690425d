"""The dashboard and the alert rules name metrics, labels and values that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipebus.engine.metrics import METRICS
from tests.examples.conftest import ROOT

ALERTS: Final = ROOT / "examples" / "prometheus-alerts.yml"
DASHBOARD: Final = ROOT / "examples" / "grafana-dashboard.json"

ENDINGS: Final = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
EXPOSED: Final = {
    metric.name + ending: set(metric.labels) | ({"le"} if ending == "_bucket" else set())
    for metric in METRICS
    for ending in ENDINGS[metric.type]
}
TARGET: Final = {"job", "instance"}
"""Labels that come with the scrape."""
SELECTOR: Final = re.compile(r"\b((?:http|pipebus)_\w+)\s*(?:\{([^}]*)\})?")


def panels() -> list[dict[str, Any]]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    found: list[dict[str, Any]] = dashboard["panels"]
    return found


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel.get("targets", ()):
            yield target["expr"]
    # A block of a rule's query is indented more than the key that follows it.
    for found in re.finditer(r"expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", ALERTS.read_text("utf-8")):
        yield found[1] or found[2]


QUERIES: Final = list(queries())


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_query_names_exists(query: str) -> None:
    bare = re.sub(r"\b(?:by|without|ignoring|on|group_left) \(([^)]*)\)", "", query)
    selectors = SELECTOR.findall(bare)
    assert selectors, "a query without a metric"
    labels = set(TARGET)
    for name, inside in selectors:
        assert name in EXPOSED
        labels |= EXPOSED[name]
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside):
            assert label in EXPOSED[name] | TARGET
    for grouped in re.findall(r"\b(?:by|without|ignoring|on) \(([^)]*)\)", query):
        assert {label.strip() for label in grouped.split(",")} <= labels


def test_all_queries_are_seen() -> None:
    text = ALERTS.read_text("utf-8")
    assert len(QUERIES) == text.count("expr: ") + DASHBOARD.read_text("utf-8").count('"expr":')
    assert text.count("alert: ") == text.count("expr: ") > 5


def test_legends_show_labels_that_the_query_keeps() -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target


def test_panels_do_not_overlap() -> None:
    places = [
        (x, y)
        for panel in panels()
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24


@pytest.mark.peer("promtool")
def test_promtool_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{ALERTS.read_text('utf-8').count('alert: ')} rules found" in done.stdout


@pytest.mark.peer("promtool")
def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As recording rules, with numbers for what Grafana puts in."""
    promtool = shutil.which("promtool")
    assert promtool is not None
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.json"  # which is YAML
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), "utf-8")
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout
