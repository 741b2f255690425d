"""What must be true after any play, whatever happened in it."""

from collections import Counter

import h11

from pipebus.engine.calls import HttpCall
from pipebus.engine.engine import Engine
from pipebus.errors import PipebusError
from pipebus.http.client import ClientResponse
from pipebus.http.events import HttpFailed, HttpResponded
from pipebus.testing.simulation import left_behind
from tests.core.simulation.peers import Peer, read_answers
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import ECHOES


def check(rig: Rig) -> None:
    """Check everything."""
    nothing_is_left(rig)
    counts_balance(rig)
    events_pair(rig)
    order_is_kept(rig)
    memory_is_bounded(rig)
    for peer in rig.peers:
        answers_are_right(peer, cut=peer.end is not None and peer.end.lost)
    calls_have_ended(rig)
    assert rig.app.diary.surprises == []


def nothing_is_left(rig: Rig) -> None:
    for node in rig.nodes:
        engine = node.engine
        assert not any(left_behind(engine).values()), (node.name, left_behind(engine))
        assert node.tasks == 0
        pool = engine.client.pool
        assert (pool.slots, pool.idle, len(pool.blocked), pool.origins) == (0, 0, 0, {})
        _nothing_is_held(engine)
    assert rig.network.open_pipes == 0


def _nothing_is_held(engine: Engine) -> None:
    """Look at what `left_behind` does not count because only a bug could leave it."""
    bus = engine.bus
    assert bus.settled
    assert bus._leases == {}
    assert bus.next_output() is None
    assert engine.next_action() is None
    assert engine.next_deadline() is None
    assert engine._readers == {}
    assert engine._calls._readers == {}
    assert engine._handlers._rooms == {}
    assert engine.dispatch.sessions == {}
    for subscription in bus._subs.values():
        assert (subscription.queued, subscription.parked, subscription.runner) == (0, 0, None)


def counts_balance(rig: Rig) -> None:
    counts = rig.engine.bus.counts
    assert counts.opened == sum(counts.outcomes.values())
    dropped: Counter[str] = Counter()
    for sub in rig.subscriptions:
        rest = sub.queued + sub.parked
        assert sub.matched == sub.delivered + sum(sub.dropped.values()) + rest, sub
        dropped.update(sub.dropped)
    assert dropped == counts.dropped
    assert counts.delivered == sum(sub.delivered for sub in rig.subscriptions)
    recorder = next(sub for sub in rig.subscriptions if sub.pattern == ">")
    assert recorder.dropped == {}
    assert len(rig.events) == counts.published == recorder.delivered


def events_pair(rig: Rig) -> None:
    """Every request that was dispatched has one end, and what was not has none that names it."""
    asked = [event for event in rig.events if event.type == "net.http.request"]
    ends = [event for event in rig.events if event.type in ("net.http.response", "net.http.error")]
    answered = Counter(event.causation_id for event in ends if event.causation_id)
    assert answered == Counter(event.id for event in asked)
    by_id = {event.id: event for event in asked}
    for event in ends:
        data = event.data
        assert isinstance(data, HttpResponded | HttpFailed)
        assert (data.outcome != "") == (event.causation_id != "")
        if event.causation_id:
            request = by_id[event.causation_id]
            assert event.correlation_id == request.correlation_id == request.id
            assert event.time >= request.time
        if isinstance(data, HttpResponded):
            assert data.status >= 200
        else:
            assert data.reason
    opened = Counter(e.source for e in rig.events if e.type == "net.connection.open")
    closed = Counter(e.source for e in rig.events if e.type == "net.connection.close")
    assert opened == closed
    assert set(opened.values()) <= {1}


def memory_is_bounded(rig: Rig) -> None:
    """A connection parks its opening, one request, that one's end and its closing, and no more."""
    assert rig.engine.most_parked <= 4


def order_is_kept(rig: Rig) -> None:
    """Each subscription is given events in the order in which they were published."""
    for who, serials in rig.app.seen.serials.items():
        assert serials == sorted(set(serials)), who


def answers_are_right(peer: Peer, *, cut: bool) -> None:
    """h11 accepts every answer, in the order of the requests, each with its own body."""
    try:
        answers, rest = read_answers(peer)
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"{peer.name} got {peer.received[:2_000]!r}") from error
    assert len(answers) <= peer.begun()
    for request, (status, body) in zip(peer.asked, answers, strict=False):
        route = request.path.split("/")[1]
        if status == 200 and route in ECHOES:
            assert request.good
            assert body == (b"" if request.method == "HEAD" else request.body)
        if not request.good:
            assert status >= 400
        if route == "missing" and request.good:
            assert status in (404, 408, 503)
    # What follows the last whole answer is one that was cut, or not read to its end.
    if rest:
        assert len(answers) < peer.begun()
        assert cut or (peer.end is not None and (peer.end.eof or not peer.end.reading))


def calls_have_ended(rig: Rig) -> None:
    """Nobody waits for ever, and what is raised is documented."""
    for act, call in rig.calls:
        assert call.done, act
        if call.error is not None:
            assert isinstance(call.error, PipebusError), act
        elif isinstance(call, HttpCall) and act.kind == "call":
            response = call.value
            if isinstance(response, ClientResponse) and response.status == 200:
                _echoed(act.topic, act.data, response)


def _echoed(path: str, body: bytes, response: ClientResponse) -> None:
    if path.split("/")[1] in ECHOES:
        assert response.body == body, path
