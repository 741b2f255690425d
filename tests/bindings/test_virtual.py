"""The second level of testing: a real event loop, memory instead of sockets, virtual time."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.errors import ConnectError, ReadTimeout
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits, Timeouts
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.memory import MemoryNetwork, MemoryTransport
from pipebus_anyio.server import Server
from pipebus_anyio.testing import VIRTUAL_EPOCH
from tests.bindings.conftest import STREAMS, Stack
from tests.bindings.peer import Peer, get, post

pytestmark = pytest.mark.parametrize("stack", STREAMS, ids=str, indirect=True)
Scenario = Callable[["World"], Coroutine[Any, Any, None]]


class World:
    """A served pipeline and a client in one network."""

    def __init__(self, stack: Stack, server: Server, network: MemoryNetwork, client: Any) -> None:
        self.stack = stack
        self.server = server
        self.network = network
        self.client = client

    async def peer(self) -> Peer:
        return Peer(await self.network.connect(self.server.addresses[0]))


@pytest.fixture
def pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.route("POST /echo")
    async def echo(request: Request) -> Response:
        return Response(200, request.body)

    @pipeline.route("GET /sleep")
    async def sleep(request: Request, ctx: Context[None]) -> Response:
        await ctx.sleep(float(request.query.get("s", "0")))
        return Response.text("slept")

    return pipeline


@pytest.fixture
def play(stack: Stack, pipeline: Pipeline[None]) -> Callable[..., float]:
    """Run a scenario; returns how much virtual time it took."""

    def run(scenario: Scenario, **options: Any) -> float:
        async def main() -> float:
            network = MemoryNetwork()
            serving = stack.testing.serve(
                pipeline, network=network, driver=stack.driver, wire=stack.wire, **options
            )
            async with (
                stack.proven(pipeline, serving) as server,
                stack.testing.Client(network) as client,
            ):
                await scenario(World(stack, server, network, client))
            return anyio.current_time()

        took: float = stack.testing.run_virtual(main)
        return took

    return run


def test_a_client_and_a_server_without_sockets(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        for _ in range(3):
            response = await world.client.post("http://app.test:8000/echo", body=b"hi")
            assert (response.status, response.body) == (200, b"hi")
            assert response.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"

    assert play(scenario) == pytest.approx(0, abs=1)


def test_thirty_seconds_take_none(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.peer()
        assert (await peer.ask(get("/sleep?s=40"))).status == 504
        assert anyio.current_time() == pytest.approx(Limits().request_timeout)
        await peer.stream.aclose()

    play(scenario)


def test_a_clients_clock(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ReadTimeout):
            await world.client.get("http://app.test:8000/sleep?s=29", timeouts=Timeouts(read=12))
        assert anyio.current_time() == pytest.approx(12)

    play(scenario)


def test_an_idle_connection_of_the_server(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.peer()
        await peer.ask(post("/echo", b""))
        assert await peer.rest() == b""
        assert anyio.current_time() == pytest.approx(Limits().idle_timeout)
        await peer.stream.aclose()

    play(scenario)


def test_a_goodbye_that_the_peer_does_not_take_does_not_keep_its_connection(
    play: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(_: MemoryTransport) -> None:
        await anyio.sleep_forever()  # as under TLS, whose close_notify has to be sent

    async def scenario(world: World) -> None:
        peer = await world.peer()
        monkeypatch.setattr(MemoryTransport, "send_eof", stuck)
        await peer.send(get("/nowhere", "Content-Length: 5") + b"x")
        assert (await peer.answer()).status == 404
        with anyio.fail_after(30):
            assert await peer.rest() == b""
        await peer.stream.aclose()

    play(scenario)


def test_a_name_that_tls_does_not_take(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        port = world.server.addresses[0][1]
        with pytest.raises(ConnectError):
            await world.client.get(f"https://.example.com:{port}/")
        assert anyio.current_time() == 0

    play(scenario)


def test_the_wall_clock_goes_along(play: Callable[..., float], pipeline: Pipeline[None]) -> None:
    times: list[float] = []

    @pipeline.subscribe("tick")
    async def listen(event: Event) -> None:
        times.append(event.time)

    async def scenario(world: World) -> None:
        for _ in range(3):
            await world.server.bus.publish("tick")
            await anyio.sleep(100)

    play(scenario)
    assert times == [pytest.approx(VIRTUAL_EPOCH + at) for at in (0, 100, 200)]


def test_grace_is_over_in_no_time(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.peer()
        await peer.send(get("/sleep?s=29"))
        await anyio.sleep(1)
        await world.server.drain()
        assert (await peer.answer()).status == 503
        await peer.stream.aclose()
        assert anyio.current_time() == pytest.approx(6, abs=3)

    play(scenario, limits=Limits(grace=5))


def test_names_and_addresses_of_the_network(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        world.network.names["gone.test"] = OSError("no such name")
        with pytest.raises(Exception, match="no such name"):
            await world.client.get("http://gone.test/")
        # RFC 8305: the second address is tried when the first refuses.
        world.network.names["two.test"] = ["192.0.2.1", "127.0.0.1"]
        assert (await world.client.get("http://two.test:8000/sleep")).status == 200
        with pytest.raises(ConnectionRefusedError):
            await world.network.connect("/no/such/socket")

    play(scenario)


def test_a_unix_socket_in_memory(play: Callable[..., float]) -> None:
    async def scenario(world: World) -> None:
        assert world.server.addresses == ["/run/app.sock"]
        response = await world.client.post("http+unix://%2Frun%2Fapp.sock/echo", body=b"hi")
        assert response.body == b"hi"

    play(scenario, bind="unix:/run/app.sock")


def test_the_same_scenario_gives_the_same_bytes(play: Callable[..., float]) -> None:
    runs: list[bytes] = []

    async def scenario(world: World) -> None:
        peer = await world.peer()
        await peer.send(get("/nowhere"))
        await peer.end()
        runs.append(await peer.rest())
        await peer.stream.aclose()

    play(scenario)
    play(scenario)
    assert runs[0] == runs[1] != b""
