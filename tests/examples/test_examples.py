"""Each example over real sockets, on both runtimes."""

import hashlib
import logging
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator

import anyio
import pytest

from examples import audit_tap, echo, gateway, notes, streaming, subscribers
from pipebus.testing import Simulation
from tests.environment import without_coverage
from tests.examples.conftest import ROOT, child, serving

pytestmark = pytest.mark.anyio


def ask(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=30) as answer:
        found: bytes = answer.read()
        return found


def test_echo_as_a_script(runtime: str) -> None:
    with child("examples/echo.py", runtime, "127.0.0.1:0") as (url, output):
        assert ask(f"{url}/any/path", b"hello") == b"hello"
    assert output[0].startswith("serving at ")


def test_echo_by_the_command(runtime: str) -> None:
    serve = ("-m", "pipebus_cli", "serve", "examples.echo:pipeline")
    with child(*serve, "--runtime", runtime, "--port", "0") as (url, output):
        assert ask(url, b"hello") == b"hello"
    assert f" on {runtime}" in output[0]


def test_without_http(runtime: str) -> None:
    command = [sys.executable, "examples/without_http.py", runtime]
    done = subprocess.run(
        command, cwd=ROOT, env=without_coverage(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "tea: 3",
        "tea and coffee: 7",
        "gold: KeyError('gold')",
        "tomorrow: not known in time",
        "yesterday: nobody answers that",
        "tea, from a thread: 3",
    ]
    assert "Traceback" not in done.stderr


async def test_an_audit_tap(runtime: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")
    async with serving(runtime, audit_tap.pipeline) as (server, client):
        greeting = await client.get(server.url + "/hello/you")
        missing = await client.get(server.url + "/nothing")
    assert (greeting.text(), missing.status) == ("hello you", 404)
    lines = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert [line.partition(",")[0] for line in lines] == [
        "GET /hello/you -> 200",
        "GET /nothing -> 404",
    ]


async def test_a_gateway(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(runtime, echo.pipeline) as (behind, _):
        monkeypatch.setenv("UPSTREAM", behind.url)
        async with serving(runtime, gateway.pipeline) as (server, client):
            url = server.url + "/api/a%20b?c=d"
            async with server.bus.subscribe("net.http.client.response") as events:
                answer = await client.post(
                    url, body=b"hello", headers={"content-type": "text/x", "cookie": "a=b"}
                )
                outgoing = (await anext(events)).data
            await behind.drain()
            refused = await client.post(url, body=b"hello")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["content-type"] == "text/x"
    assert outgoing.url == behind.url + "/a%20b?c=d"
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["detail"] == "the service behind is down"


async def test_a_lossless_subscriber_misses_none(runtime: str) -> None:
    names = [str(number) for number in range(100)]
    async with serving(runtime, subscribers.pipeline) as (server, client):
        url = server.url + "/orders"
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(lambda body: client.post(url, body=body), name.encode())
        shop = server.engine.state
    # The drain at the end of the block has waited for the ledger.
    assert sorted(shop.ledger, key=int) == names
    assert set(shop.shown) <= set(names)


def test_a_lossy_subscriber_skips_to_the_latest() -> None:
    with Simulation(subscribers.pipeline) as app:
        for number in range(5):
            assert app.post("/orders", b"%d" % number).status == 202
        app.advance(1)
        shop = app.get("/orders").json()
    assert shop == {"ledger": ["0", "1", "2", "3", "4"], "shown": ["0", "4"]}


async def test_an_upload(runtime: str) -> None:
    piece = bytes(range(256)) * 256

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield piece

    async with serving(runtime, streaming.pipeline) as (server, client):
        answer = await client.put(server.url + "/files/big", body=pieces())
    digest = hashlib.sha256(piece * 64).hexdigest()
    assert answer.status == 201
    assert answer.json() == {"name": "big", "size": 64 * len(piece), "sha256": digest}


async def test_server_sent_events(runtime: str) -> None:
    async with serving(runtime, streaming.pipeline) as (server, client):
        asked = {"last-event-id": "41"}
        async with client.stream("GET", server.url + "/ticks", headers=asked) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            text = b""
            async for piece in answer:
                text += piece
                if text.count(b"\n\n") == 2:
                    server.begin_drain()
    # The stream has ended by itself, since the server drains.
    assert text.startswith(b"event: tick\nid: 42\ndata: tick 42\n\nevent: tick\nid: 43\n")


async def test_a_database(runtime: str) -> None:
    async with serving(runtime, notes.pipeline) as (server, client):
        async with server.bus.subscribe("notes.added") as events:
            added = await client.post(server.url + "/notes", body=b"buy tea")
            assert (await anext(events)).data == 1
        assert (added.status, added.headers["location"]) == (201, "/notes/1")
        assert (await client.get(server.url + added.headers["location"])).text() == "buy tea"
        for wrong in ("2", "x", "9" * 5_000):
            assert (await client.get(f"{server.url}/notes/{wrong}")).status == 404
        database = server.engine.state
    # The lifespan has closed it.
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.get("1")
