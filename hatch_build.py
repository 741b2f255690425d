"""The build hook: with PIPEBUS_COMPILE=1 the core in the wheel is compiled by mypyc, else it is not.

What stays interpreted, and why, is in pyproject.toml, `[tool.hatch.build.targets.wheel.hooks.custom]`.
Nothing is written into the source tree: a module compiled there would run in place of its source.
"""

import ast
import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH: Final = "PIPEBUS_COMPILE"
SOURCES: Final = "core"
SHARED: Final = "pipebus"
"""What the shared library with all the code is named for; the modules are small keys to it."""


def wanted() -> bool:
    """Tell whether a compiled wheel was asked for."""
    return os.environ.get(SWITCH, "0") not in {"", "0"}


def to_compile(root: Path, interpreted: Sequence[str]) -> list[str]:
    """Return the files of the core, relative to `root`, that no pattern of `interpreted` matches."""
    found = (path.relative_to(root) for path in sorted((root / SOURCES).rglob("*.py")))
    return [str(path) for path in found if not any(path.match(pattern) for pattern in interpreted)]


def losses(path: Path) -> Iterator[str]:
    """Yield what mypyc would leave out without a word."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name, keywords=[_, *_]):  # Event(Struct, frozen=True) would thaw
                yield f"{path}:{node.lineno}: the arguments of class {name} would be lost"
            case ast.Raise(cause=ast.expr() as cause) if not _is_none(cause):
                yield f"{path}:{node.lineno}: the cause {ast.unparse(cause)} would be lost"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def missing_tool() -> str | None:
    """Return what a C extension cannot be built without and is not here, or None."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"the C compiler {compiler!r}"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return None if header.exists() else str(header)


def build(files: Sequence[str], scratch: Path) -> Path:
    """Compile; return the directory in which the modules lie as they will be installed."""
    from mypyc.build import mypycify  # here, since only this build requires it
    from setuptools import Distribution  # type: ignore[import-untyped]  # it ships no types
    from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]  # nor here

    extensions = mypycify(
        ["--config-file=pyproject.toml", f"--cache-dir={scratch / 'cache'}", *files],
        target_dir=str(scratch / "c"),
        group_name=SHARED,
        debug_level="0",
    )
    for extension in extensions:
        # mypyc's own flags: a newer compiler's new warning must not stop somebody's installation.
        flags = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
        # An attribute `_unix` becomes a field `__unix`, which C compilers take for a number.
        extension.extra_compile_args = [*flags, "-U__unix", "-U__linux"]
    command = build_ext(Distribution({"name": SHARED, "ext_modules": extensions}))
    command.build_lib = str(scratch / "lib")
    command.build_temp = str(scratch / "objects")
    command.parallel = os.cpu_count() or 1
    command.ensure_finalized()
    command.run()
    return scratch / "lib"


class CompiledCore(BuildHookInterface[BuilderConfig]):
    """Adds compiled modules to a wheel; their sources stay in it beside them."""

    def dependencies(self) -> list[str]:
        """Return what a compiled build needs: the compiler, and the types of all the core imports."""
        if not wanted():
            return []
        core = self.metadata.core
        return ["mypy[mypyc]>=2.4,<3", *core.dependencies, *core.optional_dependencies["fast"]]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if that is wanted, and put the modules on the list of what goes in."""
        if not wanted():
            return
        if version == "editable":
            self.app.abort(f"an editable install runs the sources: leave {SWITCH} out")
        if (missing := missing_tool()) is not None:
            self.app.abort(
                f"{SWITCH}=1 needs a C compiler and the headers of Python, and {missing} is "
                f"not here (Debian: gcc, python3-dev). Without {SWITCH} neither is needed."
            )
        files = to_compile(Path(self.root), self.config["interpreted"])
        if lost := [loss for file in files for loss in losses(Path(self.root) / file)]:
            self.app.abort("\n".join(lost))
        self._scratch = TemporaryDirectory(prefix="pipebus-")
        lib = build(files, Path(self._scratch.name))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in sorted(lib.rglob("*.so")):
            build_data["force_include"][str(path)] = path.relative_to(lib).as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only on the way."""
        if wanted():
            self._scratch.cleanup()
