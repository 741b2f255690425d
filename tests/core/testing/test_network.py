"""The simulated network: pipes that behave as sockets do, and faults that can be had again."""

from collections.abc import AsyncIterator

import pytest

from pipebus.errors import ConnectError, ConnectTimeout
from pipebus.http.client import ClientRequest
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits, Timeouts
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Faults, Simulation
from pipebus.testing.network import WINDOW

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def served(*, body: bytes = b"hi", faults: Faults | None = None, **limits: object) -> Simulation:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response(200, body)

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(5.0)
        return Response(200, body)

    @pipeline.route("POST /")
    def echo(request: Request) -> Response:
        return Response(200, request.body)

    return Simulation(pipeline, faults=faults, limits=Limits(**limits))  # type: ignore[arg-type]  # a test's own


# --- a test's end ------------------------------------------------------------------------------


def test_nobody_listens_at_other_addresses_and_after_the_end() -> None:
    app = served()
    with app, pytest.raises(ConnectionRefusedError):
        app.network.dial(("app", 81))
    with pytest.raises(ConnectionRefusedError):
        app.dial()


def test_a_closed_end_says_and_hears_nothing() -> None:
    with served() as app:
        end = app.dial()
        app.network.close(end)
        app.network.close(end)
        app.network.send(end, GET)
        app.network.send_eof(end)
        app.settle()
        assert end.received == b""
        assert end.lost
        assert app.engine.admission.connections == 0
        assert app.network.open_pipes == 0


def test_nothing_can_be_sent_after_the_fin() -> None:
    with served() as app:
        end = app.dial()
        app.network.send_eof(end)
        app.send(end, GET)
        assert end.received == b""
        assert end.eof


def test_a_write_to_a_closed_end_is_answered_by_a_reset() -> None:
    """As with sockets: a peer that closes is seen as a half-close first, and when written to."""
    with served() as app:
        end = app.dial()
        app.send(end, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        app.network.close(end)
        app.advance(0.5)
        assert app.engine.running == 1
        (session,) = app.engine.dispatch.sessions.values()
        app.advance(1.0)  # half_close_grace
        assert session.peer_gone
        assert app.engine.running == 0


def test_bytes_for_a_socket_that_the_server_closed_reset_the_connection() -> None:
    with served(head_timeout=1.0, idle_timeout=1.0) as app:
        end = app.dial()
        app.network.pause(end)  # it does not see the FIN, and so does not close
        app.advance(2.0)
        open_till_now = not end.lost
        app.send(end, GET)
        assert open_till_now
        assert end.lost
        assert app.topics("net.http.*") == []


def test_a_close_with_bytes_unread_is_a_reset() -> None:
    with served(body=bytes(20_000), write_timeout=3.0, read_ahead=10) as app:
        end = app.dial()
        app.network.pause(end)
        for _ in range(20):  # more than the server reads ahead: the rest stays in the pipe
            app.send(end, GET)
        (session,) = app.engine.dispatch.sessions.values()
        assert not session.wants_read
        session.conn.close_after_response()
        app.network.close(end)  # with answers unread
        app.settle()
        assert app.engine.admission.connections == 0


def test_a_paused_end_fills_the_pipe_and_no_more() -> None:
    with served(body=bytes(3 * WINDOW)) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, GET)
        assert end.waiting == WINDOW
        assert end.received == b""
        app.network.resume(end)
        app.settle()
        assert len(end.received) > 3 * WINDOW


def test_who_is_cut_hears_of_it() -> None:
    with served() as app:
        first, second = app.dial(), app.dial()
        app.network.reset(first)
        app.network.reset(first)
        app.settle()
        assert (first.lost, second.lost) == (True, False)
        app.network.cut(app.server)
        app.settle()
        assert second.lost
        assert app.network.open_pipes == 0
        assert app.engine.admission.connections == 0


# --- names and attempts ------------------------------------------------------------------------


def fetch(app: Simulation, url: str, timeouts: Timeouts | None = None) -> object:
    call = app.engine.http(ClientRequest("GET", url), app.world.now, timeouts=timeouts)
    app.server.pump()
    app.run_until(lambda: call.done, 100.0)
    return call.error or call.value.status


def test_names_have_addresses_and_some_have_none() -> None:
    with served() as app:
        app.network.name("two", "10.0.0.1", "app")
        app.network.name("none")
        assert fetch(app, "http://two/") == 200  # nobody is at the first
        assert isinstance(fetch(app, "http://none/"), ConnectError)
        assert isinstance(fetch(app, "http://nowhere/"), ConnectError)


def test_an_address_may_never_answer() -> None:
    with served() as app:
        app.network.silence(("void", 80))
        started = app.world.now
        assert isinstance(fetch(app, "http://void/", Timeouts(connect=2.0)), ConnectTimeout)
        assert app.world.now == started + 2.0
        app.network.name("half", "void", "app")
        started = app.world.now
        assert fetch(app, "http://half/") == 200
        assert app.world.now == started + 0.25  # then the second address was tried as well


def test_an_attempt_that_was_given_up_is_forgotten() -> None:
    with served(faults=Faults(3, delay=1.0, longest=1.0)) as app:
        call = app.engine.http(ClientRequest("GET", "http://app/"), app.world.now)
        app.server.pump()
        assert app.run_until(lambda: bool(app.network._attempts), 5.0)
        app.engine.abandon(call, app.world.now)
        app.server.pump()
        app.advance(5.0)
        assert app.network.pipes == []


# --- faults ------------------------------------------------------------------------------------


def test_a_perfect_network_has_no_fault() -> None:
    faults = Faults()
    with served(faults=faults) as app:
        assert app.get("/").text() == "hi"
    assert faults.hits == {}


def test_the_same_seed_is_the_same_network() -> None:
    def run(seed: int) -> tuple[float, bytes, object]:
        faults = Faults(seed, split=0.5, delay=0.5, stall=0.1)
        with served(faults=faults, body=bytes(range(256))) as app:
            end = app.dial()
            app.send(end, GET)
            app.run_until(lambda: end.received.endswith(b"\xff"), 100.0)
            return app.world.now, bytes(end.received), faults.hits

    assert run(1) == run(1)
    assert run(1)[1].endswith(bytes(range(256)))
    assert run(1) != run(2)


@pytest.mark.parametrize(
    ("faults", "what"),
    [
        (Faults(split=0.9), "split"),
        (Faults(delay=1.0, longest=0.2), "delay"),
        (Faults(stall=1.0, longest=0.1), "stall"),
    ],
)
def test_what_only_delays_changes_no_answer(faults: Faults, what: str) -> None:
    with served(faults=faults) as app:
        started = app.world.now
        body = bytes(range(256)) * 10
        assert app.request("POST", "/", body=body, within=500.0).body == body
        assert faults.hits[what] > 1
        assert (app.world.now > started) == (what != "split")
        assert app.world.now < started + 200.0


def test_refused() -> None:
    with served(faults=Faults(refuse=1.0)) as app:
        call = app.start("GET", "/")
        assert isinstance(call.error, ConnectError)


def test_reset() -> None:
    with served(faults=Faults(reset=1.0)) as app:
        end = app.dial()
        app.send(end, GET)
        assert end.lost
        assert app.topics("net.connection.*") == ["net.connection.open", "net.connection.close"]


def test_a_reset_in_the_middle_of_an_answer() -> None:
    faults = Faults(reset=0.0)
    with served(faults=faults, body=bytes(1_000_000)) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, GET)
        faults._chances["reset"] = 1.0
        app.network.resume(end)
        app.settle()
        assert end.lost
        (event,) = app.of("net.http.*")[1:]
        assert event.data.reason == "disconnect"


def test_a_half_close_ends_what_can_be_said() -> None:
    faults = Faults(half_close=1.0)
    with served(faults=faults) as app:
        end = app.dial()
        app.send(end, GET)
        assert end.sent_eof
        assert end.received.endswith(b"hi")  # a half-closed peer is answered
        assert end.eof
        assert faults.hits["half_close"] == 2


def test_who_writes_on_after_a_half_close_by_fault_is_reset() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await ctx.sleep(1.0)
            yield b"two"

        return Response.stream(pieces())

    faults = Faults()
    with Simulation(pipeline, faults=faults) as app:
        end = app.dial()
        app.send(end, GET)
        faults._chances["half_close"] = 1.0
        app.advance(0.5)
        assert end.received.endswith(b"3\r\none\r\n")
        app.advance(10.0)
        assert not end.received.endswith(b"0\r\n\r\n")
        assert end.lost
        assert app.topics("net.http.*")[-1] == "net.http.error"


def test_an_upload_over_a_bad_network_arrives_whole_or_fails() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("PUT /", stream=True)
    async def put(request: StreamRequest) -> Response:
        return Response.text(str(sum([len(piece) async for piece in request])))

    ends: list[str] = []
    for seed in range(20):
        faults = Faults(seed, split=0.3, delay=0.3, reset=0.1, half_close=0.1)
        with Simulation(pipeline, faults=faults) as app:
            call = app.start("PUT", "/", body=bytes(5_000))
            app.run_until(lambda call=call: call.done, 200.0)  # type: ignore[misc]  # a bound default
            ends.append("failed" if call.error else call.response.text())
    assert set(ends) == {"failed", "5000"}
