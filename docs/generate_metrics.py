"""Write the table of metrics into docs/metrics.md: `python docs/generate_metrics.py`."""

import sys
from pathlib import Path
from typing import Final

from pipebus.engine.metrics import METRICS

PAGE: Final = Path(__file__).with_name("metrics.md")
BEGIN: Final = "<!-- begin: docs/generate_metrics.py -->\n"
END: Final = "<!-- end -->\n"


def table() -> str:
    """Write one row for each metric, under the name that a query needs."""
    rows = ["| name | type | labels | what it tells |", "|---|---|---|---|"]
    for metric in METRICS:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = " ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"


def render(page: str) -> str:
    """Return the page with the table between the markers replaced by the current one."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
