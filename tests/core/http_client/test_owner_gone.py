"""State of a call x what happens to it: the table, and a test for each of its cells."""

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from pipebus.errors import (
    CallCancelled,
    ConnectError,
    ConnectTimeout,
    PoolTimeout,
    ReadTimeout,
    TotalTimeout,
    UpstreamProtocolError,
    WriteTimeout,
)
from pipebus.http.client import ClientCall, ClientConnection
from pipebus.limits import Timeouts
from pipebus.resilience.policies import RetryPolicy
from tests.core.http_client.world import NO_TIMEOUTS, OK, World

NAMED: Final = "http://a.example/"


class Answer(NamedTuple):
    """What the call ends with (None: it goes on, or had ended), and what is closed for it."""

    error: type[Exception] | None
    closed: str = ""


ON: Final = Answer(None)
STATES: Final = (
    "waiting",
    "resolving",
    "connecting",
    "sending",
    "reading head",
    "reading body",
    "backoff",
    "done",
)
EVENTS: Final = (
    "cancel",
    "pool timeout",
    "connect timeout",
    "write timeout",
    "read timeout",
    "total timeout",
    "peer gone",
    "drain",
    "close",
)

CANCELLED: Final = Answer(CallCancelled)
RESET: Final = Answer(CallCancelled, "reset")
TABLE: Final[dict[str, dict[str, Answer]]] = {
    "cancel": {
        "waiting": CANCELLED,
        "resolving": CANCELLED,
        "connecting": Answer(CallCancelled, "attempt"),
        "sending": RESET,
        "reading head": RESET,
        "reading body": RESET,
        "backoff": CANCELLED,
        "done": ON,
    },
    "pool timeout": {
        "waiting": Answer(PoolTimeout),
        "resolving": ON,
        "connecting": ON,
        "sending": ON,
        "reading head": ON,
        "reading body": ON,
        "backoff": ON,
        "done": ON,
    },
    "connect timeout": {
        "waiting": ON,
        "resolving": Answer(ConnectTimeout),
        "connecting": Answer(ConnectTimeout, "attempt"),
        "sending": ON,
        "reading head": ON,
        "reading body": ON,
        "backoff": ON,
        "done": ON,
    },
    "write timeout": {
        "waiting": ON,
        "resolving": ON,
        "connecting": ON,
        "sending": Answer(WriteTimeout, "reset"),
        "reading head": ON,
        "reading body": ON,
        "backoff": ON,
        "done": ON,
    },
    "read timeout": {
        "waiting": ON,
        "resolving": ON,
        "connecting": ON,
        "sending": ON,
        "reading head": Answer(ReadTimeout, "reset"),
        "reading body": Answer(ReadTimeout, "reset"),
        "backoff": ON,
        "done": ON,
    },
    "total timeout": {
        "waiting": Answer(TotalTimeout),
        "resolving": Answer(TotalTimeout),
        "connecting": Answer(TotalTimeout, "attempt"),
        "sending": Answer(TotalTimeout, "reset"),
        "reading head": Answer(TotalTimeout, "reset"),
        "reading body": Answer(TotalTimeout, "reset"),
        "backoff": Answer(TotalTimeout),  # of the next attempt
        "done": ON,
    },
    "peer gone": {
        # Its slot was held by a call to the same server: it is free now.
        "waiting": Answer(None, "after-flush"),
        "resolving": Answer(ConnectError),
        "connecting": Answer(ConnectError),
        "sending": Answer(UpstreamProtocolError, "after-flush"),
        "reading head": Answer(UpstreamProtocolError, "after-flush"),
        "reading body": Answer(UpstreamProtocolError, "after-flush"),
        "backoff": ON,  # there is none
        "done": Answer(None, "after-flush"),
    },
    "drain": {
        "waiting": ON,
        "resolving": ON,
        "connecting": ON,
        "sending": ON,
        "reading head": ON,
        "reading body": ON,
        "backoff": Answer(ConnectError),  # what the last attempt ended with
        "done": Answer(None, "after-flush"),
    },
    "close": {
        "waiting": RESET,  # the connection of the call that holds the slot
        "resolving": CANCELLED,
        "connecting": Answer(CallCancelled, "attempt"),
        "sending": RESET,
        "reading head": RESET,
        "reading body": RESET,
        "backoff": CANCELLED,
        "done": Answer(None, "after-flush"),
    },
}


def test_no_cell_is_empty() -> None:
    assert set(TABLE) == set(EVENTS)
    for row in TABLE.values():
        assert tuple(row) == STATES


class Scene:
    """A client with one slot and a call in a given state."""

    def __init__(self, state: str, timeouts: Timeouts) -> None:
        # In `backoff` there are four seconds to the second attempt, the last one.
        retry = RetryPolicy(attempts=2, base=8.0, cap=8.0) if state == "backoff" else None
        self.world = world = World(max_connections=1, retry=retry)
        self.conn: ClientConnection | None = None
        self.blocker: ClientCall | None = None
        if state == "waiting":
            self.blocker = world.call(NAMED)
            world.resolve(("10.0.0.1", 80))
            self.conn = world.connect()
        if state == "sending":
            world.send_at_once = False
        self.call = world.call(NAMED, "POST", b"body", timeouts=timeouts)
        if state in {"connecting", "sending", "reading head", "reading body", "done"}:
            world.resolve(("10.0.0.1", 80))
        if state in {"sending", "reading head", "reading body", "done"}:
            self.conn = world.connect()
            self.conn.data_to_send()
        if state == "reading body":
            world.feed(self.conn_, OK[:-1])
        if state == "done":
            world.feed(self.conn_, OK)
        if state == "backoff":
            world.resolve(("10.0.0.1", 80))
            world.refuse()
        assert self.call.state == state

    @property
    def conn_(self) -> ClientConnection:
        assert self.conn is not None
        return self.conn

    def peer_gone(self) -> None:
        world = self.world
        if self.call.state == "backoff":
            return
        if self.conn is not None:
            world.lose(self.conn)
        elif world.resolving:
            error = OSError("no such name")
            world.client.resolve_failed(world.resolving.pop().id, error, world.now)
            world.pump()
        else:
            world.refuse()

    def happen(self, event: str) -> None:
        world = self.world
        do: dict[str, Callable[[], None]] = {
            "cancel": lambda: world.cancel(self.call),
            "peer gone": self.peer_gone,
            "drain": lambda: world.client.drain(world.now),
            "close": lambda: world.client.close(world.now),
        }
        do.get(event, lambda: world.wait(5.0))()
        world.pump()

    def closed(self) -> str:
        if self.world.abandoned:
            return "attempt"
        return self.world.closed[0].wants_close.value if self.world.closed else ""

    def serve_the_rest(self) -> None:
        """Bring a call that goes on to its end: nothing was lost on the way."""
        world = self.world
        if self.blocker is not None and not self.blocker.done:
            world.feed(self.conn_, OK)
        world.send_at_once = True
        if not self.call.done:
            self._serve(self.call)
            assert self.call.response is not None

    def _serve(self, call: ClientCall) -> None:
        world = self.world
        if call.state == "backoff":
            world.wait(4.0)
        if world.resolving:
            world.resolve(("10.0.0.1", 80))
        if world.connecting:
            world.connect()
        assert call.connection is not None
        world.flush(call.connection)
        world.feed(call.connection, b"i" if call.head is not None else OK)

    def slot_is_free(self) -> bool:
        call = self.world.call(NAMED)
        self._serve(call)
        return call.response is not None


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_cell(state: str, event: str) -> None:
    timeouts = NO_TIMEOUTS
    if event.endswith(" timeout"):
        name = event.removesuffix(" timeout")
        seconds: dict[str, float | None] = dict.fromkeys(
            ["connect", "write", "read", "pool", "total"]
        )
        timeouts = Timeouts(**{**seconds, name: 5.0})
    scene = Scene(state, timeouts)
    before = (scene.call.error, scene.call.response)
    scene.happen(event)
    answer = TABLE[event][state]
    assert scene.closed() == answer.closed
    if answer.error is not None:
        assert type(scene.call.error) is answer.error
        assert scene.call.state == "done"
    else:
        assert (scene.call.error, scene.call.response) == before
    if scene.call.done:
        scene.world.resolving.clear()
    if event != "close":
        scene.serve_the_rest()
        assert scene.slot_is_free()
    assert scene.world.client.unfinished == len(scene.world.open)
    scene.world.check_nothing_left()
