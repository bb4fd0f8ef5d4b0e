"""The search: every setting is planned, the hopeless are left out, the best few are compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from axl_exp.config import Override
from axl_exp.dryrun.compiled.compile import Progress
from axl_exp.dryrun.dry_run import DryRun, Level, dry_run
from axl_exp.dryrun.search.settings import (
    REMATS,
    Remat,
    Settings,
    accumulations,
    is_searched,
    meshes,
    other_modifiers,
    settings_of,
)
from axl_exp.errors import UserError
from axl_exp.mesh import (
    HardwareSelector,
    MeshRule,
    NoMeshRuleError,
    TooSmallError,
)
from axl_exp.registry import load_config
from axl_exp.resolve import Resolved, resolve

HEADROOM = 0.1
"""The share of the memory that a plan leaves free: it is an estimate."""
# What is so much slower than the best by plan is not fastest by the compiler: chosen.
_WORTH_A_LOOK = 1.5
# Of what could be hidden behind the longest: chosen. Steps that a plan cannot tell apart are
# ranked by it, the one that sends less before the one that sends more.
_SHOWN = 0.1
# Keeps the least in the memory of a device, but for what is offloaded beside it.
_MOST_FRUGAL = next(remat for remat in REMATS if not remat.save and not remat.offload)


class SearchError(UserError):
    """A question that has no answer: no accelerator, or a field that a search sets is given."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A config on a hardware, and the rest of what the command line says."""

    config: str
    hardware: HardwareSelector
    overrides: tuple[Override, ...] = ()
    module: str | None = None


@dataclasses.dataclass(frozen=True)
class Found:
    """Settings, and what they come to."""

    settings: Settings
    rule: MeshRule
    run: DryRun
    error: str = ""
    """Why there is no compiled program."""

    @property
    def fits(self) -> bool:
        """By the compiler where it was asked."""
        return self.run.fits and not self.error

    @property
    def step_seconds(self) -> float:
        """By the compiled program where there is one that fits, else at the least."""
        compiled, roofline = self.run.compiled, self.run.plan.roofline
        if compiled is not None and compiled.prediction is not None:
            return compiled.prediction.step_seconds
        return roofline.step_seconds if roofline else 0.0

    @property
    def needed_bytes(self) -> int:
        """By the compiler where it was asked."""
        compiled = self.run.compiled
        return compiled.memory.needed_bytes if compiled else self.run.plan.memory.total_bytes

    @property
    def mfu(self) -> float:
        """Of the same step."""
        roofline = self.run.plan.roofline
        return roofline.mfu * roofline.step_seconds / self.step_seconds if roofline else 0.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a search found."""

    config: str
    selector: str
    level: Level
    found: list[Found]
    """The best that fit, the fastest first; those that the compiler refuses last."""
    today: Found | None
    """By the rule that is written."""
    why_not_today: str
    num_planned: int

    @property
    def best(self) -> Found | None:
        """What to run; None where nothing fits."""
        return self.found[0] if self.found and self.found[0].fits else None


def search(
    question: Question,
    *,
    level: Level = "plan",
    top: int = 5,
    start: Callable[[int], None] = lambda total: None,
    say: Callable[[str], None] = lambda what: None,
    advance: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Answer:
    """Return the settings under which a config runs fastest on a hardware.

    Batch and everything else stay as today's rule has them, or the recipe where there is none.
    Compiled programs are kept, so that a search that was stopped goes on where it was.

    Args:
        question: The config and the hardware.
        level: "plan" ranks by the least time; "compile" compiles the best, and ranks those.
        top: How many are kept, and compiled.
        start, say, advance: Told how many meshes there are, what is done, and that one is done.
        progress: Told where the compiler is.

    Raises:
        UserError: The config or hardware is not there, there is nothing to search, or nothing
            that was found can be compiled.
    """
    _check(question)
    today, why_not_today = _today(question)
    planner = _Planner(question, others=other_modifiers(today.rule if today else None))
    cfg: Any = (
        today.config if today else load_config(question.config, module=question.module).config
    )
    rows = cfg.input.global_batch_size
    has_remat = cfg.model.decoder.transformer.layer.remat_spec is not None
    num_heads = cfg.model.decoder.transformer.layer.self_attention.attention.num_heads
    candidates = list(meshes(question.hardware, rows=rows, num_heads=num_heads))
    start(len(candidates))
    for mesh in candidates:
        best = f", best {planner.best[0].step_seconds:.3g} s" if planner.best else ""
        say(f"{planner.num_planned} planned{best}")
        planner.try_mesh(mesh, rows=rows, remats=REMATS if has_remat else (None,), top=top)
        advance()
    found = planner.best[:top]
    by_rule = None
    if today is not None:
        try:
            by_rule = planner.of_rule(today)
        except UserError as error:  # An override, of the batch say, is not for today's rule.
            why_not_today = str(error)
    if level == "compile":
        start(len(found) + 1)
        found = [_compiled(planner, each, say, advance, progress) for each in found]
        if found and all(each.error for each in found):
            raise SearchError(found[0].error)  # There is no compiler, most likely.
        found.sort(key=lambda each: (not each.fits, each.step_seconds))
        by_rule = by_rule and _compiled(planner, by_rule, say, advance, progress)
    return Answer(
        config=planner.name,
        selector=str(question.hardware),
        level=level,
        found=found,
        today=by_rule,
        why_not_today=why_not_today,
        num_planned=planner.num_planned,
    )


def _check(question: Question) -> None:
    if question.hardware.chip is None:
        raise SearchError(
            f"A search ranks by the peaks of a chip, and {question.hardware} has none: name an "
            "accelerator, --mesh=tpu-v5e-256 for example."
        )
    for override in question.overrides:
        if is_searched(override.path):
            raise SearchError(f"{override.flag}: a search chooses that itself; leave it out.")


def _today(question: Question) -> tuple[Resolved | None, str]:
    try:
        return planned_by_rule(question, rule=None), ""
    except (NoMeshRuleError, TooSmallError) as error:
        return None, str(error)


def planned_by_rule(question: Question, *, rule: MeshRule | None) -> Resolved:
    """Return the config of a question resolved by `rule`, or by the one that is written."""
    return resolve(
        question.config,
        selector=question.hardware,
        overrides=question.overrides,
        module=question.module,
        rule=rule,
    )


class _Planner:
    """Plans settings, and keeps the best that fit."""

    def __init__(self, question: Question, *, others: tuple):
        self.question = question
        self.others = others
        self.name = load_config(question.config, module=question.module).name
        self.best: list[Found] = []
        self.num_planned = 0

    def try_mesh(self, mesh: Any, *, rows: int, remats: Sequence[Remat | None], top: int) -> None:
        """Plan a mesh with every remat policy, in the fewest parts that fit."""
        parts = accumulations(mesh, rows=rows)
        frugal = None if remats == (None,) else _MOST_FRUGAL
        least = self.plan(Settings(mesh, frugal, parts[-1]))
        if least is None or not _fits(least):
            return
        for remat in remats:
            found = self._in_fewest_parts(mesh, remat, parts, top=top)
            if found is not None:
                self.best = sorted([*self.best, found], key=_rank)

    def _in_fewest_parts(
        self, mesh: Any, remat: Remat | None, parts: Sequence[int], *, top: int
    ) -> Found | None:
        """Return the first that fits, halving between those that do not and those that do."""
        whole = self.plan(Settings(mesh, remat, parts[0]))
        if whole is None or not self._is_promising(whole, top=top):
            return None  # More parts take no less time.
        if _fits(whole):
            return whole
        fitting, low, high = None, 1, len(parts)
        while low < high:
            middle = (low + high) // 2
            found = self.plan(Settings(mesh, remat, parts[middle]))
            if found is not None and _fits(found):
                fitting, high = found, middle
            else:
                low = middle + 1
        return fitting

    def plan(self, settings: Settings) -> Found | None:
        """Return what settings come to; None where they cannot be laid out."""
        self.num_planned += 1
        rule = settings.rule(
            selector=str(self.question.hardware), config=self.name, others=self.others
        )
        try:
            return Found(settings, rule, dry_run(planned_by_rule(self.question, rule=rule)))
        except UserError:
            return None

    def of_rule(self, resolved: Resolved) -> Found:
        """Return what the written rule comes to."""
        assert resolved.rule is not None
        return Found(settings_of(resolved.config), resolved.rule, dry_run(resolved))

    def _is_promising(self, found: Found, *, top: int) -> bool:
        best = self.best[:top]
        return len(best) < top or found.step_seconds <= _WORTH_A_LOOK * best[-1].step_seconds


def _fits(found: Found) -> bool:
    memory = found.run.plan.memory
    assert memory.available_bytes is not None
    return found.run.fits and memory.total_bytes <= (1 - HEADROOM) * memory.available_bytes


def _rank(found: Found) -> tuple[float, int, int]:
    """The least time, and some of what it hides, since nothing overlaps fully; then parts."""
    roofline = found.run.plan.roofline
    assert roofline is not None
    hidden = sum(roofline.seconds.values()) - roofline.step_seconds
    shown = roofline.step_seconds + _SHOWN * hidden
    return (shown, found.settings.accumulation_steps, found.needed_bytes)


def _compiled(
    planner: _Planner,
    found: Found,
    say: Callable[[str], None],
    advance: Callable[[], None],
    progress: Progress | None,
) -> Found:
    say(f"compiling {found.run.plan.mesh}")
    resolved = planned_by_rule(planner.question, rule=found.rule)
    try:
        run = dry_run(resolved, level="compile", progress=progress)
    except UserError as error:
        return dataclasses.replace(found, error=str(error))
    finally:
        advance()
    return dataclasses.replace(found, run=run)
