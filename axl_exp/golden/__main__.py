"""`python -m axl_exp.golden check|update|diff|explain|show|lint`: the reviewed text of configs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from axl_exp.cli import CommandParser, rare_collections, run_command, split_overrides

if TYPE_CHECKING:
    from axl_exp.dryrun.sweep import Row
    from axl_exp.golden.check import CheckResult
    from axl_exp.golden.plans import Pair
    from axl_exp.golden.second_process import Second
    from axl_exp.resolve import Resolved

_DESCRIPTION = """\
Golden configs: what every config is on every hardware, in configs_golden/, reviewed like code.

  check [GLOB ...]     compare the configs with their golden files; print what differs
  update [GLOB ...]    write the golden files anew; print what changed and what it comes to
  diff [A [B]]         compare two git refs (default: where this branch left main, and the files
                       here), or two of: config text, AXLearn's golden text, run directory, config
  explain CONFIG PATH  the value at a path, its default, and every writer with file and line
  show CONFIG          the resolved text
  lint                 mistakes in rules and recipes that no single config shows; part of check

explain and show take --mesh=SELECTOR and --config.<path>=<value>.

exit codes: 0 all the same, 1 something differs, 2 usage or a config that does not resolve
"""
_MAX_NAMES = {"diff": 2, "explain": 2, "show": 1, "lint": 0}
_MIN_NAMES = {"explain": 2, "show": 1}


@rare_collections()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # No device of this machine is wanted, and JAX is not to look for one.
    os.environ["JAX_PLATFORMS"] = "cpu"
    words, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    parser = CommandParser(prog="python -m axl_exp.golden", description=_DESCRIPTION)
    parser.add_argument("action", choices=tuple(_COMMANDS), metavar="|".join(_COMMANDS))
    parser.add_argument("names", nargs="*", metavar="NAME", help="globs, sides, a config, a path")
    parser.add_argument("--module", help="check or update the configs of this module instead")
    parser.add_argument("--mesh", help="hardware selector, such as tpu-v5e-256-4")
    parser.add_argument(
        "--dir", type=Path, default=Path("configs_golden"), help="the golden folder (%(default)s)"
    )
    parser.add_argument(
        "--plans", action="store_true", help="check, update: make all plans anew; minutes"
    )
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    parser.add_argument("--md", action="store_true", help="diff: as a pull request's comment")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    flags = parser.parse_args(words)
    action = flags.action
    if len(flags.names) > _MAX_NAMES.get(action, len(flags.names)):
        parser.error(f"{action} takes at most {_MAX_NAMES[action]} of NAME")
    if len(flags.names) < _MIN_NAMES.get(action, 0):
        parser.error(f"{action} takes {'CONFIG PATH' if action == 'explain' else 'CONFIG'}")
    if action not in ("explain", "show") and (overrides or flags.mesh):
        parser.error(f"--mesh and --config.<path> are for explain and show, not for {action}")
    if flags.plans and action not in ("check", "update"):
        parser.error(f"--plans is for check and update, not for {action}")
    flags.overrides = overrides
    return run_command(lambda: _COMMANDS[action](flags), debug=flags.debug)


def _check(flags: argparse.Namespace) -> int:
    from axl_exp.golden.second_process import second_process

    with second_process(wanted=_is_of_everything(flags)) as second:
        from axl_exp.golden.lint import lint
        from axl_exp.golden.render import as_text, print_text
        from axl_exp.report.terminal import make_console

        result = _compare(flags, second)
    findings = [] if flags.names else lint(module=flags.module)
    if flags.json:
        print(json.dumps({**result.to_json(), "lint": findings}, indent=2))
    else:
        print_text(make_console(), as_text(result.comparison, with_configs=False))
        print("".join(f"{line}\n" for line in (*result.file_lines(), *findings)), end="")
    if result.is_same and not findings:
        _say(flags, f"{result.num_files} golden files of {result.num_configs} configs are true.")
        if result.num_plans and not flags.plans:
            _say(flags, f"{result.num_plans} plans stand as recorded; --plans makes them anew.")
        return 0
    if not result.is_same:
        _say(flags, f"If this is meant: {_update_command(flags, result.configs)}")
    return 1


def _update(flags: argparse.Namespace) -> int:
    from axl_exp.golden.second_process import second_process

    with second_process(wanted=_is_of_everything(flags)) as second:
        from axl_exp.golden.check import write
        from axl_exp.golden.render import as_text, print_text
        from axl_exp.report.terminal import make_console

        result = _compare(flags, second)
    write(result, folder=flags.dir)
    if flags.json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print_text(make_console(), as_text(result.comparison))
    _say(flags, f"{result.num_changed} of {result.num_files} files written in {flags.dir}.")
    return 0


def _compare(flags: argparse.Namespace, second: Second | None) -> CheckResult:
    """Return how the golden files differ; plans are made under a bar that moves."""
    from axl_exp.dryrun.progress import SweepProgress
    from axl_exp.golden.check import check

    def sweep_pairs(pairs: Sequence[Pair]) -> Iterator[Row]:
        from axl_exp.dryrun.sweep import sweep

        return sweep(pairs, module=flags.module)

    with SweepProgress(total=0) as progress:
        return check(
            flags.names,
            module=flags.module,
            folder=flags.dir,
            sweep=sweep_pairs,
            second=second,
            all_plans=flags.plans,
            on_progress=lambda done, total: progress.at(done, total, "plans"),
        )


def _diff(flags: argparse.Namespace) -> int:
    from axl_exp.golden.comparison import compare_goldens
    from axl_exp.golden.render import as_markdown, as_text, print_text
    from axl_exp.golden.sides import read_sides
    from axl_exp.report.terminal import make_console

    before, after, said = read_sides(flags.names, folder=flags.dir)
    comparison = compare_goldens(before, after)
    if flags.json:
        print(json.dumps(comparison.to_json(), indent=2))
    elif flags.md:
        print(as_markdown(comparison, said=said), end="")
        return 1 if comparison else 0
    else:
        print_text(make_console(), as_text(comparison))
    _say(flags, f"{said}: {'different' if comparison else 'the same'}.")
    return 1 if comparison else 0


def _explain(flags: argparse.Namespace) -> int:
    from axl_exp.golden.explain import explain, explanation_text

    explanation = explain(_resolve(flags), flags.names[1])
    if flags.json:
        writes = [dict(zip(("by", "where", "value"), w, strict=True)) for w in explanation.writes]
        told = {"path": explanation.path, "value": explanation.value, "writes": writes}
        print(json.dumps(told, indent=2))
    else:
        print(explanation_text(explanation), end="")
    return 0


def _show(flags: argparse.Namespace) -> int:
    from axl_exp.config.text import config_text

    print(config_text(_resolve(flags).config), end="")
    return 0


def _lint(flags: argparse.Namespace) -> int:
    from axl_exp.golden.lint import lint

    findings = lint(module=flags.module)
    if flags.json:
        print(json.dumps(findings, indent=2))
    else:
        print("".join(f"{finding}\n" for finding in findings), end="")
    return 1 if findings else 0


_COMMANDS = {
    "check": _check,
    "update": _update,
    "diff": _diff,
    "explain": _explain,
    "show": _show,
    "lint": _lint,
}


def _resolve(flags: argparse.Namespace) -> Resolved:
    from axl_exp.config import Override
    from axl_exp.resolve import resolve

    resolved = resolve(
        flags.names[0],
        selector=flags.mesh,
        overrides=[Override(path, text) for path, text in flags.overrides],
        module=flags.module,
    )
    for warning in resolved.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return resolved


def _is_of_everything(flags: argparse.Namespace) -> bool:
    """Whether all built-in configs are asked for, which is enough work for two processes."""
    return not flags.names and flags.module is None


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
