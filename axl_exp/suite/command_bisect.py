"""`suite bisect`: which commit moved a metric of a case."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from axl_exp.cli import did_you_mean
from axl_exp.compare.figures import run_figures
from axl_exp.compare.load import load_run
from axl_exp.errors import UserError
from axl_exp.registry import load_suite
from axl_exp.run.checkout import (
    CheckoutError,
    Ref,
    check_out,
    git,
    remove_checkout,
    repository_root,
    resolve_ref,
)
from axl_exp.run.files import write_text
from axl_exp.suite.bisect import BisectError, Found, bisect
from axl_exp.suite.command_run import checkouts_folder, choose_cases, say
from axl_exp.suite.definition import Case
from axl_exp.suite.trial import Trial, ended, run_trial

# What people type -> what runs boil down to.
METRICS = {
    "loss": "train/loss",
    "step_seconds": "perf/step_seconds@0.5",
    "step_seconds_p95": "perf/step_seconds@0.95",
    "tokens_per_second": "perf/tokens_per_second@0.5",
    "tflops": "perf/tflops_per_device@0.5",
    "mfu": "perf/mfu@0.5",
    "memory": "peak_memory_bytes",
}


class UnknownMetricError(UserError):
    """No run has a figure of this name."""


def bisect_suite(
    name: str,
    *,
    case: str,
    metric: str,
    good: str,
    bad: str,
    repeats: int,
    most_repeats: int,
    timeout_seconds: float,
    module: str | None,
    data_dir: str | None,
    as_json: bool,
) -> int:
    """Print the commit between `good` and `bad` that moved `metric` of `case`; return 0.

    Raises:
        UserError: A name that is not there, or ends that do not differ.
    """
    figure = METRICS.get(metric, metric)
    if metric not in METRICS and "/" not in metric:
        raise UnknownMetricError(
            f"no metric {metric!r}.{did_you_mean(metric, METRICS)} There are: "
            f"{', '.join(METRICS)}, and any key of an evaluation, such as eval/validation/loss."
        )
    cases = choose_cases(load_suite(name, module=module), [case]).cases
    chosen = next(each for each in cases if each.name == case)
    repository = repository_root(Path.cwd())
    refs = [resolve_ref(ref, repository=repository) for ref in (good, bad)]
    commits = commits_between(refs[0], refs[1], repository=repository)
    say(f"{len(commits)} commits from {good} to {bad}: about {len(commits).bit_length()} to be run")
    extra = [f"--module={module}"] if module else []
    extra += [f"--data_dir={data_dir}"] if data_dir else []
    folder = Path("runs") / f"bisect-{name}-{case}"
    runner = _Runner(chosen, figure, repository, folder, extra, timeout_seconds)
    found = bisect(commits, runner, repeats=repeats, most_repeats=most_repeats, say=say)
    value = _value(found, repository=repository, metric=figure)
    write_text(folder / "result.json", json.dumps(value, indent=2) + "\n")
    print(json.dumps(value, indent=2) if as_json else _told(value))
    return 0


def commits_between(good: Ref, bad: Ref, *, repository: Path) -> list[str]:
    """Return the commits from `good` to `bad`, oldest first, along first parents.

    Raises:
        BisectError: `good` is no ancestor of `bad`.
    """
    try:
        git(repository, "merge-base", "--is-ancestor", good.commit, bad.commit)
    except CheckoutError as error:
        raise BisectError(
            f"{good.name} is no ancestor of {bad.name}: name an older commit of the same line."
        ) from error
    span = f"{good.commit}..{bad.commit}"
    listed = git(repository, "rev-list", "--reverse", "--first-parent", span).splitlines()
    return [good.commit, *listed]


class _Runner:
    """Runs the case on a commit once more and returns the figure; what has run is used again."""

    def __init__(
        self,
        case: Case,
        figure: str,
        repository: Path,
        folder: Path,
        extra_flags: list[str],
        timeout_seconds: float,
    ):
        self._case, self._figure, self._repository = case, figure, repository
        self._folder, self._extra, self._timeout = folder, extra_flags, timeout_seconds
        self._counts: dict[str, itertools.count] = {}

    def __call__(self, commit: str) -> float | None:
        number = next(self._counts.setdefault(commit, itertools.count(1)))
        trial = Trial(self._case, "at", number, self._folder / commit[:16] / f"run{number}")
        end = ended(trial)
        if end is None:
            ref = Ref(commit[:10], commit)
            root = checkouts_folder(self._repository)
            checkout = check_out(ref, repository=self._repository, folder=root, say=say)
            try:
                end = run_trial(
                    trial,
                    checkout=checkout,
                    extra_flags=self._extra,
                    timeout_seconds=self._timeout,
                )
            finally:
                remove_checkout(checkout, repository=self._repository)
        if end.failure:
            say(f"{commit[:10]}: {end.failure}")
            return None
        figures = run_figures(load_run(trial.run_dir))
        if self._figure not in figures:
            raise UnknownMetricError(
                f"the runs have no {self._figure}.{did_you_mean(self._figure, figures)} "
                f"They have: {', '.join(sorted(figures))}."
            )
        return figures[self._figure]


def _value(found: Found, *, repository: Path, metric: str) -> dict:
    """Return the answer as JSON values."""
    subject = git(repository, "log", "-1", "--format=%s", found.commit.commit)
    return {
        "schema": "axl_exp.bisect/1",
        "metric": metric,
        "commit": found.commit.commit,
        "subject": subject,
        "figures": found.commit.figures,
        "before": {"commit": found.before.commit, "figures": found.before.figures},
        "skipped": found.skipped,
        "spread": found.spread,
        "num_runs": found.num_runs,
        "least_sure_standard_errors": found.least_sure,
    }


def _told(value: dict) -> str:
    before, after = value["before"]["figures"], value["figures"]
    mean = lambda figures: sum(figures) / len(figures)  # noqa: E731
    change = f"{100 * (mean(after) / mean(before) - 1):+.2f} %" if mean(before) else "from 0"
    lines = [
        f"{value['commit'][:12]} {value['subject']}",
        f"  {value['metric']}: {mean(before):.6g} before, {mean(after):.6g} since ({change})",
    ]
    if value["spread"] is None:
        lines.append("  how sure: not known, no commit was run twice; --repeats=2 tells")
    elif value["least_sure_standard_errors"] is not None:
        lines.append(
            f"  how sure: one run scatters by {value['spread']:.3g}; the closest decision stood "
            f"{value['least_sure_standard_errors']:.1f} standard errors from the middle"
        )
    if value["skipped"]:
        names = ", ".join(commit[:10] for commit in value["skipped"])
        lines.append(f"  or one of these, which do not run: {names}")
    lines.append(f"  {value['num_runs']} runs")
    return "\n".join(lines)
