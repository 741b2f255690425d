"""The formats of log lines, and what the access log says."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipebus.http.events import HttpFailed, HttpResponded
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline
from pipebus.telemetry.stages import Stages
from pipebus.testing import Simulation
from pipebus_anyio.observe.logs import (
    ACCESS_QUEUE,
    AccessEntry,
    JsonFormatter,
    LogFormat,
    RequestIdFilter,
    TextFormatter,
    access_log,
    new_handler,
)
from tests.bindings.observe.kept import Kept, keeping

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What goes to the access log, as JSON."""
    with keeping("pipebus.access") as handler:
        yield handler


def record(msg: object = "hello %s", *args: object, **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": msg, "args": args})
    made.__dict__.update(fields)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


class Hostile:
    def __repr__(self) -> str:
        raise LookupError

    __str__ = __repr__


class HostileError(Exception):
    def __str__(self) -> str:
        raise LookupError


# --- JSON --------------------------------------------------------------------------------------


def test_a_line_of_json() -> None:
    made = record(
        "hello %s", "you", created=1_700_000_000.25, order=17, request_id="r1", trace_id=""
    )
    assert JsonFormatter().format(made) == (
        '{"time":"2023-11-14T22:13:20.250000Z","level":"INFO","logger":"shop",'
        '"message":"hello you","request_id":"r1","order":17}'
    )


def test_the_time_is_now() -> None:
    made = record("x")
    said = as_json(made)["time"]
    assert re.fullmatch(STAMP, said)
    assert abs(datetime.fromisoformat(said).timestamp() - made.created) < 2e-6


def test_an_exception_and_a_stack() -> None:
    try:
        raise json.JSONDecodeError("no", "x", 0)
    except ValueError:
        said = as_json(record("x", exc_info=sys.exc_info(), stack_info="Stack: here"))
    assert said["stack"] == "Stack: here"
    error = said["exception"]
    assert error["type"] == "json.decoder.JSONDecodeError"
    assert error["message"] == "no: line 1 column 1 (char 0)"
    assert error["stack"].startswith("Traceback")
    assert "exception" not in as_json(record("x", exc_info=(None, None, None)))


def test_extra_fields_take_no_others_place() -> None:
    said = as_json(record("x", time=1, level="mine", exception=2))
    assert (said["time_"], said["level_"], said["exception"]) == (1, "mine", 2)
    assert (said["level"], re.fullmatch(STAMP, said["time"]) is not None) == ("INFO", True)


def test_what_json_cannot_say_is_its_repr() -> None:
    circle: list[object] = []
    circle.append(circle)
    said = as_json(record("x", place=complex(1, 2), circle=circle, huge=2**70, bad=Hostile()))
    assert said["place"] == "(1+2j)"
    assert said["circle"] == "[[...]]"
    assert said["huge"] == 2**70
    assert said["bad"] == "<Hostile>"
    assert said["message"] == "x"


def test_what_raises_is_still_a_line() -> None:
    assert as_json(record("%d", "x"))["message"] == "'%d' % ('x',)"
    assert as_json(record(Hostile()))["message"] == "<Hostile> % ()"
    error = HostileError()
    said = as_json(record("x", exc_info=(HostileError, error, None)))["exception"]
    assert said["message"] == "<HostileError>"
    assert said["type"].endswith(".HostileError")
    assert as_json(record("\ud800 x"))["message"] == "\\ud800 x"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text()
    | st.text(st.characters(categories=["Cs"])) | st.complex_numbers() | st.builds(Hostile)
    | st.builds(object) | st.dates() | st.decimals(),
    lambda inner: st.lists(inner) | st.sets(st.integers()) | st.dictionaries(
        st.text() | st.integers() | st.none() | st.floats() | st.tuples(st.text()), inner
    ),
    max_leaves=5,
)  # fmt: skip


@given(
    ANYTHING,
    st.lists(ANYTHING, max_size=1),
    st.dictionaries(st.text(st.characters()) | st.text(), ANYTHING, max_size=2),
)
def test_json_never_raises_and_is_one_line(
    message: object, args: list[object], extra: dict[str, object]
) -> None:
    made = record(message, *args)
    for name, value in extra.items():
        made.__dict__.setdefault(name, value)
    said = as_json(made)
    assert said["logger"] == "shop"
    assert isinstance(said["message"], str)


# --- text --------------------------------------------------------------------------------------


def test_a_line_of_text_has_the_requests_id_where_there_is_one() -> None:
    formatter = TextFormatter()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    line = formatter.format(record("hello %s", "you", request_id="r1"))
    assert re.fullmatch(rf"{stamp} INFO shop \[r1\]: hello you", line)
    for made in (record("hello", request_id=""), record("hello")):
        assert re.fullmatch(rf"{stamp} INFO shop: hello", formatter.format(made))


@pytest.mark.parametrize(
    ("log_format", "line"),
    [("text", r".* INFO shop \[r1\]: hello you\n"), ("json", r'\{.*"message":"hello you".*\}\n')],
)
def test_the_handler_writes_to_standard_error(
    log_format: LogFormat, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new_handler(log_format).handle(record("hello %s", "you", request_id="r1"))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(line, err)


def test_a_format_that_is_none() -> None:
    with pytest.raises(ValueError, match="log_format must be one of text, json, not 'xml'"):
        new_handler("xml")  # type: ignore[arg-type]  # what the type says, said at run time


def test_outside_of_handlers_the_ids_are_empty() -> None:
    made = record("x")
    assert RequestIdFilter().filter(made) is True
    assert (made.__dict__["request_id"], made.__dict__["trace_id"]) == ("", "")


# --- the access log ----------------------------------------------------------------------------


def entry(**fields: Any) -> AccessEntry:
    usual: dict[str, Any] = {
        "client": "10.0.0.1", "method": "GET", "target": "/", "route": "/", "status": 200,
        "outcome": "replied", "reason": "", "bytes_in": 1, "bytes_out": 2, "duration_ms": 1.0,
        "read_ms": 0.0, "queue_ms": 0.0, "handler_ms": 1.0, "write_ms": 0.0,
    }  # fmt: skip
    return AccessEntry(**{**usual, **fields})


LINE = re.compile(
    r'\S+ "(?:[^"\\]|\\.)* (?:[^"\\]|\\.)*" \d+ \S+ route="(?:[^"\\]|\\.)*" '
    r"in=\d+ out=\d+ ms=[\d.]+ read=[\d.]+ queue=[\d.]+ handler=[\d.]+ write=[\d.]+"
)


@given(st.text(), st.text())
@example('/" 200 replied', "GET")
@example("/\r\n10.0.0.9 - forged", "GET")
@example("/\x1b[2J\x85\u2028\u202e\\", "GET")
def test_no_target_forges_a_line(target: str, method: str) -> None:
    line = str(entry(target=target, method=method))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert LINE.fullmatch(line)


def test_how_a_line_is_escaped() -> None:
    assert str(entry(target='/a"b\\c\n\u2028é', client="")) == (
        '- "GET /a\\"b\\\\c\\n\\u2028é" 200 replied route="/" '
        "in=1 out=2 ms=1.000 read=0.000 queue=0.000 handler=1.000 write=0.000"
    )


def new_app() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.route("GET /hello/{name}")
    def hello(request: Request) -> Response:
        return Response.text("hello")

    access_log(pipeline)
    return pipeline


def test_a_line_for_each_request(kept: Kept) -> None:
    with Simulation(new_app()) as app:
        app.get("/hello/you?x=1")
        app.get("/nothing")
    found, lost = kept.objects
    assert (found["logger"], found["level"]) == ("pipebus.access", "INFO")
    assert found["message"] == "GET /hello/you?x=1 200"
    assert (found["method"], found["target"], found["status"]) == ("GET", "/hello/you?x=1", 200)
    assert (found["route"], found["outcome"]) == ("/hello/{name}", "replied")
    assert found["client"]
    assert found["bytes_in"] > 20
    assert found["bytes_out"] > 20
    stages = sum(found[f"{name}_ms"] for name in ("read", "queue", "handler", "write"))
    assert found["duration_ms"] == pytest.approx(stages, abs=0.01)
    assert (lost["status"], lost["route"], lost["outcome"]) == (404, "", "")
    ids = [one["request_id"] for one in kept.objects]
    assert len(set(ids)) == 2
    assert all(ids)
    message = kept.records[0].msg
    assert isinstance(message, AccessEntry)
    assert 'GET /hello/you?x=1" 200 replied route="/hello/{name}"' in str(message)


def test_what_it_says_of_a_request_that_was_cut(kept: Kept) -> None:
    pipeline = new_app()
    [on_error, _] = pipeline.subscribers
    ended = HttpFailed(
        "GET", "/", "/", 200, "replied", "/run/peer", 1, 2, Stages(handler=0.0015), "disconnect"
    )

    class GivenEvent:
        data = ended
        correlation_id = "r9"
        trace = None

    on_error.handler.fn(GivenEvent())
    [said] = kept.objects
    assert (said["reason"], said["client"], said["duration_ms"]) == ("disconnect", "/run/peer", 1.5)
    assert said["request_id"] == "r9"
    assert str(kept.records[0].msg).startswith('/run/peer "GET /" 200 replied reason=disconnect ')


def test_no_entry_is_made_for_nobody(kept: Kept) -> None:
    logging.getLogger("pipebus.access").setLevel(logging.WARNING)
    with Simulation(new_app()) as app:
        app.get("/hello/you")
    assert kept.lines == []


def test_it_drops_rather_than_makes_anybody_wait() -> None:
    for declared in new_app().subscribers:
        assert (declared.kind, declared.overflow) == ("tap", "drop_oldest")
        assert declared.queue == ACCESS_QUEUE


def test_both_kinds_of_ends_are_what_it_knows() -> None:
    topics = {declared.pattern for declared in new_app().subscribers}
    assert topics == {"net.http.response", "net.http.error"}
    assert set(HttpResponded.__struct_fields__) - {"response"} == set(HttpFailed.__struct_fields__)
