"""What the engine asks of a binding. Each is carried out at once, in order, without blocking."""

from collections.abc import AsyncIterable

import msgspec

from pipebus.engine.calls import Call, HttpCall
from pipebus.engine.invocation import Invocation
from pipebus.http.client import AbandonConnect, ClientConnection, Connect, Resolve
from pipebus.http.session import Session

Link = Session | ClientConnection
"""A connection as a driver sees it (docs/architecture.md, "Links")."""


class Run(msgspec.Struct):
    """Run `invocation` as its `mode` says.

    Report with `begin`, then `complete` or `fail`, and always `ended` last (inline: all at once,
    in the pump).
    """

    invocation: Invocation


class Upload(msgspec.Struct):
    """Spawn a task that sends a request's body piece by piece.

    For each: wait for `Engine.upload_ready`, take a piece of `chunks`, give it to `upload_chunk`;
    `upload_end` or `upload_failed` follows. `task` is the binding's.
    """

    call: HttpCall
    chunks: AsyncIterable[bytes]
    origin: Invocation | None = None
    """Whose request it is, if a handler makes it."""
    task: object = None


class Cancel(msgspec.Struct):
    """Cancel the task of what a `Run` or an `Upload` started; a thread runs on."""

    work: Invocation | Upload


class Wake(msgspec.Struct):
    """`call` is done: wake whoever waits on it (`call.waiter`)."""

    call: Call


class Flush(msgspec.Struct):
    """`link` changed: send what it has, then look at its `wants_read` and `wants_close`."""

    link: Link


class Report(msgspec.Struct):
    """Something for an operator to know: log it (the bus has published it already)."""

    message: str
    error: BaseException | None
    """What a handler raised; None: it is a warning and nobody's failure."""
    invocation: Invocation | None = None
    """Whose failure it is, if a handler's call is to blame."""


class StopAccepting(msgspec.Struct):
    """`Limits.drain_delay` is over: take what the backlog holds, then call `Engine.drain`."""


class Drained(msgspec.Struct):
    """The drain is over: nothing is left, or `grace` has ended and the rest was cut."""


class OutgoingBody(msgspec.Struct):
    """A streamed response's body, for whoever ran the handler to iterate.

    Each piece goes to `Engine.body_chunk`, the end to `body_end`, an exception to `body_failed`;
    `ended` follows as always.
    """

    invocation: Invocation
    chunks: AsyncIterable[bytes]


Action = (
    Run
    | Upload
    | Cancel
    | Wake
    | Flush
    | Resolve
    | Connect
    | AbandonConnect
    | Report
    | StopAccepting
    | Drained
)
