"""`python -m axl_exp.golden check|update|diff`: keep the reviewed text of every config true."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from axl_exp.cli import CommandParser, run_command

if TYPE_CHECKING:
    from axl_exp.golden.trees import Tree

_DESCRIPTION = """\
Golden configs: the resolved text of every config, in configs_golden/, to be reviewed like code.

  check [GLOB ...]   compare the configs with their golden files; print what differs
  update [GLOB ...]  write the golden files anew; print what changed
  diff [A [B]]       compare two git refs (default: where this branch left main, and the files
                     here), or two files, or two run directories

exit codes: 0 all the same, 1 something differs, 2 usage or a config that does not resolve
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = CommandParser(prog="python -m axl_exp.golden", description=_DESCRIPTION)
    parser.add_argument("action", choices=("check", "update", "diff"), metavar="check|update|diff")
    parser.add_argument("names", nargs="*", metavar="NAME", help="globs, or the sides of a diff")
    parser.add_argument("--module", help="check or update the configs of this module instead")
    parser.add_argument(
        "--dir", type=Path, default=Path("configs_golden"), help="the golden folder (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    flags = parser.parse_args(argv)
    if flags.action == "diff" and len(flags.names) > 2:
        parser.error("diff takes at most two sides")
    command = {"check": _check, "update": _update, "diff": _diff}[flags.action]
    return run_command(lambda: command(flags), debug=flags.debug)


def _check(flags: argparse.Namespace) -> int:
    from axl_exp.golden.differences import compare_trees, render

    expected, actual = _trees(flags)
    differences = compare_trees(actual, expected)
    if flags.json:
        print(json.dumps(differences.to_json(), indent=2))
    elif differences:
        print(render(differences, added_word="missing", removed_word="orphan"), end="")
    if not differences:
        _say(flags, f"{len(expected)} golden files are up to date.")
        return 0
    _say(flags, f"If this is meant: {_update_command(flags, differences.configs)}")
    return 1


def _update(flags: argparse.Namespace) -> int:
    from axl_exp.golden.differences import compare_trees, render
    from axl_exp.golden.trees import write_tree

    expected, actual = _trees(flags)
    differences = compare_trees(actual, expected)
    write_tree(flags.dir, expected=expected, actual=actual)
    print(
        json.dumps(differences.to_json(), indent=2) if flags.json else render(differences), end=""
    )
    _say(flags, f"{len(expected)} golden files are up to date in {flags.dir}.")
    return 0


def _diff(flags: argparse.Namespace) -> int:
    from axl_exp.golden.differences import compare_trees, render
    from axl_exp.golden.sides import read_sides

    before, after, said = read_sides(flags.names, folder=flags.dir)
    differences = compare_trees(before, after)
    if flags.json:
        print(json.dumps(differences.to_json(), indent=2))
    else:
        print(render(differences), end="")
    _say(flags, f"{said}: {'different' if differences else 'the same'}.")
    return 1 if differences else 0


def _trees(flags: argparse.Namespace) -> tuple[Tree, Tree]:
    """Return what the golden files should be, and what they are."""
    from axl_exp.golden.trees import expected_tree, read_folder, selected_configs

    names = selected_configs(flags.names, module=flags.module, folder=flags.dir)
    expected = expected_tree(names, module=flags.module)
    return expected, read_folder(flags.dir, globs=flags.names)


def _update_command(flags: argparse.Namespace, configs: list[str]) -> str:
    """Return the command that writes the golden files of `configs` anew."""
    words = ["python -m axl_exp.golden update", *(configs if len(configs) <= 3 else flags.names)]
    if flags.module:
        words.append(f"--module={flags.module}")
    if flags.dir != Path("configs_golden"):
        words.append(f"--dir={flags.dir}")
    return " ".join(words)


def _say(flags: argparse.Namespace, text: str) -> None:
    """Print a sentence for people: on stderr where stdout is JSON."""
    print(text, file=sys.stderr if flags.json else sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
