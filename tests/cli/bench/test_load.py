"""The load generator against servers that do one thing, right or wrong."""

import os
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.job import Began, Done, Job, Message, Place, Ticked, Told
from pipebus_cli.bench.load import Load
from tests.bindings.certificates import certificates
from tests.cli.bench.scripted import OK, Connection, Script, echo, scripted

MESSAGE = Message("POST", "/", [("Host", "localhost")], body_bytes=100, echoes=True)
EMPTY = Message("GET", "/", [("Host", "localhost")])


def load(place: Place, message: Message = MESSAGE, **options: Any) -> Done:
    return told(place, message, **options)[-1]


def told(place: Place, message: Message = MESSAGE, **options: Any) -> tuple[list[Told], Done]:
    given: dict[str, Any] = {"connections": 4, "count": 100, "timeout": 10.0} | options
    lines: list[Told] = []
    done = Load(Job(place, message, **given), lines.append).run()
    return lines, done


def against(script: Script, message: Message = MESSAGE, **options: Any) -> Done:
    with scripted(script) as place:
        return load(place, message, **options)


def assert_all_right(done: Done, count: int = 100) -> None:
    assert done.errors == {}
    assert (done.requests, done.latency.count, sum(done.per_client)) == (count, count, count)
    assert done.statuses == {"200": count}
    assert not done.gave_up


def test_a_closed_loop_sends_as_many_as_were_asked_for() -> None:
    with scripted(echo) as place:
        lines, done = told(place, tick=0.001)
    assert_all_right(done)
    assert done.service is None
    assert done.connections_opened == 4
    assert done.answers == 100
    assert done.bytes_received == 100 * (
        len(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n") + 100
    )
    assert done.bytes_sent == 100 * (
        len(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n") + 100
    )
    assert isinstance(lines[0], Began)
    ticks = [line for line in lines if isinstance(line, Ticked)]
    assert len(ticks) > 1
    assert sum(tick.requests for tick in ticks) == 100
    assert sum(tick.length_s for tick in ticks) == pytest.approx(done.duration_s)
    assert ticks[-1].at_s == pytest.approx(done.duration_s)


def test_a_duration_ends_it() -> None:
    done = against(echo, count=None, duration=0.05)
    assert done.requests > 0
    assert done.errors == {}
    assert done.duration_s >= 0.05


def test_what_is_sent_while_warming_up_does_not_count() -> None:
    asked: list[int] = []

    def note(connection: Connection) -> None:
        while (body := connection.request()) is not None:
            asked.append(connection.number)
            connection.answer(body)

    done = against(note, warmup=0.1)
    assert_all_right(done)
    assert len(asked) > done.answers == 100


@pytest.mark.parametrize("spacing", ["fixed", "poisson"])
def test_an_open_loop_sends_by_the_clock(spacing: str) -> None:
    done = against(echo, loop="open", rate=1000.0, spacing=spacing, warmup=0.02)
    assert_all_right(done)
    assert done.service is not None
    assert done.service.count == 100
    assert done.service.sum_s <= done.latency.sum_s


def test_all_at_once_waits_for_connections_and_counts_the_wait() -> None:
    done = against(echo, loop="open", connections=2, count=200)
    assert_all_right(done, 200)
    assert done.service is not None
    assert done.latency.sum_s > 2 * done.service.sum_s


STALL = 1.0


class Stalling:
    """Answers nobody for a second, once."""

    def __init__(self, after: int) -> None:
        self._left = after
        self._lock = threading.Lock()
        self._never = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while (body := connection.request()) is not None:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self._never.wait(STALL)
            connection.answer(body)


def test_a_stall_is_seen_by_whoever_keeps_to_the_clock() -> None:
    open_loop = against(Stalling(100), loop="open", rate=200.0, spacing="fixed", count=400)
    assert_all_right(open_loop, 400)
    latency = Histogram.from_quantiles(open_loop.latency)
    assert latency.quantile(0.99) > STALL / 2
    # A connection that waits sends nothing: four requests of 2,000 have seen it.
    closed_loop = against(Stalling(100), count=2000)
    assert_all_right(closed_loop, 2000)
    closed = Histogram.from_quantiles(closed_loop.latency)
    assert closed.quantile(0.99) < STALL / 2 < closed.max_s
    # Nor is it seen in what the requests took once they were sent.
    assert open_loop.service is not None
    assert Histogram.from_quantiles(open_loop.service).quantile(0.9) < STALL / 2


def closing(connection: Connection) -> None:
    """Answer once."""
    body = connection.request()
    if body is not None:
        connection.send(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


def until_eof(connection: Connection) -> None:
    """Answer once, without a length."""
    body = connection.request()
    if body is not None:
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)


@pytest.mark.parametrize("script", [closing, until_eof])
@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_server_may_close_after_each_answer(script: Script, loop: str) -> None:
    done = against(script, loop=loop)
    assert_all_right(done)
    assert done.connections_opened >= 100


def hanging_up(connection: Connection) -> None:
    """Close in the middle of the answer."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def resetting(connection: Connection) -> None:
    """Reset in place of an answer."""
    connection.request()
    connection.reset()


def babbling(connection: Connection) -> None:
    """Answer in another protocol."""
    connection.request()
    connection.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    connection.request()


def answering_twice(connection: Connection) -> None:
    """Say more than was asked for."""
    body = connection.request()
    assert body is not None
    connection.send(2 * (OK % (len(body), body)))
    connection.request()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (hanging_up, "closed"),
        (resetting, "reset"),
        (babbling, "malformed"),
        (lambda _: None, "closed"),
    ],
)
@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_connection_that_fails_again_and_again_is_given_up(
    script: Script, kind: str, loop: str
) -> None:
    done = against(script, loop=loop, connections=2, failures=3)
    assert done.gave_up
    assert done.requests == 0
    # Whoever is reset while still sending may see that it was closed.
    errors = dict(done.errors)
    unsent = errors.pop("unsent", 0)
    assert set(errors) <= {kind, "reset"}
    assert unsent == (94 if loop == "open" else 0)
    assert sum(errors.values()) == 6
    assert done.first_error


def test_more_than_an_answer_is_an_error() -> None:
    done = against(answering_twice, connections=1, count=3, failures=2)
    assert done.errors == {"malformed": 2}
    assert done.gave_up


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Place(socket.AF_INET, "127.0.0.1", listener.getsockname()[1])
    done = load(place, connections=2, failures=2)
    assert done.gave_up
    assert done.errors["connect"] >= 2
    assert "refused" in done.first_error.lower()


def test_a_request_without_an_answer_times_out_and_the_next_goes_out() -> None:
    def silent_once(connection: Connection) -> None:
        if connection.number == 1:
            connection.request()
            connection.request()
        else:
            echo(connection)

    done = against(silent_once, timeout=0.2, connections=2, count=50)
    assert done.errors == {"timeout": 1}
    assert done.requests == 49


def test_a_request_that_finds_no_connection_in_time_counts_as_unsent() -> None:
    def silent(connection: Connection) -> None:
        connection.request()
        connection.request()

    done = against(silent, loop="open", connections=1, count=5, timeout=0.1)
    assert done.requests == 0
    assert sum(done.errors.values()) == 5
    assert done.errors["unsent"] >= 1
    assert done.errors["timeout"] >= 1


def test_an_answer_that_is_another_requests_is_found() -> None:
    last: list[bytes] = [b"x" * 100]

    def one_behind(connection: Connection) -> None:
        while (body := connection.request()) is not None:
            connection.answer(last[0])
            last[0] = body

    done = against(one_behind, connections=2, count=20)
    assert done.requests == 0
    assert done.errors == {"wrong body": 20}
    assert done.statuses == {"200": 20}


def test_the_status_is_looked_at() -> None:
    def alternating(connection: Connection) -> None:
        number = 0
        while (body := connection.request()) is not None:
            number += 1
            status = b"503 Busy" if number % 2 else b"200 OK"
            connection.send(
                b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            )

    done = against(alternating, connections=1)
    assert (done.requests, done.errors) == (50, {"status 503": 50})
    wanted = msgspec.structs.replace(MESSAGE, status=503)
    done = against(alternating, wanted, connections=1)
    assert (done.requests, done.errors) == (50, {"status 200": 50})


def test_an_early_answer_ends_a_request_that_is_still_being_sent() -> None:
    def refusing(connection: Connection) -> None:
        connection.sock.recv(1000)
        connection.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.sock.shutdown(socket.SHUT_WR)
        while connection.sock.recv(65_536):
            pass

    big = msgspec.structs.replace(MESSAGE, body_bytes=20_000_000, status=413, echoes=False)
    done = against(refusing, big, connections=1, count=2)
    assert done.statuses == {"413": 2}
    assert done.requests == 2


@pytest.mark.parametrize("tls", [False, True])
def test_a_large_body_comes_back_whole(tls: bool) -> None:
    big = msgspec.structs.replace(MESSAGE, body_bytes=3_000_000)
    with scripted(echo, certificates().server if tls else None) as place:
        if tls:
            place = msgspec.structs.replace(place, tls_name="localhost", insecure=True)
        done = load(place, big, connections=2, count=4)
    assert_all_right(done, 4)
    assert done.bytes_sent > 12_000_000


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    authority, _, _ = certificates().write(tmp_path)
    with scripted(echo, certificates().server) as place:
        trusted = msgspec.structs.replace(place, tls_name="localhost", authorities=str(authority))
        assert_all_right(load(trusted))
        untrusted = msgspec.structs.replace(place, tls_name="localhost")
        done = load(untrusted, connections=1, failures=1)
        assert done.errors == {"tls": 1}
        other = msgspec.structs.replace(trusted, tls_name="example.org")
        assert load(other, connections=1, failures=1).errors == {"tls": 1}


def test_a_server_that_closes_what_is_idle_is_asked_again() -> None:
    def impatient(connection: Connection) -> None:
        body = connection.request()
        if body is not None:
            connection.answer(body)

    done = against(impatient, loop="open", rate=100.0, connections=3, count=30)
    assert done.requests + sum(done.errors.values()) == 30
    assert set(done.errors) <= {"closed", "reset"}  # it closed while the next was on its way
    assert done.connections_opened > 3


def test_what_nobody_asked_for_is_an_error() -> None:
    answered = threading.Event()

    def shouting(connection: Connection) -> None:
        connection.answer(connection.request() or b"")
        if connection.number == 1:
            assert answered.wait(10)
            connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        connection.request()

    def tell(what: Told) -> None:
        if isinstance(what, Ticked) and what.requests:
            answered.set()

    with scripted(shouting) as place:
        # The second request is due in a second: until then the connection is idle.
        job = Job(place, MESSAGE, 1, loop="open", rate=1.0, count=2, tick=0.01)
        done = Load(job, tell).run()
    assert done.errors == {"malformed": 1}
    assert done.requests == 2


def test_it_can_be_stopped() -> None:
    reading, writing = os.pipe()
    begun = threading.Event()

    def tell(what: Told) -> None:
        if isinstance(what, Began):
            begun.set()
            os.close(writing)

    try:
        with scripted(echo) as place:
            done = Load(Job(place, EMPTY, 1), tell, stop_fd=reading).run()
    finally:
        os.close(reading)
    assert begun.is_set()
    assert done.errors == {}


def test_a_body_from_a_file_and_none_at_all(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"what is in the file")
    from_file = Message("PUT", "/", [], body_file=str(file), echoes=True)
    assert_all_right(against(echo, from_file))
    assert_all_right(against(echo, msgspec.structs.replace(EMPTY, echoes=True)))
