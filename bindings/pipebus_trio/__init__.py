"""pipebus on trio: `serve`, `run`, `Client`."""

from pipebus_anyio.server import Server
from pipebus_anyio.tls import TLSConfig
from pipebus_trio.api import Client, run, serve

__all__ = ["Client", "Server", "TLSConfig", "run", "serve"]
