"""`pipebus echo` and `pipebus serve` as processes, on both runtimes."""

import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pipebus_cli import reload as reloading
from tests.bindings.certificates import certificates
from tests.cli.command import run, serving

RUNTIMES = pytest.mark.parametrize("runtime", ["asyncio", "trio"])

SLOW = """\
from pipebus import Context, Pipeline, Request, Response

pipeline = Pipeline("slow")

@pipeline.route("GET /until-drain")
async def until_drain(request: Request, ctx: Context) -> Response:
    while not ctx.draining:
        await ctx.sleep(0.01)
    return Response.text("finished")

@pipeline.route("GET /for-ever")
async def for_ever(request: Request, ctx: Context) -> Response:
    while True:
        await ctx.sleep(60)

class inner:
    pipeline = pipeline

print("imported", flush=True)
"""


def exchange(address: str | tuple[str, int], request: bytes) -> bytes:
    """Send bytes over a new connection and return all that comes until it ends."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.connect(address)
        connection.sendall(request)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


@RUNTIMES
def test_echo_answers_any_method_and_path_with_the_body(runtime: str) -> None:
    with serving("echo", "--runtime", runtime, "--port", "0") as server:
        assert server.banner[0] == f"echo on {runtime}, driver selector, wire llhttp, grace 30 s"
        with httpx.Client(base_url=server.url) as client:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
                body = bytes(range(256)) * 500
                answer = client.request(
                    method, "/a/b%2Fc?d=e", content=body, headers={"content-type": "a/b; c=d"}
                )
                assert answer.status_code == 200
                assert answer.content == body
                assert answer.headers["content-type"] == "a/b; c=d"
            plain = client.get("/")
            assert (plain.content, "content-type" in plain.headers) == (b"", False)
            head = client.head("/x", headers={"content-type": "a/b"})
            assert (head.status_code, head.content) == (200, b"")
        where = ("127.0.0.1", server.port)
        old = exchange(where, b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nold")
        assert old.startswith(b"HTTP/1.1 200 ")
        assert old.endswith(b"\r\n\r\nold")
        star = exchange(where, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert star.startswith(b"HTTP/1.1 200 ")


@RUNTIMES
def test_limits_come_from_options(runtime: str) -> None:
    options = ["--max-body", "20MB", "--idle-timeout", "5s", "--stream-idle", "none"]
    with serving("echo", "--runtime", runtime, "--port", "0", *options) as server:
        body = b"x" * (17 * 1024**2)
        assert httpx.post(server.url, content=body, timeout=60).content == body
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20971521\r\n\r\n"
        assert exchange(("127.0.0.1", server.port), head).startswith(b"HTTP/1.1 413 ")
    assert server.banner[1] == (
        "limits: max-body 20M (default 16M), idle-timeout 5 (default 75), "
        "stream-idle none (default 60)"
    )


@RUNTIMES
def test_unix_socket_alone_and_beside_a_port(runtime: str, tmp_path: Path) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    path = tmp_path / "socket"
    with serving("echo", "--runtime", runtime, "--uds", "socket", cwd=tmp_path) as server:
        assert server.urls == ["unix:socket"]
        assert exchange(str(path), request).endswith(b"\r\n\r\nhi")
    assert not path.exists()
    with serving(
        "echo", "--runtime", runtime, "--uds", "socket", "--port", "0", cwd=tmp_path, addresses=2
    ) as server:
        assert exchange(str(path), request).endswith(b"\r\n\r\nhi")
        port = int(server.urls[1].rpartition(":")[2])
        assert exchange(("127.0.0.1", port), request).endswith(b"\r\n\r\nhi")


@RUNTIMES
def test_tls(runtime: str, tmp_path: Path) -> None:
    authority, cert, key = certificates().write(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    context = ssl.create_default_context(cafile=authority)
    # Files are read before there is a runtime: one way for each is enough.
    files = {"asyncio": ["--tls-cert", str(cert), "--tls-key", str(key)]}.get(
        runtime, ["--tls-cert", str(both)]
    )
    with serving("echo", "--runtime", runtime, "--port", "0", *files) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert httpx.post(server.url, content=b"hi", verify=context).content == b"hi"


def test_ipv6_addresses_are_printed_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this system has no IPv6")
    with serving("echo", "--host", "::1", "--port", "0") as server:
        assert server.url.startswith("http://[::1]:")
        assert httpx.post(server.url, content=b"hi").content == b"hi"


@RUNTIMES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(runtime: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with (
        serving(
            "serve", "app:pipeline", "--runtime", runtime, "--port", "0", cwd=tmp_path
        ) as server,
        socket.create_connection(("127.0.0.1", server.port)) as busy,
    ):
        assert server.banner[0] == "imported"
        busy.sendall(b"GET /until-drain HTTP/1.1\r\nHost: x\r\n\r\n")
        # A second connection that is answered proves that the first is being served.
        exchange(
            ("127.0.0.1", server.port), b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        server.signal(number)
        answer = read_to_end(busy)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nfinished")
        status, log = server.end()
        assert status == 0
        assert f"{number.name}: draining" in log


@RUNTIMES
def test_a_second_signal_ends_at_once(runtime: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    target = "app:inner.pipeline"
    with (
        serving("serve", target, "--runtime", runtime, "--port", "0", cwd=tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port)) as busy,
    ):
        busy.sendall(b"GET /for-ever HTTP/1.1\r\nHost: x\r\n\r\n")
        exchange(
            ("127.0.0.1", server.port), b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        server.signal(signal.SIGTERM)
        server.wait_logged("SIGTERM: draining")
        server.signal(signal.SIGTERM)
        status, _ = server.end()
        assert status == 128 + signal.SIGTERM


APP = """\
from pipebus import Pipeline, Request, Response

pipeline = Pipeline("app")

@pipeline.route("GET /")
def answer(request: Request) -> Response:
    return Response.text({answer!r})
"""


def test_reload_starts_again_when_a_file_changes(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP.format(answer="first"))
    with serving("serve", "app:pipeline", "--port", "0", "--reload", cwd=tmp_path) as server:
        assert httpx.get(server.url).text == "first"
        app.write_text("nonsense")
        server.wait_logged("NameError")
        app.write_text(APP.format(answer="second"))
        server.wait_started()
        assert httpx.get(server.url).text == "second"
        assert "changed: app.py; starting again" in server.log


def test_reload_does_not_wait_for_ever_for_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child whose requests do not end gets a second signal."""
    child = tmp_path / "child.py"
    child.write_text(
        "import pathlib, signal, sys\n"
        "def once(*_):\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "signal.signal(signal.SIGTERM, once)\n"
        "pathlib.Path('ready').touch()\n"
        "while True: signal.pause()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reloading, "PATIENCE", 0.2)
    reloader = reloading.Reloader([sys.executable, "child.py"])
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        reloader._end()
        assert reloader._child.returncode == 3
    finally:
        reloader._child.kill()
        reloader._child.wait()


def test_the_installed_command_is_the_module() -> None:
    script = Path(sys.executable).with_name("pipebus")
    result = subprocess.run([script, "--version"], capture_output=True, check=True)
    assert re.fullmatch(rb"\d+\.\d+\.\d+\n", result.stdout)
    assert result.stdout == run("--version").stdout
