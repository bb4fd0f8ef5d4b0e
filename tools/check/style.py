"""Sizes, names and places of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.check.layers import COMMANDS, is_within
from tools.check.source import Finding, Module

MAX_FILE_LINES = 400
LONG_FILE_LINES = 200
MAX_FUNCTION_LINES = 70

# Names of bags: a module is named after its one idea.
BAGS = {"common", "helper", "helpers", "misc", "util", "utils"}
# Recipe parts that several families share are the one exception.
ALLOWED_BAGS = ("experiments.common",)

DYNAMIC_IMPORT_MODULE = "axl_exp.registry"
DYNAMIC_IMPORTS = {
    "__import__",
    "importlib.__import__",
    "importlib.import_module",
    "importlib.util.spec_from_file_location",
    "runpy.run_module",
    "runpy.run_path",
}


def check_sizes(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield files and functions that are too long to be one idea."""
    for module in modules.values():
        if module.num_lines > MAX_FILE_LINES:
            yield module.finding(
                line=MAX_FILE_LINES + 1,
                rule="size",
                text=f"{module.num_lines} lines, at most {MAX_FILE_LINES}: split the file",
            )
        for function in module.functions():
            num_lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if num_lines > MAX_FUNCTION_LINES:
                yield module.finding(
                    line=function.lineno,
                    rule="size",
                    text=f"{function.name} has {num_lines} lines, at most {MAX_FUNCTION_LINES}",
                )


def long_files(modules: dict[str, Module]) -> list[str]:
    """Return a note for each file that is allowed but longer than most should be."""
    return [
        f"{module.path}: {module.num_lines} lines"
        for module in modules.values()
        if module.num_lines > LONG_FILE_LINES
    ]


def check_names(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield modules named after a bag."""
    for module in modules.values():
        name = module.name.rpartition(".")[2]
        if name in BAGS and not is_within(module.name, ALLOWED_BAGS):
            yield module.finding(
                line=1, rule="name", text=f"{name!r} names a bag: name the idea in it"
            )


def check_import_places(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield imports inside functions, and imports by name outside the registry.

    Commands import below flag parsing; an optional dependency is imported in a `try` that handles
    ImportError. Tests may import by name.
    """
    for module in modules.values():
        if module.name not in COMMANDS:
            for imported in module.imports:
                if imported.is_deferred and not imported.is_optional:
                    yield module.finding(
                        line=imported.line,
                        rule="import",
                        text=f"{imported.target} inside a function: import it at the top, or in "
                        "try/except ImportError if it is optional",
                    )
        if not is_within(module.name, (DYNAMIC_IMPORT_MODULE, "tests")):
            yield from _dynamic_imports(module)


def _dynamic_imports(module: Module) -> Iterator[Finding]:
    for imported in module.imports:
        if imported.target in DYNAMIC_IMPORTS:
            yield _dynamic_import(module, line=imported.line, name=imported.target)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in DYNAMIC_IMPORTS:
            yield _dynamic_import(module, line=node.lineno, name=ast.unparse(node.func))


def _dynamic_import(module: Module, *, line: int, name: str) -> Finding:
    return module.finding(
        line=line, rule="import", text=f"{name}: only {DYNAMIC_IMPORT_MODULE} imports by name"
    )
