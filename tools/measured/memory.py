"""`python -m tools.measured.memory`: what plans say of memory beside what compilers said.

The compilers' figures are recorded in `compiled_memory.json`, each with its compiler. `--compile`
makes those anew that --config and --mesh choose, minutes each for a TPU, and writes them down; a
config and a hardware without a star are added where they are not there yet.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from axl_exp.config import Override
from axl_exp.dryrun.compiled.compile import compile_dry_run
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.dryrun.progress import SweepProgress
from axl_exp.dryrun.section import Section, as_markdown, print_sections
from axl_exp.errors import UserError
from axl_exp.report.terminal import make_console
from axl_exp.report.text import format_bytes
from axl_exp.resolve import Resolved, resolve

_RECORD = Path(__file__).with_name("compiled_memory.json")
_HEADERS = ("config", "hardware", "planned", "compiler's", "ratio", "compiled by")


@dataclasses.dataclass(frozen=True)
class Point:
    """A config on a hardware, and the bytes of a device that its compiler set aside for a step."""

    config: str
    selector: str
    overrides: tuple[str, ...] = ()
    compiler: str = ""
    compiled_bytes: int = 0

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What was compiled."""
        return self.config, self.selector, self.overrides

    def resolved(self) -> Resolved:
        """Return the config as its mesh rule and the overrides of this point make it."""
        overrides = [Override(*each.split("=", 1)) for each in self.overrides]
        return resolve(self.config, selector=self.selector, overrides=overrides)

    def planned_bytes(self) -> int:
        """Return what the plan says; takes a second."""
        return plan_dry_run(self.resolved()).memory.total_bytes


def recorded_points() -> list[Point]:
    """Return every point on record, by hardware and config."""
    values = json.loads(_RECORD.read_text())
    return [Point(**{**each, "overrides": tuple(each["overrides"])}) for each in values]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 where a plan is more than 15 % off, 2 on a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m tools.measured.memory", description=__doc__)
    parser.add_argument("--config", default="*", help="configs with such a name")
    parser.add_argument("--mesh", default="*", help="hardware with such a name")
    parser.add_argument("--compile", action="store_true", help="compile them anew, and record")
    parser.add_argument("--md", action="store_true", help="the table as Markdown")
    flags = parser.parse_args(argv)
    jax.config.update("jax_platforms", "cpu")  # Nothing runs on a device that may be here.
    points = recorded_points()
    chosen = [
        p
        for p in points
        if fnmatch.fnmatch(p.config, flags.config) and fnmatch.fnmatch(p.selector, flags.mesh)
    ]
    is_new = not chosen and not set("*?[") & set(flags.config + flags.mesh)
    if flags.compile and is_new:
        chosen = [Point(flags.config, flags.mesh)]
    if not chosen:
        print(f"No point is recorded for {flags.config} on {flags.mesh}.", file=sys.stderr)
        return 2
    try:
        if flags.compile:
            chosen = _compile(chosen, points)
        ratios = _show(chosen, as_md=flags.md)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(abs(ratio - 1) <= 0.15 for ratio in ratios) else 1


def _compile(chosen: list[Point], points: list[Point]) -> list[Point]:
    """Return the points with what their compilers say now; the record is written after each."""
    kept = {point.key: point for point in points}
    with SweepProgress(total=len(chosen)) as progress:
        for point in chosen:
            progress.say(f"{point.config} on {point.selector}")
            facts = compile_dry_run(point.resolved(), progress=progress.stage)
            if facts.memory.verdict:
                raise UserError(f"{point.config} on {point.selector}: {facts.memory.verdict}")
            kept[point.key] = dataclasses.replace(
                point, compiler=facts.compiler, compiled_bytes=facts.memory.needed_bytes
            )
            rows = sorted(kept.values(), key=lambda p: (p.selector, p.config, p.overrides))
            _RECORD.write_text(json.dumps([dataclasses.asdict(p) for p in rows], indent=1) + "\n")
            progress.advance()
    return [kept[point.key] for point in chosen]


def _show(points: Sequence[Point], *, as_md: bool) -> list[float]:
    """Print the table; returns planned over compiled of every row."""
    planned = [point.planned_bytes() for point in points]
    ratios = [size / p.compiled_bytes for size, p in zip(planned, points, strict=True)]
    rows = [
        (
            " ".join((point.config, *point.overrides)),
            point.selector,
            format_bytes(size),
            format_bytes(point.compiled_bytes),
            f"{ratio:.2f}",
            point.compiler,
        )
        for point, size, ratio in zip(points, planned, ratios, strict=True)
    ]
    section = Section("", _HEADERS, rows, right=(2, 3, 4))
    if as_md:
        print(as_markdown([section]), end="")
    else:
        print_sections([section], make_console())
    near = sum(abs(ratio - 1) <= 0.15 for ratio in ratios)
    told = f"{near} of {len(ratios)} within 15 %; from {min(ratios):.2f} to {max(ratios):.2f}"
    print(told, file=sys.stderr if as_md else sys.stdout)
    return ratios


if __name__ == "__main__":
    sys.exit(main())
