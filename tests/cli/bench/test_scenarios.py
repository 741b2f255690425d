"""`pipebus bench` as a user runs it: against its own echo server, uvicorn, hypercorn, and servers with a fault."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from pipebus_cli.bench.run import Phase, Run
from pipebus_cli.main import main
from tests.bindings.certificates import certificates
from tests.cli.bench.scripted import Connection, echo, scripted
from tests.cli.command import PIPEBUS
from tests.cli.command import serving as serving_ours
from tests.peers.processes import serving

RUNTIMES = ("asyncio", "trio")


class Bench:
    """Runs the command here and keeps what it said."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = directory / "run.json"
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        status = main(["bench", *arguments, "--json", str(self.file)])
        self.out, self.err = self._capsys.readouterr()
        return status

    @property
    def run(self) -> Run:
        return msgspec.json.decode(self.file.read_bytes(), type=Run)

    @property
    def phase(self) -> Phase:
        [phase] = self.run.phases
        return phase


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, capsys)


def assert_balanced(phase: Phase) -> None:
    """Hold the figures of a phase against each other."""
    assert phase.latency.count == phase.requests == sum(phase.per_client)
    assert sum(tick.requests for tick in phase.timeline) == phase.requests
    assert sum(tick.errors for tick in phase.timeline) == sum(phase.errors.values())
    assert sum(tick.length_s for tick in phase.timeline) == pytest.approx(phase.duration_s)
    assert phase.latency.min_s <= phase.latency.sum_s / phase.latency.count <= phase.latency.max_s


SCENARIOS: dict[str, list[str]] = {
    "steady": ["--duration", "0.3"],
    "rate": ["--duration", "0.3", "--rate", "300"],
    "burst": ["--count", "100"],
    "clients": ["--duration", "0.4", "--clients", "1,3"],
    "payload": ["--duration", "0.4", "--sizes", "0,1k,2M"],
    "errors": ["--duration", "0.5", "--timeout", "30"],
    "soak": ["--count", "300"],
    "overload": ["--duration", "1"],
}
PHASES = {
    "steady": ["steady"],
    "rate": ["300 a second"],
    "burst": ["before", "100 in a second", "100 at once"],
    "clients": ["1 client", "3 clients"],
    "payload": ["0 bytes", "1k bytes", "2M bytes"],
    "errors": ["beside faults", "afterwards"],
    "soak": ["soak"],
    "overload": ["capacity"],
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_against_our_echo(bench: Bench, scenario: str, runtime: str) -> None:
    assert bench(scenario, "--runtime", runtime, *SCENARIOS[scenario]) == 0, bench.err
    run = bench.run
    names = [phase.name for phase in run.phases]
    assert names[: len(PHASES[scenario])] == PHASES[scenario]
    assert f" on {runtime}, " in run.target
    assert (run.scenario, run.interrupted) == (scenario, False)
    assert run.options["runtime" if runtime == "trio" else "json"]
    for phase in run.phases:
        assert_balanced(phase)
        assert all(check.ok for check in phase.checks)
        assert set(phase.stage_means_s) == {"read", "queue", "handler", "write"}
        assert phase.server is not None
        assert phase.server.rss_peak_bytes >= phase.server.rss_before_bytes > 0
        assert phase.name in bench.out
    assert "0 faults" in bench.out


APP = "tests.peers.asgi_app:app"
FOREIGN = {
    "uvicorn": ("-m", "uvicorn", APP, "--port", "0", "--no-access-log"),
    "hypercorn": ("-m", "hypercorn", APP, "--bind", "127.0.0.1:0", "--workers", "0"),
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_against_others_servers(bench: Bench, scenario: str, foreign: str) -> None:
    with serving(*FOREIGN[foreign]) as server:
        options = [*SCENARIOS[scenario], "--server-pid", str(server.pid)]
        assert bench(scenario, f"{server.url}/echo", *options) == 0, bench.err
    for phase in bench.run.phases:
        assert_balanced(phase)
        assert phase.server is not None
        assert phase.stage_means_s == {}


@contextmanager
def app(name: str) -> Iterator[list[str]]:
    """Serve a pipeline of apps.py; yields the arguments that load it and watch it."""
    options = ["--port", "0", "--admin", "127.0.0.1:0", "--grace", "0.1"]
    with serving_ours("serve", f"tests.cli.bench.apps:{name}", *options) as server:
        assert server.process.stdout is not None
        admin = server.process.stdout.readline().split()[-1]
        yield [f"{server.url}/", "--admin", admin, "--server-pid", str(server.process.pid)]


def test_what_belongs_to_each_scenario_is_checked(bench: Bench) -> None:
    checked = {}
    for scenario in ("steady", "burst", "clients", "errors"):
        assert bench(scenario, *SCENARIOS[scenario]) == 0, bench.err
        checked[scenario] = {check.name for phase in bench.run.phases for check in phase.checks}
    everywhere = {"every answer is right", "requests were answered", "no event was lost"}
    assert all(everywhere <= names for names in checked.values())
    assert "the server counts as many" in checked["steady"]
    assert "all 100 are answered" in checked["burst"]
    assert "every client is served" in checked["clients"]
    assert len(checked["errors"] - checked["steady"]) == 24


def test_overload_finds_a_knee_or_says_that_it_did_not(bench: Bench) -> None:
    assert bench("overload", "--duration", "2") == 0, bench.err
    results = bench.run.results
    assert set(results) == {"closed_loop_per_s", "knee_per_s"}
    assert results["closed_loop_per_s"]
    last = bench.run.phases[-1]
    assert last.name.startswith("recovered: ")
    assert last.errors == {}


FAULTS = {
    "wrong": ([], "every answer is right: 1 errors; the first: wrong body: on connection"),
    "failing": ([], "every answer is right: 1 errors; the first: status 500: on connection"),
    "slow": (["--fail-if", "handler>10ms"], "handler>10ms: handler is 2"),
    "lossy": ([], "no event was lost: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_fault_is_found(bench: Bench, fault: str) -> None:
    options, found = FAULTS[fault]
    with app(fault) as arguments:
        assert bench("steady", *arguments, "--count", "20", "--warmup", "0", *options) == 1
    assert found in bench.err
    assert "1 faults" in bench.out
    with app("fine") as arguments:
        assert bench("steady", *arguments, "--count", "20", "--warmup", "0", *options) == 0


def test_a_soak_at_a_pace_keeps_few_connections(bench: Bench) -> None:
    assert bench("soak", "--rate", "20", "--duration", "0.5") == 0, bench.err
    assert bench.run.loop == "open"
    assert bench.phase.parameters["connections"] == 20
    assert bench.phase.connections_opened == 20


def test_a_leak_is_found(bench: Bench) -> None:
    with app("leaking") as arguments:
        assert bench("soak", *arguments, "--duration", "1.5") == 1
    assert "memory does not grow: +" in bench.err


def test_a_server_that_answers_what_is_no_request_is_found(bench: Bench) -> None:
    def agreeing(connection: Connection) -> None:
        while connection.sock.recv(65_536):
            connection.answer(b"")

    with scripted(agreeing) as place:
        url = f"http://127.0.0.1:{place.port}/"
        assert bench("errors", url, "--expect", "any", "--duration", "0.2") == 1
    assert "not so: a line that is no request: status 200, not closed or 400" in bench.err
    assert "5 faults" in bench.out


def test_over_tls_and_a_unix_socket(bench: Bench, tmp_path: Path) -> None:
    authority, certificate, key = certificates().write(tmp_path)
    unix = tmp_path / "echo.sock"
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with serving_ours("echo", "--port", "0", *tls) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        for scenario in ("steady", "errors"):
            options = ["--duration", "0.2", "--cacert", str(authority)]
            assert bench(scenario, url, *options) == 0, bench.err
        assert bench("steady", url) == 1
        assert "tls: " in bench.err
    with serving_ours("echo", "--uds", str(unix)):
        url = f"http+unix://{quote(str(unix), safe='')}/"
        for scenario in ("steady", "errors"):
            assert bench(scenario, url, "--duration", "0.2") == 0, bench.err


def test_a_dropped_connection_is_found(bench: Bench) -> None:
    def dropping(connection: Connection) -> None:
        if connection.number == 4:
            connection.request()
            connection.reset()
        else:
            echo(connection)

    with scripted(dropping) as place:
        url = f"http://127.0.0.1:{place.port}/"
        assert bench("burst", url, "--count", "50") == 1
    assert "all 50 are answered: 1 of 50 were not answered" in bench.err


def test_a_server_that_does_not_echo_is_checked_by_its_status(bench: Bench) -> None:
    def constant(connection: Connection) -> None:
        while connection.request() is not None:
            connection.answer(b"always the same")

    with scripted(constant) as place:
        url = f"http://127.0.0.1:{place.port}/"
        assert bench("steady", url, "--count", "10") == 0
        assert bench("steady", url, "--count", "10", "-X", "GET", "--expect", "any") == 0
        assert bench("steady", url, "--count", "10", "--expect", "echo") == 1
        assert bench.err == f"pipebus: error: {url}: wrong body: on connection 1\n"
        assert bench("steady", url, "--count", "10", "--status", "201") == 1
        assert bench.err == f"pipebus: error: {url}: status 200: on connection 1\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["steady", "ftp://localhost/"], 2, "the scheme of a URL"),
        (["steady", "http://127.0.0.1:1/"], 1, "connect: "),
        (["steady", "http://no-such-host.invalid/"], 1, "cannot find no-such-host.invalid"),
        (["nothing"], 2, "nothing"),
        (["steady", "--rate", "0"], 2, "--rate must be 0.01 to 1e+06, not 0"),
        (["rate", "--rate", "2m"], 2, "'2m' is no number"),
        (["steady", "--clients", "1,x"], 2, "--clients must be numbers"),
        (["payload", "--sizes", "1k,2T"], 2, "'2T' is no whole number"),
        (["payload", "--sizes", "2G"], 2, "--sizes must be sizes of bodies"),
        (["steady", "--fail-if", "p99=5"], 2, "no condition"),
        (["steady", "--body-size", "1", "--body-file", "x"], 2, "exclude each other"),
        (["steady", "http://127.0.0.1:1/", "-H", "no colon"], 2, "a header is NAME: VALUE"),
        (["steady", "http://127.0.0.1:1/", "-H", "Content-Length: 5"], 2, "follows from the body"),
        (["steady", "http://127.0.0.1:1/", "--body-file", "/no/such"], 1, "No such file"),
    ],
)
def test_what_cannot_be(bench: Bench, arguments: list[str], status: int, said: str) -> None:
    assert bench(*arguments) == status
    assert said in bench.err
    assert bench.err.count("\n") == 1
    assert not bench.file.exists()


def test_ctrl_c_ends_it_with_the_results_so_far(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    command = [
        *PIPEBUS,
        "bench",
        "steady",
        "--duration",
        "20",
        "--warmup",
        "0",
        "--json",
        str(file),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "requests/s" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "interrupted: these are the results until then" in out
    run = msgspec.json.decode(file.read_bytes(), type=Run)
    assert run.interrupted
    [phase] = run.phases
    assert_balanced(phase)


@pytest.mark.peer("script")
def test_a_terminal_sees_a_table(tmp_path: Path) -> None:
    typescript = tmp_path / "typescript"
    bench = f"{sys.executable} -m pipebus_cli bench steady --duration 0.5"
    command = ["script", "--quiet", "--return", "--command", bench, str(typescript)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    text = typescript.read_text()
    assert "server memory" in text
    assert "0 faults" in text
