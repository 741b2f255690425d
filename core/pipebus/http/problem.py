"""What every situation is answered with: the table as data, and RFC 9457 answers.

`docs/http.md` shows the table; `docs/generate_problem_table.py` writes it there.
"""

from collections.abc import Mapping
from math import ceil
from typing import Final, Literal

import msgspec

from pipebus.errors import (
    BreakerOpen,
    ClientError,
    ClientTimeout,
    HTTPError,
    NoResponder,
    PoolTimeout,
    Rejected,
    RemoteProtocolError,
    RequestTimeout,
)
from pipebus.http.headers import HeadersInput
from pipebus.http.response import Response

After = Literal["kept", "closed", "reset", "cut"]
"""What becomes of the connection: `cut` ends the response so that the peer sees it is not whole."""


class Situation(msgspec.Struct, frozen=True):
    """A row of the table."""

    key: str
    condition: str
    """When it applies, in words."""
    status: int | None
    """What is answered; None where there is no answer of our own."""
    action: str = ""
    """What else is done, in words."""
    after: After = "kept"
    retry_after: bool = False
    """Whether the answer carries `Retry-After: <Limits.retry_after>`."""
    event: str = "net.http.response"
    """The topic of what is published; empty for nothing."""


_ERROR: Final = "net.http.error"

SITUATIONS: Final[tuple[Situation, ...]] = (
    # found in the head, before dispatch
    Situation("not_found", "no template matches the path", 404),
    Situation("method_not_allowed", "templates match, for other methods", 405, "with `Allow`"),
    Situation(
        "bad_path",
        "a dot segment, a broken escape, bytes that are no UTF-8, or NUL in the path",
        400,
    ),
    Situation("misdirected", "an absolute `https` target on a connection without TLS", 421),
    Situation("no_routes", "a pipeline without any route", 503, retry_after=True),
    Situation(
        "malformed",
        "malformed or smuggling-shaped: Content-Length with Transfer-Encoding, Transfer-Encoding "
        "on 1.0, two Content-Lengths, a bad chunk size, extension or line end, bare CR or LF, NUL "
        "or another control character, a folded field, a space before the colon, Host missing on "
        "1.1, duplicate or malformed",
        400,
        "the close lingers, so that a reset cannot eat the answer",
        "closed",
    ),
    Situation("head_too_large", "head over `max_head`, or over `max_fields`", 431, "", "closed"),
    Situation("line_too_long", "request line over `max_request_line`", 414, "", "closed"),
    Situation("version", "a version other than 1.0 and 1.1", 505, "", "closed"),
    Situation("not_implemented", "CONNECT, or an unknown transfer coding", 501, "", "closed"),
    Situation(
        "body_too_large",
        "body over `max_body`, by Content-Length or while reading",
        413,
        "",
        "closed",
    ),
    # bounds of the server
    Situation(
        "max_connections", "a connection over `max_connections`", 503, "", "closed", True
    ),
    Situation(
        "max_connections_per_client",
        "a connection over `max_connections_per_client`",
        503,
        "",
        "closed",
        True,
    ),
    Situation("max_in_flight", "`max_in_flight` requests are in flight", 503, retry_after=True),
    Situation(
        "max_in_flight_per_client",
        "`max_in_flight_per_client` requests of its client are in flight",
        503,
        retry_after=True,
    ),
    Situation("loop_lag", "the event loop is later than `max_loop_lag`", 503, retry_after=True),
    Situation(
        "rate_limited",
        "a rate limit, of the server or of the route, is used up",
        429,
        "`Retry-After` says when there is room",
        retry_after=True,
    ),
    Situation(
        "max_buffered",
        "no room under `max_buffered` within `buffered_wait`",
        503,
        "",
        "closed",
        True,
    ),
    Situation("rejected", "every responder is busy and the queue is full, or its breaker is open", 503, retry_after=True),
    # the handler
    Situation("http_error", "`HTTPError` uncaught in the handler", None, "its own status"),
    Situation(
        "bad_body", "`Request.json()` or `text()` cannot decode the body, uncaught", 400
    ),
    Situation(
        "unavailable",
        "`NoResponder`, `Rejected` or `PoolTimeout` uncaught in the handler",
        503,
        retry_after=True,
    ),
    Situation(
        "breaker_open",
        "`BreakerOpen` uncaught in the handler",
        503,
        "`Retry-After` says when the server is tried again",
        retry_after=True,
    ),
    Situation(
        "upstream_slow", "`RequestTimeout` or a client timeout uncaught in the handler", 504
    ),
    Situation(
        "upstream_bad", "another `ClientError` or `RemoteProtocolError` uncaught in the handler", 502
    ),
    Situation("handler_error", "anything else uncaught in the handler", 500),
    Situation("no_response", "the handler returns something that is no `Response`", 500),
    Situation(
        "deadline",
        "no response head within `request_timeout` of dispatch (a streamed request: of its last "
        "body byte)",
        504,
        "the handler is cancelled",
    ),
    Situation(
        "after_head",
        "the handler or its stream fails, or is silent for `stream_idle`, after the response head",
        None,
        "chunked without the last chunk, or a short Content-Length; a reset on 1.0",
        "cut",
        event=_ERROR,
    ),
    # the peer
    Situation(
        "head_timeout",
        "head not finished within `head_timeout`",
        408,
        "silently where no byte came",
        "closed",
    ),
    Situation("body_timeout", "a gap over `body_timeout` in the body", 408, "", "closed"),
    Situation("idle", "`idle_timeout` between two requests", None, "", "closed", event=""),
    Situation(
        "write_timeout", "the peer takes no byte for `write_timeout`", None, "", "reset",
        event=_ERROR,
    ),
    Situation(
        "disconnect",
        "reset, hang-up or failed write; or FIN inside a request",
        None,
        "nothing is written; the handler is cancelled at once",
        "closed",
        event=_ERROR,
    ),
    Situation(
        "half_close",
        "FIN after a complete request",
        None,
        "answered; a handler still running after `half_close_grace` is cancelled",
        "closed",
    ),
    # shutdown
    Situation(
        "draining",
        "draining, on a connection not yet told `Connection: close`",
        None,
        "served, with `Connection: close`",
        "closed",
    ),
    Situation("drained", "draining, after `grace`", 503, "", "closed", True),
)  # fmt: skip

_BY_KEY: Final[dict[str, Situation]] = {row.key: row for row in SITUATIONS}

_ERRORS: Final[Mapping[type, str]] = {
    NoResponder: "unavailable",
    Rejected: "unavailable",
    PoolTimeout: "unavailable",
    BreakerOpen: "breaker_open",
    RequestTimeout: "upstream_slow",
    ClientTimeout: "upstream_slow",
    ClientError: "upstream_bad",
    RemoteProtocolError: "upstream_bad",
    BaseException: "handler_error",
}
"""The most specific class decides."""


class Answer(msgspec.Struct, frozen=True):
    """What an uncaught exception is answered with."""

    status: int
    detail: str | None = None
    retry_after: bool = False
    headers: HeadersInput = ()


def answer_for_error(error: BaseException) -> Answer:
    """Return what an exception that a handler did not catch is answered with."""
    if isinstance(error, HTTPError):
        return Answer(error.status, error.detail, headers=error.headers)
    key = next(_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS)
    row = _BY_KEY[key]
    assert row.status is not None
    return Answer(row.status, retry_after=row.retry_after)


def problem_response(
    status: int,
    *,
    detail: str | None = None,
    instance: str | None = None,
    retry_after: int | None = None,
    allow: tuple[str, ...] = (),
    headers: HeadersInput = (),
) -> Response:
    """Build an `application/problem+json` answer (RFC 9457).

    `instance` names the occurrence (the request's id), `retry_after` in seconds and `allow` become
    the fields of that name. Raises `ValueError` for a status below 400 or fields that cannot be
    sent.
    """
    response = Response.problem(status, detail, instance=instance, headers=headers)
    raw = response.headers.raw
    if retry_after is not None:
        raw.append((b"retry-after", b"%d" % retry_after))
    if allow:
        raw.append((b"allow", ", ".join(allow).encode("ascii")))
    return response


def response_for_error(
    error: BaseException, *, instance: str | None = None, retry_after: int = 1
) -> Response:
    """Build the answer to an exception that a handler did not catch; never its text.

    `retry_after` in seconds (`Limits.retry_after`), for the answers that carry it. An `HTTPError`
    whose detail or fields cannot be sent is a fault of the handler, and answered 500. A
    `BreakerOpen` has a time of its own.
    """
    answer = answer_for_error(error)
    if isinstance(error, BreakerOpen):
        retry_after = max(1, ceil(error.retry_after))
    try:
        return problem_response(
            answer.status,
            detail=answer.detail,
            instance=instance,
            retry_after=retry_after if answer.retry_after else None,
            headers=answer.headers,
        )
    except Exception:  # noqa: BLE001 (they are the program's: a number for a text, say)
        return problem_response(500, instance=instance)


def table() -> str:
    """Return the table as Markdown, for the documentation."""
    lines = [
        "| situation | answer | connection | published |",
        "|---|---|---|---|",
    ]
    for row in SITUATIONS:
        answer = [str(row.status)] if row.status is not None else []
        if row.retry_after:
            answer.append("with `Retry-After`")
        if row.action:
            answer.append(row.action)
        event = f"`{row.event}`" if row.event else "nothing"
        lines.append(f"| {row.condition} | {', '.join(answer) or '-'} | {row.after} | {event} |")
    return "\n".join(lines) + "\n"
