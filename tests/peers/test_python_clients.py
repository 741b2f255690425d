"""httpx and aiohttp against `pipebus echo`."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Iterator

import aiohttp
import httpx

from tests.peers.conftest import Echo

BIG = bytes(range(256)) * 20_000


def pieces() -> Iterator[bytes]:
    for n in range(50):
        yield b"%d," % n


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


def trusting(echo: Echo) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(echo.authority))


def test_httpx(echo: Echo) -> None:
    with httpx.Client(base_url=echo.http.url) as client:
        answer = client.post("/x?a=1", content=b"body", headers={"content-type": "text/x"})
        assert (answer.status_code, answer.content) == (200, b"body")
        assert answer.headers["content-type"] == "text/x"
        assert client.head("/x").content == b""
        assert client.put("/x", content=pieces()).content == b"".join(pieces())
        assert client.post("/x", content=BIG).content == BIG


def test_httpx_reads_a_stream_and_leaves_one_early(echo: Echo) -> None:
    with httpx.Client(base_url=echo.http.url) as client:
        with client.stream("POST", "/x", content=BIG) as answer:
            assert len(next(answer.iter_bytes())) > 0
        assert client.post("/x", content=b"next").content == b"next"


def test_httpx_over_tls_and_unix(echo: Echo) -> None:
    url = f"https://localhost:{echo.https.port}"
    with httpx.Client(verify=trusting(echo)) as client:
        assert client.post(url, content=BIG).content == BIG
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(echo.unix))) as client:
        assert client.post("http://any/x", content=b"local").content == b"local"


def test_httpx_many_at_once(echo: Echo) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(base_url=echo.http.url) as client:
            bodies = [b"%d" % n for n in range(200)]
            answers = await asyncio.gather(*(client.post("/x", content=b) for b in bodies))
            assert [answer.content for answer in answers] == bodies

    asyncio.run(main())


def test_aiohttp(echo: Echo) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(echo.http.url) as session:
            async with session.post("/x", data=b"body", headers={"content-type": "text/x"}) as got:
                assert (got.status, await got.read()) == (200, b"body")
                assert got.headers["content-type"] == "text/x"
            async with session.put("/x", data=async_pieces()) as got:
                assert await got.read() == b"".join(pieces())
            async with session.put("/x", data=b"asked first", expect100=True) as got:
                assert await got.read() == b"asked first"
            async with session.head("/x") as got:
                assert await got.read() == b""
            async with session.post("/x", data=io.BytesIO(BIG)) as got:
                assert await got.read() == BIG

    asyncio.run(main())


def test_aiohttp_over_tls_and_unix(echo: Echo) -> None:
    async def main() -> None:
        url = f"https://localhost:{echo.https.port}/x"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=io.BytesIO(BIG), ssl=trusting(echo)) as got,
        ):
            assert await got.read() == BIG
        local = aiohttp.UnixConnector(str(echo.unix))
        async with (
            aiohttp.ClientSession(connector=local) as session,
            session.post("http://any/x", data=b"local") as got,
        ):
            assert await got.read() == b"local"

    asyncio.run(main())


def test_aiohttp_many_at_once(echo: Echo) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(echo.http.url) as session:

            async def post(body: bytes) -> bytes:
                async with session.post("/x", data=body) as got:
                    return await got.read()

            bodies = [b"%d" % n for n in range(200)]
            assert await asyncio.gather(*map(post, bodies)) == bodies

    asyncio.run(main())
