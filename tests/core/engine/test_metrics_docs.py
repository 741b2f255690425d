"""The table of metrics in docs/metrics.md, against the metrics."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

from pipebus.engine.metrics import METRICS

DOCS: Final = Path(__file__).parents[3] / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_metrics", DOCS / "generate_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_in_the_docs_is_current() -> None:
    page = (DOCS / "metrics.md").read_text("utf-8")
    assert generator().render(page) == page, "run `make docs`"
    for metric in METRICS:
        assert f"| `{metric.name}" in page


def test_stale_table_is_replaced() -> None:
    page = (DOCS / "metrics.md").read_text("utf-8")
    assert generator().render(page.replace("| gauge |", "| counter |")) == page
