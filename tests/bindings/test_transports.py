"""Sockets, memory and TLS over either, as the driver uses them."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipebus.http.message import Address
from pipebus_anyio.memory import BUFFER, MemoryNetwork
from pipebus_anyio.network import Listener, Network, Open, SocketNetwork
from pipebus_anyio.tls import TLSConfig, TlsTransport, client_contexts, server_context
from pipebus_anyio.transport import EOF, LOST, Transport
from tests.bindings.certificates import certificates
from tests.bindings.conftest import STREAMS, Stack

pytestmark = pytest.mark.anyio

Pair = AbstractAsyncContextManager[tuple[Transport, Transport]]
NETWORKS: dict[str, Callable[[], Network]] = {"sockets": SocketNetwork, "memory": MemoryNetwork}


@asynccontextmanager
async def listening(
    network: Network, bind: Any = "127.0.0.1:0"
) -> AsyncIterator[tuple[Address, Callable[[], Coroutine[Any, Any, tuple[Open, Address]]]]]:
    """Accept into a queue; gives the address and how to await the next connection."""
    put, take = anyio.create_memory_object_stream[tuple[Open, Address]](100)

    def accepted(open_transport: Open, peer: Address) -> None:
        put.send_nowait((open_transport, peer))

    listener: Listener
    (listener,) = await network.listen(bind)
    async with put, take, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.accept_forever, accepted)
        try:
            yield listener.address, take.receive
        finally:
            tasks.cancel_scope.cancel()
            listener.close(accepted)
            with suppress(anyio.WouldBlock):
                while True:
                    left, _ = take.receive_nowait()
                    await (await left()).aclose()


@asynccontextmanager
async def pair(network: Network, bind: Any = "127.0.0.1:0") -> AsyncIterator[tuple[Any, Any]]:
    """Give both ends of a connection: who connected, who accepted."""
    async with listening(network, bind) as (address, next_accepted):
        near = await network.connect(address)
        open_far, _ = await next_accepted()
        far = await open_far()
        try:
            yield near, far
        finally:
            with anyio.CancelScope(shield=True):
                await near.aclose()
                await far.aclose()


@asynccontextmanager
async def tls_pair(network: Network) -> AsyncIterator[tuple[Any, Any]]:
    async with pair(network) as (near, far):
        wrapped: dict[str, TlsTransport] = {}

        async def accept() -> None:
            wrapped["far"] = await TlsTransport.wrap(far, certificates().server)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            wrapped["near"] = await TlsTransport.wrap(
                near, certificates().client, server_hostname="localhost"
            )
        yield wrapped["near"], wrapped["far"]
        await wrapped["near"].aclose()
        await wrapped["far"].aclose()


@pytest.fixture(params=STREAMS, ids=str)
def stack(request: pytest.FixtureRequest) -> Stack:
    cell: Stack = request.param
    return cell


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]()


@pytest.fixture(params=["plain", "tls"])
def connected(request: pytest.FixtureRequest, network: Network) -> Callable[[], Pair]:
    return (lambda: pair(network)) if request.param == "plain" else (lambda: tls_pair(network))


async def read_all(transport: Transport) -> bytes:
    pieces = []
    while True:
        try:
            pieces.append(await transport.receive())
        except EOF:
            return b"".join(pieces)


async def again_and_again(fn: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
    while True:
        await fn(*args)


async def test_bytes_go_both_ways_and_each_side_ends_by_itself(
    connected: Callable[[], Pair],
) -> None:
    async with connected() as (near, far):
        await near.send(b"ping")
        assert await far.receive() == b"ping"
        await near.send_eof()
        assert await read_all(far) == b""
        await far.send(memoryview(b"pong"))  # after the peer's end: half-closed
        await far.send_eof()
        assert await read_all(near) == b"pong"


async def test_much_goes_through_whole_at_the_readers_pace(connected: Callable[[], Pair]) -> None:
    size = 4 * 1024 * 1024
    data = bytes(range(256)) * (size // 256)
    async with connected() as (near, far):
        got: list[bytes] = []

        async def read() -> None:
            got.append(await read_all(far))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await near.send(data)
            await near.send_eof()
        assert got == [data]


async def test_a_send_waits_while_nobody_reads(connected: Callable[[], Pair]) -> None:
    async with connected() as (near, _):
        with anyio.move_on_after(0.05) as scope:
            await again_and_again(near.send, b"x" * BUFFER)
        assert scope.cancelled_caught


async def test_a_reset_is_a_lost_connection(connected: Callable[[], Pair]) -> None:
    async with connected() as (near, far):
        near.reset_on_close()
        await near.aclose()
        with pytest.raises(LOST):
            await far.receive()
        with pytest.raises(LOST):
            await again_and_again(far.send, b"x")


async def test_closing_ends_what_waits(connected: Callable[[], Pair]) -> None:
    async with connected() as (near, _):
        ended: list[str] = []

        async def read() -> None:
            try:
                await near.receive()
            except LOST + EOF:
                ended.append("read")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await near.aclose()
        assert ended == ["read"]
        with pytest.raises(LOST):
            await near.send(b"x")


async def test_a_close_in_order_is_an_end_of_file(connected: Callable[[], Pair]) -> None:
    async with connected() as (near, far):
        await near.send(b"last words")
        await near.aclose()
        assert await read_all(far) == b"last words"


async def test_a_tls_peer_that_just_disappears_is_lost_not_ended(network: Network) -> None:
    async with pair(network) as (near, far):
        wrapped: list[TlsTransport] = []

        async def accept() -> None:
            wrapped.append(await TlsTransport.wrap(far, certificates().server))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            await TlsTransport.wrap(near, certificates().client, server_hostname="localhost")
        await near.send_eof()  # no close_notify: perhaps an attacker's cut
        with pytest.raises(ssl.SSLError):
            await read_all(wrapped[0])
        await wrapped[0].aclose()


async def test_a_handshake_that_fails_tells_both(network: Network) -> None:
    async with pair(network) as (near, far):
        failed: list[BaseException] = []

        async def accept() -> None:
            try:
                await TlsTransport.wrap(far, certificates().server)
            except LOST as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            with pytest.raises(ssl.SSLCertVerificationError):
                await TlsTransport.wrap(
                    near, ssl.create_default_context(), server_hostname="localhost"
                )
        assert "alert" in str(failed[0]).lower()


async def test_a_handshake_with_somebody_who_speaks_no_tls(network: Network) -> None:
    async with pair(network) as (near, far):
        await near.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await TlsTransport.wrap(far, certificates().server)


async def test_a_handshake_can_be_cancelled_and_closes(network: Network) -> None:
    async with pair(network) as (near, far):
        with anyio.move_on_after(0.01) as scope:
            await TlsTransport.wrap(far, certificates().server)
        assert scope.cancelled_caught
        with pytest.raises(LOST + EOF):
            await near.receive()


async def test_a_send_that_was_cut_is_not_followed_by_a_goodbye(network: Network) -> None:
    async with tls_pair(network) as (near, far):
        with anyio.move_on_after(0.02):
            await again_and_again(near.send, b"x" * BUFFER)
        await near.aclose()
        with pytest.raises(LOST):
            await read_all(far)


async def test_alpn(tmp_path: Path, network: Network) -> None:
    ca, cert, key = certificates().write(tmp_path)
    config = TLSConfig(certfile=cert, keyfile=key)
    server = server_context(config)
    client = client_contexts(ca)()
    assert server is not None
    async with pair(network) as (near, far):
        wrapped: list[TlsTransport] = []

        async def accept() -> None:
            wrapped.append(await TlsTransport.wrap(far, server))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            inner = await TlsTransport.wrap(near, client, server_hostname="localhost")
        assert inner.alpn == wrapped[0].alpn == "http/1.1"
        await inner.aclose()
        await wrapped[0].aclose()


def test_contexts(tmp_path: Path) -> None:
    ca, cert, key = certificates().write(tmp_path)
    asks = server_context(TLSConfig(certfile=cert, keyfile=key, client_ca=ca))
    assert asks is not None
    assert asks.verify_mode is ssl.CERT_REQUIRED
    assert asks.minimum_version is ssl.TLSVersion.TLSv1_2
    assert server_context(None) is None
    assert server_context(asks) is asks
    assert client_contexts(asks)() is asks
    strict = client_contexts(True)
    assert strict() is strict()
    assert strict().verify_mode is ssl.CERT_REQUIRED
    assert strict().check_hostname
    lax = client_contexts(False)()
    assert lax.verify_mode is ssl.CERT_NONE
    with pytest.raises(OSError, match=r"."):
        server_context(TLSConfig(certfile=tmp_path / "none"))


async def test_the_client_side_of_a_socket() -> None:
    network = SocketNetwork()
    async with pair(network) as (near, far):
        for end in (near, far):
            assert end._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_unix_sockets(tmp_path: Path) -> None:
    network = SocketNetwork(unix_mode=0o600)
    async with pair(network, f"unix:{tmp_path / 's'}") as (near, far):
        await near.send(b"hello")
        assert await far.receive() == b"hello"
        near.reset_on_close()


async def test_nobody_listens(network: Network) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        with pytest.raises(ConnectionRefusedError):
            await network.connect(address)


async def test_names(network: Network) -> None:
    assert ("127.0.0.1", 80) in await network.resolve("localhost", 80)
    assert await network.resolve("192.0.2.1", 80) == [("192.0.2.1", 80)]


async def test_names_that_do_not_resolve() -> None:
    memory = MemoryNetwork()
    memory.names["gone.test"] = OSError("no such name")
    with pytest.raises(OSError, match="no such name"):
        await memory.resolve("gone.test", 80)


async def test_a_memory_address_is_taken_once() -> None:
    memory = MemoryNetwork()
    await memory.listen("127.0.0.1:80")
    with pytest.raises(OSError, match="in use"):
        await memory.listen("localhost:80")


async def test_what_has_arrived_is_accepted_before_the_listener_closes(network: Network) -> None:
    (listener,) = await network.listen("127.0.0.1:0")
    near = await network.connect(listener.address)
    got: list[Open] = []
    listener.close(lambda open_transport, _: got.append(open_transport))
    far = await got[0]()
    await near.send(b"still here")
    assert await far.receive() == b"still here"
    with pytest.raises(OSError, match=r"."):
        await network.connect(listener.address)
    await near.aclose()
    await far.aclose()


async def test_out_of_files_is_paused_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = SocketNetwork()
    refusals = iter([OSError(24, "Too many open files"), OSError(24, "Too many open files")])

    class Refusing:
        """A listening socket that fails twice, then aborts one connection, then works."""

        def __init__(self, real: socket.socket) -> None:
            self.real = real
            self.tries = 0
            self.aborts = iter([ConnectionAbortedError()])

        def fileno(self) -> int:
            return self.real.fileno()

        def accept(self) -> Any:
            self.tries += 1
            for error in refusals:
                raise error
            for gone in self.aborts:
                raise gone
            return self.real.accept()

        def close(self) -> None:
            self.real.close()

    (listener,) = await network.listen("127.0.0.1:0")
    inner: Any = listener
    refusing = inner._listening.sock = Refusing(inner._listening.sock)
    opens: list[Open] = []
    arrived = anyio.Event()

    def accepted(open_transport: Open, _: Address) -> None:
        opens.append(open_transport)
        arrived.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.accept_forever, accepted)
        near = await network.connect(listener.address)
        await arrived.wait()
        tasks.cancel_scope.cancel()
    assert refusing.tries <= 6
    assert len([r for r in caplog.records if "Too many open files" in r.getMessage()]) == 1
    far = await opens[0]()
    await near.aclose()
    await far.aclose()
    listener.close(accepted)
