"""The environment of a child process that is no part of what is covered."""

import os


def without_coverage(**changes: str) -> dict[str, str]:
    """Return this environment with `changes`, in which a child is not traced.

    For tools that test nothing of ours and for children whose time or memory is measured.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")
    }
    return kept | changes
