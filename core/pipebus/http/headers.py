"""Header fields as users see them: ordered, duplicates kept, names without case."""

from collections.abc import Iterable, Iterator, Mapping
from typing import overload

from pipebus.http.wire import RawHeaders

HeadersInput = Mapping[str, str] | Iterable[tuple[str, str]]


class Headers:
    """Ordered header fields. Text is Latin-1, as RFC 9110 section 5.5 has it for the wire.

    `raw` is the list that goes to and comes from the wire: lower-case names, bytes.
    """

    __slots__ = ("raw",)

    def __init__(self, fields: HeadersInput = (), *, raw: RawHeaders | None = None) -> None:
        if raw is None:
            raw = []
            if fields:  # to ask of nothing whether it is a Mapping costs more than some fields
                pairs = fields.items() if isinstance(fields, (dict, Mapping)) else fields
                raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs]
        self.raw: RawHeaders = raw

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first field's value, or `default` (None)."""
        key = name.lower().encode("latin-1")
        for field, value in self.raw:
            if field == key:
                return value.decode("latin-1")
        return default

    def get_list(self, name: str) -> list[str]:
        """Return every field's value under that name, in order; fields are not split at commas."""
        key = name.lower().encode("latin-1")
        return [value.decode("latin-1") for field, value in self.raw if field == key]

    def __contains__(self, name: str) -> bool:
        key = name.lower().encode("latin-1")
        return any(field == key for field, _ in self.raw)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self.raw:
            yield name.decode("latin-1"), value.decode("latin-1")

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.raw == other.raw

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"
