"""Connections come and go: bounds, half-closes, parked events, the drain."""

import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.server_events import Close
from pipebus.resilience.admission import ANSWERED_OVER_LIMIT
from tests.core.dispatch.world import Peer, World, streamed

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def post(size: int) -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


def wants_read(peer: Peer) -> bool:
    return peer.session.wants_read


def served(**limits: object) -> tuple[World, Peer]:
    world = World(**limits)
    world.route("GET /a")
    world.route("POST /a", concurrency=1)
    return world, world.connect()


# --- max_connections ---------------------------------------------------------------------------


def test_one_connection_too_many_is_answered_503_and_closed() -> None:
    world, _ = served(max_connections=1)
    second = world.connect()
    assert second.received == b""  # its request is heard first, so that the answer is one
    second.send(GET)
    ((status, fields, _),) = second.responses
    assert (status, fields["connection"]) == (503, "close")
    assert "retry-after" in fields
    assert second.fin
    second.shut()
    assert second.ended == "closed"
    assert world.admission.connections == 1


def test_far_too_many_are_closed_unheard() -> None:
    world, _ = served(max_connections=1)
    peers = [world.connect() for _ in range(ANSWERED_OVER_LIMIT + 1)]
    assert [peer.ended for peer in peers[:-1]] == [""] * ANSWERED_OVER_LIMIT
    assert peers[-1].ended
    assert peers[-1].received == b""
    assert world.of("net.connection.close")[-1].data.reason == "max_connections"
    peers[0].reset()
    assert world.connect().is_open()


def test_connections_behind_a_load_balancer_are_their_clients() -> None:
    world, _ = served(max_connections_per_client=2, max_connections=6)
    balancer = [world.connect(("192.0.2.9", port), proxied=True) for port in range(4)]
    for peer, host in zip(balancer, (7, 7, 8, 7), strict=True):
        world.dispatch.proxied(peer.session, (f"203.0.113.{host}", 1), world.now)
        peer.send(GET)
        if world.started:
            world.reply()
    assert [peer.statuses for peer in balancer] == [[200], [200], [200], [503]]
    over = world.connect(("192.0.2.9", 4), proxied=True)
    one_more = world.connect(("192.0.2.9", 5), proxied=True)
    assert over.session.refused == ""
    assert one_more.session.refused == "max_connections"
    for peer in (over, one_more):
        world.dispatch.proxied(peer.session, ("203.0.113.8", 1), world.now)
    over.send(GET)
    world.reply()
    assert over.statuses == [200]
    one_more.send(GET)
    assert one_more.statuses == [503]  # whoever it is: there are too many in all
    for peer in [*world.peers.values()]:
        peer.reset()
    world.assert_nothing_left()


def test_far_too_many_connections_of_a_client_are_closed_unheard() -> None:
    world, first = served(max_connections_per_client=1, max_connections=10)
    heard, unheard = world.connect(), world.connect()
    assert (heard.is_open(), unheard.ended) == (True, "closed")
    assert world.admission.connections == 2
    assert world.connect(("192.0.2.2", 1)).session.refused == ""
    late = world.connect(("192.0.2.9", 1), proxied=True)
    world.dispatch.proxied(late.session, ("192.0.2.1", 2), world.now)
    world.pump()
    assert late.ended == "closed"
    assert [e.data.reason for e in world.of("net.connection.close")] == [
        "max_connections_per_client"
    ] * 2
    heard.send(GET)
    assert heard.statuses == [503]
    first.reset()  # one that was refused does not keep it from a place that is free
    assert world.connect().session.refused == ""


# --- half-close and disconnect -----------------------------------------------------------------


def test_a_half_closed_peer_is_answered() -> None:
    world, peer = served()
    peer.send(GET)
    peer.shut()
    world.wait(0.9)
    world.reply()
    assert peer.statuses == [200]
    assert peer.ended == "closed"
    world.assert_nothing_left()


def test_a_handler_that_runs_on_after_a_half_close_is_cancelled() -> None:
    world, peer = served(half_close_grace=1.0)
    peer.send(GET)
    exchange = world.started[0]
    peer.shut()
    assert world.timers.deadline_reason == "half_close_grace"
    world.wait(1.0)
    assert (exchange.outcome, exchange.cancel_reason) == ("cancelled", "disconnect")
    assert peer.received == b""
    assert peer.ended
    (event,) = world.of("net.http.error")
    assert (event.data.reason, event.data.status, event.data.outcome) == (
        "disconnect",
        0,
        "cancelled",
    )
    world.assert_nothing_left()


def test_pipelined_requests_before_a_half_close_are_all_answered() -> None:
    world, peer = served()
    peer.send(GET + GET)
    peer.shut()
    world.reply()
    world.wait(0.5)
    world.reply()
    assert peer.statuses == [200, 200]
    assert peer.ended == "closed"


def test_a_stream_to_a_half_closed_peer_goes_on_while_it_moves() -> None:
    world, peer = served(half_close_grace=1.0)
    peer.send(GET)
    exchange = world.started[0]
    peer.shut()
    world.wait(0.9)
    world.stream(streamed())
    for _ in range(5):
        world.wait(0.9)
        world.dispatch.stream_chunk(exchange, b"x", world.now)
        world.pump()
    assert peer.is_open()
    world.wait(1.0)
    assert exchange.outcome == "cancelled"
    assert peer.ended


def test_a_disconnect_cancels_the_handler_at_once_and_writes_nothing() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    peer.reset()
    assert (exchange.outcome, exchange.cancel_reason) == ("cancelled", "disconnect")
    assert world.ended == [exchange]
    assert peer.received == b""
    world.reply(exchange=exchange)  # late
    assert [e.type for e in world.events if e.type.startswith("net.http")] == [
        "net.http.request",
        "net.http.error",
    ]
    world.assert_nothing_left()


def test_fin_inside_a_body_is_a_disconnect_that_publishes_no_request() -> None:
    world, peer = served()
    peer.send(post(5)[:-1])
    peer.shut()
    assert peer.received == b""
    assert peer.ended
    assert [e.type for e in world.events] == ["net.connection.open", "net.connection.close"]
    assert world.of("net.connection.close")[0].data.reason == "disconnect"
    world.assert_nothing_left()


def test_an_answer_that_did_not_leave_is_an_error() -> None:
    world, peer = served()
    peer.reads = False
    peer.send(GET)
    exchange = world.reply()
    peer.reset()
    assert exchange.outcome == "replied"
    (event,) = world.of("net.http.error")
    assert (event.data.reason, event.data.outcome, event.data.status) == (
        "disconnect",
        "replied",
        200,
    )
    assert world.of("net.http.response") == []
    world.assert_nothing_left()


def test_a_disconnect_at_the_deadline_is_not_answered_either() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.now += 30.0
    peer.reset()
    assert exchange.outcome == "timed_out"
    assert world.of("net.http.response") == []
    assert world.of("net.http.error")[0].data.reason == "disconnect"


def test_losing_a_connection_twice_is_losing_it_once() -> None:
    world, peer = served()
    peer.reset()
    world.dispatch.connection_lost(peer.session, world.now)
    assert world.admission.connections == 0
    assert len(world.of("net.connection.close")) == 1


def test_an_idle_connection_is_closed_and_says_why() -> None:
    world, peer = served(idle_timeout=75.0)
    peer.send(GET)
    world.reply()
    world.wait(74.0)
    assert peer.is_open()
    world.wait(1.0)
    assert peer.ended == "closed"
    assert world.of("net.connection.close")[0].data.reason == "idle_timeout"
    world.assert_nothing_left()


def test_a_head_that_does_not_come_is_408_or_silence() -> None:
    world, silent = served(head_timeout=10.0)
    slow = world.connect()
    slow.send(b"GET /a")
    world.wait(10.0)
    assert silent.received == b""
    assert silent.ended == "closed"
    assert slow.statuses == [408]
    world.wait(10.0)
    slow.shut()
    world.assert_nothing_left()


def test_a_peer_that_takes_nothing_is_reset() -> None:
    world, peer = served(write_timeout=30.0)
    peer.reads = False
    peer.send(GET)
    world.reply()
    world.wait(30.0)
    assert peer.session.wants_close is Close.RESET
    assert world.of("net.http.error")[0].data.reason == "write_timeout"
    peer.flush()
    peer.reads = True
    peer.flush()
    assert peer.ended == "reset"
    assert world.of("net.connection.close")[0].data.reason == "write_timeout"
    world.assert_nothing_left()


# --- max_buffered ------------------------------------------------------------------------------


def test_a_body_waits_for_room_and_is_dispatched_when_there_is_some() -> None:
    world, peer = served(max_buffered=100, buffered_wait=5.0)
    other = world.connect()
    peer.send(post(90))
    other.send(post(20))
    assert len(world.started) == 1
    assert world.admission.bodies.held == 90
    world.wait(4.9)
    world.reply()
    assert world.admission.bodies.held == 20
    request = world.started[0].request.data
    assert isinstance(request, Request)
    assert len(request.body) == 20
    world.reply()
    assert other.statuses == [200]
    assert world.admission.bodies.held == 0


def test_a_body_that_finds_no_room_in_time_is_503() -> None:
    world, peer = served(max_buffered=100, buffered_wait=5.0)
    other = world.connect()
    peer.send(post(90))
    other.send(post(20))
    assert world.timers.deadline_reason == "buffered_wait"
    world.wait(5.0)
    ((status, fields, _),) = other.responses
    assert (status, "retry-after" in fields) == (503, True)
    assert world.admission.bodies.waiting == 0
    assert world.bus.counts.opened == 1


def test_a_body_under_way_is_paused_with_its_timers_and_goes_on() -> None:
    world, peer = served(max_buffered=100, buffered_wait=50.0, body_timeout=10.0, read_ahead=1)
    other = world.connect()
    peer.send(post(90))
    whole = post(30)
    other.send(whole[:-10])
    assert world.admission.bodies.waiting == 1
    other.send(whole[-10:-5])
    assert wants_read(other) is False
    world.wait(20.0)  # over the body's own timeout
    assert other.received == b""
    assert world.admission.bodies.held == 90
    world.reply()
    assert world.admission.bodies.held == 25
    assert wants_read(other) is True
    other.send(whole[-5:])
    world.reply()
    assert other.statuses == [200]


def test_a_waiting_body_whose_peer_leaves_makes_room() -> None:
    world, peer = served(max_buffered=100)
    second, third = world.connect(), world.connect()
    peer.send(post(90))
    second.send(post(50))
    third.send(post(10))
    assert world.admission.bodies.waiting == 2
    second.reset()
    assert world.admission.bodies.waiting == 0
    assert world.admission.bodies.held == 100
    assert world.bus.counts.opened == 2


def test_a_granted_body_whose_peer_half_closed_meanwhile_has_its_grace() -> None:
    world, peer = served(max_buffered=100)
    other = world.connect()
    peer.send(post(90))
    other.send(post(20))
    other.shut()
    world.reply()
    exchange = world.started[0]
    world.wait(1.0)
    assert exchange.outcome == "cancelled"
    assert other.ended


def test_a_body_is_held_while_a_subscriber_has_its_event_in_the_queue() -> None:
    world, peer = served()
    sub = world.bus.subscribe("net.http.request", world.now)
    peer.send(post(40))
    world.reply()
    assert world.admission.bodies.held == 40
    world.bus.take(sub, world.now)
    assert world.admission.bodies.held == 0


# --- parked events -----------------------------------------------------------------------------


def test_a_full_lossless_queue_stops_the_next_request_and_no_answer() -> None:
    world, peer = served()
    sub = world.bus.subscribe("net.http.request", world.now, maxsize=1)
    peer.send(GET + GET + GET)
    world.reply()
    world.reply()  # the second one's event is parked: it is answered all the same
    assert peer.statuses == [200, 200]
    assert world.started == []
    world.bus.take(sub, world.now)
    world.pump()
    assert len(world.started) == 1


def test_after_publish_timeout_the_parked_events_are_dropped_and_it_reads_on() -> None:
    world, peer = served(publish_timeout=30.0, idle_timeout=100.0)
    world.bus.subscribe("net.http.request", world.now, maxsize=1)
    peer.send(GET + GET + GET)
    world.reply()
    world.reply()
    world.wait(29.0)
    assert world.started == []
    world.wait(1.0)
    assert len(world.started) == 1
    assert world.bus.counts.dropped["publish_timeout"] == 1
    assert any(event.type.startswith("pipebus.events.dropped") for event in world.events)
    world.reply()
    assert peer.statuses == [200, 200, 200]


def test_a_closed_connection_keeps_its_place_until_its_events_are_gone() -> None:
    world, peer = served(max_connections=1)
    sub = world.bus.subscribe("net.http.>", world.now, maxsize=1)
    peer.send(GET)
    peer.reset()
    assert world.admission.connections == 1
    assert world.dispatch.sessions == {}
    while world.bus.take(sub, world.now) is not None:
        world.pump()
    world.pump()
    world.assert_nothing_left()


def test_a_closed_connections_events_are_given_up_after_publish_timeout() -> None:
    world, peer = served(publish_timeout=30.0)
    world.bus.subscribe("net.>", world.now, maxsize=1)
    peer.send(GET)
    peer.reset()
    assert world.admission.connections == 1
    world.wait(30.0)
    world.assert_nothing_left()


def test_one_that_resumes_and_parks_again_waits_on() -> None:
    world, peer = served()
    sub = world.bus.subscribe("net.http.request", world.now, maxsize=1)
    peer.send(GET + GET)
    world.reply()
    assert peer.session.publisher.paused
    world.dispatch.publisher_resumed(peer.session, world.now)  # what was said is old
    world.reply()
    assert peer.session.publisher.paused
    world.wait(29.0)
    assert world.bus.take(sub, world.now) is not None
    world.pump()
    assert not peer.session.timers


# --- drain -------------------------------------------------------------------------------------


def test_a_drain_closes_the_idle_and_finishes_what_is_in_flight() -> None:
    world, peer = served()
    idle = world.connect()
    half = world.connect()
    half.send(GET[:10])
    peer.send(GET)
    world.dispatch.drain(world.now)
    world.pump()
    assert idle.is_open()
    world.wait(0.25)
    assert idle.ended == "closed"
    assert world.drain.state == "draining"
    half.send(GET[10:])  # not yet told to close: it is served
    for served_peer in (peer, half):
        world.reply(Response.text("last"))
        assert served_peer.responses[0][1]["connection"] == "close"
        assert served_peer.fin  # and what it may have sent meanwhile does not reset the answer
        served_peer.shut()
        assert served_peer.ended == "closed"
    assert world.drain.drained
    world.assert_nothing_left()


def test_one_that_stood_in_the_backlog_is_served_once() -> None:
    world, peer = served()
    peer.send(GET)
    world.dispatch.drain(world.now)
    late = world.connect()
    assert late.is_open()
    late.send(GET + GET)
    world.reply()
    world.reply()
    assert late.statuses == [200]
    assert late.responses[0][1]["connection"] == "close"


def test_a_second_drain_changes_nothing() -> None:
    world, peer = served(grace=30.0)
    peer.send(GET)
    world.dispatch.drain(world.now)
    world.wait(10.0)
    world.dispatch.drain(world.now)
    assert world.drain.deadline == world.now + 20.0


def test_grace_over_cuts_what_is_left() -> None:
    world, running = served(grace=20.0, body_timeout=100.0, head_timeout=100.0, idle_timeout=100.0)
    streaming, body, head = world.connect(), world.connect(), world.connect()
    running.send(GET)
    streaming.send(GET)
    world.stream(streamed(), world.started[1])
    body.send(post(5)[:-1])
    head.send(GET[:10])
    world.dispatch.drain(world.now)
    world.wait(19.0)
    exchange = world.started[0]
    world.wait(1.0)
    assert (exchange.outcome, exchange.cancel_reason) == ("cancelled", "shutdown")
    assert [peer.statuses for peer in (running, body)] == [[503], [503]]
    assert streaming.ended
    assert not streaming.received.endswith(b"0\r\n\r\n")
    assert head.ended
    assert head.received == b""
    body.shut()
    running.shut()
    assert world.drain.drained
    world.assert_nothing_left()


def test_a_head_that_comes_after_grace_is_503() -> None:
    world, peer = served(grace=1.0, linger_timeout=5.0)
    peer.reads = False
    peer.send(GET)
    world.dispatch.drain(world.now)
    world.wait(1.0)
    late = world.connect()
    late.send(GET)
    assert late.statuses == [503]
    assert late.responses[0][1]["connection"] == "close"
    assert world.drain.state == "closing"
    world.wait(5.0)  # the one that does not read holds it up no longer
    assert world.drain.drained


def test_a_drain_waits_for_lossless_queues() -> None:
    world, peer = served(grace=30.0)
    sub = world.bus.subscribe("net.http.response", world.now)
    peer.send(GET)
    world.reply()
    world.dispatch.drain(world.now)
    world.wait(0.25)
    assert peer.ended
    assert world.drain.state == "draining"
    world.bus.take(sub, world.now)
    world.pump()
    assert world.drain.drained


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_cut_ends_it_at_once(in_flight: bool) -> None:
    world, peer = served()
    if in_flight:
        peer.send(GET)
    world.dispatch.drain(world.now)
    world.drain.cut(world.now)
    world.pump()
    assert world.drain.drained
    assert peer.statuses == ([503] if in_flight else [])
    assert peer.fin


def test_two_of_a_sessions_timers_at_once_are_one_end() -> None:
    world, peer = served(half_close_grace=1.0, stream_idle=1.0)
    peer.send(GET)
    exchange = world.started[0]
    peer.shut()
    world.stream(streamed())
    world.wait(1.0)
    assert exchange.outcome == "cancelled"
    assert len(world.of("net.http.error")) == 1
    world.assert_nothing_left()


def test_an_answer_that_still_leaves_when_grace_is_over_is_let_go() -> None:
    world, peer = served(grace=1.0, linger_timeout=5.0)
    peer.reads = False
    peer.send(GET)
    world.dispatch.drain(world.now)
    world.reply(Response.text("whole"))
    world.wait(2.0)
    peer.read_again()
    assert peer.responses[0][2] == b"whole"
    peer.shut()
    assert world.drain.drained


def test_a_handler_that_begins_after_its_exchange_ended_changes_no_stage() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.wait(30.0)
    world.dispatch.handler_began(exchange, world.now)
    peer.send(GET)
    world.reply(exchange=world.started[1])
    assert world.of("net.http.response")[-1].data.stages.queue == 0.0
