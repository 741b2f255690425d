"""What cannot be done ends in one line and a status, never in a traceback."""

import ctypes
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipebus_cli.main import main
from tests.bindings.certificates import certificates
from tests.cli.command import run, run_many, serving

MODULES = {
    "app": "from pipebus import Pipeline\npipeline = Pipeline('app')\nthing = 3\n",
    "broken": "import nosuchdependency\n",
    "conflict": (
        "from pipebus import Pipeline, Response\n"
        "pipeline = Pipeline()\n"
        "@pipeline.route('/a/{x}')\ndef a(_): return Response()\n"
        "@pipeline.route('/a/{y}')\ndef b(_): return Response()\n"
    ),
    "lifespan": (
        "from contextlib import asynccontextmanager\n"
        "from pipebus import Pipeline\n"
        "@asynccontextmanager\n"
        "async def lifespan():\n"
        "    raise ConnectionRefusedError(111, 'no database')\n"
        "    yield\n"
        "pipeline = Pipeline(lifespan=lifespan)\n"
    ),
    "late": (
        "from contextlib import asynccontextmanager\n"
        "from pipebus import Pipeline\n"
        "@asynccontextmanager\n"
        "async def lifespan():\n"
        "    yield\n"
        "    raise RuntimeError('late')\n"
        "pipeline = Pipeline(lifespan=lifespan)\n"
    ),
    "sound": (
        "from contextlib import asynccontextmanager\n"
        "from pipebus import Pipeline\n"
        "@asynccontextmanager\n"
        "async def lifespan():\n"
        "    yield\n"
        "pipeline = Pipeline(lifespan=lifespan)\n"
    ),
    "syntax": "x = (\n",
    "raising": "import json\n\ndef f():\n    json.loads('x')\n\nf()\n",
    "silent": "try:\n    {}['x']\nexcept KeyError as error:\n    raise ValueError from error\n",
    "generated": "exec('raise RuntimeError(\"x\")', {})\n",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """Give a port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def line_of(result: "subprocess.CompletedProcess[bytes]") -> str:
    """Return the only line that a command wrote, which says what was wrong."""
    assert result.stdout == b""
    text = result.stderr.decode()
    assert re.fullmatch(r"pipebus: error: [^\n]+\n", text), text
    return text.removeprefix("pipebus: error: ").rstrip("\n")


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_port_in_use(runtime: str, taken: int) -> None:
    result = run("echo", "--runtime", runtime, "--port", str(taken))
    assert line_of(result) == (f"cannot listen on 127.0.0.1 port {taken}: Address already in use")
    assert result.returncode == 1


CAP_NET_BIND_SERVICE, PR_CAPBSET_DROP = 10, 24


def without_privilege() -> None:
    """Let the program that comes have no privileged port, not even as root."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)


def test_privileged_port() -> None:
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not first.exists() or int(first.read_text()) <= 80:
        pytest.skip("every port is everybody's on this system")
    result = run("echo", "--port", "80", preexec_fn=without_privilege)
    assert line_of(result) == "cannot listen on 127.0.0.1 port 80: Permission denied"
    assert result.returncode == 1


IMPOSSIBLE = [
    (["echo", "--uds", "none/such"], "cannot listen on none/such: No such file or directory"),
    (["echo", "--uds", "app.py"], "cannot listen: exists and is no socket: app.py"),
    (["echo", "--uds", "x" * 200], f"cannot listen on {'x' * 200}: AF_UNIX path too long"),
    (
        ["echo", "--host", "192.0.2.1", "--port", "0", "--runtime", "trio"],
        "cannot listen on 192.0.2.1 port 0: Cannot assign requested address",
    ),
    (["echo", "--host", "nosuch.invalid"], r"cannot listen on nosuch\.invalid: .*"),
    (["serve", "nosuch:pipeline"], "cannot import nosuch: No module named 'nosuch'"),
    (["serve", "nosuch.inner:pipeline"], "cannot import nosuch.inner: No module named 'nosuch'"),
    (["serve", "broken:pipeline"], "cannot import broken: No module named 'nosuchdependency'"),
    (["serve", "app:nosuch"], "app has no nosuch"),
    (["serve", "app:thing"], "app:thing is no Pipeline but a int"),
    (["serve", "app:pipeline.name"], "app:pipeline.name is no Pipeline but a str"),
    (
        ["serve", "conflict:pipeline"],
        r"route '/a/\{y\}' matches the same requests as '/a/\{x\}'",
    ),
]


def test_what_cannot_be_served(here: Path) -> None:
    results = run_many([arguments for arguments, _ in IMPOSSIBLE], cwd=here)
    for (arguments, why), (status, out, err) in zip(IMPOSSIBLE, results, strict=True):
        assert re.fullmatch(f"pipebus: error: {why}\n", err), arguments
        assert (status, out) == (1, ""), arguments


@pytest.mark.parametrize("target", ["app", "app:", ":pipeline", "../app:pipeline", "a..b:c"])
def test_no_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    assert main(["serve", target]) == 2
    assert "expected MODULE:PIPELINE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "options", "line", "frames"),
    [
        (
            "lifespan",
            ["--port", "0"],
            r"the lifespan failed: ConnectionRefusedError: \[Errno 111\] no database \(lifespan.py:5\)",
            [5],
        ),
        (
            "lifespan",
            ["--port", "0", "--runtime", "trio"],
            r"the lifespan failed: ConnectionRefusedError: \[Errno 111\] no database \(lifespan.py:5\)",
            [5],
        ),
        ("syntax", [], r"cannot import syntax: SyntaxError: '\(' was never closed \(syntax.py:1\)", [1]),
        ("raising", [], r"cannot import raising: JSONDecodeError: .* \(raising.py:4\)", [6, 4]),
        ("silent", [], r"cannot import silent: ValueError \(silent.py:4\)", [2, 4]),
        ("generated", [], r"cannot import generated: RuntimeError: x \(generated.py:1\)", [1]),
    ],
)  # fmt: skip
def test_a_users_own_exception_is_a_line_and_a_traceback_of_the_users_frames(
    here: Path, module: str, options: list[str], line: str, frames: list[int]
) -> None:
    result = run("serve", f"{module}:pipeline", *options, cwd=here)
    assert (result.returncode, result.stdout) == (1, b"")
    first, trace = result.stderr.decode().split("\n", 1)
    assert re.fullmatch(f"pipebus: error: {line}", first), first
    found = re.findall(r'File ".*?([^/"]+)", line (\d+)', trace)
    assert [int(number) for name, number in found if name == f"{module}.py"] == frames
    for hidden in ("pipebus", "importlib", "runpy", "contextlib", "asyncio", "trio"):
        assert hidden not in trace


def test_a_lifespan_that_fails_at_the_end_is_a_line(here: Path) -> None:
    with serving("serve", "late:pipeline", "--port", "0", cwd=here) as server:
        server.signal(signal.SIGTERM)
        status, log = server.end()
    assert status == 1
    assert "pipebus: error: the lifespan failed: RuntimeError: late (late.py:6)\n" in log


def test_what_others_raise_is_not_the_lifespans(here: Path, taken: int) -> None:
    result = run("serve", "sound:pipeline", "--port", str(taken), cwd=here)
    assert line_of(result) == f"cannot listen on 127.0.0.1 port {taken}: Address already in use"


def test_an_admin_address_that_is_taken_names_its_option(taken: int) -> None:
    why = f"cannot listen on 127.0.0.1 port {taken}: Address already in use"
    one = ["echo", "--port", "0", "--admin", f"127.0.0.1:{taken}"]
    assert line_of(run(*one)) == f"--admin: {why}"
    assert line_of(run(*one, "--workers", "2")) == f"--admin (worker 1): {why}"
    nowhere = line_of(run("echo", "--port", "0", "--admin", "nosuch.invalid:1"))
    assert nowhere.startswith("--admin: cannot listen on nosuch.invalid:1: ")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (["none.pem"], "none.pem: No such file or directory"),
        (["app.py"], "app.py: pem lib"),
        (["cert.pem"], "cert.pem: pem lib"),
        (["cert.pem", "none.pem"], "cert.pem with the key none.pem: No such file or directory"),
        (["cert.pem", "other.pem"], "cert.pem with the key other.pem: key values mismatch"),
    ],
)
def test_bad_certificates(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(here)
    certificates().write(here)
    other = certificates().authority.issue_cert("other")
    other.private_key_pem.write_to_path(here / "other.pem")
    options = zip(("--tls-cert", "--tls-key"), files, strict=False)
    arguments = [text for option in options for text in option]
    assert main(["echo", "--port", "0", *arguments]) == 1
    wanted = f"pipebus: error: cannot use the PEM certificate {why}\n"
    assert capsys.readouterr() == ("", wanted)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["echo", "--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["echo", "--port", "70000"], "not a host and a port of 0 to 65535: .*70000.*"),
        (["echo", "--port", "http"], "Invalid value for --port: 'http' is no whole number.*"),
        (["echo", "--runtime", "curio"], 'Invalid value "curio" for --runtime.*asyncio.*trio.*'),
        (["echo", "--driver", "none"], 'Invalid value "none" for --driver.*'),
        (["echo", "--wire", "none"], 'Invalid value "none" for --wire.*'),
        (["echo", "--max-body", "lots"], "Invalid value for --max-body: 'lots' is no whole.*"),
        (["echo", "--max-body", "-1"], "--max-body must be a whole number, 0 or more, not -1"),
        (["echo", "--max-head", "none"], "Invalid value for --max-head: 'none' is no whole.*"),
        (["echo", "--grace", "-1"], "--grace must be a number, 0 or more, not -1.0"),
        (["echo", "--grace", "soon"], "Invalid value for --grace: 'soon' is no duration.*"),
        (["echo", "--nosuch"], "Unknown option: --nosuch.*"),
        (["echo", "--port"], '.*"echo" parameter --port requires an argument.*'),
        (["nosuch"], 'Unknown command "nosuch".*'),
        (["serve"], '.*"serve" parameter TARGET requires an argument.*'),
        (["call"], '.*"call" parameter URL requires an argument.*'),
        (["call", "example.org"], "not an absolute URL: .*"),
        (["call", "ftp://example.org/"], "the scheme of a URL is .*"),
        (["call", "http://x/", "-X", "a b"], "the method is a token .*"),
        (["call", "http://x/", "-H", "nothing"], "a header is `Name: value`, not 'nothing'"),
        (["call", "http://x/", "-H", "content-length: 3"], ".*content-length.*"),
        (["call", "http://x/", "--max-time", "0"], "--max-time must be a number, more than 0.*"),
        (["call", "https://x/", "--insecure", "--cacert", "ca.pem"], "--insecure checks no .*"),
        (["demo", "--requests", "0"], "--requests must be 1 or more, not 0"),
        (["demo", "--runtime", "curio"], 'Invalid value "curio" for --runtime.*'),
    ],
)
def test_bad_options(capsys: pytest.CaptureFixture[str], arguments: list[str], why: str) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"pipebus: error: {why}\n", err), err


def test_a_bad_option_as_a_process() -> None:
    result = run("echo", "--nosuch")
    assert line_of(result).startswith("Unknown option")
    assert result.returncode == 2


def test_the_extra_is_not_installed() -> None:
    code = (
        "import sys; sys.modules[{!r}] = None; from pipebus_cli.main import main; sys.exit(main())"
    )
    for name, status, why in [
        ("cyclopts", 1, "pipebus: error: cyclopts is not installed: pip install pipebus[cli]\n"),
        ("msgspec", 1, "ModuleNotFoundError: import of msgspec halted; None in sys.modules\n"),
    ]:
        result = subprocess.run(
            [sys.executable, "-c", code.format(name), "--version"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == status
        assert result.stderr.endswith(why)
        assert (result.stderr == why) == (name == "cyclopts")


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["echo", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("--max-body", "[default: 16M]", "--grace", "--tls-cert", "asyncio, trio"):
        assert part in text
    assert "[default: none]" not in text
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out
