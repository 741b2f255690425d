"""Write the table of situations and answers into docs/http.md: `python docs/generate_problem_table.py`."""

import sys
from pathlib import Path
from typing import Final

from pipebus.http.problem import table

PAGE: Final = Path(__file__).with_name("http.md")
BEGIN: Final = "<!-- begin: docs/generate_problem_table.py -->\n"
END: Final = "<!-- end -->\n"


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
