"""`python -m benchmarks.apps.aiohttp_echo KEEP_ALIVE PORT`: the echo in aiohttp, on uvloop."""

import importlib
import sys

from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), content_type=request.content_type)


if __name__ == "__main__":
    keep_alive, port = map(int, sys.argv[1:])
    # Its default of 1 MiB is near the large bodies.
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/echo", echo)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        # By name: only the benchmarks' own environment is sure to have it.
        loop=importlib.import_module("uvloop").new_event_loop(),
        keepalive_timeout=keep_alive,
        access_log=None,
        print=None,
    )
