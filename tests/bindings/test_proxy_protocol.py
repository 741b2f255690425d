"""Connections that begin with a PROXY protocol header, with TLS behind it and without."""

import logging

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.streams.tls import TLSStream

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from tests.bindings.certificates import certificates
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, peer, until

pytestmark = pytest.mark.anyio

HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.2 51000 443\r\n"


def new_pipeline(closed: list[str] | None = None) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response.text(str(request.client))

    @pipeline.subscribe("net.connection.close")
    def on_close(event: Event) -> None:
        if closed is not None:
            closed.append(str(event.data.client))

    return pipeline


@pytest.mark.parametrize(
    ("header", "client"),
    [(HEADER, "('203.0.113.7', 51000)"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")],
)
async def test_the_client_is_whom_it_names(stack: Stack, header: bytes, client: str) -> None:
    closed: list[str] = []
    async with stack.serve(new_pipeline(closed), proxy_protocol=True) as server:
        async with peer(server.addresses[0]) as one:
            await one.send(header + get("/"))
            assert client in (await one.answer()).body.decode()
            assert client in (await one.ask(get("/"))).body.decode()
        async with peer(server.addresses[0]) as piecemeal:
            for index in range(len(header)):
                await piecemeal.send(header[index : index + 1])
                await anyio.lowlevel.checkpoint()
            assert client in (await piecemeal.ask(get("/"))).body.decode()
    assert len(closed) == 2
    assert all(client in text for text in closed)


@pytest.mark.parametrize("together", [True, False])
async def test_tls_comes_behind_it(stack: Stack, together: bool) -> None:
    options = {"tls": certificates().server, "proxy_protocol": True}
    async with stack.serve(new_pipeline(), **options) as server:
        plain = await anyio.connect_tcp(*server.addresses[0])
        if together:
            stream = await TLSStream.wrap(
                _Prefixing(plain, HEADER), hostname="localhost",  # type: ignore[arg-type] # a duck
                ssl_context=certificates().client, standard_compatible=False,
            )  # fmt: skip
        else:
            await plain.send(HEADER)
            stream = await TLSStream.wrap(
                plain, hostname="localhost", ssl_context=certificates().client,
                standard_compatible=False,
            )  # fmt: skip
        async with stream:
            one = Peer(stream)
            assert (await one.ask(get("/"))).body == b"('203.0.113.7', 51000)"


async def cut(one: Peer) -> bytes:
    """Return what comes until the server ends the connection, in order or by a reset."""
    try:
        return await one.rest()
    except anyio.BrokenResourceError:
        return b""


class _Prefixing:
    """A stream whose first bytes go out together with a header."""

    def __init__(self, stream: anyio.abc.SocketStream, header: bytes) -> None:
        self._stream = stream
        self._header = header
        self.receive = stream.receive
        self.aclose = stream.aclose
        self.extra_attributes = stream.extra_attributes

    async def send(self, data: bytes) -> None:
        header, self._header = self._header, b""
        await self._stream.send(header + data)


async def test_who_does_not_say_it_is_cut_and_the_log_says_so_once(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pipebus"):
        async with stack.serve(new_pipeline(), proxy_protocol=True) as server:
            for _ in range(2):
                async with peer(server.addresses[0]) as wrong:
                    await wrong.send(get("/"))
                    assert await cut(wrong) == b""
            assert server.engine.running == 0
            assert not server.engine.dispatch.sessions
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("no PROXY protocol header from ('127.0.0.1'")


@pytest.mark.parametrize("secure", [False, True])
async def test_too_many_of_whom_it_names(stack: Stack, secure: bool) -> None:
    limits = Limits(max_connections_per_client=1)
    options = {"tls": certificates().server} if secure else {}
    async with (
        stack.serve(new_pipeline(), proxy_protocol=True, limits=limits, **options) as server,
        peer(server.addresses[0]) as first,
        peer(server.addresses[0]) as second,
        peer(server.addresses[0]) as third,
        peer(server.addresses[0]) as another,
    ):
        gate = server.engine.gate
        assert gate is not None
        counted, over = gate.connections, gate.over
        assert counted is not None
        assert over is not None
        for one in (first, second):
            await one.send(HEADER)
        await until(lambda: over.keys == 1)
        await third.send(HEADER)  # is closed unheard
        assert await cut(third) == b""
        await another.send(b"PROXY UNKNOWN\r\n")
        await until(lambda: counted.keys == 2)
        if not secure:
            assert (await second.ask(get("/"))).status == 503
            assert (await first.ask(get("/"))).status == 200
            assert (await another.ask(get("/"))).status == 200


@pytest.mark.parametrize("said", [b"", HEADER[:10]])
async def test_who_goes_without_having_said_it_is_no_news(
    stack: Stack, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    """As a load balancer does that only looks whether the port is open."""
    async with stack.serve(new_pipeline(), proxy_protocol=True) as server:
        async with peer(server.addresses[0]) as one:
            if said:
                await one.send(said)
            await one.end()
            assert await cut(one) == b""
        assert not server.engine.dispatch.sessions
    assert caplog.records == []


async def test_who_says_nothing_is_cut_at_the_heads_time(stack: Stack) -> None:
    limits = Limits(head_timeout=0.05)
    async with stack.serve(new_pipeline(), proxy_protocol=True, limits=limits) as server:
        async with peer(server.addresses[0]) as silent:
            assert await cut(silent) == b""
        async with peer(server.addresses[0]) as half:
            await half.send(HEADER[:10])
            assert await cut(half) == b""
        async with peer(server.addresses[0]) as gone:
            await gone.send(HEADER[:10])
    assert not server.engine.dispatch.sessions
