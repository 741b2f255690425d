"""What `serve`, `run` and their testing twins accept, stated once."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, TypedDict, TypeVar

from pipebus.http.forwarded import TrustedProxies
from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.resilience.policies import BreakerPolicy, RateLimit, RetryPolicy
from pipebus.telemetry.trace import Tracer
from pipebus_anyio import selector
from pipebus_anyio.bind import Bind, parse_bind
from pipebus_anyio.tls import StrPath, TLSConfig

Wire = Literal["auto", "h11", "llhttp"]
DriverName = Literal["auto", "selector", "streams"]
T = TypeVar("T")
DEFAULT_BIND: Final = "127.0.0.1:8000"


def _llhttp() -> WireCodec:
    try:
        from pipebus.http.wire_llhttp import LlhttpCodec  # needs the extra
    except ImportError as error:
        msg = "wire llhttp needs httptools: pip install 'pipebus[fast]'"
        raise ValueError(msg) from error
    return LlhttpCodec()


def _fastest() -> WireCodec:
    try:
        return _llhttp()
    except ValueError:
        return H11Codec()


_WIRES: Final[dict[str, Callable[[], WireCodec]]] = {
    "auto": _fastest,
    "h11": H11Codec,
    "llhttp": _llhttp,
}
_DRIVERS: Final[dict[str, str]] = {
    "auto": "selector" if selector.AVAILABLE else "streams",
    **({"selector": "selector"} if selector.AVAILABLE else {}),
    "streams": "streams",
}


_KINDS: Final[dict[tuple[str, ...], tuple[type, bool]]] = {
    ("limits",): (Limits, False),
    ("client_limits",): (ClientLimits, False),
    ("timeouts",): (Timeouts, False),
    ("breaker",): (BreakerPolicy, True),
    ("retry",): (RetryPolicy, True),
    ("rate_limit",): (RateLimit, True),
    ("proxy_protocol", "request_id", "server_timing", "access_log", "health_routes"): (bool, False),
}
"""Options -> what they are, and whether they may be None."""


class ServeOptions(TypedDict, total=False):
    """The keyword arguments of `serve`; each has a default."""

    bind: Bind
    """`"host:port"` (default `"127.0.0.1:8000"`), `(host, port)`, `"unix:/path"`, or a list of them.

    `"fd:3"` is a bound socket that this process was started with; it is closed at the end. An empty
    list listens nowhere: the bus without an HTTP server.
    """
    tls: ssl.SSLContext | TLSConfig | None
    """Serve https; None (default): http. A context is taken as it is, ALPN included."""
    limits: Limits
    client_limits: ClientLimits
    timeouts: Timeouts
    """Of outgoing calls that name none."""
    breaker: BreakerPolicy | None
    """When outgoing calls to a server that fails are refused; None (default): never."""
    retry: RetryPolicy | None
    """Which outgoing calls are made again; None (default): none, but where nothing was sent on a
    connection that had been idle.
    """
    verify: bool | StrPath | ssl.SSLContext
    """How outgoing https is checked: True (default), a CA file, a context; False: not at all."""
    wire: Wire
    """The codec that takes heads apart; `"auto"` (default) is the fastest that is installed.

    `"llhttp"` comes with the extra `fast`.
    """
    driver: DriverName
    """What moves bytes; `"auto"` (default) is the fastest that the system supports."""
    unix_mode: int | None
    """Permissions of UNIX sockets; None (default): by the umask."""
    rate_limit: RateLimit | None
    """Of each client's requests; None (default): none. A route may have one of its own beside it."""
    trusted_proxies: Sequence[str]
    """Networks (`"10.0.0.0/8"`, `"unix"`) of proxies in front; none by default.

    What they say in `Forwarded` or `X-Forwarded-For` is `Request.client`, and their
    `X-Request-ID` is taken over.
    """
    proxy_protocol: bool
    """Every connection begins with a PROXY protocol header, version 1 or 2; False by default.

    One that does not is closed. Who may connect here may say to be anybody.
    """
    request_id: bool
    """Put an `X-Request-ID` into every response; False by default."""
    server_timing: bool
    """Put a `Server-Timing` into every response, for browsers to show; False by default."""
    tracer: Tracer | None
    """What records spans, such as `pipebus_anyio.observe.tracing.OpenTelemetryTracer()`; None
    (default): nothing. Trace contexts are passed on either way.
    """
    trace_ratio: float
    """Of requests without a trace context, the part that is recorded; 1.0, all, by default.

    Those that come with one are recorded if that says so.
    """
    access_log: bool
    """Log each request at its end, to the logger `pipebus.access` at INFO; False by default."""
    admin: Bind | None
    """Where `/livez`, `/readyz` and `/metrics` are served, without TLS; None (default): nowhere.

    The grammar is that of `bind`. Everybody who can connect there is told everything.
    """
    health_routes: bool
    """Serve `/livez` and `/readyz` at `bind`, too; False by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`ServeOptions` with their defaults, checked."""

    bind: Bind = DEFAULT_BIND
    tls: ssl.SSLContext | TLSConfig | None = None
    limits: Limits = field(default_factory=Limits)
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker: BreakerPolicy | None = None
    retry: RetryPolicy | None = None
    verify: bool | StrPath | ssl.SSLContext = True
    wire: str = "auto"
    driver: str = "auto"
    unix_mode: int | None = None
    rate_limit: RateLimit | None = None
    trusted_proxies: Sequence[str] = ()
    proxy_protocol: bool = False
    request_id: bool = False
    server_timing: bool = False
    tracer: Tracer | None = None
    trace_ratio: float = 1.0
    access_log: bool = False
    admin: Bind | None = None
    health_routes: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for what is not of its kind: a program may not be type-checked."""
        for names, (kind, optional) in _KINDS.items():
            for name in names:
                value = getattr(self, name)
                if not (isinstance(value, kind) or (optional and value is None)):
                    self._refuse(name, f"a {kind.__name__}" + (" or None" if optional else ""))
        ratio: object = self.trace_ratio
        if not isinstance(ratio, int | float) or not 0.0 <= ratio <= 1.0:
            self._refuse("trace_ratio", "0 to 1")
        if self.tracer is not None and not callable(getattr(self.tracer, "start", None)):
            msg = f"tracer must have a method start, not {self.tracer!r}"
            raise ValueError(msg)
        if isinstance(self.trusted_proxies, str):
            self._refuse("trusted_proxies", "a list")
        for name, check in (("admin", self._check_admin), ("trusted_proxies", self._check_proxies)):
            try:
                check()
            except (ValueError, TypeError) as error:
                msg = f"{name}: {error}"
                raise ValueError(msg) from error

    def _check_admin(self) -> None:
        admin: object = self.admin
        if not isinstance(admin, str | Sequence | None):
            msg = f"not a list of addresses to bind to: {admin!r}"
            raise TypeError(msg)
        if self.admin is not None:
            parse_bind(self.admin)

    def _check_proxies(self) -> None:
        TrustedProxies(self.trusted_proxies)

    def _refuse(self, name: str, what: str) -> NoReturn:
        msg = f"{name} must be {what}, not {getattr(self, name)!r}"
        raise ValueError(msg)

    def new_wire(self) -> WireCodec:
        """Return the codec; raises `ValueError` for a name that is none, or is not installed."""
        return _choose(_WIRES, self.wire, "wire")()

    def driver_name(self) -> str:
        """Return the driver's real name; raises `ValueError` for a name that is none."""
        return _choose(_DRIVERS, self.driver, "driver")


def _choose(table: dict[str, T], name: str, what: str) -> T:
    try:
        return table[name]
    except KeyError:
        msg = f"{what} must be one of {', '.join(table)}, not {name!r}"
        raise ValueError(msg) from None
