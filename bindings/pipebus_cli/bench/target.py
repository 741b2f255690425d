"""What is loaded: found out about by one request before the run."""

import socket
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from pipebus.http.url import Url, parse_url
from pipebus_cli.bench.job import Job, Message, Place
from pipebus_cli.bench.load import Load
from pipebus_cli.bench.options import BenchOptions
from pipebus_cli.bench.process import ServerProcess
from pipebus_cli.errors import USAGE, CliError, explain

BODY: Final = 230
"""The seed's answers were about so long, in bytes."""
_BODYLESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})


@dataclass(frozen=True)
class Target:
    """A server that was reached."""

    name: str
    place: Place
    message: Message
    process: ServerProcess | None = None
    admin: str | None = None
    """Where its metrics are; None: it is no pipebus server, or does not show them."""
    ours: bool = False
    """`pipebus echo`, started for the run: what it does with faults is known."""


def message(options: BenchOptions, url: Url) -> Message:
    """Return the request that the options ask for."""
    method = options.method or "POST"
    fields = [_field(text) for text in options.header]
    given = {name.lower() for name, _ in fields}
    if "host" not in given:
        fields.insert(0, ("Host", url.authority.decode()))
    size = options.body_size
    if size is None and options.body_file is None and method not in _BODYLESS:
        size = BODY
    if "content-type" not in given and (size is not None or options.body_file is not None):
        fields.append(("Content-Type", "text/plain"))
    return Message(
        method=method,
        target=url.target.decode(),
        headers=fields,
        body_bytes=size,
        body_file=None if options.body_file is None else str(options.body_file),
        status=options.status,
    )


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name or name.strip() != name or not (name + value).isprintable():
        msg = f"a header is NAME: VALUE, not {text!r}"
        raise CliError(msg, USAGE)
    if name.lower() in ("content-length", "transfer-encoding"):
        msg = f"{name} follows from the body and cannot be given"
        raise CliError(msg, USAGE)
    return name, value.strip()


def reach(options: BenchOptions, text: str, patience: float = 0.0) -> tuple[Place, Message]:
    """Return where the URL's server is and what to send, after one request that was answered.

    The message says whether the server echoes. Raises `CliError` if there is no such answer.
    """
    try:
        url = parse_url(text)
    except ValueError as error:
        raise CliError(str(error), USAGE) from error
    what = message(options, url)
    places = _places(url, options)
    until = time.monotonic() + patience
    while True:
        failures = []
        for place in places:
            echoes, failure = _try(place, what, options)
            if failure is None:
                return place, msgspec.structs.replace(what, echoes=echoes)
            failures.append(failure)
        if time.monotonic() >= until:
            msg = f"{text}: {failures[0]}"
            raise CliError(msg)


def _places(url: Url, options: BenchOptions) -> list[Place]:
    tls = {
        "tls_name": url.host if url.tls else None,
        "authorities": None if options.cacert is None else str(options.cacert),
        "insecure": options.insecure,
    }
    if url.path is not None:
        return [Place(socket.AF_UNIX, url.path, 0)]
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        msg = f"cannot find {url.host}: {explain(error)}"
        raise CliError(msg) from error
    return [
        msgspec.convert(
            {"family": int(family), "address": where[0], "port": url.port, **tls}, Place
        )
        for family, _, _, _, where in found
    ]


def _try(place: Place, what: Message, options: BenchOptions) -> tuple[bool, str | None]:
    """Send one request; return whether it was echoed, and why it does not count as answered."""
    expects_echo = options.expect != "any"
    job = Job(
        place=place,
        message=msgspec.structs.replace(what, echoes=expects_echo),
        connections=1,
        count=1,
        timeout=options.timeout,
        failures=1,
    )
    try:
        done = Load(job, lambda _: None).run()
    except OSError as error:  # a file of authorities or a body that cannot be read
        raise CliError(explain(error)) from error
    if done.requests:
        return expects_echo, None
    if set(done.errors) == {"wrong body"} and options.expect == "auto":
        return False, None
    return False, done.first_error
