"""The options of `pipebus bench`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from pipebus_anyio.options import DriverName
from pipebus_cli.bench.thresholds import Threshold
from pipebus_cli.numbers import whole_number
from pipebus_cli.options import NumberOption, WireOption
from pipebus_cli.runtimes import RuntimeName

MOST_CONNECTIONS: Final = 20_000
MOST_RATE: Final = 1_000_000
MOST_BODY: Final = 1 << 30


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How to load, and what to hold against the result."""

    duration: float | None = None
    """How long to send, all phases together, without warming up: 10 s, if --count is not given."""
    count: int | None = None
    """How many requests each phase sends; with --duration: whichever ends first."""
    connections: int | None = None
    """Open at a time; by default 10, or 64 where the clock says when to send."""
    rate: NumberOption | None = None
    """Requests a second, where the clock says when to send; by default 1000."""
    spacing: Literal["poisson", "fixed"] | None = None
    """Whether requests come at random or evenly; by default at random, in a burst evenly."""
    clients: str = "1,2,5,10,20,50"
    """The numbers of clients of `clients`."""
    sizes: str = "1k,32k,1M,16M,64M"
    """The sizes of the bodies of `payload`."""
    warmup: float | None = None
    """Seconds before it counts, in each phase; by default a tenth of its length, at most 1."""
    timeout: float = 10.0
    """What a request, or opening a connection, may take."""
    method: Annotated[str | None, Parameter(alias="-X")] = None
    """POST by default."""
    header: Annotated[tuple[str, ...], Parameter(alias="-H")] = ()
    """A field, `Name: value`; may be given several times."""
    body_size: int | None = None
    """Bytes of text to send; 230 by default where the method has a body."""
    body_file: Path | None = None
    """Send what is in this file."""
    expect: Literal["auto", "echo", "any"] = "auto"
    """What an answer's body must be; auto: the request's, if the first one was."""
    status: int | None = None
    """What an answer's status must be; by default 200 to 299."""
    cacert: Path | None = None
    """Trust the authorities in this PEM file in place of the system's."""
    insecure: bool = False
    """Do not check the server's certificate."""
    runtime: RuntimeName = "asyncio"
    """Without URL: the async library of the echo server."""
    driver: DriverName = "auto"
    """Without URL: what moves bytes in the echo server."""
    wire: WireOption = "auto"
    """Without URL: what takes message heads apart in the echo server."""
    admin: str | None = None
    """With URL: http://HOST:PORT of the admin listener, if it is a pipebus server."""
    server_pid: int | None = None
    """With URL: the server's process on this machine, to see its CPU, memory and open files."""
    seed: int = 0
    """Of what is random."""
    fail_if: tuple[str, ...] = ()
    """Exit with status 1 if this holds in any phase, such as 'p99>50ms', 'rate<1000', 'errors>0',
    'error_rate>1%', 'handler>1ms' or 'rss_growth>10M'; may be given several times."""
    json: Path | None = None
    """Write the run to this file, for `pipebus report`."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for what is out of bounds or does not go together."""
        for name, value, least, most in (
            ("connections", self.connections, 1, MOST_CONNECTIONS),
            ("count", self.count, 1, 10**9),
            ("rate", self.rate, 0.01, MOST_RATE),
            ("duration", self.duration, 0.01, 30 * 86_400.0),
            ("warmup", self.warmup, 0.0, 3600.0),
            ("timeout", self.timeout, 0.01, 3600.0),
            ("body-size", self.body_size, 0, MOST_BODY),
            ("status", self.status, 200, 599),
        ):
            if value is not None and not least <= value <= most:
                msg = f"--{name} must be {least:g} to {most:g}, not {value:g}"
                raise ValueError(msg)
        if self.body_size is not None and self.body_file is not None:
            msg = "--body-size and --body-file exclude each other"
            raise ValueError(msg)
        self.client_numbers()
        self.body_sizes()
        self.thresholds()

    def client_numbers(self) -> list[int]:
        """Return what --clients says."""
        parts = self.clients.split(",")
        numbers = [int(part) for part in parts if part.strip().isdigit()]
        if len(numbers) != len(parts) or not all(0 < n <= MOST_CONNECTIONS for n in numbers):
            msg = f"--clients must be numbers of clients, such as 1,2,5,10, not {self.clients!r}"
            raise ValueError(msg)
        return numbers

    def body_sizes(self) -> list[int]:
        """Return what --sizes says, in bytes."""
        sizes = [whole_number(part.strip()) for part in self.sizes.split(",")]
        if not all(0 <= size <= MOST_BODY for size in sizes):
            msg = f"--sizes must be sizes of bodies, at most 1G, not {self.sizes!r}"
            raise ValueError(msg)
        return sizes

    def thresholds(self) -> list[Threshold]:
        """Return what --fail-if says."""
        return [Threshold(text) for text in self.fail_if]
