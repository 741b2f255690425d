"""The walls that neither ruff nor import-linter can see: `python tests/walls/core_rules.py [ROOT]`.

- `root`: a core file imports from the `pipebus` root, which imports the whole core in its turn.
- `identity`: `id()` or `hash()`, which differ between two processes, outside `__hash__`.
- `order`: a set is iterated over, whose order differs with PYTHONHASHSEED. Sets are told by how a
  name is written in the same file, so this finds the usual case and not every one; a run in two
  processes (tests/core) looks for the rest. A line that says `# any order:` and why is let through.
- `length`: a file of the core or of a binding that is too long to be one thing.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_LINES: Final = 430  # "about 400", and nobody splits a file for a docstring's sake
ORDER_COUNTS: Final = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter"})
SET_TYPES: Final = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})

Finding = tuple[int, str, str]


def is_set_type(node: ast.expr | None) -> bool:
    """Tell whether an annotation is a set's, `| None` or `Final[...]` round it included."""
    match node:
        case ast.Name(id=name):
            return name in SET_TYPES
        case ast.Subscript(value=ast.Name(id="Final" | "ClassVar"), slice=inner):
            return is_set_type(inner)
        case ast.Subscript(value=value):
            return is_set_type(value)
        case ast.BinOp(left=left, right=right):
            return is_set_type(left) or is_set_type(right)
    return False


class Rules(ast.NodeVisitor):
    """What is wrong with one file of the core."""

    def __init__(self, tree: ast.Module) -> None:
        self.findings: list[Finding] = []
        self._inside: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda] = []
        self._sets = set(self._names_of_sets(tree))

    def _names_of_sets(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            match node:
                case ast.AnnAssign(target=target, annotation=note) if is_set_type(note):
                    yield ast.unparse(target)
                case ast.arg(arg=name, annotation=note) if is_set_type(note):
                    yield name
                case ast.Assign(targets=[target], value=value) if is_set_expression(value):
                    yield ast.unparse(target)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "pipebus" and not node.level:
            self._report(node, "root", "import the module that defines it, not the root package")

    def visit_Import(self, node: ast.Import) -> None:
        if any(name.name == "pipebus" for name in node.names):
            self._report(node, "root", "import the module that defines it, not the root package")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_inside(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_inside(node)

    def _visit_inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self._inside.append(node)
        self.generic_visit(node)
        self._inside.pop()

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in {"id", "hash"} and isinstance(node.ctx, ast.Load):
            if any(self._is_its_own(function, node.id) for function in self._inside):
                return
            self._report(node, "identity", f"{node.id}() differs between two runs")

    def _is_its_own(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str
    ) -> bool:
        if isinstance(function, ast.FunctionDef) and function.name == "__hash__":
            return True
        arguments = function.args
        return any(
            argument.arg == name
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        )

    def visit_For(self, node: ast.For) -> None:
        self._ordered(node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._ordered(*(generator.iter for generator in node.generators))
        self.generic_visit(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._ordered(*(generator.iter for generator in node.generators))
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._ordered(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in ORDER_COUNTS:
                self._ordered(*node.args)
            case ast.Attribute(attr="join" | "extend" | "fromkeys"):
                self._ordered(*node.args)
            case ast.Attribute(attr="pop", value=value) if not node.args:
                self._ordered(value)
        self.generic_visit(node)

    def _ordered(self, *nodes: ast.expr) -> None:
        for node in nodes:
            if isinstance(node, ast.GeneratorExp):
                self._ordered(*(generator.iter for generator in node.generators))
            elif is_set_expression(node) or ast.unparse(node) in self._sets:
                self._report(node, "order", f"the order of the set {ast.unparse(node)} leaks")

    def _report(self, node: ast.stmt | ast.expr, rule: str, message: str) -> None:
        self.findings.append((node.lineno, rule, message))


def is_set_expression(node: ast.expr) -> bool:
    """Tell whether the expression itself says that it is a set."""
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
    return False


def check_file(path: Path, *, core: bool) -> Iterator[Finding]:
    """Yield what is wrong with one file."""
    source = path.read_text()
    lines = source.splitlines()
    if len(lines) > MAX_LINES:
        yield len(lines), "length", f"{len(lines)} lines are more than {MAX_LINES}: cut it in two"
    if not core:
        return
    tree = ast.parse(source)
    rules = Rules(tree)
    rules.visit(tree)
    for line, rule, message in rules.findings:
        if rule != "order" or "# any order: " not in lines[line - 1]:
            yield line, rule, message


def main(root: Path) -> int:
    """Print every finding below `root`; return the exit status."""
    found = 0
    for path in sorted((*root.glob("core/**/*.py"), *root.glob("bindings/**/*.py"))):
        relative = path.relative_to(root)
        for line, rule, message in check_file(path, core=relative.parts[0] == "core"):
            print(f"{relative}:{line}: [{rule}] {message}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
