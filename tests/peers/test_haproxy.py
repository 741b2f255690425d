"""HAProxy in front: a server is told to end under load, and no request fails.

HAProxy asks `/readyz` of each server's admin listener, and says by the PROXY protocol whose each
connection is.
"""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.cli.command import Serving, serving

pytestmark = [pytest.mark.peer("haproxy"), pytest.mark.peer("wrk")]

APP = """\
from pipebus import Context, Pipeline, Request, Response

pipeline = Pipeline("app")

@pipeline.route("GET /")
async def root(request: Request, ctx: Context) -> Response:
    await ctx.sleep(0.002)
    return Response.text(str(request.client))
"""
# Nothing is tried again: a request that fails once has failed.
CONFIG = """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
frontend front
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    option httpchk GET /readyz
    http-reuse safe
    {servers}
"""
LINE = "server s{n} 127.0.0.1:{port} send-proxy-v2 check port {admin} inter 50ms"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def haproxy(directory: Path, servers: list[tuple[int, int]]) -> Iterator[int]:
    port = free_port()
    lines = [
        LINE.format(n=number, port=where, admin=admin)
        for number, (where, admin) in enumerate(servers)
    ]
    config = directory / "haproxy.cfg"
    config.write_text(CONFIG.format(port=port, servers="\n    ".join(lines)))
    process = subprocess.Popen(["haproxy", "-f", str(config), "-q"])
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("haproxy does not listen")


def ask(port: int) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def admin_port(server: Serving) -> int:
    assert server.process.stdout is not None
    line = server.process.stdout.readline()
    return int(re.findall(r"^admin at http://127.0.0.1:(\d+)$", line)[0])


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_no_request_fails_when_a_server_is_told_to_end_under_load(
    runtime: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    options = [
        "--runtime", runtime, "--port", "0", "--admin", "127.0.0.1:0", "--proxy-protocol",
        "--drain-delay", "0.5",
    ]  # fmt: skip
    serve = ("serve", "app:pipeline", *options)
    with serving(*serve, cwd=tmp_path) as first, serving(*serve, cwd=tmp_path) as second:
        where = [(server.port, admin_port(server)) for server in (first, second)]
        with haproxy(tmp_path, where) as port:
            status, body = ask(port)
            assert status == 200
            assert body.startswith("('127.0.0.1', ")  # whom HAProxy names, and not HAProxy
            load = subprocess.Popen(
                ["wrk", "-t1", "-c32", "-d3", f"http://127.0.0.1:{port}/"],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            time.sleep(1.0)  # under load: what is tested is a signal in the middle of it
            first.signal(signal.SIGTERM)
            status, log = first.end()
            assert status == 0, log
            assert load.poll() is None, "it ended while requests still came"
            report, _ = load.communicate(timeout=30)
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report
    requests = re.search(r"(\d+) requests in", report)
    assert requests is not None
    assert int(requests[1]) > 500, report
