"""Each outcome of an exchange, and each refusal, is one right answer and one event."""

import pytest

from pipebus.errors import ConnectError, NoResponder, RequestTimeout
from pipebus.http.events import HttpFailed, HttpResponded
from pipebus.http.message import Request
from pipebus.http.response import Response
from tests.core.dispatch.world import Peer, World

GET = b"GET /a?q=1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


def served(**limits: object) -> tuple[World, Peer]:
    world = World(**limits)
    world.route("GET /a")
    world.route("POST /a", concurrency=1, queue=1)
    return world, world.connect()


def end_data(world: World) -> HttpResponded | HttpFailed:
    """Return the data of the only net.http.response or net.http.error."""
    (event,) = [e for e in world.events if e.type in ("net.http.response", "net.http.error")]
    assert isinstance(event.data, HttpResponded | HttpFailed)
    assert (event.type == "net.http.error") == isinstance(event.data, HttpFailed)
    return event.data


def test_a_request_becomes_an_event_and_gets_its_reply() -> None:
    world, peer = served()
    peer.send(POST)
    (exchange,) = world.started
    request = exchange.request.data
    assert isinstance(request, Request)
    assert (request.method, request.target, request.body) == ("POST", "/a", b"hello")
    assert (request.id, request.route) == (exchange.id, "/a")
    assert (request.client, request.tls) == (("192.0.2.1", 4711), False)
    assert exchange.request.subject == "/a"
    assert exchange.request.deadline == world.now + 30
    world.reply(Response.text("olleh"))
    assert peer.responses[0][0] == 200
    assert peer.responses[0][2] == b"olleh"
    (event,) = world.of("net.http.response")
    assert event.correlation_id == exchange.id
    assert event.causation_id == exchange.id
    data = event.data
    assert (data.method, data.target, data.route) == ("POST", "/a", "/a")
    assert (data.status, data.outcome, data.client) == (200, "replied", ("192.0.2.1", 4711))
    assert (data.bytes_in, data.bytes_out) == (len(POST), len(peer.received))
    assert data.response.body == b"olleh"


def test_the_stages_are_true_and_the_last_one_ends_with_the_write() -> None:
    world = World()
    world.route("POST /a")
    peer = world.connect()
    peer.reads = False
    peer.send(POST[:-5])
    world.wait(2.0)
    peer.send(POST[-5:])
    world.wait(4.0)
    world.reply()
    assert world.of("net.http.response") == []
    world.wait(8.0)
    peer.read_again()
    stages = end_data(world).stages
    assert (stages.read, stages.queue, stages.handler, stages.write) == (2.0, 0.0, 4.0, 8.0)


def test_time_in_the_groups_queue_is_the_queue_stage() -> None:
    world, peer = served()
    other = world.connect()
    peer.send(POST)
    other.send(POST)
    world.wait(3.0)
    world.reply()
    world.wait(1.0)
    world.reply()
    waited = world.of("net.http.response")[1].data.stages
    assert (waited.queue, waited.handler) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("request_line", "status", "allow"),
    [
        (b"GET /nothing", 404, None),
        (b"DELETE /a", 405, "GET, HEAD, POST"),
        (b"GET /a/%ff", 400, None),
    ],
)
def test_a_request_without_a_route_is_refused_and_publishes_only_a_response(
    request_line: bytes, status: int, allow: str | None
) -> None:
    world, peer = served()
    peer.send(request_line + b"?x=y HTTP/1.1\r\nHost: h\r\n\r\n")
    ((got, fields, _),) = peer.responses
    assert (got, fields.get("allow")) == (status, allow)
    assert fields["content-type"] == "application/problem+json"
    assert [event.type for event in world.events] == ["net.connection.open", "net.http.response"]
    (event,) = world.of("net.http.response")
    assert (event.data.status, event.data.outcome, event.data.route) == (status, "", "")
    assert event.data.target.endswith("?x=y")
    assert "?" not in event.subject
    assert event.correlation_id.encode() in peer.received  # the problem's instance
    assert world.bus.counts.opened == 0
    assert peer.is_open()


def test_an_absolute_target_is_routed_by_its_path() -> None:
    world, peer = served()
    peer.send(b"GET http://h/a?x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert world.started[0].request.subject == "/a"
    peer.reset()
    peer = world.connect()
    peer.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert peer.statuses[0] in (404, 405)


@pytest.mark.parametrize(("scheme", "tls"), [("https", False), ("https", True), ("http", True)])
def test_a_target_that_asks_for_https_is_answered_on_tls_only(scheme: str, tls: bool) -> None:
    world, _ = served()
    session = world.dispatch.opened("", tls, None, world.now)
    peer = Peer(world, session)
    world.peers[session.publisher.name] = peer
    peer.send(f"GET {scheme}://h/a HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    if scheme == "https" and not tls:
        assert peer.statuses == [421]
    else:
        world.reply()
        assert peer.statuses == [200]


def test_a_pipeline_without_a_route_says_try_again() -> None:
    world = World(retry_after=7)
    peer = world.connect()
    peer.send(GET)
    ((status, fields, _),) = peer.responses
    assert (status, fields["retry-after"]) == (503, "7")


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ValueError("secret"), 500, False),
        (NoResponder("secret"), 503, True),
        (RequestTimeout("secret"), 504, False),
        (ConnectError("secret"), 502, False),
    ],
)
def test_an_uncaught_exception_is_mapped_and_not_shown(
    error: Exception, status: int, retry: bool
) -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.fail(error)
    ((got, fields, body),) = peer.responses
    assert (got, "retry-after" in fields) == (status, retry)
    assert b"secret" not in body
    assert exchange.id.encode() in body
    assert (end_data(world).outcome, end_data(world).status) == ("failed", status)
    assert peer.is_open()


@pytest.mark.parametrize("result", ["text", b"bytes", ("a", 200), None, Response.stream])
def test_what_is_no_response_is_answered_500(result: object) -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.bus.reply(exchange, result, world.now)
    world.finish(exchange)
    assert peer.statuses == [500]
    assert (end_data(world).outcome, end_data(world).status) == ("replied", 500)


def test_fields_that_were_spoilt_after_the_response_was_made_are_answered_500() -> None:
    world, peer = served()
    peer.send(GET)
    response = Response()
    response.headers.raw.append((b"x", b"a\r\nset-cookie: b"))
    world.reply(response)
    assert peer.statuses == [500]
    assert b"cookie" not in peer.received
    data = end_data(world)
    assert isinstance(data, HttpResponded)
    assert data.response is None


def test_no_answer_before_the_deadline_is_504_and_the_late_one_is_dropped() -> None:
    world, peer = served()
    peer.send(GET)
    (exchange,) = world.started
    world.wait(29.9)
    assert peer.received == b""
    assert world.timers.deadline_reason == "request_timeout"
    world.wait(0.1)
    assert peer.statuses == [504]
    assert exchange.outcome == "timed_out"
    world.reply(exchange=exchange)
    assert peer.statuses == [504]
    assert world.bus.counts.replies_discarded["late"] == 1
    peer.send(GET)  # the connection is good for more
    world.reply()
    assert peer.statuses == [504, 200]


def test_a_route_has_its_own_timeout() -> None:
    world = World()
    world.route("GET /a", timeout=2.0)
    peer = world.connect()
    peer.send(GET)
    world.wait(2.0)
    assert peer.statuses == [504]


def test_an_answer_at_the_deadline_has_lost() -> None:
    world, peer = served()
    peer.send(GET)
    world.now += 30.0
    world.reply()
    assert peer.statuses == [504]


def test_a_full_group_rejects() -> None:
    world, peer = served()
    peers = [peer, world.connect(), world.connect()]
    for each in peers:
        each.send(POST)
    assert [each.statuses for each in peers] == [[], [], [503]]
    assert peers[2].responses[0][1]["retry-after"] == "1"
    (event,) = world.of("net.http.response")
    assert (event.data.outcome, event.data.status) == ("rejected", 503)
    assert world.admission.in_flight == 2


def test_over_max_in_flight_a_request_is_refused_and_opens_nothing() -> None:
    world, peer = served(max_in_flight=1)
    other = world.connect()
    peer.send(GET)
    other.send(GET)
    assert other.statuses == [503]
    assert world.bus.counts.opened == 1
    assert world.admission.overloaded == 1
    world.reply()
    other.send(GET)
    world.reply()
    assert other.statuses == [503, 200]


def test_a_group_without_responders_has_nobody_to_answer() -> None:
    world = World()
    target = world.route("GET /a")
    target.group.responders.clear()
    peer = world.connect()
    peer.send(GET)
    assert peer.statuses == [503]
    assert end_data(world).outcome == "no_responder"


def test_a_bad_head_is_answered_once_and_published() -> None:
    world, peer = served()
    peer.send(b"GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n")
    assert peer.statuses == [400]
    assert peer.fin
    data = end_data(world)
    assert (data.status, data.outcome) == (400, "")


def test_a_body_over_the_routes_bound_is_413() -> None:
    world, peer = served()
    peer.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n")
    assert peer.statuses == [413]
    data = end_data(world)
    assert (data.status, data.method, data.target) == (413, "POST", "/a")
    assert world.bus.counts.opened == 0


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    world, peer = served()
    peer.send(GET + POST + GET)
    assert len(world.started) == 1
    for number in range(3):
        world.reply(Response.text(str(number)))
    assert [body for _, _, body in peer.responses] == [b"0", b"1", b"2"]
    assert len(world.of("net.http.response")) == 3


def test_a_peer_that_does_not_read_is_not_served_on() -> None:
    world, peer = served()
    peer.reads = False
    peer.send(GET + GET)
    world.reply()
    assert world.started == []
    assert world.admission.in_flight == 0
    peer.read_again()
    assert len(world.started) == 1


def test_head_has_no_body_and_takes_the_get_route() -> None:
    world, peer = served()
    peer.send(b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
    world.reply(Response.text("hello"))
    assert peer.received.endswith(b"\r\n\r\n")
    assert b"content-length: 5" in peer.received.lower()


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", False),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", True),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", False),
        ("nonsense", False),
    ],
)
def test_a_trace_context_is_passed_on_if_it_is_one(field: str, kept: bool) -> None:
    world, peer = served()
    peer.send(f"GET /a HTTP/1.1\r\nHost: h\r\nTraceparent: {field}\r\n\r\n".encode())
    # What is left of a later version is one of this version (Trace Context section 4.3).
    passed_on = f"00{field[2:55]}" if kept else ""
    assert world.started[0].request.traceparent == passed_on
    world.reply()
    assert world.of("net.http.response")[0].traceparent == passed_on


def test_nobody_listens_and_nothing_is_built() -> None:
    world, peer = served()
    world.bus.close(world.taps[0], world.now)
    published = world.bus.counts.published
    peer.send(GET)
    world.reply()
    peer.reset()
    assert peer.statuses == [200]
    assert world.bus.counts.published == published + 1  # the request itself


def test_the_connection_is_announced_and_its_totals_with_its_end() -> None:
    world, peer = served()
    peer.send(GET)
    world.reply()
    peer.send(GET)
    world.reply()
    peer.shut()
    assert peer.ended == "closed"
    opened, closed = (
        world.of("net.connection.open")[0].data,
        world.of("net.connection.close")[0].data,
    )
    assert opened.id == closed.id == peer.session.publisher.name
    assert (opened.requests, closed.requests) == (0, 2)
    assert (closed.bytes_in, closed.bytes_out) == (2 * len(GET), len(peer.received))
    assert closed.reason == ""
    world.assert_nothing_left()
