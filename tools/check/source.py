"""The Python modules of the repository and what they import, read without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("axl_exp", "experiments", "mesh_rules", "tests", "tools")


@dataclass(frozen=True, order=True)
class Finding:
    """One broken rule: where, which, and what to do."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Import:
    """One imported name, absolute: `from a.b import c` has target `a.b.c`."""

    target: str
    line: int
    # Inside a function: runs when that is called, not when the module loads.
    is_deferred: bool
    # Under `if TYPE_CHECKING`: never runs.
    is_for_types: bool
    # In a `try` that handles ImportError: the code works without it.
    is_optional: bool


@dataclass(frozen=True)
class Module:
    """A source file, parsed. `name` is dotted; `path` is relative to the repository."""

    name: str
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        collector = _ImportCollector(package=self.package)
        collector.visit(self.tree)
        return tuple(collector.imports)

    @property
    def package(self) -> str:
        is_package = self.path.endswith("__init__.py")
        return self.name if is_package else self.name.rpartition(".")[0]

    @property
    def num_lines(self) -> int:
        return len(self.text.splitlines())

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def finding(self, *, line: int, rule: str, text: str) -> Finding:
        return Finding(path=self.path, line=line, rule=rule, text=text)


def load_modules(root: Path) -> dict[str, Module]:
    """Return the modules under `root` by name, in the order of their paths.

    Raises:
        SyntaxError: A file does not parse (raised when its tree is first read).
    """
    modules = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            path = file.relative_to(root)
            parts = path.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = Module(name=name, path=path.as_posix(), text=file.read_text("utf-8"))
    return modules


def module_of(target: str, modules: dict[str, Module]) -> str | None:
    """Return the longest prefix of `target` that is one of `modules`, or None for a library's."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


class _ImportCollector(ast.NodeVisitor):
    def __init__(self, *, package: str) -> None:
        self.imports: list[Import] = []
        self._package = package
        self._function_depth = 0
        self._types_depth = 0
        self._try_depth = 0

    def visit_Import(self, node: ast.Import) -> None:  # noqa: N802
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: N802
        base = node.module or ""
        if node.level:
            parents = self._package.split(".")
            kept = parents[: len(parents) - node.level + 1]
            base = ".".join([*kept, base] if base else kept)
        for alias in node.names:
            self._add(base if alias.name == "*" else f"{base}.{alias.name}", node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:  # noqa: N802
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:  # noqa: N802
        self._visit_function(node)

    def visit_If(self, node: ast.If) -> None:  # noqa: N802
        is_for_types = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        self._types_depth += is_for_types
        for child in node.body:
            self.visit(child)
        self._types_depth -= is_for_types
        for child in node.orelse:
            self.visit(child)

    def visit_Try(self, node: ast.Try) -> None:  # noqa: N802
        handled = " ".join(ast.unparse(h.type) for h in node.handlers if h.type)
        is_optional = "ImportError" in handled or "ModuleNotFoundError" in handled
        self._try_depth += is_optional
        for child in node.body:
            self.visit(child)
        self._try_depth -= is_optional
        for child in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(child)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._function_depth += 1
        self.generic_visit(node)
        self._function_depth -= 1

    def _add(self, target: str, node: ast.Import | ast.ImportFrom) -> None:
        self.imports.append(
            Import(
                target=target,
                line=node.lineno,
                is_deferred=self._function_depth > 0,
                is_for_types=self._types_depth > 0,
                is_optional=self._try_depth > 0,
            )
        )
