"""What uvicorn and hypercorn serve: an ASGI application for our client to meet."""

import asyncio
import gzip
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BIG = bytes(range(256)) * 40_000


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    assert scope["type"] == "http"
    match scope["path"]:
        case "/gzip":
            await _send(send, gzip.compress(BIG), (b"content-encoding", b"gzip"))
        case "/chunked":
            await _stream(send)
        case "/early":  # answers, and does not read what it is sent
            await _send(send, b"no need", status=403)
        case "/library":
            await _send(send, b"trio" if _on_trio() else b"asyncio")
        case _:
            await _send(send, await _body(receive), (b"x-method", scope["method"].encode()))


def _on_trio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio" in sys.modules
    return False


async def _live(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{step}"
        await send({"type": f"lifespan.{step}.complete"})


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _send(send: Send, body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode()), *fields]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for start in range(0, len(BIG), 10_000):
        part = BIG[start : start + 10_000]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
