"""`pipebus top`: rates of two scrapes, and what is shown of them."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import replace
from http.client import HTTPConnection

import pytest
from rich.console import Console

from pipebus_cli.bench.metrics import Samples, parse
from pipebus_cli.main import main
from pipebus_cli.top import Breaker, Now, Queue, compute, screen
from tests.cli.command import PATIENCE, PIPEBUS, run, serving

DURATION = "http_server_request_duration_seconds"
BEFORE = f"""
# TYPE {DURATION} histogram
{DURATION}_bucket{{http_response_status_code="200",le="0.005"}} 100
{DURATION}_bucket{{http_response_status_code="200",le="0.01"}} 100
{DURATION}_bucket{{http_response_status_code="200",le="+Inf"}} 100
{DURATION}_sum{{http_response_status_code="200"}} 1.0
{DURATION}_count{{http_response_status_code="200"}} 100
pipebus_exchanges_ended_total{{outcome="replied"}} 100
pipebus_exchanges_ended_total{{outcome="failed"}} 1
pipebus_subscription_dropped_total{{kind="tap",pattern="net.>",handler="audit",reason="overflow"}} 5
pipebus_events_dropped_total{{reason="overflow"}} 5
pipebus_connections_accepted_total 3
"""
AFTER = f"""
{DURATION}_bucket{{http_response_status_code="200",le="0.005"}} 150
{DURATION}_bucket{{http_response_status_code="200",le="0.01"}} 198
{DURATION}_bucket{{http_response_status_code="200",le="+Inf"}} 198
{DURATION}_sum{{http_response_status_code="200"}} 2.0
{DURATION}_count{{http_response_status_code="200"}} 198
{DURATION}_bucket{{http_response_status_code="503",le="0.005"}} 0
{DURATION}_bucket{{http_response_status_code="503",le="0.01"}} 0
{DURATION}_bucket{{http_response_status_code="503",le="+Inf"}} 1
{DURATION}_sum{{http_response_status_code="503"}} 0.5
{DURATION}_count{{http_response_status_code="503"}} 1
{DURATION}_bucket{{error_type="disconnect",le="0.005"}} 1
{DURATION}_bucket{{error_type="disconnect",le="0.01"}} 1
{DURATION}_bucket{{error_type="disconnect",le="+Inf"}} 1
{DURATION}_sum{{error_type="disconnect"}} 0.001
{DURATION}_count{{error_type="disconnect"}} 1
pipebus_exchanges_ended_total{{outcome="replied"}} 198
pipebus_exchanges_ended_total{{outcome="failed"}} 1
pipebus_exchanges_open 4
pipebus_requests_in_flight 4
pipebus_requests_in_flight_limit 1000
pipebus_requests_refused_total{{reason="max_in_flight"}} 6
pipebus_connections_open 2
pipebus_connections_accepted_total 13
pipebus_responder_queued{{responder="/orders"}} 32
pipebus_responder_queue_limit{{responder="/orders"}} 64
pipebus_responder_running{{responder="/orders"}} 2
pipebus_responder_slots{{responder="/orders"}} 2
pipebus_subscription_queued{{kind="tap",pattern="net.>",handler="audit"}} 64
pipebus_subscription_queue_limit{{kind="tap",pattern="net.>",handler="audit"}} 64
pipebus_subscription_dropped_total{{kind="tap",pattern="net.>",handler="audit",reason="overflow"}} 25
pipebus_events_dropped_total{{reason="overflow"}} 25
pipebus_events_dropped_total{{reason="closed"}} 0
pipebus_responder_breaker_state{{responder="/orders"}} 0
pipebus_client_breaker_state{{url_scheme="https",server_address="api.example",server_port="443"}} 2
"""


def now(before: str = BEFORE, after: str = AFTER, seconds: float = 2.0) -> Now:
    return compute(parse(before), parse(after), seconds)


def written(what: Now, url: str = "http://127.0.0.1:9000") -> str:
    file = io.StringIO()
    Console(width=110, file=file).print(screen(what, url))
    return file.getvalue()


def test_rates_are_of_the_time_between() -> None:
    assert now().mean_s == pytest.approx(1.501 / 100)
    assert replace(now(), mean_s=None) == Now(
        restarted=False,
        requests_per_s=50.0,
        statuses_per_s={"2xx": 49.0, "5xx": 0.5, "none": 0.5},
        mean_s=None,
        p50_s=0.005,
        p99_s=0.01,
        in_flight=4.0,
        in_flight_limit=1_000.0,
        connections=2.0,
        accepted_per_s=5.0,
        refused_per_s={"max_in_flight": 3.0},
        exchanges_open=4.0,
        outcomes_per_s={"replied": 49.0},
        dropped_per_s={"overflow": 10.0},
        queues=(
            Queue("/orders", 32.0, 64.0, 2.0, 2.0),
            Queue("tap net.> audit", 64.0, 64.0, dropped_per_s=10.0),
        ),
        breakers=(Breaker("https://api.example:443", "open"), Breaker("/orders", "closed")),
    )


def test_what_happened_before_the_first_look_is_not_counted() -> None:
    quiet = now(AFTER, AFTER)
    assert (quiet.requests_per_s, quiet.mean_s, quiet.p99_s) == (0.0, None, None)
    assert (quiet.statuses_per_s, quiet.refused_per_s, quiet.dropped_per_s) == ({}, {}, {})
    assert quiet.in_flight == 4.0, "gauges are of now"


@pytest.mark.parametrize("after", [BEFORE, "pipebus_exchanges_open 0\n"])
def test_a_server_that_was_started_again_has_no_negative_rate(after: str) -> None:
    again = now(AFTER, after)
    assert again.restarted
    assert again.requests_per_s == 0.0
    assert again.accepted_per_s == 0.0
    assert "started again" in written(again)


def test_a_quantile_beyond_the_last_bucket() -> None:
    slow = "".join(
        f'{DURATION}_bucket{{le="{bound}"}} {count}\n' for bound, count in (("1.0", 0), ("+Inf", 9))
    )
    found = compute({}, parse(slow + f"{DURATION}_count 9\n{DURATION}_sum 90\n"), 1.0)
    assert found.p50_s == float("inf")
    assert "p50 beyond the last bucket" in written(found)


def test_nothing_yet() -> None:
    empty: Samples = {}
    text = written(compute(empty, empty, 1.0))
    assert "Requests     0/s (none)" in text
    assert "mean -, p50 -, p99 -" in text


def test_what_is_shown() -> None:
    text = written(now())
    assert "Requests     50.0/s (2xx 49.0/s, 5xx 0.5/s, none 0.5/s)" in text
    assert "mean 15.0 ms, p50 <= 5.00 ms, p99 <= 10.0 ms" in text
    assert "Refused      max_in_flight 3.00/s" in text
    assert "Dropped      overflow 10.0/s" in text
    rows = [line.split() for line in text.splitlines() if "/orders" in line or "tap" in line]
    assert rows == [
        ["tap", "net.>", "audit", "64", "64", "100", "%", "-", "-", "10.0"],
        ["/orders", "32", "64", "50.0", "%", "2", "2", "0"],
        ["/orders", "closed"],
    ], "the fullest queue comes first"
    assert "https://api.example:443" in text


def test_names_are_no_markup_and_no_control_codes() -> None:
    nasty = AFTER.replace('responder="/orders"', 'responder="[red]x[/] \x1b[2J"')
    text = written(now(after=nasty), "http://[::1]:9000")
    assert "[red]x[/]" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["http://127.0.0.1:1"], 1, "no metrics from http://127.0.0.1:1: Connection refused"),
        (["http://127.0.0.1:99999"], 2, "'http://127.0.0.1:99999' is no http://HOST:PORT"),
        (["127.0.0.1:9000"], 2, "'127.0.0.1:9000' is no http://HOST:PORT"),
        (["--interval", "0"], 2, "--interval must be 0.1 to 3600 seconds, not 0"),
    ],
)
def test_what_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, told: str
) -> None:
    assert main(["top", *arguments]) == status
    assert capsys.readouterr().err.startswith(f"pipebus: error: {told}")


def test_once_and_live_over_a_server() -> None:
    with serving("echo", "--port", "0", "--admin", "127.0.0.1:0") as server:
        assert server.process.stdout is not None
        url = server.process.stdout.readline().removeprefix("admin at ").rstrip("\n")
        connection = HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/", b"hello")
        assert connection.getresponse().read() == b"hello"
        connection.close()
        done = run("top", url, "--interval", "0.1")
        assert done.returncode == 0, done.stderr
        assert "In flight    0 of 1,000" in done.stdout.decode()
        assert b"\x1b" not in done.stdout
        assert "In flight    0 of 1,000" in live(url)


def live(url: str) -> str:
    """Return what is drawn on a terminal until it shows a server; a Ctrl-C then ends it well."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PIPEBUS, "top", url, "--interval", "0.1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "40"},
    )
    os.close(theirs)
    drawn, until = b"", time.monotonic() + PATIENCE
    try:
        while b"In flight" not in drawn:
            assert time.monotonic() < until, drawn
            if select.select([ours], [], [], 1.0)[0]:
                drawn += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            assert time.monotonic() < until
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    drawn += os.read(ours, 65_536)
                except OSError:  # Linux: nobody has the other side open any more
                    break
        assert process.wait(PATIENCE) == 0, drawn
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode("utf-8", "replace"))
