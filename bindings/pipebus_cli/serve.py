"""`pipebus serve` and `pipebus echo`: a pipeline, served until a signal."""

import importlib
import socket
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from pipebus.errors import RegistrationError
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio import bind
from pipebus_cli.errors import USAGE, CliError, explain
from pipebus_cli.options import ServingOptions, print_banner, serve_options
from pipebus_cli.runtimes import choose


def load(target: str) -> Pipeline[Any]:
    """Return the pipeline that `MODULE:PIPELINE` names; modules are sought here first.

    Raises `CliError` if there is none. What the module itself raises is its own to explain.
    """
    module_name, colon, path = target.partition(":")
    if not (colon and path and all(name.isidentifier() for name in module_name.split("."))):
        msg = f"expected MODULE:PIPELINE, such as app:pipeline, not {target!r}"
        raise CliError(msg, USAGE)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        msg = f"cannot import {module_name}: {error}"
        raise CliError(msg) from error
    except RegistrationError as error:
        raise CliError(str(error)) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            msg = f"{module_name} has no {path}"
            raise CliError(msg) from error
    if not isinstance(found, Pipeline):
        msg = f"{target} is no Pipeline but a {type(found).__name__}"
        raise CliError(msg)
    return found


def serve(what: str, pipeline: Pipeline[Any], options: ServingOptions, limits: Limits) -> None:
    """Serve until SIGTERM or SIGINT; `what` begins the banner.

    Raises `CliError` for an address that cannot be listened at and for options that are wrong,
    `SystemExit` after a second signal.
    """
    ready = serve_options(options, limits)
    runtime = choose(options.runtime)
    try:
        bind.parse_bind(ready["bind"])
    except ValueError as error:
        raise CliError(str(error), USAGE) from error
    try:
        runtime.serve(pipeline, started=partial(print_banner, what), **ready)
    except OSError as error:
        if not _from_listening(error):
            raise
        raise CliError(_why_not(error, options)) from error


def _from_listening(error: BaseException) -> bool:
    """Whether binding raised it, and not the pipeline's own lifespan."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == bind.__file__ for frame, _ in frames)


def _why_not(error: OSError, options: ServingOptions) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {options.host}: {explain(error)}"
    text = explain(error)
    return text if text.startswith("cannot listen on ") else f"cannot listen: {text}"
