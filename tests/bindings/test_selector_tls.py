"""TLS of the selector driver, a server's: handshakes, closes, cuts, bodies."""

import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.limits import Limits
from pipebus_anyio.tls import TLSConfig
from pipebus_anyio.tls_connection import TlsConnection
from pipebus_anyio.tls_layer import TlsLayer
from tests.bindings.app import App
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, get, post, request, until
from tests.bindings.quiet import (
    ENDING,
    NOTHING,
    WRITING,
    Sweeps,
    accept_as,
    assert_rests,
    connections,
    interest,
)
from tests.bindings.raw import TlsStream, connected, raw_peer, tls_peer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

NEVER = 1_000.0
SERVER, CLIENT = certificates().server, certificates().client


@pytest.fixture
def app() -> App:
    return App()


def context(version: ssl.TLSVersion) -> ssl.SSLContext:
    client = ssl.create_default_context()
    certificates().authority.configure_trust(client)
    client.maximum_version = version
    return client


# --- the handshake -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_byte_by_byte(stack: Stack, app: App, version: ssl.TLSVersion) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        tls_peer(server.addresses[0], context(version), piece=1) as peer,
    ):
        for number in range(3):
            answer = await peer.ask(post("/echo", b"%d" % number * 1_000))
            assert answer.body == b"%d" % number * 1_000


async def test_a_request_behind_the_handshake_in_one_piece(stack: Stack, app: App) -> None:
    """Its plaintext comes out of TLS with the end of the handshake: epoll will not say so again."""
    async with stack.serve(app.pipeline, tls=SERVER) as server:
        raw = connected(server.addresses[0])
        peer = TlsStream(raw, CLIENT, hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.push()
        peer.incoming.write(await raw.receive())
        peer.tls.do_handshake()
        peer.tls.write(get("/inline"))
        await peer.push()  # with what ends the handshake
        assert (await Peer(peer).answer()).body == b"inline "
        await peer.aclose()


async def test_a_handshake_that_does_not_begin_rests_and_ends_silently(
    stack: Stack, app: App, sweeps: Sweeps, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(head_timeout=0.5)) as server,
        raw_peer(server.addresses[0]) as peer,
        raw_peer(server.addresses[0]) as begun,
    ):
        await begun.send(b"\x16\x03\x01")
        await until(lambda: len(connections(server)) == 2)
        await assert_rests(sweeps)
        assert await peer.rest() == b""
        assert await begun.rest() == b""
    assert caplog.records == []


async def test_somebody_who_speaks_no_tls(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.serve(app.pipeline, tls=SERVER) as server:
        async with raw_peer(server.addresses[0]) as peer:
            await peer.send(get("/inline"))
            assert b"HTTP" not in await peer.rest()
        async with tls_peer(server.addresses[0], CLIENT) as peer:
            assert (await peer.ask(get("/inline"))).status == 200
        await until(lambda: server.engine.admission.connections == 0)
    assert caplog.records == []


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_peer_that_goes_in_the_handshake(stack: Stack, app: App, how: str) -> None:
    async with stack.serve(app.pipeline, tls=SERVER) as server:
        raw = connected(server.addresses[0])
        peer = TlsStream(raw, CLIENT, hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.push()
        await raw.receive()
        if how == "reset":
            Peer(peer).reset()
            await raw.aclose()
        else:
            await raw.send_eof()
        await until(lambda: server.engine.dispatch.connections == 1)
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []
        await raw.aclose()


async def test_a_drain_does_not_wait_for_a_handshake(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(idle_grace=0.01)) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await until(lambda: len(connections(server)) == 1)
        connections(server)[0].flush()
        assert len(connections(server)) == 1  # it was told to look, and there was nothing
        with anyio.fail_after(5):
            await server.drain()
        assert await peer.rest() == b""


async def test_alpn(stack: Stack, app: App, tmp_path: Path) -> None:
    ca, cert, key = certificates().write(tmp_path)
    client = ssl.create_default_context(cafile=ca)
    client.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        stack.serve(app.pipeline, tls=TLSConfig(certfile=cert, keyfile=key)) as server,
        tls_peer(server.addresses[0], client) as peer,
    ):
        assert peer.stream.tls.selected_alpn_protocol() == "http/1.1"
        assert (await peer.ask(get("/inline"))).status == 200


# --- the end of a connection -------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_a_half_closed_peer_gets_its_answer_and_a_goodbye(
    stack: Stack, app: App, sweeps: Sweeps, version: ssl.TLSVersion
) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(half_close_grace=NEVER)) as server,
        tls_peer(server.addresses[0], context(version)) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await peer.end()
        await until(lambda: interest(server) == NOTHING)
        await assert_rests(sweeps)
        app.go_on.set()
        assert (await peer.answer()).body == b"waited"
        assert await peer.rest() == b""  # close_notify: without it this raises


async def test_our_end_of_an_idle_connection_is_said(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(idle_timeout=0.05)) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.ask(get("/inline"))
        assert await peer.rest() == b""


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_peer_that_goes_without_a_goodbye_is_lost_at_once(
    stack: Stack, app: App, how: str
) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(half_close_grace=NEVER)) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        if how == "reset":
            peer.reset()
            await peer.close()
        else:
            await peer.stream.raw.send_eof()  # perhaps an attacker's cut
        await app.stopped.wait()
        assert app.log == ["cancelled"]
        await until(lambda: server.engine.admission.connections == 0)


async def test_what_is_no_record_ends_the_connection(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(half_close_grace=NEVER)) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.ask(get("/inline"))
        await peer.send(get("/wait"))
        await app.started.wait()
        await peer.stream.raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        await app.stopped.wait()
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await peer.rest()


@pytest.mark.parametrize("goodbye", [False, True])
async def test_a_refusal_is_not_eaten_by_a_reset(
    stack: Stack, app: App, sweeps: Sweeps, goodbye: bool
) -> None:
    limits = Limits(max_body=1_000, linger_timeout=NEVER)
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=limits) as server,
        tls_peer(server.addresses[0], CLIENT, piece=777) as peer,
    ):
        await peer.send(request("POST", "/echo", "Content-Length: 200000"))
        await peer.send(b"x" * 200_000)  # all of it, though nobody will read it
        assert (await peer.answer("POST")).status == 413
        assert await peer.rest() == b""
        await assert_rests(sweeps)
        if goodbye:
            await peer.end()
        else:
            await peer.stream.raw.send_eof()
        await until(lambda: server.engine.admission.connections == 0)


# --- bodies ------------------------------------------------------------------------------------


async def test_big_bodies_through_small_buffers(stack: Stack, app: App, sweeps: Sweeps) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(write_timeout=NEVER)) as server,
        tls_peer(server.addresses[0], CLIENT, buffer=4_096) as peer,
    ):
        await peer.send(get("/big"))
        await until(lambda: bool(interest(server) & WRITING))
        await assert_rests(sweeps)
        assert (await peer.answer()).body == b"x" * 3_000_000
        await peer.send(request("POST", "/count", "Content-Length: 3000000"))
        for _ in range(300):
            await peer.send(b"x" * 10_000)
        assert (await peer.answer("POST")).body == b"3000000"
        body = bytes(range(256)) * 4_000
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.send, post("/echo", body))
            assert (await peer.answer("POST")).body == body


async def test_reading_stops_at_the_read_ahead_and_is_taken_up_again(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(read_ahead=1_000)) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await peer.send(post("/echo", b"y" * 10_000))
        await until(lambda: interest(server) == ENDING)
        await peer.send(post("/echo", b"z" * 10_000))
        await assert_rests(sweeps)
        app.go_on.set()
        assert (await peer.answer()).body == b"waited"
        assert (await peer.answer("POST")).body == b"y" * 10_000
        assert (await peer.answer("POST")).body == b"z" * 10_000


async def test_a_peer_that_takes_nothing_is_reset(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER, limits=Limits(write_timeout=0.1)) as server,
        tls_peer(server.addresses[0], CLIENT, buffer=4_096) as peer,
    ):
        await peer.send(get("/big"))
        await until(lambda: bool(interest(server) & WRITING))
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


async def test_a_big_last_answer_is_sent_whole_before_the_goodbye(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        tls_peer(server.addresses[0], CLIENT, buffer=4_096) as peer,
    ):
        await peer.send(get("/big", version="1.0"))
        await until(lambda: bool(interest(server) & WRITING))
        answer = await peer.answer()
        assert (answer.body, answer.closes) == (b"x" * 3_000_000, True)
        assert await peer.rest() == b""


async def test_a_reset_while_bytes_wait_to_be_sent(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline, tls=SERVER) as server:
        async with tls_peer(server.addresses[0], CLIENT, buffer=4_096) as peer:
            await peer.send(get("/big"))
            await until(lambda: bool(interest(server) & WRITING))
            peer.reset()
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


async def test_a_goodbye_that_needs_a_reply_which_cannot_be_sent(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a key update, with a peer that has reset in the meantime."""

    class Broken(socket.socket):
        broken = False

        def send(self, *args: Any) -> int:
            if self.broken:
                raise BrokenPipeError
            return super().send(*args)

    accept_as(monkeypatch, Broken)
    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.ask(get("/inline"))
        (one,) = connections(server)
        assert isinstance(one, TlsConnection)
        assert isinstance(one.sock, Broken)
        one.sock.broken = True
        one._layer.write(b"stands for the reply")
        await peer.end()
        await until(lambda: server.engine.admission.connections == 0)
        assert one.closed
        assert connections(server) == []


async def test_a_fault_ends_one_connection_and_is_said(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise LookupError("a fault")

    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        tls_peer(server.addresses[0], CLIENT) as other,
    ):
        async with tls_peer(server.addresses[0], CLIENT) as peer:
            await peer.ask(get("/inline"))
            with monkeypatch.context() as patch:
                patch.setattr(TlsLayer, "read", fault)
                await peer.send(get("/inline"))
                with pytest.raises(ssl.SSLEOFError):
                    await peer.rest()
        assert (await other.ask(get("/inline"))).status == 200
    assert len(caplog.records) == 1


async def test_tls_that_cannot_be_written_now_ends_the_connection(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a renegotiation (TLS 1.2), for one."""

    def write(*_: object) -> None:
        raise ssl.SSLWantReadError

    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        tls_peer(server.addresses[0], CLIENT) as peer,
    ):
        await peer.ask(get("/inline"))
        monkeypatch.setattr(TlsLayer, "write", write)
        await peer.send(get("/inline"))
        with pytest.raises(ssl.SSLEOFError):
            await peer.rest()
        assert server.engine.admission.connections == 0
