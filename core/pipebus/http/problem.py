"""What every situation is answered with: the table of situations as data, and RFC 9457 answers."""

from typing import Final

import msgspec

from pipebus.http.message import Response


class Situation(msgspec.Struct, frozen=True):
    """A row of the table."""

    key: str
    condition: str
    """When it applies, for the documentation."""
    status: int | None
    """What is answered; None where nothing is."""
    close: bool = False
    """Whether the connection closes."""
    retry_after: bool = False
    """Whether the answer carries `Retry-After`."""
    event: str = ""
    """What is published, where it is not the usual `net.http.response`."""
    detail: str | None = None
    """The problem's detail."""


SITUATIONS: Final[dict[str, Situation]] = {}


class Answer(msgspec.Struct, frozen=True):
    """What an uncaught exception is answered with."""

    status: int
    detail: str | None = None
    retry_after: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def answer_for_error(error: BaseException) -> Answer:
    """Return what an exception that a handler did not catch is answered with."""
    raise NotImplementedError


def problem_response(
    status: int,
    *,
    detail: str | None = None,
    instance: str | None = None,
    retry_after: int | None = None,
    allow: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Build an `application/problem+json` answer (RFC 9457)."""
    raise NotImplementedError


def response_for_error(
    error: BaseException, *, instance: str | None = None, retry_after: int = 1
) -> Response:
    """Build the answer to an exception that a handler did not catch; never its text.

    `retry_after` in seconds (`Limits.retry_after`), for the answers that carry it.
    """
    raise NotImplementedError
