"""Log lines that say which request they belong to, as text or JSON, and the access log."""

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from pipebus.bus.event import Event
from pipebus.http.events import HTTP_ERROR, HTTP_RESPONSE, HttpFailed, HttpResponded
from pipebus.http.message import Address
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.observe.current import current_invocation, ids

LogFormat = Literal["text", "json"]

ACCESS_QUEUE: Final = 1_000
"""Requests that ended and wait for their line in the access log; beyond, the oldest have none."""

access_logger: Final = logging.getLogger("pipebus.access")

_OWN: Final = "pipebus"
"""The library's logger. Its lines are about whom they name, not about who happens to pump."""


class RequestIdFilter(logging.Filter):
    """Puts `request_id` and `trace_id` on every record; add it to a handler.

    They are those of the handler's call that logs, and empty outside of all. A record that has
    them already (by `extra`) keeps them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        fields = record.__dict__
        if "request_id" not in fields:
            fields.update(ids(None if record.name == _OWN else current_invocation.get()))
        return True


class TextFormatter(logging.Formatter):
    """A line of text: time, level, logger, the request's id where there is one, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._with_id = logging.PercentStyle(
            "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line without what follows it: exception and stack."""
        if record.__dict__.get("request_id"):
            return self._with_id.format(record)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """A JSON object in one line: time, level, logger, message, and what else there is.

    `time` is RFC 3339, UTC, in microseconds. Where they are known: `request_id`, `trace_id`,
    `exception` (`type`, `message`, `stack`), `stack`, and the fields of `extra`; one of these whose
    name is taken gets an underscore at its end. What JSON cannot say is its `repr`. Never raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self._encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_repr).encode

    def format(self, record: logging.LogRecord) -> str:
        """Return the object's text."""
        fields = _fields(record)
        try:
            line = self._encode(fields)
        except Exception:  # noqa: BLE001 (a line with something missing is better than none)
            line = self._encode({_clean(name): self._raw(value) for name, value in fields.items()})
        return line.decode()

    def _raw(self, value: object) -> object:
        """Return a value that can be encoded."""
        try:
            return msgspec.Raw(self._encode(value))
        except Exception:  # noqa: BLE001 (whatever its methods raise)
            return _clean(value if isinstance(value, str) else _repr(value))


def new_handler(log_format: LogFormat) -> logging.Handler:
    """Return a handler that writes to standard error; raises `ValueError` for no such format."""
    try:
        formatter = _FORMATTERS[log_format]()
    except KeyError:
        msg = f"log_format must be one of {', '.join(_FORMATTERS)}, not {log_format!r}"
        raise ValueError(msg) from None
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(formatter)
    return handler


_FORMATTERS: Final[dict[str, Callable[[], logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
}


class AccessEntry(msgspec.Struct, frozen=True, gc=False):
    """How a request ended: the message of a line in the access log.

    As text it is one line, whatever a client sends; `JsonFormatter` has a field for each of these.
    Times are milliseconds.
    """

    client: str
    """An address without its port, or a UNIX socket's path; empty: unknown."""
    method: str
    target: str
    route: str
    """The template; empty where none was found."""
    status: int
    """0: no response was begun."""
    outcome: str
    """The exchange's; empty for a request refused before dispatch."""
    reason: str
    """Why the answer is not the handler's own, or was cut; empty for a whole one."""
    bytes_in: int
    bytes_out: int
    duration_ms: float
    read_ms: float
    queue_ms: float
    handler_ms: float
    write_ms: float

    def __str__(self) -> str:
        why = f" reason={self.reason}" if self.reason else ""
        return (
            f'{_escaped(self.client) or "-"} "{_escaped(self.method)} {_escaped(self.target)}" '
            f'{self.status} {self.outcome or "-"}{why} route="{_escaped(self.route)}" '
            f"in={self.bytes_in} out={self.bytes_out} ms={self.duration_ms:.3f} "
            f"read={self.read_ms:.3f} queue={self.queue_ms:.3f} "
            f"handler={self.handler_ms:.3f} write={self.write_ms:.3f}"
        )


def access_log(pipeline: Pipeline[Any]) -> None:
    """Declare a tap that logs each request at its end: to `pipebus.access`, at INFO.

    The message is an `AccessEntry`. Answers never wait for it; where more than `ACCESS_QUEUE`
    requests wait for their line, the oldest get none, which the bus counts as `overflow`.
    """

    @pipeline.tap(HTTP_RESPONSE, queue=ACCESS_QUEUE)
    @pipeline.tap(HTTP_ERROR, queue=ACCESS_QUEUE)
    def log_access(event: Event) -> None:
        if access_logger.isEnabledFor(logging.INFO):
            trace = event.trace
            said = {
                "request_id": event.correlation_id,
                "trace_id": "" if trace is None else trace.trace_id,
            }
            access_logger.info(_entry(event.data), extra=said)


def _entry(ended: HttpResponded | HttpFailed) -> AccessEntry:
    stages = ended.stages
    return AccessEntry(
        _host(ended.client),
        ended.method,
        ended.target,
        ended.route,
        ended.status,
        ended.outcome,
        ended.reason,
        ended.bytes_in,
        ended.bytes_out,
        _milliseconds(stages.total),
        _milliseconds(stages.read),
        _milliseconds(stages.queue),
        _milliseconds(stages.handler),
        _milliseconds(stages.write),
    )


def _host(address: Address) -> str:
    return address if isinstance(address, str) else address[0]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1_000, 3)


def _escaped(text: str) -> str:
    """Return text that can neither end a line, nor the quotes around it, nor steer a terminal."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char not in '"\\'
        else f"\\{char}" if char in '"\\'
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )  # fmt: skip


_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
"""What every record has, or gets from formatters; the rest is `extra`."""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = record.__dict__
    message = record.msg
    fields: dict[str, Any] = {
        "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "level": record.levelname,
        "logger": record.name,
    }
    if isinstance(message, AccessEntry):
        fields["message"] = f"{message.method} {message.target} {message.status}"
        fields.update(msgspec.structs.asdict(message))
    else:
        fields["message"] = _message(record)
    for name in ("request_id", "trace_id"):
        if value := given.get(name):
            fields[name] = value
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = _exception(record.exc_info[1])
    if record.stack_info:
        fields["stack"] = record.stack_info
    for name, value in given.items():
        if name not in _STANDARD and name not in ("request_id", "trace_id"):
            fields[f"{name}_" if name in fields else name] = value
    return fields


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (arguments that do not fit; logging would lose the line)
        return f"{_repr(record.msg)} % {_repr(record.args)}"


def _exception(error: BaseException) -> dict[str, str]:
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {
        "type": f"{module}{kind.__qualname__}",
        "message": _text(str, error),
        "stack": _text(_stack, error),
    }


def _stack(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _repr(value: object) -> str:
    return _text(repr, value)


def _text(say: Callable[[Any], str], value: object) -> str:
    try:
        return _clean(say(value))
    except Exception:  # noqa: BLE001 (a user's `__str__` or `__repr__`, or one that goes too deep)
        return f"<{type(value).__qualname__}>"


def _clean(text: object) -> str:
    """Return text that UTF-8 can say: without lone surrogates."""
    return str(text).encode("utf-8", "backslashreplace").decode()
