"""Our client, on both runtimes, against other people's servers."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from pipebus.errors import ConnectError, UpstreamProtocolError
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.peers.asgi_app import BIG
from tests.peers.processes import Child, serving
from tests.peers.threaded import Handler, Sized, threaded

pytestmark = pytest.mark.anyio

APP = "tests.peers.asgi_app:app"
UVICORN = ("-m", "uvicorn", APP, "--port", "0", "--http", "h11", "--loop", "asyncio")
HYPERCORN = ("-m", "hypercorn", APP, "--bind", "127.0.0.1:0", "--workers", "0")
SERVERS = {
    "uvicorn": UVICORN,
    "hypercorn-asyncio": (*HYPERCORN, "--worker-class", "asyncio"),
    "hypercorn-trio": (*HYPERCORN, "--worker-class", "trio"),
}


@pytest.fixture(params=DEFAULT_STACKS, ids=str)
def stack(request: pytest.FixtureRequest) -> Stack:
    cell: Stack = request.param
    return cell


@pytest.fixture
def anyio_backend(stack: Stack) -> str:
    return stack.runtime


@pytest.fixture(scope="module", params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Child]:
    with serving(*SERVERS[name]) as child:
        yield child


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return certificates().write(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(tls_files: tuple[Path, Path, Path]) -> Iterator[Child]:
    _, certificate, key = tls_files
    files = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    with serving(*UVICORN, *files) as child:
        yield child


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(BIG), 100_000):
        yield BIG[start : start + 100_000]


async def test_the_server_is_the_one_that_was_asked_for(
    stack: Stack, server: Child, name: str
) -> None:
    async with stack.client() as client:
        answer = await client.get(f"{server.url}/library")
        product = answer.headers.get_list("server")[0]
        assert product.startswith(name.split("-")[0])  # such as hypercorn-h11
        assert answer.text() == ("trio" if name.endswith("trio") else "asyncio")


async def test_methods_bodies_and_reuse(stack: Stack, server: Child) -> None:
    async with stack.client() as client:
        assert (await client.request("HEAD", server.url)).body == b""
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await client.request(method, f"{server.url}/x?a=1", body=b"body")
            assert (answer.status, answer.body) == (200, b"body")
            assert answer.headers.get("x-method") == method
            assert answer.timings.connect == 0, "a second connection"


async def test_big_bodies_both_ways(stack: Stack, server: Child) -> None:
    async with stack.client() as client:
        assert (await client.post(server.url, body=BIG)).body == BIG
        assert (await client.post(server.url, body=pieces())).body == BIG


async def test_gzip(stack: Stack, server: Child) -> None:
    async with stack.client() as client:
        answer = await client.get(f"{server.url}/gzip")
        assert answer.headers.get("content-encoding") == "gzip"
        assert answer.body == BIG


async def test_chunked_whole_streamed_and_left_early(stack: Stack, server: Child) -> None:
    url = f"{server.url}/chunked"
    async with stack.client() as client:
        answer = await client.get(url)
        assert answer.headers.get("transfer-encoding") == "chunked"
        assert answer.body == BIG
        async with client.stream("GET", url) as response:
            assert b"".join([chunk async for chunk in response]) == BIG
        async with client.stream("GET", url) as response:
            assert len(await anext(aiter(response))) > 0
        assert (await client.get(url)).body == BIG


async def test_an_upload_streamed_while_its_answer_is_read(stack: Stack, server: Child) -> None:
    async with stack.client() as client, client.stream("POST", server.url, body=pieces()) as got:
        assert got.status == 200
        assert b"".join([chunk async for chunk in got]) == BIG


async def test_an_early_answer_ends_the_upload(stack: Stack, server: Child) -> None:
    left = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            left.set()

    async with stack.client() as client:
        answer = await client.post(f"{server.url}/early", body=endless())
        assert (answer.status, answer.body) == (403, b"no need")
        await left.wait()
        assert (await client.post(server.url, body=b"next")).body == b"next"


async def test_many_at_once(stack: Stack, server: Child) -> None:
    async with stack.client() as client:
        answers = {}

        async def ask(body: bytes) -> None:
            answers[body] = (await client.post(server.url, body=body)).body

        async with anyio.create_task_group() as group:
            for n in range(100):
                group.start_soon(ask, b"%d" % n)
        assert len(answers) == 100
        assert all(body == answer for body, answer in answers.items())


# --- TLS -------------------------------------------------------------------------------------


async def test_tls_with_a_test_ca(
    stack: Stack, tls_server: Child, tls_files: tuple[Path, Path, Path]
) -> None:
    async with stack.client(verify=tls_files[0]) as client:
        for host in ("localhost", "127.0.0.1"):
            url = f"https://{host}:{tls_server.port}/x"
            assert (await client.post(url, body=BIG)).body == BIG
            answer = await client.post(url, body=b"again")
            assert (answer.body, answer.timings.connect) == (b"again", 0)


async def test_an_unknown_ca_is_refused(stack: Stack, tls_server: Child) -> None:
    async with stack.client() as client:
        with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://localhost:{tls_server.port}/")


async def test_a_certificate_for_another_host_is_refused(
    stack: Stack, tls_files: tuple[Path, Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates().authority.issue_cert("elsewhere.test").configure_cert(context)
    async with stack.client(verify=tls_files[0]) as client:
        with (
            threaded(Handler, context) as url,
            pytest.raises(ConnectError, match=r"not valid for '127\.0\.0\.1'"),
        ):
            await client.get(url)


async def test_a_server_that_speaks_no_tls_is_refused(stack: Stack) -> None:
    async with stack.client() as client:
        with threaded(Handler) as url, pytest.raises(ConnectError):
            await client.get(url.replace("http", "https"))


# --- http.server -----------------------------------------------------------------------------


async def test_http_1_0_ends_its_body_by_closing(stack: Stack) -> None:
    with threaded(Handler) as url:
        async with stack.client() as client:
            for _ in range(2):
                answer = await client.get(f"{url}/path")
                assert (answer.http_version, answer.body) == ("1.0", b"/path")
                assert answer.headers.get("content-length") is None
            assert (await client.post(url, body=BIG)).body == BIG


class Leaves(Sized):
    """Closes silently when asked a second time over one connection, as a server does whose idle
    timeout runs out while the next request is under way."""

    asked = 0

    def parse_request(self) -> bool:
        self.asked += 1
        if self.asked < 2:
            return super().parse_request()
        self.close_connection = True
        return False


async def test_a_request_that_met_a_closing_connection_is_sent_again(stack: Stack) -> None:
    with threaded(Leaves) as url:
        async with stack.client() as client:
            for path in ("/1", "/2", "/3"):
                answer = await client.get(url + path)
                assert answer.body == path.encode()
                assert answer.timings.connect > 0, "nothing was closed under it"


async def test_a_post_is_never_sent_twice(stack: Stack) -> None:
    with threaded(Leaves) as url:
        async with stack.client() as client:
            assert (await client.post(url, body=b"1")).body == b"1"
            with pytest.raises(UpstreamProtocolError):
                await client.post(url, body=b"2")
            assert (await client.post(url, body=b"3")).body == b"3"


async def test_a_connection_closed_while_idle_is_not_used(stack: Stack) -> None:
    class Idle(Sized):
        timeout = 0.05

    with threaded(Idle) as url:
        async with stack.client() as client:
            assert (await client.post(url, body=b"1")).body == b"1"
            pool = client._engine.client.pool
            with anyio.fail_after(10):
                while pool.slots:  # noqa: ASYNC110 (the core has no event to wait for)
                    await anyio.sleep(0.001)
            answer = await client.post(url, body=b"2")
            assert answer.body == b"2"
            assert answer.timings.connect > 0
