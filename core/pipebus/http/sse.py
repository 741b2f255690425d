"""Server-sent events, encoded strictly (WHATWG HTML, section 9.2)."""

import re
from collections.abc import AsyncIterable, Awaitable, Generator
from typing import Any, Final

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
"""Only these end a line there; `str.splitlines` knows eight more."""
_FORBIDDEN: Final = re.compile(r"[\r\n\0]")


class ServerSentEvent:
    """One event of a `Response.events` stream.

    `data` text; each of its lines becomes a `data:` line. `event` the name that
    `addEventListener` takes, `id` what a reconnecting browser sends as `Last-Event-ID`, `retry`
    milliseconds until it reconnects. CR, LF or NUL in `event` or `id`, or a negative `retry`, raise
    `ValueError`.
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(
        self,
        data: str,
        event: str | None = None,
        id: str | None = None,  # noqa: A002 (the field's name)
        retry: int | None = None,
    ) -> None:
        if type(data) is not str:
            msg = f"an event's data must be str, not {type(data).__name__}"
            raise TypeError(msg)
        for name, value in (("event", event), ("id", id)):
            if value is not None and _FORBIDDEN.search(value):
                msg = f"CR, LF or NUL in an event's {name}: {value!r}"
                raise ValueError(msg)
        if retry is not None and (type(retry) is not int or retry < 0):
            msg = f"an event's retry must be whole milliseconds, not {retry!r}"
            raise ValueError(msg)
        self.data: str = data
        self.event: str | None = event
        self.id: str | None = id
        self.retry: int | None = retry

    def encode(self) -> bytes:
        """Return the event as it goes to the wire, the blank line included."""
        lines: list[str] = []
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        lines += [f"data: {line}" for line in _LINE_END.split(self.data)]
        return ("\n".join(lines) + "\n\n").encode()

    def __repr__(self) -> str:
        return (
            f"ServerSentEvent({self.data!r}, event={self.event!r}, id={self.id!r}, "
            f"retry={self.retry!r})"
        )


def _encode(event: object) -> bytes:
    if isinstance(event, ServerSentEvent):
        return event.encode()
    if isinstance(event, str):
        return ServerSentEvent(event).encode()
    msg = f"a stream of events produces ServerSentEvent or str, not {type(event).__name__}"
    raise TypeError(msg)


class EncodedEvents:
    """A stream of events as a stream of bytes; closing it closes the stream of events.

    An async generator would be shorter, but abandoning one leaves the inner one to the garbage
    collector; and the core awaits nothing.
    """

    __slots__ = ("_iterator",)

    def __init__(self, events: AsyncIterable[ServerSentEvent | str]) -> None:
        self._iterator = aiter(events)

    def __aiter__(self) -> "EncodedEvents":
        return self

    def __anext__(self) -> "_Next":
        return _Next(anext(self._iterator))

    def aclose(self) -> "_Close":
        """Close the stream of events, if it can be closed: await what this returns."""
        return _Close(self._iterator)


class _Next:
    __slots__ = ("_event",)

    def __init__(self, event: Awaitable[object]) -> None:
        self._event = event

    def __await__(self) -> Generator[Any, Any, bytes]:
        event = yield from self._event.__await__()
        return _encode(event)


class _Close:
    __slots__ = ("_iterator",)

    def __init__(self, iterator: object) -> None:
        self._iterator = iterator

    def __await__(self) -> Generator[Any, Any, None]:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            yield from close().__await__()
