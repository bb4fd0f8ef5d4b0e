"""Mistakes that no single config shows: of mesh rules, of variants and of recipes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from axl_exp.config import ConfigBase
from axl_exp.config.provenance import RECIPE, Write
from axl_exp.config.text import config_text, flatten
from axl_exp.config.views import configs_in
from axl_exp.mesh import (
    CHIPS,
    HardwareSelector,
    LimitTokensPerDevice,
    MeshRule,
    SetFields,
    SetMeshShape,
    parse_selector,
)
from axl_exp.registry import list_configs, load_config, load_mesh_rules

# Hardware on which rules are tried: every chip, at every size that is a power of two.
_NUMBERS = tuple(2**i for i in range(14))
_SLICES = (1, 2, 3, 4, 8, 16)


def lint(*, module: str | None) -> list[str]:
    """Return one finding per mistake in the rules and configs; with a module, in its own.

    A rule of a module may take what a built-in rule is written for: that is what it is for.
    """
    names = list_configs(module=module)
    own_names = set(list_configs(module=module, builtin=module is None))
    rules = load_mesh_rules(module=module)
    num_own_rules = len(rules) - len(load_mesh_rules()) if module else len(rules)
    configs = {name: load_config(name, module=module).config for name in names}
    return [
        *_lint_twins(configs, own_names),
        *(finding for name in sorted(own_names) for finding in _lint_recipe(name, configs[name])),
        *_lint_rules(rules[:num_own_rules], configs),
    ]


def _lint_twins(configs: dict[str, ConfigBase], own_names: set[str]) -> Iterator[str]:
    """Configs that are another one under a second name: a variant whose difference got lost."""
    name_of: dict[str, str] = {}
    for name in sorted(configs, key=lambda name: (name in own_names, len(name), name)):
        twin = name_of.setdefault(config_text(configs[name]), name)
        if twin != name and name in own_names:
            yield f"{name} is the same config as {twin}: make it different, or an alias of it"


def _lint_recipe(name: str, cfg: ConfigBase) -> Iterator[str]:
    """Fields that one function sets twice, to different values: the first is never used."""
    for holder in configs_in(cfg):
        for field, _ in holder.items():
            writes = [write for write in holder.writes(field) if write.by == RECIPE]
            for first, second in zip(writes, writes[1:], strict=False):
                function = _function_of(first)
                if function is not None and function == _function_of(second):
                    yield (
                        f"{name}: {function} sets {field} of {type(holder).__qualname__} at "
                        f"{first.where} and again at {second.where}; keep one"
                    )


def _lint_rules(rules: Sequence[MeshRule], configs: dict[str, ConfigBase]) -> Iterator[str]:
    hardware = {str(selector): selector for selector in _all_hardware(rules)}
    for i, rule in enumerate(rules):
        where = f"{rule.defined_at}: the rule for {rule.configs!r} on {rule.selector!r}"
        names = [name for name in configs if re.fullmatch(rule.configs, name)]
        selectors = [text for text in hardware if re.fullmatch(rule.selector, text)]
        if not names:
            yield f"{where} matches no config"
            continue
        if not selectors:
            yield f"{where} matches no hardware"
            continue
        pairs = [(name, selector) for name in names for selector in selectors]
        free = [pair for pair in pairs if _first_match(rules[:i], *pair) is None]
        if not free:
            earlier = _first_match(rules[:i], *pairs[0])
            assert earlier is not None
            yield f"{where} is never reached: {earlier.defined_at} matches first"
            continue
        for selector in rule.golden_selectors:
            if not any(text == selector for _, text in free):
                yield f"{where} is never reached on its golden selector {selector}"
        # One hardware for each config: what a modifier does hangs on the config.
        tried = dict(reversed(free))
        yield from _lint_modifiers(
            rule, where, [(configs[name], hardware[text]) for name, text in tried.items()]
        )


def _lint_modifiers(
    rule: MeshRule, where: str, cases: Sequence[tuple[ConfigBase, HardwareSelector]]
) -> Iterator[str]:
    """Modifiers, and fields of them, that change no config; and changes that a later one undoes."""
    parts = [
        (number, name, part)
        for number, modify in enumerate(rule.modifiers, start=1)
        for name, part in _parts(modify)
    ]
    # A rule says its mesh, and a limit, even where a recipe keeps them already: it may change.
    stated = (SetMeshShape, LimitTokensPerDevice)
    idle = {i for i, part in enumerate(parts) if not isinstance(part[2], stated)}
    overwritten: set[tuple[int, int, str]] | None = None
    for cfg, hardware in cases:
        found, text = set(), flatten(cfg)
        changed_by: dict[str, int] = {}
        for i, (number, _, modify) in enumerate(parts):
            cfg = modify(cfg, hardware=hardware)
            before, text = text, flatten(cfg)
            for path in text:
                if before.get(path) == text[path]:
                    continue
                idle.discard(i)
                if changed_by.get(path, number) != number:
                    found.add((changed_by[path], number, path))
                changed_by[path] = number
        overwritten = found if overwritten is None else overwritten & found
        if not idle and not overwritten:
            return
    for number, name, _ in (parts[i] for i in sorted(idle)):
        yield f"{where}: {name} (number {number}) changes no config"
    for first, second, path in sorted(overwritten or ()):
        yield (
            f"{where}: modifier {first} sets {path} and modifier {second} sets it again; keep one"
        )


def _parts(modify: Any) -> list[tuple[str, Any]]:
    """Return a modifier by its name; one of several fields as one per field."""
    kind = type(modify).__name__
    if not isinstance(modify, SetFields) or len(modify.values) < 2:
        return [(kind, modify)]
    return [(f"{kind} of {path}", SetFields({path: v})) for path, v in modify.values.items()]


def _first_match(rules: Sequence[MeshRule], config: str, selector: str) -> MeshRule | None:
    return next((r for r in rules if r.matches(selector=selector, config=config)), None)


def _all_hardware(rules: Sequence[MeshRule]) -> Iterator[HardwareSelector]:
    for number in _NUMBERS:
        yield HardwareSelector("cpu", "", number)
        for chip in CHIPS:
            if number % chip.named_cores == 0:
                for num_slices in _SLICES if chip.platform == "tpu" else (1,):
                    yield HardwareSelector(chip.platform, chip.name, number, num_slices)
    for rule in rules:
        for text in rule.golden_selectors:
            yield parse_selector(text)


def _function_of(write: Write) -> str | None:
    """`recipe.py:fuji`, the function in which a write stands; None where it cannot be told."""
    file, _, line = write.where.rpartition(":")
    if not line.isdigit():
        return None
    number = int(line)
    inside = [f for f in _functions(file) if f.lineno <= number <= (f.end_lineno or f.lineno)]
    if not inside:
        return None
    innermost = max(inside, key=lambda function: function.lineno)
    return f"{file}:{innermost.lineno} {innermost.name}()"


_parsed: dict[str, list[Any]] = {}


def _functions(file: str) -> list[Any]:
    """The functions of a source file; none where it cannot be read."""
    if file not in _parsed:
        path = Path(file)
        if not path.is_absolute() and not path.is_file():
            path = Path(__file__).parents[2] / file
        try:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        except (OSError, SyntaxError, ValueError):
            nodes = iter(())
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        _parsed[file] = [node for node in nodes if isinstance(node, kinds)]
    return _parsed[file]
