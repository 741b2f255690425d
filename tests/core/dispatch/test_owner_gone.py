"""The table "state x owner gone" of an HTTP cycle: what is answered, and nothing is left behind.

A row is where a request stands, a column who vanishes or runs out; the table generates the tests.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from pipebus.http.response import Response
from tests.core.dispatch.world import Peer, World, streamed

GET: Final = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST: Final = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


ENDS: Final = ("net.http.response", "net.http.error")


class Cell(NamedTuple):
    """What is seen from outside."""

    statuses: list[int]
    """Of the responses that began."""
    end: str
    """How the socket ended: closed or reset by the server, gone by the peer, or still open."""
    outcome: str = ""
    """The exchange's; empty where none was opened."""
    published: str = ""
    """response, or error and its reason; empty for nothing."""


def make() -> tuple[World, Peer]:
    world = World(
        max_in_flight=2,
        head_timeout=10.0,
        idle_timeout=11.0,
        body_timeout=12.0,
        write_timeout=13.0,
        linger_timeout=2.0,
        request_timeout=20.0,
        stream_idle=14.0,
        grace=5.0,
    )
    world.route("GET /a", concurrency=1)
    world.route("POST /b")
    world.route("PUT /full")
    return world, world.connect()


# --- rows --------------------------------------------------------------------------------------


def no_head(world: World, peer: Peer) -> None:
    pass


def head_partly(world: World, peer: Peer) -> None:
    peer.send(GET[:9])


def body_partly(world: World, peer: Peer) -> None:
    peer.send(POST[:-2])


def queued(world: World, peer: Peer) -> None:
    first = world.connect()
    first.send(GET)
    peer.send(GET)
    # Who has the slot leaves, but its handler runs on: the slot stays taken.
    first.reset()
    assert len(world.started) == 1
    assert world.bus.open_exchanges == 1


def running(world: World, peer: Peer) -> None:
    peer.send(GET)


def streaming(world: World, peer: Peer) -> None:
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    world.dispatch.stream_chunk(exchange, b"x", world.now)
    world.pump()


def buffered(world: World, peer: Peer) -> None:
    peer.reads = False
    peer.send(GET)
    world.reply()


def lingering(world: World, peer: Peer) -> None:
    peer.send(b"GET /a HTTP/1.1\r\nNo Host: at all\r\n\r\n")
    assert peer.fin


# --- columns -----------------------------------------------------------------------------------


def reset(world: World, peer: Peer) -> None:
    peer.reset()


def eof(world: World, peer: Peer) -> None:
    """FIN and nothing else; what is being answered is answered after 3 s, if at all."""
    peer.shut()
    world.wait(3.0)
    go_on(world, peer)


def timeout(world: World, peer: Peer) -> None:
    world.wait(20.0)
    peer.flush()


def drain_and_grace(world: World, peer: Peer) -> None:
    world.dispatch.drain(world.now)
    world.pump()
    world.wait(5.0)


def handler_cancelled(world: World, peer: Peer) -> None:
    """The handler's task was cancelled from outside; where there is none, one that was begins."""
    finish_request(world, peer)
    exchange = next((e for e in world.bus._open.values()), None)
    if exchange is None:
        return
    if exchange.state == "queued":
        world.finish(world.started[0])
    if exchange.state == "streaming":
        world.dispatch.stream_failed(exchange, RuntimeError("cancelled"), world.now)
    else:
        world.bus.fail(exchange, RuntimeError("cancelled"), world.now)
    world.finish(exchange)


def admission_full(world: World, peer: Peer) -> None:
    """Others take what is left of `max_in_flight`; then it goes on."""
    for _ in range(2):
        world.connect().send(PUT_FULL)
    assert world.admission.in_flight == 2
    go_on(world, peer)


PUT_FULL: Final = b"PUT /full HTTP/1.1\r\nHost: h\r\n\r\n"


def finish_request(world: World, peer: Peer) -> None:
    """Send what is missing of the request."""
    conn = peer.session.conn
    if peer.session.state == "reading":
        peer.send(POST[-2:])
    elif peer.session.state == "idle":
        peer.send(GET[9:] if conn.deadline_reason == "head_timeout" and heads(peer) else GET)


def heads(peer: Peer) -> bool:
    """Whether a part of a head is there."""
    return len(peer.session.conn._heads) > 0


def go_on(world: World, peer: Peer) -> None:
    """Let request and answer come to their ends."""
    finish_request(world, peer)
    session = peer.session
    exchange = session.exchange
    if exchange is not None:
        if exchange.state == "queued":
            world.finish(world.started[0])
        if exchange.state == "streaming":
            world.dispatch.stream_end(exchange, world.now)
            world.pump()
        else:
            world.reply(Response.text("ok"), exchange)
    peer.read_again()


STATES: Final[dict[str, Callable[[World, Peer], None]]] = {
    f.__name__: f
    for f in (
        no_head, head_partly, body_partly, queued, running, streaming, buffered, lingering,
    )
}  # fmt: skip
OWNERS: Final[dict[str, Callable[[World, Peer], None]]] = {
    f.__name__: f for f in (reset, eof, timeout, drain_and_grace, handler_cancelled, admission_full)
}

TABLE: Final[dict[tuple[str, str], Cell]] = {
    ("no_head", "reset"): Cell([], "gone"),
    ("no_head", "eof"): Cell([], "closed"),
    ("no_head", "timeout"): Cell([], "closed"),  # silently: no byte came
    ("no_head", "drain_and_grace"): Cell([], "closed"),
    ("no_head", "handler_cancelled"): Cell([500], "open", "failed", "response"),
    ("no_head", "admission_full"): Cell([503], "open", "", "response"),
    ("head_partly", "reset"): Cell([], "gone"),
    ("head_partly", "eof"): Cell([], "closed"),
    ("head_partly", "timeout"): Cell([408], "closed", "", "response"),
    ("head_partly", "drain_and_grace"): Cell([], "closed"),
    ("head_partly", "handler_cancelled"): Cell([500], "open", "failed", "response"),
    ("head_partly", "admission_full"): Cell([503], "open", "", "response"),
    ("body_partly", "reset"): Cell([], "gone"),
    ("body_partly", "eof"): Cell([], "closed"),
    ("body_partly", "timeout"): Cell([408], "closed", "", "response"),
    ("body_partly", "drain_and_grace"): Cell([503], "lingering", "", "response"),
    ("body_partly", "handler_cancelled"): Cell([500], "open", "failed", "response"),
    ("body_partly", "admission_full"): Cell([503], "open", "", "response"),
    ("queued", "reset"): Cell([], "gone", "cancelled", "error disconnect"),
    ("queued", "eof"): Cell([], "closed", "cancelled", "error disconnect"),
    ("queued", "timeout"): Cell([504], "open", "timed_out", "response"),
    ("queued", "drain_and_grace"): Cell([503], "lingering", "cancelled", "response"),
    ("queued", "handler_cancelled"): Cell([500], "open", "failed", "response"),
    ("queued", "admission_full"): Cell([200], "open", "replied", "response"),  # it is in already
    ("running", "reset"): Cell([], "gone", "cancelled", "error disconnect"),
    ("running", "eof"): Cell([], "closed", "cancelled", "error disconnect"),
    ("running", "timeout"): Cell([504], "open", "timed_out", "response"),
    ("running", "drain_and_grace"): Cell([503], "lingering", "cancelled", "response"),
    ("running", "handler_cancelled"): Cell([500], "open", "failed", "response"),
    ("running", "admission_full"): Cell([200], "open", "replied", "response"),
    ("streaming", "reset"): Cell([200], "gone", "cancelled", "error disconnect"),
    ("streaming", "eof"): Cell([200], "closed", "cancelled", "error disconnect"),
    ("streaming", "timeout"): Cell([200], "closed", "failed", "error stream_idle"),
    ("streaming", "drain_and_grace"): Cell([200], "closed", "cancelled", "error shutdown"),
    ("streaming", "handler_cancelled"): Cell([200], "closed", "failed", "error handler"),
    ("streaming", "admission_full"): Cell([200], "open", "replied", "response"),
    ("buffered", "reset"): Cell([], "gone", "replied", "error disconnect"),
    ("buffered", "eof"): Cell([200], "closed", "replied", "response"),
    ("buffered", "timeout"): Cell([], "reset", "replied", "error write_timeout"),
    ("buffered", "drain_and_grace"): Cell([], "open"),  # the drain's own lingering ends it
    ("buffered", "handler_cancelled"): Cell([], "open"),  # there is none any more
    ("buffered", "admission_full"): Cell([200], "open", "replied", "response"),
    ("lingering", "reset"): Cell([400], "gone", "", "response"),
    ("lingering", "eof"): Cell([400], "closed", "", "response"),
    ("lingering", "timeout"): Cell([400], "closed", "", "response"),
    ("lingering", "drain_and_grace"): Cell([400], "closed", "", "response"),
    ("lingering", "handler_cancelled"): Cell([400], "lingering", "", "response"),
    ("lingering", "admission_full"): Cell([400], "lingering", "", "response"),
}


def play(state: str, owner: str) -> tuple[World, Cell]:
    world, peer = make()
    STATES[state](world, peer)
    OWNERS[owner](world, peer)
    ends = [
        event
        for event in world.events
        if event.type in ENDS and event.source == peer.session.publisher.name
    ]
    assert len(ends) <= 1
    outcome = published = ""
    for event in ends:
        outcome = event.data.outcome
        published = "response"
        if event.type == "net.http.error":
            published = f"error {event.data.reason}"
    statuses = [int(part[:3]) for part in peer.received.split(b"HTTP/1.1 ")[1:]]
    end = peer.ended or ("lingering" if peer.fin else "open")
    return world, Cell(statuses, end, outcome, published)


def test_the_table_has_no_empty_cell() -> None:
    assert set(TABLE) == {(state, owner) for state in STATES for owner in OWNERS}


@pytest.mark.parametrize(("state", "owner"), TABLE)
def test_cell(state: str, owner: str) -> None:
    world, cell = play(state, owner)
    assert cell == TABLE[state, owner]
    for each in world.peers.values():
        each.reset()
    for exchange in list(world.started):
        world.finish(exchange)
    world.assert_nothing_left()
    answered = [e.correlation_id for e in world.events if e.type in ENDS and e.causation_id]
    asked = [e.id for e in world.events if e.type == "net.http.request"]
    assert sorted(answered) == sorted(asked)
    assert len(asked) == world.bus.counts.opened == sum(world.bus.counts.outcomes.values())
