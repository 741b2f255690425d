"""The table of situations, and what uncaught exceptions are answered with."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from pipebus.errors import (
    BadRequestBody,
    BreakerOpen,
    ClientError,
    ConnectError,
    ConnectTimeout,
    HTTPError,
    LocalProtocolError,
    NoResponder,
    PoolTimeout,
    PublishTimeout,
    ReadTimeout,
    Rejected,
    RemoteProtocolError,
    RequestCancelled,
    RequestTimeout,
    ResponderFailed,
    ResponseTooLarge,
    StreamInterrupted,
    TotalTimeout,
    UpstreamProtocolError,
    WouldBlock,
)
from pipebus.http.problem import (
    SITUATIONS,
    answer_for_error,
    problem_response,
    response_for_error,
    table,
)
from pipebus.http.response import Response, phrase

DOCS = Path(__file__).parents[3] / "docs"


def problem(response: Response) -> Any:
    assert response.headers.get("content-type") == "application/problem+json"
    return msgspec.json.decode(response.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoResponder("secret"), 503),
        (Rejected("secret"), 503),
        (PoolTimeout("secret"), 503),
        (RequestTimeout("secret"), 504),
        (ConnectTimeout("secret"), 504),
        (ReadTimeout("secret"), 504),
        (TotalTimeout("secret"), 504),
        (ConnectError("secret"), 502),
        (UpstreamProtocolError("secret"), 502),
        (RemoteProtocolError("secret", 400), 502),
        (ResponseTooLarge("secret"), 502),
        (ClientError("secret"), 502),
        (ResponderFailed("secret"), 500),
        (RequestCancelled("secret", "caller"), 500),
        (PublishTimeout("secret"), 500),
        (WouldBlock("secret"), 500),
        (StreamInterrupted("secret"), 500),
        (LocalProtocolError("secret"), 500),
        (ValueError("secret"), 500),
        (UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"), 500),
        (msgspec.ValidationError("secret"), 500),
        (KeyboardInterrupt("secret"), 500),
        (BadRequestBody("told"), 400),
        (HTTPError(418, "told"), 418),
    ],
)
def test_uncaught_errors(error: BaseException, status: int) -> None:
    assert answer_for_error(error).status == status
    response = response_for_error(error, instance="r1", retry_after=7)
    assert response.status == status
    assert problem(response)["status"] == status
    assert problem(response)["instance"] == "r1"
    assert b"secret" not in response.body
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)


@pytest.mark.parametrize(("left", "told"), [(2.5, "3"), (0.0, "1"), (60.0, "60")])
def test_an_open_breaker_says_itself_when_to_try_again(left: float, told: str) -> None:
    response = response_for_error(BreakerOpen("secret", left), retry_after=7)
    assert (response.status, response.headers["retry-after"]) == (503, told)
    assert b"secret" not in response.body
    assert response_for_error(PoolTimeout("secret"), retry_after=7).headers["retry-after"] == "7"


def test_http_error_has_its_say() -> None:
    error = HTTPError(401, "who are you", {"WWW-Authenticate": "Basic"})
    response = response_for_error(error)
    assert problem(response) == {
        "title": "Unauthorized",
        "status": 401,
        "detail": "who are you",
    }
    assert response.headers.get("www-authenticate") == "Basic"


class Unfinished(HTTPError):
    """A subclass that forgot to call `super().__init__`."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    "error",
    [
        HTTPError(400, "x", [("x", "a\r\nb: c")]),
        HTTPError(400, "x", [("content-length", "9")]),
        HTTPError(400, "x", 5),  # type: ignore[arg-type] # a handler's mistake is the point
        HTTPError(400, "\ud800"),
        Unfinished(),
    ],
)
def test_http_error_that_cannot_be_sent_is_a_500(error: HTTPError) -> None:
    response = response_for_error(error, instance="r1")
    assert problem(response) == {
        "title": "Internal Server Error",
        "status": 500,
        "instance": "r1",
    }


def test_problem_response_fields() -> None:
    response = problem_response(405, allow=("GET", "HEAD"), headers={"x": "y"}, detail="d")
    assert list(response.headers) == [
        ("x", "y"),
        ("content-type", "application/problem+json"),
        ("allow", "GET, HEAD"),
    ]
    assert problem(response)["detail"] == "d"
    assert problem_response(503, retry_after=0).headers.get("retry-after") == "0"


def test_situations_are_told_apart() -> None:
    assert len({row.key for row in SITUATIONS}) == len(SITUATIONS)
    assert len({row.condition for row in SITUATIONS}) == len(SITUATIONS)


def test_situations_hold_together() -> None:
    for row in SITUATIONS:
        assert row.status is None or (row.status >= 400 and phrase(row.status))
        assert row.status is not None or row.action or row.after in ("closed", "reset")
        assert row.retry_after == (row.status in (429, 503))
        assert row.event in ("", "net.http.response", "net.http.error")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_problem_table", DOCS / "generate_problem_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_in_the_docs_is_current() -> None:
    page = (DOCS / "http.md").read_text("utf-8")
    assert generator().render(page) == page, "run `make docs`"
    assert table() in page


def test_stale_table_is_replaced() -> None:
    page = (DOCS / "http.md").read_text("utf-8")
    assert generator().render(page.replace("| 404 |", "| 200 |")) == page
