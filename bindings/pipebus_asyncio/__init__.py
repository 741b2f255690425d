"""pipebus on asyncio: `serve`, `run`, `Client`."""

from pipebus_anyio.server import Server
from pipebus_anyio.tls import TLSConfig
from pipebus_asyncio.api import Client, run, serve

__all__ = ["Client", "Server", "TLSConfig", "run", "serve"]
