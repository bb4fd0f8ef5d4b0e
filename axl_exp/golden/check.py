"""The golden files that there should be, and how those in the folder differ from them."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from axl_exp.cli import rare_collections
from axl_exp.golden.comparison import Comparison, compare_goldens
from axl_exp.golden.folder import read_folder, select, selected_configs, write_tree
from axl_exp.golden.golden import Goldens, base_of
from axl_exp.golden.layout import Tree, read_goldens, write_goldens
from axl_exp.golden.make import make_goldens
from axl_exp.golden.plans import Sweep, num_plans, with_plans
from axl_exp.golden.second_process import Second, output_of
from axl_exp.registry import list_configs

_MAX_LISTED = 5


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The files of the selected configs as they should be and as they are.

    Attributes:
        comparison: What the configs say differently than their files.
        errors: File -> why it cannot be read.
        num_plans: On how many meshes there is a plan.
    """

    expected: Tree
    actual: Tree
    comparison: Comparison
    errors: dict[str, str]
    num_plans: int

    @property
    def is_same(self) -> bool:
        """Whether every file is as it should be."""
        return self.expected == self.actual

    @property
    def num_files(self) -> int:
        """How many files there should be."""
        return len(self.expected)

    @property
    def num_configs(self) -> int:
        """Of how many configs."""
        return len({file.split("/")[0] for file in self.expected})

    @property
    def num_changed(self) -> int:
        """How many files there should be and are not, or are otherwise."""
        return sum(self.actual.get(file) != text for file, text in self.expected.items())

    @property
    def configs(self) -> list[str]:
        """The configs whose files differ, sorted."""
        files = self.expected.keys() | self.actual.keys()
        differ = {file for file in files if self.expected.get(file) != self.actual.get(file)}
        return sorted({file.split("/")[0] for file in differ})

    def file_lines(self) -> list[str]:
        """Return one line per file that is missing, has no config, or cannot be read.

        Files of one config are told together, and files that say the same in other words last.
        """
        missing, orphan = (
            self.expected.keys() - self.actual.keys(),
            self.actual.keys() - self.expected.keys(),
        )
        lines = [f"missing: {line}" for line in _by_config(missing)]
        lines += [f"orphan: {line}" for line in _by_config(orphan)]
        lines += [f"unreadable: {error}" for _, error in sorted(self.errors.items())]
        if not (lines or self.comparison or self.is_same):
            differ = {f for f, text in self.expected.items() if self.actual.get(f) != text}
            lines += [f"same content in other words: {line}" for line in _by_config(differ)]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {
            **self.comparison.to_json(),
            "missing": sorted(self.expected.keys() - self.actual.keys()),
            "orphan": sorted(self.actual.keys() - self.expected.keys()),
            "unreadable": self.errors,
        }


def check(
    globs: Sequence[str],
    *,
    module: str | None,
    folder: Path,
    sweep: Sweep,
    second: Second | None = None,
    all_plans: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckResult:
    """Return how the golden files of the configs that `globs` match differ from the configs.

    Args:
        globs: Over names of configs; none for all.
        module: A module of the user's own; None for the built-in configs.
        folder: The golden folder.
        sweep: Makes the plans of what differs.
        second: A process that makes half of all built-in goldens: then without globs and module.
        all_plans: Whether every plan is made anew, not only those of what differs.
        on_progress: Told how many plans of how many are made.

    Raises:
        UserError: A glob matches nothing, or a config does not resolve.
    """
    names = selected_configs(globs, module=module, folder=folder)
    wanted = _with_bases(names, module=module)
    goldens = _make_with(second, wanted) if second else make_goldens(wanted, module=module)
    files = read_folder(folder)
    before, errors = read_goldens(files)
    goldens = with_plans(
        goldens,
        before=before,
        names=set(names),
        anew=all_plans,
        sweep=sweep,
        on_progress=on_progress,
    )
    expected = {f: text for f, text in write_goldens(goldens).items() if f.split("/")[0] in names}
    actual = select(files, globs)
    errors = {file: error for file, error in errors.items() if file in actual}
    broken = {file.split("/")[0] for file in errors}
    shown = {file.split("/")[0] for file in actual}
    return CheckResult(
        expected=expected,
        actual=actual,
        comparison=compare_goldens(
            {name: golden for name, golden in before.items() if name in shown},
            {name: goldens[name] for name in names if name not in broken},
        ),
        errors=errors,
        num_plans=num_plans({name: goldens[name] for name in names}),
    )


def write(result: CheckResult, *, folder: Path) -> None:
    """Make the files in `folder` those that there should be."""
    write_tree(folder, expected=result.expected, actual=result.actual)


@rare_collections()
def write_second_half() -> None:
    """Write the second half of all built-in goldens to stdout, pickled."""
    with contextlib.redirect_stdout(sys.stderr):  # Whatever an experiment prints is not ours.
        goldens = make_goldens(_halves(list_configs())[1], module=None)
    sys.stdout.buffer.write(pickle.dumps(goldens))


def _make_with(second: Second, names: Sequence[str]) -> Goldens:
    """The goldens of all built-in configs, half of them from a second process."""
    here, there = _halves(names)
    goldens = make_goldens(here, module=None)
    made = output_of(second)
    # What failed there fails here too, and here its error is heard.
    goldens |= make_goldens(there, module=None) if made is None else pickle.loads(made)
    return dict(sorted(goldens.items()))


def _halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """`names` in two parts of about the same work; variants, which share traces, stay together."""
    with_variants: dict[str, list[str]] = {}
    for name in sorted(names):
        root = name
        while (base := base_of(root, names)) is not None:
            root = base
        with_variants.setdefault(root, []).append(name)
    groups = list(with_variants.values())
    return sum(groups[::2], []), sum(groups[1::2], [])


def _with_bases(names: Sequence[str], *, module: str | None) -> list[str]:
    """`names` and the configs that they are variants of."""
    known = list_configs(module=module, builtin=module is None)
    found = dict.fromkeys(names)
    for name in found.copy():
        while (base := base_of(name, known)) is not None:
            found[name := base] = None
    return sorted(found)


def _by_config(files: set[str]) -> list[str]:
    """One text per config, `fuji-1B-v3/config.txt` or how many files of it; of many, one in all."""
    by_config: dict[str, list[str]] = {}
    for file in sorted(files):
        by_config.setdefault(file.split("/")[0], []).append(file)
    if len(by_config) > _MAX_LISTED:
        return [f"{len(files)} files of {len(by_config)} configs such as {min(files)}"]
    return [
        found[0] if len(found) == 1 else f"{config}/ ({len(found)} files)"
        for config, found in by_config.items()
    ]
