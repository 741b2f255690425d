"""A bar on a terminal, a few plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import rich.progress
from rich.console import Console


class Progress(Protocol):
    """Is told how far it has come."""

    def reached(self, done: int) -> None:
        """Show it."""
        ...


class _Bar:
    def __init__(self, bar: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        self._bar = bar
        self._task = task

    def reached(self, done: int) -> None:
        self._bar.update(self._task, completed=done, refresh=True)


class _Lines:
    def __init__(self, console: Console, name: str, total: int) -> None:
        self._console = console
        self._name = name
        self._total = total
        self._next = 1

    def reached(self, done: int) -> None:
        if done * 10 >= self._total * self._next:
            self._console.print(
                f"{self._name}: {done:,} of {self._total:,} requests", highlight=False
            )
            self._next = done * 10 // self._total + 1


@contextmanager
def progress(console: Console, name: str, total: int) -> Iterator[Progress]:
    """Show progress while the block runs; no thread draws: it would take time from the run."""
    if not console.is_terminal:
        yield _Lines(console, name, total)
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, auto_refresh=False) as bar:
        yield _Bar(bar, bar.add_task(name, total=total))
