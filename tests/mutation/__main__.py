"""Change the core one small thing at a time and see that a test fails: `make mutation`.

mutmut changes the functions of `MODULES`. It knows one source root and it does not touch data, so
this script gives it a copy of the tree with the core under `src`, and drops the rows of the
modules' tables itself. What survives must be explained in docs/mutation.md, in the words that are
printed here; the exit status is 1 if something is not.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SCRATCH: Final = ROOT / ".mutation"
BIN: Final = Path(sys.executable).parent
MODULES: Final = ("http.cycle", "http.framing", "http.body", "bus.exchange")
TESTS: Final = ("tests/core/http", "tests/core/bus")
"""Those of the machines themselves, which are quick: the floors above would find little more."""
ALIVE: Final = frozenset({"survived", "no tests", "suspicious", "not checked", "skipped"})
"""What mutmut calls a mutant that no test found; `timeout` and `caught by type check` are found."""

# The same examples in every run, and mypy on the path for mutmut's check of types.
ENVIRONMENT: Final = {
    **os.environ,
    "CI": "true",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "MYPYPATH": "src",
}


def file_of(module: str) -> Path:
    return Path("src", "pipebus", *module.split(".")).with_suffix(".py")


def lay_out(tree: Path, modules: Sequence[str], tests: Sequence[str]) -> None:
    """Copy the project so that the core is the `src` that mutmut expects."""
    shutil.rmtree(tree, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "core", tree / "src", ignore=ignore)
    for name in ("tests", "docs", "bindings"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    settings = (ROOT / "pyproject.toml").read_text()
    settings = settings.replace('pythonpath = ["core",', 'pythonpath = ["src",')
    files = [str(file_of(module)) for module in modules]
    mypy = ["mypy", "--config-file=", "--explicit-package-bases", "--output", "json", *files]
    # mutmut writes all mutants of a method into one class, where each declares the attributes anew
    mypy += ["--disable-error-code", "no-redef"]
    options = {
        "source_paths": ["src"],
        "only_mutate": files,
        "also_copy": ["docs", "bindings"],
        "pytest_add_cli_args_test_selection": list(tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"],
        # `x: int = None` is no mutant worth a test: it is refused before one runs
        "type_check_command": mypy,
    }
    lines = ("[tool.mutmut]", *(f"{key} = {value!r}" for key, value in options.items()))
    (tree / "pyproject.toml").write_text(settings + "\n" + "\n".join(lines) + "\n")


def mutate_functions(tree: Path) -> list[str]:
    """Run mutmut; describe what survived."""
    mutmut = str(BIN / "mutmut")
    log = SCRATCH / "mutmut.log"  # it spins and counts: nothing to read while it goes well
    print(f"mutmut runs; its output is in {log}", flush=True)
    with log.open("wb") as output:
        run = subprocess.run(
            [mutmut, "run"], cwd=tree, env=ENVIRONMENT, check=False, stdout=output, stderr=output
        )
    if run.returncode != 0:
        sys.exit(log.read_text().replace("\r", "\n")[-4000:])
    command = [mutmut, "results", "--all", "true"]
    done = subprocess.run(
        command, cwd=tree, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    results = re.findall(r"^\s*(\S+): (\S.*)$", done.stdout, re.MULTILINE)
    counts = Counter(result for _, result in results)
    print(f"{len(results)} changes:", ", ".join(f"{n} {what}" for what, n in counts.most_common()))
    found = [describe(tree, name) for name, result in results if result in ALIVE]
    wordings = found.count(None)
    print(f"{wordings} of those that survived are wordings of a protocol error", flush=True)
    return [mutant for mutant in found if mutant is not None]


def describe(tree: Path, name: str) -> str | None:
    """Say what a mutant of mutmut's is, in words that an edit elsewhere does not change.

    None if only the wording of an error is another: that is for people, and no test fixes it.
    """
    command = [str(BIN / "mutmut"), "show", name]
    done = subprocess.run(
        command, cwd=tree, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    old = " ".join(line[1:].strip() for line in lines if re.match("-(?!--)", line))
    new = " ".join(line[1:].strip() for line in lines if re.match(r"\+(?!\+\+)", line))
    if without_wording(old) == without_wording(new):
        return None
    return f"{describe_function(name)}: `{old}` -> `{new}`"


def without_wording(line: str) -> str:
    """Blank the text with which an error of the protocol is made."""
    return re.sub(r'ProtocolError\(f?"[^"]*"', "ProtocolError(", line)


def describe_function(name: str) -> str:
    """Undo what mutmut does to the name of a function."""
    function = re.sub(r"__mutmut_\d+$", "", name).replace("xǁ", "").replace("ǁ", ".")
    return re.sub(r"[.]x_", ".", function)


def rows(source: str) -> Iterator[tuple[str, str]]:
    """Yield every table with one row less: what was dropped, and the source without it."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()
    for name, table in tables(ast.parse(source)):
        keys = [key for key in table.keys if key is not None]
        begins = [starts[key.lineno - 1] + key.col_offset for key in keys]
        end = starts[(table.end_lineno or 1) - 1] + (table.end_col_offset or 0) - 1
        for key, (start, stop) in zip(keys, pairwise([*begins, end]), strict=True):
            yield f"{name}[{ast.unparse(key)}] dropped", (data[:start] + data[stop:]).decode()


def tables(module: ast.Module) -> Iterator[tuple[str, ast.Dict]]:
    """Yield the dict displays of a module's constants, nested ones too, each with its path."""
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            yield from tables_in(ast.unparse(statement.targets[0]), statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from tables_in(ast.unparse(statement.target), statement.value)


def tables_in(path: str, node: ast.AST) -> Iterator[tuple[str, ast.Dict]]:
    if isinstance(node, ast.Dict) and None not in node.keys:
        yield path, node
        for key, value in zip(node.keys, node.values, strict=True):
            yield from tables_in(f"{path}[{ast.unparse(key)}]" if key else path, value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from tables_in(path, child)


def mutate_rows(tree: Path, module: str, tests: Sequence[str], jobs: int) -> list[str]:
    """Drop each row of the tables of a module; describe what no test missed."""
    original = (tree / file_of(module)).read_text()
    mutants = list(rows(original))
    area = f"tests/core/{module.partition('.')[0]}"
    tests = sorted(tests, key=lambda test: not test.startswith(area))  # what misses it comes first

    def survives(numbered: tuple[int, tuple[str, str]]) -> str | None:
        number, (what, source) = numbered
        passed = passes(tree, f"rows-{module}-{number}", module, source, tests)
        return f"pipebus.{module}.{what}" if passed else None

    if mutants and not passes(tree, f"rows-{module}", module, original, tests):
        sys.exit(f"{module}: the tests fail with every row in its place")
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(survives, enumerate(mutants)))
    if mutants:
        print(
            f"{module}: {len(mutants)} rows dropped, {sum(map(bool, found))} not missed", flush=True
        )
    return [what for what in found if what is not None]


def passes(tree: Path, name: str, module: str, source: str, tests: Sequence[str]) -> bool:
    """Run the tests in a copy of the tree where a module has another source."""
    copy = tree.with_name(name)
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns("mutants", "__pycache__"))
    (copy / file_of(module)).write_text(source)
    # A test that a page of docs/ is current would tell every change, and prove nothing.
    for generator in sorted(copy.glob("docs/generate*.py")):
        subprocess.run(
            [str(BIN / "python"), generator],
            cwd=copy,
            env={**ENVIRONMENT, "PYTHONPATH": str(copy / "src")},
            check=False,
            capture_output=True,
        )
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov")
    command = [str(BIN / "python"), "-m", "pytest", *options, *tests]
    # A mutant that hangs is found, too: by the time limit of each test.
    done = subprocess.run(command, cwd=copy, env=ENVIRONMENT, check=False, capture_output=True)
    shutil.rmtree(copy)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="http.cycle ...")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="tests to run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    tests = [test for test in options.tests if (ROOT / test).exists()]
    tree = SCRATCH / "tree"
    lay_out(tree, options.modules, tests)
    survivors = mutate_functions(tree)
    for module in options.modules:
        survivors += mutate_rows(tree, module, tests, options.jobs)
    (SCRATCH / "survivors.txt").write_text("".join(f"{line}\n" for line in survivors))
    explained = (ROOT / "docs" / "mutation.md").read_text()
    unexplained = [line for line in survivors if line not in explained]
    for line in survivors:
        print(f"{'UNEXPLAINED' if line in unexplained else 'explained  '} {line}")
    print(f"{len(survivors)} survivors, {len(unexplained)} not explained in docs/mutation.md")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
