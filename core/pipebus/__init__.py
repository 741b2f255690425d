"""pipebus: network traffic on an event bus. This package is the pure core."""

from pipebus.bus.event import Event
from pipebus.errors import (
    BadRequestBody,
    ClientError,
    ClientTimeout,
    CodecError,
    ConnectError,
    ConnectTimeout,
    HTTPError,
    LocalProtocolError,
    NeedsRuntime,
    NoResponder,
    PipebusError,
    PoolTimeout,
    PublishTimeout,
    ReadTimeout,
    RegistrationError,
    Rejected,
    RemoteProtocolError,
    RequestCancelled,
    RequestError,
    RequestTimeout,
    ResponderFailed,
    ResponseTooLarge,
    StreamInterrupted,
    TotalTimeout,
    UpstreamProtocolError,
    WouldBlock,
    WouldDeadlock,
    WriteTimeout,
)
from pipebus.http.headers import Headers
from pipebus.http.message import Request, RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.http.sse import ServerSentEvent
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.context import BaseContext, Context, InlineContext, ThreadContext
from pipebus.pipeline.declare import Pipeline

__all__ = [
    "BadRequestBody",
    "BaseContext",
    "ClientError",
    "ClientLimits",
    "ClientTimeout",
    "CodecError",
    "ConnectError",
    "ConnectTimeout",
    "Context",
    "Event",
    "HTTPError",
    "Headers",
    "InlineContext",
    "Limits",
    "LocalProtocolError",
    "NeedsRuntime",
    "NoResponder",
    "PipebusError",
    "Pipeline",
    "PoolTimeout",
    "PublishTimeout",
    "ReadTimeout",
    "RegistrationError",
    "Rejected",
    "RemoteProtocolError",
    "Request",
    "RequestCancelled",
    "RequestError",
    "RequestInfo",
    "RequestTimeout",
    "ResponderFailed",
    "Response",
    "ResponseTooLarge",
    "ServerSentEvent",
    "StreamInterrupted",
    "StreamRequest",
    "ThreadContext",
    "Timeouts",
    "TotalTimeout",
    "UpstreamProtocolError",
    "WouldBlock",
    "WouldDeadlock",
    "WriteTimeout",
    "__version__",
]

__version__ = "0.1.0"
