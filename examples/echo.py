"""Answer every request with its own body.

`python examples/echo.py` serves on asyncio, `python examples/echo.py trio` on trio; then try
`curl -d hello http://127.0.0.1:8000/`. Another address is the second argument, and Ctrl-C ends it.
"""

import sys

import pipebus_asyncio
import pipebus_trio
from pipebus import Pipeline, Request, Response

pipeline = Pipeline("echo")


@pipeline.route("/{path...}")
def echo(request: Request) -> Response:
    return Response(200, request.body, content_type=request.headers.get("content-type"))


def main(runtime: str = "asyncio", bind: str = "127.0.0.1:8000") -> None:
    run = pipebus_trio.run if runtime == "trio" else pipebus_asyncio.run
    run(pipeline, bind=bind, started=lambda server: print("serving at", server.url, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
