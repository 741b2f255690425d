import inspect

import pytest

from pipebus import errors
from pipebus.errors import (
    BadRequestBody,
    ClientError,
    ClientTimeout,
    HTTPError,
    PipebusError,
    RemoteProtocolError,
    RequestCancelled,
    RequestError,
    UpstreamProtocolError,
    WouldDeadlock,
)

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_in_the_tree_and_says_what_it_means(kind: type[Exception]) -> None:
    assert issubclass(kind, PipebusError)
    assert kind.__doc__


def test_the_peers_faults_carry_a_status() -> None:
    assert RemoteProtocolError("bad").status_hint == 400
    assert RemoteProtocolError("long", 414).status_hint == 414
    assert str(RemoteProtocolError("long", 414)) == "long"


def test_an_upstream_fault_is_a_client_error_and_a_bad_gateway() -> None:
    error = UpstreamProtocolError("no head")
    assert isinstance(error, ClientError)
    assert (str(error), error.status_hint) == ("no head", 502)


def test_would_deadlock_names_the_chain() -> None:
    error = WouldDeadlock(("audit", "orders.*", "audit"))
    assert error.path == ("audit", "orders.*", "audit")
    assert str(error) == "would wait for itself: audit -> orders.* -> audit"


def test_a_cancelled_request_says_why() -> None:
    error = RequestCancelled("gone", "disconnect")
    assert isinstance(error, RequestError)
    assert (str(error), error.reason) == ("gone", "disconnect")


@pytest.mark.parametrize("name", ["ConnectTimeout", "PoolTimeout", "ReadTimeout", "TotalTimeout"])
def test_one_except_catches_every_client_timeout(name: str) -> None:
    assert issubclass(getattr(errors, name), ClientTimeout)
    assert issubclass(ClientTimeout, ClientError)


def test_an_http_error_says_what_to_answer() -> None:
    plain, full = HTTPError(404), HTTPError(401, "who?", [("www-authenticate", "Basic")])
    assert (plain.status, plain.detail, str(plain)) == (404, None, "404")
    assert (full.status, full.detail, str(full)) == (401, "who?", "401: who?")
    assert list(full.headers) == [("www-authenticate", "Basic")]
    assert (BadRequestBody("not JSON").status, str(BadRequestBody("x"))) == (400, "400: x")


@pytest.mark.parametrize("status", [399, 600, 200, "404", 404.0, True])
def test_an_http_error_is_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match="must be an int from 400 to 599"):
        HTTPError(status)


def test_a_subclass_that_says_nothing_is_an_internal_error() -> None:
    class Forgetful(HTTPError):
        def __init__(self) -> None:
            """Not calling up is the mistake."""

    assert (Forgetful().status, Forgetful().detail, Forgetful().headers) == (500, None, ())
