"""The dispatch without its short cuts, and all that must be the same with them."""

from collections.abc import Iterator

import msgspec

from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.http.dispatch import Dispatch
from pipebus.http.message import RequestInfo
from pipebus.http.response import Response
from pipebus.http.session import Session
from tests.core.dispatch.world import World


class LongWay(Dispatch):
    """Takes nothing in one go."""

    def _receive_whole(self, session: Session, data: bytes, now: float) -> bool:
        return False

    def _answer_whole(self, session: Session, exchange: Exchange, now: float) -> bool:
        return False

    def _end_whole(self, session: Session, count: int, now: float) -> bool:
        return False


class ShortWay(Dispatch):
    """Counts in `taken` what is taken in one go: a comparison that takes nothing shows nothing."""

    taken: tuple[int, int, int] = (0, 0, 0)

    def _receive_whole(self, session: Session, data: bytes, now: float) -> bool:
        return self._count(0, super()._receive_whole(session, data, now))

    def _answer_whole(self, session: Session, exchange: Exchange, now: float) -> bool:
        return self._count(1, super()._answer_whole(session, exchange, now))

    def _end_whole(self, session: Session, count: int, now: float) -> bool:
        return self._count(2, super()._end_whole(session, count, now))

    def _count(self, which: int, taken: bool) -> bool:
        counts = list(self.taken)
        counts[which] += taken
        self.taken = counts[0], counts[1], counts[2]
        return taken


def plain(thing: object) -> object:
    """Return as a value what events carry: objects that are equal to none but themselves."""
    match thing:
        case Response():
            fields = getattr(thing.headers, "raw", None)  # a program may have put anything there
            return "response", thing.status, fields, thing.body
        case RequestInfo():
            return (
                type(thing).__name__, thing.id, thing.method, thing.target, thing.headers.raw,
                thing.http_version, thing.client, thing.tls, thing.path_params, thing.route,
                getattr(thing, "body", None),
            )  # fmt: skip
        case msgspec.Struct():
            return [plain(getattr(thing, name)) for name in thing.__struct_fields__]
        case BaseException():
            return repr(thing)
    return thing


def at_hand(world: World) -> Iterator[object]:
    """Yield how things stand now: for each connection, for the peers, and in all."""
    for name, session in world.dispatch.sessions.items():
        conn, exchange, stream = session.conn, session.exchange, session.stream
        yield (
            name, session.state, session.deadline, session.deadline_reason, session.timers,
            session.half_closed, session.peer_gone, session.waits, session.admitted,
            session.client, session.key, session.holds, session.request_id,
            session.charged + (0 if session.lease is None else session.lease.size),
            session.method, session.target, session.status, session.outcome, session.reason,
            session.requests, session.bytes_in, session.bytes_out, session.close_reason,
            session.dispatched, session.began, session.completed, plain(session.response),
            None if exchange is None else (exchange.id, exchange.state, exchange.deadline),
            None if session.event is None else session.event.id,
            None if stream is None else (stream.size, stream.done, repr(stream.error)),
            session.publisher.parked, session.wants_read, session.wanted_read,
            session.wants_close, session.data_to_send(),
        )  # fmt: skip
        yield (
            name, conn._cycle.state, conn.deadline, conn.deadline_reason, conn.unsent,
            conn.bytes_in, conn.bytes_out, conn.waits_for_room, list(conn.events), conn.head,
        )  # fmt: skip
    for name, peer in world.peers.items():
        yield name, peer.received, peer.fin, peer.ended
    admission, counts = world.admission, world.bus.counts
    yield admission.in_flight, admission.connections, admission.overloaded, admission.refused
    yield admission.bodies.held, admission.bodies.waiting
    yield (
        counts.published, counts.delivered, counts.dropped, counts.opened, counts.outcomes,
        counts.replies_discarded, counts.handler_errors, world.bus.open_exchanges,
    )  # fmt: skip
    gate = world.gate
    if gate is not None:
        limiter, in_flight = gate.limiter, gate.in_flight
        yield gate.limited, gate.shed, gate.key_errors
        yield None if limiter is None else (limiter.granted, limiter.limited, limiter.keys)
        yield None if in_flight is None else (in_flight.keys, in_flight.refused)
    yield world.dispatch.refusals
    for series in world.dispatch.metrics.all():
        yield series.labels, series.duration.count, series.duration.sum
        yield series.request_size.sum, series.response_size.sum
    yield world.timers.next_deadline(), world.timers.deadline_reason, len(world.timers)
    yield world.drain.state, world.drain.deadline


def happened(world: World) -> Iterator[object]:
    """Yield what became of every request, and every event that was seen, with ids and times."""
    yield from map(plain_event, world.events)
    for span in world.spans:
        yield span.name, span.parent, span.stages, span.ended
    for exchange in world.ended:
        yield exchange.id, exchange.outcome, plain(exchange.reply), plain(exchange.error)
        yield exchange.cancel_reason, exchange.response_started, plain_event(exchange.request)


def plain_event(event: Event) -> object:
    return [plain(getattr(event, name)) for name in Event.__struct_fields__]


class WayDiffers(AssertionError):
    """The first difference between two worlds, as short as it can be told."""


def compare(short: Iterator[object], long: Iterator[object], when: object) -> None:
    """Compare item by item."""
    for one, other in zip(short, long, strict=True):
        if one != other:
            raise WayDiffers(f"after {when}:\n  in one go: {one}\n  the long way: {other}")
