"""Write the diagram of a request's states into docs/states.md: `python docs/generate_states.py`."""

import sys
from pathlib import Path
from typing import Final

from pipebus.http.cycle import IDLE, TRANSITIONS

PAGE: Final = Path(__file__).with_name("states.md")
BEGIN: Final = "<!-- begin: docs/generate_states.py -->\n"
END: Final = "<!-- end -->\n"


def diagram() -> str:
    """Draw the transitions as a mermaid state diagram; every state leads to its closed end."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {IDLE}"]
    for state, moves in TRANSITIONS.items():
        lines += [f"    {state} --> {after} : {move}" for move, after in moves.items()]
        if not moves:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```", ""])


def render(page: str) -> str:
    """Return the page with what is between the markers replaced by the current diagram."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + diagram() + END + after


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
