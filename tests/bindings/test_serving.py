"""HTTP over real sockets: what a peer sends, what it gets, and how a connection ends."""

from contextlib import suppress

import anyio
import pytest

from pipebus.limits import Limits
from tests.bindings.app import App, served
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, peer, post, request

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> App:
    return App()


async def test_keep_alive(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        for number in range(3):
            answer = await client.ask(post("/echo", b"%d" % number))
            assert (answer.status, answer.body, answer.closes) == (200, b"%d" % number, False)


async def test_pipelined_requests_are_answered_in_order(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(b"".join(get(f"/inline?n={n}") for n in range(20)))
        bodies = [(await client.answer()).body for _ in range(20)]
        assert bodies == [b"inline %d" % n for n in range(20)]


async def test_a_request_byte_by_byte(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        for byte in post("/echo", b"slow"):
            await client.send(bytes([byte]))
        assert (await client.answer("POST")).body == b"slow"


async def test_a_chunked_upload(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/echo", "Transfer-Encoding: chunked"))
        await client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await client.answer("POST")).body == b"abcde"


async def test_a_body_is_asked_for(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/echo", "Content-Length: 3", "Expect: 100-continue"))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.answer("POST")).body == b"abc"


async def test_head_has_the_length_and_no_body(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/inline", method="HEAD"))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len("inline "))
        assert (await client.ask(get("/inline"))).status == 200


async def test_http_10_closes(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/inline", version="1.0"))
        assert (answer.status, answer.body) == (200, b"inline ")
        assert await client.rest() == b""


async def test_a_big_answer_to_a_slow_reader(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/big"))
        assert answer.body == b"x" * 3_000_000


async def test_what_a_handler_raises_stays_inside(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/raises"))
        assert answer.status == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert b"secret" not in answer.body
    (record,) = caplog.records
    assert record.name == "pipebus"
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"PUT /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
)
async def test_refusals(stack: Stack, app: App, sent: bytes, status: int) -> None:
    async with served(stack, app) as (_, client):
        await client.send(sent)
        assert (await client.answer()).status == status


async def test_a_refusal_is_not_eaten_by_a_reset(stack: Stack, app: App) -> None:
    limits = Limits(max_body=1_000)
    async with served(stack, app, limits=limits) as (_, client):
        await client.send(request("POST", "/echo", "Content-Length: 200000"))
        await client.send(b"x" * 200_000)  # all of it, though nobody will read it
        assert (await client.answer("POST")).status == 413
        assert await client.rest() == b""


# --- streams ---------------------------------------------------------------------------------


async def test_a_streaming_upload(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/count", "Content-Length: 2000000"))
        await app.started.wait()
        await client.send(b"x" * 2_000_000)
        assert (await client.answer("POST")).body == b"2000000"


async def test_an_upload_cut_short_interrupts_its_handler(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/count", "Content-Length: 10") + b"x")
        await app.started.wait()
        await client.close()
        await app.stopped.wait()


@pytest.mark.parametrize("path", ["/stream", "/inline-stream"])
async def test_a_streamed_answer_arrives_as_it_is_made(stack: Stack, app: App, path: str) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get(path))
        assert (await client.until(b"one\r\n")).endswith(b"\r\n\r\n3\r\none\r\n")
        app.go_on.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        assert app.log == ["closed"]
        assert (await client.ask(get("/inline"))).status == 200


async def test_server_sent_events(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/events"))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.body == b"data: hello\n\ndata: world\n\n"


async def test_a_stream_that_breaks_is_cut_where_the_peer_sees_it(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get("/broken-stream"))
        got = await client.until(b"one\r\n")
        with suppress(anyio.BrokenResourceError):  # a reset shows it, too
            got += await client.rest()
        assert not got.endswith(b"0\r\n\r\n")
    assert "a secret" in caplog.text


async def test_a_reader_that_goes_away_ends_the_stream(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(half_close_grace=0.05)) as (_, client):
        await client.send(get("/stream"))
        await client.until(b"one\r\n")
        await client.close()
        await app.stopped.wait()
        assert app.log == ["closed"]


# --- disconnects -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "half-close and wait"])
async def test_a_disconnect_cancels_the_handler(stack: Stack, app: App, how: str) -> None:
    limits = Limits(half_close_grace=0.05)
    async with served(stack, app, limits=limits) as (server, client):
        await client.send(get("/wait"))
        await app.started.wait()
        if how == "reset":
            client.reset()
            await client.close()
        else:
            await client.end()
        await app.stopped.wait()
    assert app.log == ["cancelled"]
    assert server.engine.running == 0


async def test_a_half_closed_peer_gets_its_answer(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get("/wait"))
        await app.started.wait()
        await client.end()
        app.go_on.set()
        assert (await client.answer()).body == b"waited"
        assert await client.rest() == b""


async def nag(client: Peer) -> None:
    """Send a byte now and then: only so does a peer that does not read hear of a reset."""
    while True:
        await anyio.sleep(0.05)
        await client.send(b"x")


async def test_a_peer_that_does_not_read_is_reset(stack: Stack, app: App) -> None:
    limits = Limits(write_timeout=0.2)
    async with served(stack, app, limits=limits) as (_, client):
        for _ in range(8):
            await client.send(get("/big"))
        with pytest.raises(anyio.BrokenResourceError):
            await nag(client)


# --- time and numbers ------------------------------------------------------------------------


async def test_a_connection_that_says_nothing_is_closed(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(head_timeout=0.05)) as (_, client):
        assert await client.rest() == b""


async def test_a_head_that_never_ends_is_408(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(head_timeout=0.05)) as (_, client):
        assert (await client.ask(b"GET / HT")).status == 408
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(idle_timeout=0.05)) as (_, client):
        await client.ask(get("/inline"))
        assert await client.rest() == b""


async def test_a_handler_that_takes_too_long_is_504(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(request_timeout=0.05)) as (_, client):
        assert (await client.ask(get("/wait"))).status == 504
        await app.stopped.wait()  # the answer does not wait for the handler's end
        assert app.log == ["cancelled"]
        assert (await client.ask(get("/inline"))).status == 200


async def test_one_connection_too_many_is_503(stack: Stack, app: App) -> None:
    async with (
        served(stack, app, limits=Limits(max_connections=1)) as (server, first),
        peer(server.addresses[0]) as second,
    ):
        assert (await first.ask(get("/inline"))).status == 200
        answer = await second.ask(get("/inline"))
        assert answer.status == 503
        assert "retry-after" in answer.headers
