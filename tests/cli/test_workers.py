"""`--workers`: several processes at one address, replaced without a request that fails."""

import errno
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from pipebus_anyio.bind import open_listeners_for
from pipebus_cli.main import main
from pipebus_cli.options import ServingOptions, addresses
from pipebus_cli.supervisor import Supervisor
from tests.cli.command import Serving, run, serving

RUNTIMES = pytest.mark.parametrize("runtime", ["asyncio", "trio"])

APP = """\
import os
from pipebus import Context, Pipeline, Request, Response

pipeline = Pipeline("app")

@pipeline.route("GET /")
def which(request: Request) -> Response:
    return Response.text(f"VERSION {os.getpid()}")

@pipeline.route("GET /until-drain")
async def until_drain(request: Request, ctx: Context) -> Response:
    while not ctx.draining:
        await ctx.sleep(0.01)
    return Response.text("finished")

@pipeline.route("GET /for-ever")
async def for_ever(request: Request, ctx: Context) -> Response:
    while True:
        await ctx.sleep(60)
"""

Where = str | tuple[str, int]


def write_app(directory: Path, version: str) -> None:
    """Write the module; two versions are not equally long, so no cached bytecode serves both."""
    (directory / "app.py").write_text(APP.replace("VERSION", version))


def connect(where: Where, path: str = "/", field: str = "Connection: close") -> socket.socket:
    """Send a request over a new connection."""
    connection = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    connection.settimeout(30)
    connection.connect(where)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return all that comes until the connection ends, a whole 200 or the test fails."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    connection.close()
    text = b"".join(pieces)
    assert text.startswith(b"HTTP/1.1 200 "), text
    return text


def ask(where: Where) -> tuple[str, int]:
    """Return the version and the process that answer a request over a new connection."""
    version, pid = answer(connect(where)).rpartition(b"\r\n\r\n")[2].split()
    return version.decode(), int(pid)


def until_all_have_answered(where: Where, workers: int) -> None:
    """Let each worker answer a new connection: it has accepted, then, what came before."""
    seen: set[int] = set()
    while len(seen) < workers:
        seen.add(ask(where)[1])


def pids(server: Serving) -> list[int]:
    """Return the processes of which the log says that they are ready."""
    return [int(pid) for pid in re.findall(r"\(process (\d+)\): ready", server.log)]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_refused(where: tuple[str, int]) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(where) == errno.ECONNREFUSED


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@RUNTIMES
def test_workers_share_a_port_are_replaced_when_they_die_and_drain(
    runtime: str, tmp_path: Path
) -> None:
    write_app(tmp_path, "first")
    options = ["--workers", "2", "--runtime", runtime, "--port", "0"]
    with serving("serve", "app:pipeline", *options, cwd=tmp_path) as server:
        assert server.banner[0].startswith(f"app:pipeline on {runtime}, driver ")
        assert server.banner[0].endswith(", grace 30 s, 2 workers")
        where = ("127.0.0.1", server.port)
        server.wait_logged("worker 2 (")
        # 64 connections all at one of two sockets: that comes once in 2 ** 63 times.
        assert {ask(where)[1] for _ in range(64)} == set(pids(server))

        # What waits at a worker's socket outlives the worker.
        victim, other = pids(server)
        os.kill(victim, signal.SIGSTOP)
        until(lambda: is_stopped(victim))
        waiting = [connect(where) for _ in range(40)]
        os.kill(victim, signal.SIGKILL)
        answered_by = {int(answer(one).split()[-1]) for one in waiting}
        server.wait_logged(f"worker 1 (process {victim}): was killed by SIGKILL; restarting\n")
        (successor,) = answered_by - {other}
        server.wait_logged(f"worker 1 (process {successor}): ready")

        busy = connect(where, "/until-drain", "X: keep-alive")
        until_all_have_answered(where, 2)
        server.signal(signal.SIGTERM)
        finished = answer(busy)
        assert finished.endswith(b"\r\n\r\nfinished")
        assert b"connection: close\r\n" in finished
        status, log = server.end()
        assert status == 0, log
        assert is_refused(where)


class Load(threading.Thread):
    """Asks again and again, each time over a new connection, and never twice for one answer."""

    def __init__(self, where: Where) -> None:
        super().__init__()
        self.where = where
        self.versions: list[str] = []
        self.failures: list[BaseException] = []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                self.versions.append(self.ask())
            except (OSError, AssertionError, ValueError, HTTPException) as error:
                self.failures.append(error)

    def ask(self) -> str:
        return ask(self.where)[0]


class KeepAliveLoad(Load):
    """Keeps its connection until the server says `Connection: close`."""

    def __init__(self, where: tuple[str, int]) -> None:
        super().__init__(where)
        self.connection = HTTPConnection(*where, timeout=30)
        self.told_to_close = 0

    def run(self) -> None:
        super().run()
        self.connection.close()

    def ask(self) -> str:
        self.connection.request("GET", "/")
        response = self.connection.getresponse()
        assert response.status == 200
        self.told_to_close += response.will_close  # it connects again by itself, then
        return response.read().decode().split()[0]


@RUNTIMES
def test_sighup_brings_new_code_and_no_request_fails(runtime: str, tmp_path: Path) -> None:
    write_app(tmp_path, "old")
    options = ["--workers", "2", "--runtime", runtime, "--port", "0", "--uds", "socket"]
    with serving("serve", "app:pipeline", *options, cwd=tmp_path, addresses=2) as server:
        path = str(tmp_path / "socket")
        where = ("127.0.0.1", int(server.urls[1].rpartition(":")[2]))
        kept = KeepAliveLoad(where)
        loads = [Load(where), Load(path), kept]
        for load in loads:
            load.start()
        try:
            until(lambda: all(len(load.versions) >= 100 for load in loads))
            write_app(tmp_path, "newer")
            server.signal(signal.SIGHUP)
            server.wait_logged("reloaded")
            counts = [len(load.versions) for load in loads]
            until(
                lambda: all(
                    len(load.versions) >= count + 100
                    for load, count in zip(loads, counts, strict=True)
                )
            )
        finally:
            for load in loads:
                load.enough.set()
            for load in loads:
                load.join()
        for load, count in zip(loads, counts, strict=True):
            assert load.failures == []
            assert load.versions[0] == "old"
            # One request was under way while the log was read.
            assert set(load.versions[count + 1 :]) == {"newer"}
        assert kept.told_to_close >= 1

        # What cannot be imported ends the reload, and what runs runs on.
        processes = pids(server)[-2:]
        (tmp_path / "app.py").write_text("nonsense")
        server.signal(signal.SIGHUP)
        server.wait_logged("the reload stops; the old worker stays")
        assert "NameError" in server.log
        assert [ask(one)[1] in processes for one in (where, path)] == [True, True]
        assert len(pids(server)) == 4
    assert not Path(path).exists()


def test_workers_finish_and_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    write_app(tmp_path, "first")
    with serving("serve", "app:pipeline", "--workers", "2", "--port", "0", cwd=tmp_path) as server:
        where = ("127.0.0.1", server.port)
        busy = connect(where, "/until-drain", "X: keep-alive")
        until_all_have_answered(where, 2)
        server.signal(signal.SIGKILL)
        assert answer(busy).endswith(b"\r\n\r\nfinished")
        # The log ends when nobody can write to it any more: not one of the workers.
        status, _ = server.end()
        assert status == -signal.SIGKILL
        assert is_refused(where)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    write_app(tmp_path, "first")
    with serving("serve", "app:pipeline", "--workers", "1", "--port", "0", cwd=tmp_path) as server:
        assert server.banner[0].endswith(", 1 worker")
        where = ("127.0.0.1", server.port)
        with connect(where, "/for-ever"):
            ask(where)  # proves that the other is being served
            server.signal(signal.SIGINT)
            server.wait_logged("SIGTERM: draining")  # the worker's line
            server.signal(signal.SIGTERM)
            status, log = server.end()
        assert status == 128 + signal.SIGTERM
        assert "SIGTERM: ending at once" in log


def test_what_the_first_worker_cannot_serve_is_one_line(tmp_path: Path) -> None:
    result = run("serve", "nosuch:pipeline", "--workers", "3", "--port", "0", cwd=tmp_path)
    assert result.stderr == b"pipebus: error: cannot import nosuch: No module named 'nosuch'\n"
    assert (result.returncode, result.stdout) == (1, b"")


def test_a_first_worker_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    result = run("serve", "app:pipeline", "--workers", "2", "--port", "0", cwd=tmp_path)
    assert result.stderr == (
        b"pipebus: error: the first worker was killed by SIGKILL before it accepted connections\n"
    )
    assert result.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--workers", "0"], 2, "--workers must be 1 or more, not 0"),
        (["--workers", "some"], 2, "Invalid value for --workers: 'some' is no whole number.*"),
        (["--workers", "2", "--port", "70000"], 2, "not a host and a port .*"),
        (["--workers", "2", "--fd", "-1"], 2, "no number of an open file in 'fd:-1'"),
        (["--fd", "one"], 2, "Invalid value .*one.*"),
        (["--fd", "999999"], 1, "cannot listen on fd:999999: Bad file descriptor"),
        (["--workers", "2", "--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1 port 8000: .*"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], status: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["echo", *arguments]) == status
    out, err = capsys.readouterr()
    assert re.fullmatch(f"pipebus: error: {why}\n", err), err
    assert out == ""


def test_reload_is_for_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "app:pipeline", "--reload", "--workers", "2"]) == 2
    assert "--reload is for one process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "bind"),
    [
        (ServingOptions(), [("127.0.0.1", 8000)]),
        (ServingOptions(fd=(3, 4)), ["fd:3", "fd:4"]),
        (ServingOptions(fd=(3,), uds=Path("s")), ["fd:3", "unix:s"]),
        (ServingOptions(fd=(3,), port=80, host="::"), ["fd:3", ("::", 80)]),
    ],
)
def test_an_inherited_socket_takes_the_place_of_a_port(
    options: ServingOptions, bind: list[str | tuple[str, int]]
) -> None:
    assert addresses(options) == bind


def test_a_worker_that_the_system_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    sockets = open_listeners_for(2, "127.0.0.1:0")
    before = signal.getsignal(signal.SIGTERM)
    supervisor = Supervisor(["/nosuch/python"], sockets, grace=1, started=pytest.fail)
    assert supervisor.run() == 71
    assert "cannot start worker 1: " in caplog.text
    assert "No such file" in caplog.text
    assert signal.getsignal(signal.SIGTERM) is before
    assert [one.sock.fileno() for slot in sockets for one in slot] == [-1, -1]
