"""`pipebus call` against our own echo, and against peers that do not behave."""

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipebus_cli.main import main
from tests.bindings.certificates import certificates
from tests.cli.command import PATIENCE, PIPEBUS, Serving, run, serving

RUNTIMES = pytest.mark.parametrize("runtime", ["asyncio", "trio"])

Call = Callable[..., tuple[int, bytes, bytes]]


@pytest.fixture(scope="module")
def echo() -> Iterator[Serving]:
    with serving("echo", "--port", "0", "--max-body", "64M") as server:
        yield server


@pytest.fixture
def call(capsysbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Run `pipebus call` in this process, since starting one takes most of a second.

    Returns status, output and error output.
    """

    def run_call(*arguments: str) -> tuple[int, bytes, bytes]:
        status = main(["call", *arguments])
        return status, *capsysbinary.readouterr()

    return run_call


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer one request with raw bytes; give its URL, and check that it came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"\r\n\r\n" not in connection.recv(65_536):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(PATIENCE)
        assert not thread.is_alive()


@RUNTIMES
def test_the_body_goes_to_standard_output_as_it_is(echo: Serving, runtime: str) -> None:
    result = run("call", echo.url, "-d", "h\u00e9llo", "--runtime", runtime)
    assert (result.returncode, result.stdout, result.stderr) == (0, "h\u00e9llo".encode(), b"")


def test_head_first_on_demand(echo: Serving, call: Call) -> None:
    options = ("-X", "PUT", "-H", "Content-Type: a/b", "-d", "-x", "-i")
    _, out, _ = call(f"{echo.url}/x", *options)
    head, _, body = out.partition(b"\r\n\r\n")
    assert body == b"-x"
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"content-type: a/b" in lines
    assert b"content-length: 2" in lines


def test_what_is_sent(call: Call) -> None:
    """GET without data, POST with; the fields in order, and where they are repeated."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    got.append(connection.recv(65_536))
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a?b=c"
        call(url, "-H", "X-One: 1", "-H", "x-two:2", "-H", "X-One:  3 ")
        call(url, "-d", "")
        thread.join(PATIENCE)
    assert got[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert re.findall(rb"x-\w+: .*?\r\n", got[0]) == [
        b"x-one: 1\r\n",
        b"x-two: 2\r\n",
        b"x-one: 3\r\n",
    ]
    assert got[1].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"content-length: 0\r\n" in got[1]


@RUNTIMES
def test_bodies_are_streamed_both_ways(
    echo: Serving, call: Call, runtime: str, tmp_path: Path
) -> None:
    body = os.urandom(3_000_000)
    out = tmp_path / "out"
    (tmp_path / "in").write_bytes(body)
    options = ("-o", str(out), "--runtime", runtime)
    assert call(echo.url, "-d", f"@{tmp_path / 'in'}", *options) == (0, b"", b"")
    assert out.read_bytes() == body
    out.unlink()
    result = run("call", echo.url, "-d", "-", *options, data=body)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert out.read_bytes() == body


def test_standard_input_that_is_a_file(echo: Serving, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    with (tmp_path / "in").open("rb") as file:
        result = subprocess.run(
            [*PIPEBUS, "call", echo.url, "-d", "-"], stdin=file, capture_output=True, check=True
        )
    assert result.stdout == b"from a file"


def test_timing(echo: Serving, call: Call) -> None:
    _, out, err = call(echo.url, "-d", "x", "--timing")
    assert out == b"x"
    stages = re.findall(rb"^(\w+) +(\d+\.\d\d\d) ms", err, re.MULTILINE)
    times = {name.decode(): float(value) for name, value in stages}
    assert list(times) == ["pool", "connect", "head", "body", "total"]
    assert 0 < times["connect"] < times["total"]
    parts = sum(times.values()) - times["total"]
    assert abs(parts - times["total"]) < 0.003  # five figures, each rounded to 0.001


def test_fail(echo: Serving, call: Call) -> None:
    bad = f"{echo.url}/%2e/"  # a dot segment: 400
    assert call(bad)[0] == 0
    status, out, _ = call(bad, "--fail")
    assert status == 1
    assert b'"status":400' in out
    assert call(echo.url, "--fail")[0] == 0


def test_tls(call: Call, tmp_path: Path) -> None:
    authority, cert, key = certificates().write(tmp_path)
    files = ["--tls-cert", str(cert), "--tls-key", str(key)]
    with serving("echo", "--port", "0", *files) as server:
        for runtime in ("asyncio", "trio"):
            asked = [server.url, "-d", "x", "--runtime", runtime]
            assert call(*asked, "--cacert", str(authority)) == (0, b"x", b""), runtime
            assert call(*asked, "--insecure") == (0, b"x", b""), runtime
            status, _, err = call(*asked)
            assert status == 1, runtime
            assert re.fullmatch(
                rb"pipebus: error: cannot connect to https://127\.0\.0\.1.*certificate verify failed.*\n",
                err,
            ), runtime


def test_unix_socket(call: Call, tmp_path: Path) -> None:
    with serving("echo", "--uds", "socket", cwd=tmp_path):
        path = str(tmp_path / "socket").replace("/", "%2F")
        assert call(f"http+unix://{path}/", "-d", "x")[1] == b"x"


@RUNTIMES
def test_no_answer(call: Call, runtime: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    status, out, err = call(f"http://127.0.0.1:{port}/", "--runtime", runtime, "--timing")
    assert (status, out) == (1, b"")
    assert re.search(
        rb"^pipebus: error: cannot connect to .*Connection refused$", err, re.MULTILINE
    )
    assert b"connect" in err.split(b"\n")[1]


def test_a_broken_answer(call: Call) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort") as url:
        status, out, err = call(url)
    assert (status, out) == (1, b"short")
    assert re.fullmatch(rb"pipebus: error: [^\n]+\n", err)


@pytest.mark.parametrize("text", [b"", None], ids=["empty", "of unknown size"])
def test_a_file_of_size_0_is_sent_whole(
    echo: Serving, call: Call, tmp_path: Path, text: bytes | None
) -> None:
    path = Path("/proc/version")
    if text is not None:
        path = tmp_path / "in"
        path.write_bytes(text)
    assert path.stat().st_size == 0
    assert call(echo.url, "-d", f"@{path}") == (0, path.read_bytes(), b"")


@RUNTIMES
def test_a_file_that_cannot_be_sent_whole(call: Call, runtime: str, tmp_path: Path) -> None:
    """What is wrong with the body is said too: the file becomes shorter on the way."""
    path = tmp_path / "in"
    path.touch()
    os.truncate(path, 100_000_000)  # more than the socket's buffers take, of a peer that reads none
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shorten() -> None:
            connection, _ = listener.accept()
            with connection, pytest.raises(ConnectionResetError):  # no server may take it for whole
                assert connection.recv(1)
                os.truncate(path, 1_000)
                while connection.recv(65_536):
                    pass

        thread = threading.Thread(target=shorten)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        status, _, err = call(url, "-d", f"@{path}", "--runtime", runtime)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert status == 1
    assert err == (
        b"pipebus: error: the request's body failed: the body is shorter than its content_length\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-d", "@nosuch"], "cannot read nosuch: No such file or directory"),
        (["-d", "@."], "cannot read .: Is a directory"),
        (["--cacert", "nosuch"], "cannot use the authorities in nosuch: No such file.*"),
        (["--cacert", "app.py"], "cannot use the authorities in app.py: no certificate.*"),
        (["-o", "no/such"], "cannot write no/such: No such file or directory"),
        (["-o", "/dev/full", "-d", "x"], "cannot write /dev/full: No space left on device"),
    ],
)
def test_files_that_will_not_do(
    echo: Serving,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("no certificate")
    assert main(["call", echo.url, *arguments]) == 1
    assert re.fullmatch(f"pipebus: error: {why}\n", capsys.readouterr().err)


def test_output_that_nobody_reads(echo: Serving, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(4_000_000))
    with subprocess.Popen(
        [*PIPEBUS, "call", echo.url, "-d", "@in"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(3) == bytes(3)
        process.stdout.close()
        assert process.stderr.read() == b"pipebus: error: nobody reads the output any more\n"
        assert process.wait(PATIENCE) == 1


@RUNTIMES
def test_interrupted(runtime: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(
            [
                *PIPEBUS,
                "call",
                f"http://127.0.0.1:{listener.getsockname()[1]}/",
                "--runtime",
                runtime,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        listener.settimeout(PATIENCE)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(65_536).startswith(b"GET / HTTP/1.1\r\n")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out, err) == (130, b"", b"")


@RUNTIMES
def test_an_early_answer_ends_a_terminals_upload(echo: Serving, runtime: str) -> None:
    """Standard input stays open and says nothing, as a terminal's: the answer ends the call."""
    reading, writing = os.pipe()
    try:
        result = subprocess.run(
            [*PIPEBUS, "call", f"{echo.url}/%2e/", "-d", "-", "--runtime", runtime],
            stdin=reading,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert result.returncode == 0
    assert b'"status":400' in result.stdout
