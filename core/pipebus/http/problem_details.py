"""The body of a problem answer."""

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a problem answer (RFC 9457 section 3.1)."""

    type: str | None = None
    """A URI that names the kind of problem; None: `about:blank`, the status says it all."""
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    instance: str | None = None
