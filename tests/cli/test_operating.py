"""What an operator asks of the command: an admin listener, limits, proxies."""

import json
import re
import signal
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.cli.command import Serving, run_many, serving

APP = """\
from pipebus import Pipeline, Request, Response

pipeline = Pipeline("app")

@pipeline.check("fine")
def fine() -> bool:
    return True

@pipeline.route("GET /")
def root(request: Request) -> Response:
    return Response.text(str(request.client))
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def ask(port: int, path: str, **fields: str) -> tuple[int, str, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def admin_ports(server: Serving, count: int) -> list[int]:
    assert server.process.stdout is not None
    lines = [server.process.stdout.readline() for _ in range(count)]
    return [
        int(re.findall(r" at http://127.0.0.1:(\d+)$", line, re.MULTILINE)[0]) for line in lines
    ]


def test_an_admin_listener_of_one_process(app: Path) -> None:
    with serving(
        "serve", "app:pipeline", "--port", "0", "--admin", "127.0.0.1:0", cwd=app
    ) as server:
        [admin] = admin_ports(server, 1)
        assert ask(admin, "/readyz?verbose")[:2] == (
            200, "[+]started ok\n[+]serving ok\n[+]check fine ok\nok\n",
        )  # fmt: skip
        assert ask(server.port, "/")[1].startswith("('127.0.0.1'")
        assert ask(server.port, "/readyz")[0] == 200  # `GET /` is a tree


def test_each_worker_has_an_admin_listener_of_its_own(app: Path) -> None:
    options = ["--port", "0", "--workers", "2", "--admin", "127.0.0.1:0"]
    with serving("serve", "app:pipeline", *options, cwd=app) as server:
        first, second = admin_ports(server, 2)
        assert first != second
        assert [ask(port, "/readyz")[:2] for port in (first, second)] == [(200, "ok\n")] * 2
        server.signal(signal.SIGHUP)
        server.wait_logged("reloaded")
        assert [ask(port, "/livez")[:2] for port in (first, second)] == [(200, "ok\n")] * 2


SLOW = """\
import os
from contextlib import asynccontextmanager
import anyio
from pipebus import Context, Pipeline, Request, Response

@asynccontextmanager
async def lifespan():
    await anyio.sleep(0.3)
    yield

pipeline = Pipeline("app", lifespan=lifespan)

@pipeline.route("GET /until-told")
async def until_told(request: Request, ctx: Context) -> Response:
    while not os.path.exists("told"):
        await ctx.sleep(0.01)
    return Response.text("done")

@pipeline.route("GET /VERSION")
def version(request: Request) -> Response:
    return Response.text("VERSION")
"""


def test_the_admin_listeners_of_an_old_and_a_new_worker_take_turns(tmp_path: Path) -> None:
    """Who asks is told by one of them at a time: ready all along, by the new one from then on."""
    (tmp_path / "app.py").write_text(SLOW.replace("VERSION", "old"))
    options = ["--port", "0", "--workers", "1", "--admin", "127.0.0.1:0"]
    with serving("serve", "app:pipeline", *options, cwd=tmp_path) as server:
        [admin] = admin_ports(server, 1)
        ask(server.port, "/old")
        busy = HTTPConnection("127.0.0.1", server.port, timeout=30)
        busy.request("GET", "/until-told")
        while "\npipebus_requests_in_flight 1\n" not in ask(admin, "/metrics")[1]:
            pass
        (tmp_path / "app.py").write_text(SLOW.replace("VERSION", "newer"))
        server.signal(signal.SIGHUP)
        readiness: list[tuple[int, str]] = []
        enough = threading.Event()

        def look() -> None:
            while not enough.is_set():
                readiness.append(ask(admin, "/readyz")[:2])

        looking = threading.Thread(target=look)
        looking.start()
        try:
            server.wait_logged("worker 1: SIGTERM: draining")  # the old worker's line
            metrics = [ask(admin, "/metrics")[1] for _ in range(20)]
        finally:
            enough.set()
            looking.join()
        assert not [text for text in metrics if "/old" in text]
        assert set(readiness) == {(200, "ok\n")}
        (tmp_path / "told").touch()
        assert busy.getresponse().read() == b"done"
        busy.close()
        server.wait_logged("reloaded")
        assert ask(server.port, "/newer")[0] == 200
        server.wait_logged("worker 1: ended")


def test_limits_proxies_and_ids(app: Path) -> None:
    options = [
        "--port", "0", "--rate-limit", "0.001", "--rate-burst", "1", "--trusted-proxy",
        "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8", "--request-id", "--server-timing",
        "--health-routes",
    ]  # fmt: skip
    with serving("serve", "app:pipeline", *options, cwd=app) as server:
        assert server.banner[1] == (
            "clients: 0.001 requests a second, 1 at once, trusted proxies 127.0.0.0/8 10.0.0.0/8"
        )
        fields = {"X-Forwarded-For": "1.2.3.4, 10.1.1.1", "X-Request-ID": "mine"}
        status, body, headers = ask(server.port, "/", **fields)
        assert (status, body) == (200, "('1.2.3.4', 0)")
        assert headers["x-request-id"] == "mine"
        assert headers["server-timing"].startswith("read;dur=")
        assert ask(server.port, "/livez", **fields)[:2] == (200, "ok\n")
        status, _, headers = ask(server.port, "/", **fields)
        assert (status, headers["retry-after"]) == (429, "1000")
        assert ask(server.port, "/", **{"X-Forwarded-For": "5.6.7.8"})[0] == 200


def test_each_request_is_a_line_of_json(app: Path) -> None:
    options = ["--port", "0", "--access-log", "--log-format", "json", "--request-id"]
    with serving("serve", "app:pipeline", *options, cwd=app) as server:
        _, _, headers = ask(server.port, "/?a=1")
        server.wait_logged("pipebus.access")
        server.signal(signal.SIGTERM)
        _, log = server.end()
    lines = [json.loads(line) for line in log.splitlines()]
    [access] = [line for line in lines if line["logger"] == "pipebus.access"]
    assert (access["target"], access["status"]) == ("/?a=1", 200)
    assert access["request_id"] == headers["x-request-id"]
    assert any(line["message"] == "SIGTERM: draining" for line in lines)


TRACED = """\
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(
    formatter=lambda span: f"span {span.name}\\n")))
trace.set_tracer_provider(provider)
"""


def test_spans_go_where_the_program_says(app: Path) -> None:
    (app / "traced.py").write_text(TRACED + APP)
    with serving("serve", "traced:pipeline", "--port", "0", "--tracing", cwd=app) as server:
        ask(server.port, "/")
        server.signal(signal.SIGTERM)
        _, log = server.end()
    assert "span GET /" in server.banner
    assert "no tracer provider" not in log


def test_tracing_without_a_provider_is_warned_of(app: Path) -> None:
    with serving("serve", "app:pipeline", "--port", "0", "--tracing", cwd=app) as server:
        server.wait_logged("WARNING pipebus: --tracing: no tracer provider was set up")


def test_tracing_without_its_extra_is_a_line(app: Path) -> None:
    (app / "opentelemetry.py").write_text("raise ImportError('not here')\n")
    [(status, out, err)] = run_many([["serve", "app:pipeline", "--tracing"]], cwd=app)
    assert (status, out) == (2, "")
    assert (
        err == "pipebus: error: tracing needs opentelemetry-api: pip install 'pipebus[tracing]'\n"
    )


def test_what_does_not_go_together_is_said_in_a_line(app: Path) -> None:
    serve = ["serve", "app:pipeline", "--port", "0"]
    cases = {
        "--trace-ratio must be 0 to 1, not 2": [*serve, "--tracing", "--trace-ratio", "2"],
        "--trace-ratio needs --tracing": [*serve, "--trace-ratio", "1"],
        "--rate-burst needs --rate-limit": [*serve, "--rate-burst", "5"],
        "--trusted-proxy: a trusted proxy is an address, a network or 'unix', not '10.0.0.0/99'": [*serve, "--trusted-proxy", "10.0.0.0/99"],
        "--rate-limit: RateLimit.rate must be": [*serve, "--rate-limit", "0"],
        "--admin: expected host:port": [*serve, "--workers", "2", "--admin", "nowhere"],
        "--admin needs a port for each of 2 workers, not unix:a": [
            *serve, "--workers", "2", "--admin", "unix:a",
        ],
        "--admin needs a port for each of 3 workers, not :65534": [
            *serve, "--workers", "3", "--admin", ":65534",
        ],
        "--admin: expected host:port, unix:/path or fd:number, not 'x'": [*serve, "--admin", "x"],
        "--admin: expected host:port, unix:/path or fd:number, not ''": [*serve, "--admin", ""],
        "Invalid value for --rate-limit: '2m' is no number": [*serve, "--rate-limit", "2m"],
        "Invalid value for --trace-ratio: '10s' is no number": [*serve, "--trace-ratio", "10s"],
    }  # fmt: skip
    results = run_many(list(cases.values()), cwd=app)
    for expected, (status, out, err) in zip(cases, results, strict=True):
        assert (status, out) == (2, ""), (expected, err)
        assert expected in err
        assert err.count("\n") == 1


def test_the_help_has_a_text_for_each_option_and_no_holes(app: Path) -> None:
    [(status, out, err)] = run_many([["serve", "--help"]], cwd=app)
    assert (status, err) == (0, "")
    lines = [line.strip("│ ") for line in out.splitlines() if line.startswith("│")]
    assert [lines[at - 1] for at, line in enumerate(lines) if line == ""] == [
        "k, M and G are powers of 1,024; durations in seconds (or 250ms, 2m)."
    ]
    options = [line for line in lines if line.startswith("--")]
    assert len(options) > 50
    assert [line for line in options if re.match(r"\S+ \S+ +\[default", line)] == []
