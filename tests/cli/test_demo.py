"""`pipebus demo`: its tables, and that it notices what is wrong."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipebus_cli import app
from pipebus_cli.demo.checks import violations
from pipebus_cli.demo.client import fault, payload
from pipebus_cli.demo.experiment import demo
from pipebus_cli.demo.figures import BusFigures, ClientFigures, RunFigures, ServerFigures, spread
from pipebus_cli.demo.tables import duration
from pipebus_cli.main import main
from pipebus_cli.runtimes import choose
from tests.cli.command import PATIENCE, PIPEBUS, run

BAD_SERVERS = Path(__file__).with_name("bad_servers.py")


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """Read the tables back: title -> row -> cells."""
    found: dict[str, dict[str, list[str]]] = {}
    title = ""
    for line in text.splitlines():
        if re.match(r"\w.* performance|Balance of the bus", line):
            title = line.strip()
            found[title] = {}
        elif title and line.startswith("  "):
            name, *cells = re.split(r"\s{2,}", line.strip())
            found[title][re.sub(r" \[\d\]", "", name)] = cells
    return found


def seconds(cell: str) -> float:
    """Read a duration with its unit."""
    number, unit = cell.split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]


def test_both_runtimes() -> None:
    result = run("demo", "--requests", "60")
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode()
    assert text.endswith("everything balances\n")
    read = tables(text)
    assert list(read) == ["Server performance", "Client performance", "Balance of the bus"]
    server, client, balance = read.values()
    assert server["Total requests"] == ["25,816", "2,229", "60", "60"]
    assert server["Connections used"][2:] == ["1", "1"]
    assert client["Success rate"] == ["100 %", "-", "100 %", "100 %"]
    assert client["RTT, mean"][:2] == ["20.3 ms *", "0.90 ms"]
    for column in (2, 3):
        for part, whole in [
            ("Processing", "Response creation"),
            ("Processing", "Bus publish"),
        ]:
            assert seconds(server[f"{part}, mean"][column]) > seconds(
                server[f"{whole}, mean"][column]
            )
        assert seconds(client["RTT, min"][column]) > seconds(server["Processing, min"][column])
        rtt = [seconds(client[f"RTT, {name}"][column]) for name in ("min", "p50", "p99", "max")]
        assert rtt == sorted(rtt)
        head, body = (seconds(client[f"{n}, mean"][column]) for n in ("Time to head", "Body read"))
        assert head + body == pytest.approx(seconds(client["RTT, mean"][column]), rel=0.01)
        assert 220 < float(client["Response body, mean"][column].split()[0]) < 240
        for row in (server, client):
            assert 1e-6 < seconds(row["CPU per request"][column]) < 1.0
    assert balance["client's requests = server's requests"] == ["60 = 60", "60 = 60"]
    assert balance["server: net.http.request = net.http.response"] == ["60 = 60", "60 = 60"]
    assert not any("!=" in cell for cells in balance.values() for cell in cells)
    lines = result.stderr.decode().splitlines()
    assert lines == [
        f"{name}: {done} of 60 requests" for name in ("asyncio", "trio") for done in range(6, 61, 6)
    ]


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_one_request_on_one_runtime(capfd: pytest.CaptureFixture[str], runtime: str) -> None:
    options = ["--requests", "1", "--runtime", runtime, "--driver", "streams", "--wire", "h11"]
    status = main(["demo", *options])
    out, err = capfd.readouterr()
    assert status == 0, err
    assert f"\n{runtime}: 1 requests in " in out


def test_a_bar_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PIPEBUS, "demo", "--requests", "40", "--runtime", "asyncio"],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(ours, 65_536):
                drawn += piece
        except OSError:  # Linux's word for the end of a terminal
            pass
        os.close(ours)
        assert process.wait(PATIENCE) == 0
    assert b"40/40" in drawn
    assert b"\x1b[" in drawn
    assert b"everything balances" in drawn


@pytest.mark.parametrize(
    ("bad", "asked", "lines"),
    [
        (
            "swapped",
            20,
            [
                "requests asked for = answered rightly: 20 and 19",
                "request 7: its answer is another's, or none: .*",
            ],
        ),
        (
            "failing",
            20,
            [
                "requests asked for = answered rightly: 20 and 2",
                *(f"request {number}: status 500" for number in range(3, 13)),
                "given up after request 12",
            ],
        ),
        (
            "forgetful",
            20,
            [
                "server: events published = told to the subscriber of net.>: 42 and 41",
                "server: net.http.request = net.http.response: 20 and 19",
            ],
        ),
        ("slow", 20, ["response creation exceeds server processing, of which it is a part"]),
    ],
)
def test_what_is_wrong_is_named(
    capfd: pytest.CaptureFixture[str], bad: str, asked: int, lines: list[str]
) -> None:
    command = [sys.executable, str(BAD_SERVERS), bad]
    assert demo("asyncio", asked, server=command) == 1
    out, err = capfd.readouterr()
    assert "everything balances" not in out
    said = [line for line in err.splitlines() if line.startswith("pipebus demo: ")]
    assert out.endswith(f"{len(said)} faults, see above\n")
    assert len(said) == len(lines), said
    for line, one in zip(lines, said, strict=True):
        assert re.fullmatch(f"pipebus demo: asyncio: {line}", one)
    if bad in ("failing", "swapped"):
        rate = {"failing": "10.000 %", "swapped": "95.000 %"}[bad]
        assert tables(out)["Client performance"]["Success rate"][2] == rate


@pytest.mark.parametrize(("bad", "status"), [("dying", 3), ("absent", 4)])
def test_a_server_that_ends_too_early(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], bad: str, status: int
) -> None:
    command = [sys.executable, str(BAD_SERVERS), bad]
    monkeypatch.setattr(app, "run_demo", partial(demo, server=command))
    assert main(["demo", "--runtime", "trio", "--requests", "20"]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"pipebus: error: the demo's server ended too early (status {status})"


def test_only_an_interrupt_is_taken_out_of_its_group() -> None:
    """On trio whatever a nursery's task raises comes in a group."""

    async def fail(error: BaseException) -> None:
        raise BaseExceptionGroup("nursery", [error])

    trio = choose("trio")
    with pytest.raises(KeyboardInterrupt):
        trio.run(partial(fail, KeyboardInterrupt()))
    with pytest.raises(ExceptionGroup, match="nursery"):
        trio.run(partial(fail, ValueError()))


def test_interrupted() -> None:
    """Ctrl-C ends the client with 130, and its end ends the server."""
    with subprocess.Popen(
        [*PIPEBUS, "demo", "--requests", "5000", "--runtime", "trio"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"trio: 500 of 5,000 requests\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


# --- the checks themselves, on figures made up ---------------------------------------------------


def sound() -> RunFigures:
    """Return figures of 10 requests in which everything is right."""
    ten = range(1, 11)
    client = BusFigures(
        published=20,
        delivered=30,
        dropped=0,
        opened=10,
        outcomes={"replied": 10},
        topics={"net.http.client.request": 10, "net.http.client.response": 10},
    )
    server = BusFigures(
        published=22,
        delivered=22,
        dropped=0,
        opened=10,
        outcomes={"replied": 10},
        topics={
            "net.http.request": 10,
            "net.http.response": 10,
            "net.connection.open": 1,
            "net.connection.close": 1,
        },
    )
    return RunFigures(
        runtime="trio",
        asked=10,
        client=ClientFigures(
            answered=10,
            failures=[],
            received=2300,
            rtt=spread([n * 1000 for n in ten]),
            head=spread([n * 900 for n in ten]),
            body=spread([n * 100 for n in ten]),
            connects=[0.000_005],
            cpu=0.1,
            elapsed=1.0,
            bus=client,
        ),
        server=ServerFigures(
            processing=spread([n * 100 for n in ten]),
            creation=spread([n * 40 for n in ten]),
            publishing=spread([n * 50 for n in ten]),
            cpu=0.1,
            elapsed=2.0,
            bus=server,
        ),
    )


def change(run: RunFigures, path: str, value: Any) -> RunFigures:
    """Return the figures with one of them replaced, named by its path."""
    tree: Any = msgspec.to_builtins(run)
    node = tree
    *way, last = path.split("/")
    for name in way:
        node = node[name]
    node[last] = value
    return msgspec.convert(tree, RunFigures)


def test_sound_figures_pass() -> None:
    assert violations(sound()) == []


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("client/answered", 9, "requests asked for = answered rightly: 10 and 9"),
        ("client/bus/opened", 11, "client: exchanges opened = outcomes: 11 and 10"),
        ("client/bus/outcomes", {"failed": 10}, "client: exchanges opened = replied: 10 and 0"),
        ("client/bus/published", 21, "client: events published = told to .*: 21 and 20"),
        ("client/bus/dropped", 1, "client: events dropped = 0: 1 and 0"),
        (
            "client/bus/topics/net.http.client.response",
            9,
            "client: net.http.client.request = net.http.client.response: 10 and 9",
        ),
        ("client/bus/topics/net.http.client.error", 1, "client: net.http.client.error = 0: .*"),
        ("client/bus/topics/net.http.client.request", 11, "client's requests = server's .*"),
        ("server/bus/opened", 9, "server: exchanges opened = outcomes: 9 and 10"),
        ("server/bus/outcomes", {"timed_out": 10}, "server: exchanges opened = replied: .*"),
        ("server/bus/published", 23, "server: events published = told to .*: 23 and 22"),
        ("server/bus/dropped", 2, "server: events dropped = 0: 2 and 0"),
        ("server/bus/topics/net.http.response", 9, "server: net.http.request = net.http.resp.*"),
        ("server/bus/topics/net.http.error", 1, "server: net.http.error = 0: 1 and 0"),
        ("server/bus/topics/net.connection.open", 2, "connections used = 1: 2 and 1"),
        ("server/bus/topics/net.connection.close", 0, "server: connections opened = closed: .*"),
        ("client/connects", [], "connections: opened by the client = accepted .*: 0 and 1"),
        ("client/failures", ["request 3: status 500"], "request 3: status 500"),
        ("client/cpu", 1e6, "CPU of the client: .*"),
        ("server/cpu", -0.1, "CPU of the server: .*"),
        ("client/rtt/count", 9, "RTT was measured 9 times for 10 requests"),
        ("client/rtt/p50", 1, "RTT: minimum, mean, median, 99 % and maximum are out of order"),
        ("server/processing/mean", 1e9, "server processing: minimum, mean, .*"),
        ("client/head/most", 10_001, "time to head exceeds RTT, .*"),
        ("client/body/least", 1_001, "body read exceeds RTT, .*"),
        ("server/processing/most", 9_001, "server processing exceeds time to head, .*"),
        ("server/creation/p99", 1_001, "response creation exceeds server processing, .*"),
        ("server/publishing/p50", 501, "bus publish exceeds server processing, .*"),
        ("client/body/mean", 900.0, "time to head and body read exceed RTT together"),
        ("server/creation/mean", 300.0, "response creation and bus publish exceed .* together"),
        ("client/connects", [0.1], "connect time exceeds the longest RTT, .*"),
    ],
)
def test_each_check_fails_on_its_own_fault(path: str, value: Any, why: str) -> None:
    found = violations(change(sound(), path, value))
    assert any(re.fullmatch(f"trio: {why}", line) for line in found), found


def test_spreads() -> None:
    assert spread([]) == spread(())
    one = spread([7])
    assert (one.least, one.mean, one.p50, one.p99, one.most, one.count) == (7, 7.0, 7, 7, 7, 1)
    many = spread(list(range(200, 0, -1)))
    assert (many.least, many.mean, many.p50, many.p99, many.most) == (1, 100.5, 100, 198, 200)
    assert json.loads(msgspec.json.encode(many))["p99"] == 198


def test_durations_have_units() -> None:
    assert duration(263_500) == "263.5 µs"
    assert duration(999_999) == "1000.0 µs"
    assert duration(20_300_000) == "20.300 ms"
    assert duration(2_000_000_000) == "2.000 s"


def test_a_payload_is_48_bytes_and_its_own() -> None:
    for number in (1, 25_816, 99_999_999_999):
        assert len(payload(number)) == 48
        assert str(number).encode() in payload(number)
    good = b"Echo: POST /api/test\n\nRequest ID: 1\nHeaders: \nBody: " + payload(3)
    assert fault(200, good, 3) is None
    assert fault(200, good, 4) is not None
    assert fault(500, good, 3) == "request 3: status 500"
    assert fault(200, b"x" + good, 3) is not None
