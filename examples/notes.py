"""Open a database before the first request, close it after the last, and use it in threads.

Run it by `pipebus serve examples.notes:pipeline` (NOTES names the file, in memory by default), then
`curl -d 'buy tea' http://127.0.0.1:8000/notes` and `curl http://127.0.0.1:8000/notes/1`. What the
lifespan yields is `ctx.state`. sqlite3 blocks, so these handlers run in threads: the loop goes on.
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any

from pipebus import HTTPError, Pipeline, Request, Response, ThreadContext


class Notes:
    """A table of texts; its methods block, and any thread may call them."""

    def __init__(self, path: str) -> None:
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._run("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def add(self, text: str) -> int:
        (row,) = self._run("INSERT INTO notes (text) VALUES (?) RETURNING id", text)
        return int(row[0])

    def get(self, number: str) -> str | None:
        rows = self._run("SELECT text FROM notes WHERE id = ?", number)
        return str(rows[0][0]) if rows else None

    def close(self) -> None:
        self._database.close()

    def _run(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._lock, self._database:
            return self._database.execute(statement, values).fetchall()


@asynccontextmanager
async def lifespan() -> AsyncIterator[Notes]:
    notes = Notes(os.environ.get("NOTES", ":memory:"))
    try:
        yield notes
    finally:
        notes.close()


pipeline = Pipeline("notes", lifespan=lifespan)


@pipeline.route("POST /notes", thread=True)
def add(request: Request, ctx: ThreadContext[Notes]) -> Response:
    number = ctx.state.add(request.text())
    ctx.publish("notes.added", number)
    return Response(201, headers={"location": f"/notes/{number}"})


@pipeline.route("GET /notes/{number}", thread=True)
def get(request: Request, ctx: ThreadContext[Notes]) -> Response:
    text = ctx.state.get(request.path_params["number"])
    if text is None:
        raise HTTPError(404, "there is no such note")
    return Response.text(text)
