"""Thresholds, metrics and processes by themselves; waiting by poll()."""

import os
import select
import socket
from pathlib import Path

import pytest

from pipebus_cli.bench import poller
from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.job import Job, Message
from pipebus_cli.bench.load import Load
from pipebus_cli.bench.metrics import Change, parse, scrape
from pipebus_cli.bench.process import ServerProcess, echo
from pipebus_cli.bench.run import Phase, ServerUse
from pipebus_cli.bench.scenarios import fairness
from pipebus_cli.bench.thresholds import Threshold
from pipebus_cli.errors import CliError
from tests.cli.bench.scripted import Connection, scripted
from tests.cli.bench.scripted import echo as echo_script

MIB = 1024**2


def phase(*, requests: int = 100, errors: int = 0, server: bool = True) -> Phase:
    latency = Histogram()
    latency.record_many([n / 1000 for n in range(1, requests + 1)])
    used = ServerUse(
        cpu_s=1.0,
        rss_before_bytes=10 * MIB,
        rss_after_bytes=12 * MIB,
        rss_peak_bytes=20 * MIB,
        fds_before=5,
        fds_after=8,
    )
    return Phase(
        name="one",
        parameters={},
        duration_s=2.0,
        warmup_s=0.0,
        requests=requests,
        errors={"timeout": errors} if errors else {},
        statuses={},
        bytes_sent=0,
        bytes_received=0,
        connections_opened=1,
        client_cpu_s=0.0,
        latency=latency.to_quantiles(),
        stage_means_s={"handler": 0.002},
        server=used if server else None,
    )


@pytest.mark.parametrize(
    ("text", "held", "measured"),
    [
        ("p50>49ms", True, "p50 is 49.938 ms"),
        ("p50 > 51ms", False, "p50 is 49.938 ms"),
        ("p99.9>99.9ms", True, "p99.9 is 100.000 ms"),
        ("min<1001us", True, "min is 1.000 ms"),
        ("max<0.1s", False, "max is 100.000 ms"),
        ("mean>50.4ms", True, "mean is 50.500 ms"),
        ("handler>1ms", True, "handler is 2.000 ms"),
        ("queue>1ms", True, "not measured"),
        ("rate<51", True, "rate is 50"),
        ("errors>0", True, "errors is 1"),
        ("error_rate>1%", False, "error_rate is 0.990%"),
        ("error_rate>0.005", True, "error_rate is 0.990%"),
        ("rss_peak>19M", True, "rss_peak is 20.0 MiB"),
        ("rss_growth>2M", False, "rss_growth is 2.0 MiB"),
        ("fds_growth>2", True, "fds_growth is 3"),
    ],
)
def test_a_threshold(text: str, held: bool, measured: str) -> None:
    found, said = Threshold(text).holds(phase(errors=1))
    assert found is held
    assert said.startswith(measured)


@pytest.mark.parametrize("text", ["p99>1ms", "mean<1s", "error_rate>5%", "rss_peak>1G"])
def test_what_was_not_measured_does_not_pass(text: str) -> None:
    assert Threshold(text).holds(phase(requests=0, server=False)) == (True, "not measured")


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99=1ms", "p99>1", "p99>ms", "p101>1ms", "load>1", "errors>1.2.3", "error_rate>1x", "rss_peak>1s"],
)  # fmt: skip
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError):
        Threshold(text)


def test_fairness() -> None:
    assert fairness([5, 5, 5]) == 1.0
    assert fairness([9, 0, 0]) == pytest.approx(1 / 3)
    assert fairness([0, 0]) == 1.0


TEXT = """\
# HELP pipebus_events_dropped_total Deliveries that were lost, over all subscriptions.
# TYPE pipebus_events_dropped_total counter
pipebus_events_dropped_total{reason="overflow"} %d
pipebus_events_dropped_total{reason="diagnostic"} 3
pipebus_exchanges_open %d
pipebus_stage_duration_seconds_bucket{stage="read",le="+Inf"} 1
pipebus_stage_duration_seconds_sum{stage="read"} %s
pipebus_stage_duration_seconds_count{stage="read"} %d
pipebus_stage_duration_seconds_sum{stage="write"} 5
pipebus_stage_duration_seconds_count{stage="write"} 7
http_server_request_duration_seconds_count{http_route="/a}\\"b"} %d
"""


def test_counters_are_read_as_differences() -> None:
    change = Change(parse(TEXT % (0, 1, "1.5", 10, 2)), parse(TEXT % (2, 4, "3.5", 14, 9)))
    assert change.stage_means() == {"read": 0.5}
    assert (change.answered, change.events_lost, change.exchanges_open) == (7, 2, 4)


def test_metrics_that_are_not_there() -> None:
    def missing(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with scripted(missing) as place, pytest.raises(CliError, match="status 404"):
        scrape(f"http://127.0.0.1:{place.port}")
    with pytest.raises(CliError, match=r"no metrics from http://127\.0\.0\.1:1: "):
        scrape("http://127.0.0.1:1")


def test_this_process_is_seen() -> None:
    process = ServerProcess(os.getpid())
    before = process.use()
    assert before is not None
    with Path("/dev/null").open():
        after = process.use()
    assert after is not None
    assert after.fds == before.fds + 1
    process.forget_peak()
    peak = process.peak()
    assert peak is not None
    assert peak > 1_000_000


def test_a_process_that_is_gone_is_not_seen() -> None:
    process = ServerProcess(2**22 + 1)
    process.forget_peak()
    assert (process.use(), process.peak()) == (None, None)


def test_an_echo_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(CliError, match=r"did not start, and said: .*no-such-host"),
        echo(["--host", "no-such-host.invalid"]),
    ):
        raise AssertionError


def test_without_epoll_poll_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    waiter = poller.new_poller()
    assert isinstance(waiter, poller.PollPoller)
    with scripted(echo_script) as place:
        message = Message("POST", "/", [], body_bytes=10, echoes=True)
        for loop in ("closed", "open"):
            done = Load(Job(place, message, 2, loop=loop, count=20), lambda _: None).run()
            assert (done.requests, done.errors) == (20, {})


def test_a_fine_wait_ends_when_something_is_there_or_in_time() -> None:
    waiter = poller.new_poller()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waiter.register(ours.fileno(), select.POLLIN)
        for seconds in (0.0, 0.00005, 0.002, 0.03):
            assert waiter.poll_finely(seconds) == []
        theirs.send(b"x")
        for seconds in (0.0, 0.00005, 60.0):
            assert waiter.poll_finely(seconds) == [(ours.fileno(), select.POLLIN)]
        waiter.unregister(ours.fileno())
    waiter.close()
