"""`suite run`: check both commits out, run what has not run yet, judge, and tell."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from axl_exp.cli import did_you_mean
from axl_exp.errors import UserError
from axl_exp.registry import load_suite
from axl_exp.report.terminal import make_console
from axl_exp.run.checkout import (
    Checkout,
    Ref,
    check_out,
    remove_checkout,
    repository_root,
    resolve_ref,
)
from axl_exp.run.files import write_text
from axl_exp.run.home import home
from axl_exp.run.store import RunStore
from axl_exp.suite.definition import Suite
from axl_exp.suite.pages import write_pages
from axl_exp.suite.result import SuiteResult, suite_result
from axl_exp.suite.session import Session, default_folder, open_session, run_session
from axl_exp.suite.show import markdown, result_json, show


class UnknownCaseError(UserError):
    """A suite has no case of this name."""


@dataclass(frozen=True)
class Outputs:
    """What is told, and how.

    Attributes:
        markdown: A file for a pull request's comment; None for none.
    """

    json: bool = False
    markdown: Path | None = None


def run_suite(
    name: str,
    *,
    base: str,
    head: str,
    repeats: int,
    cases: Sequence[str],
    folder: Path | None,
    timeout_seconds: float,
    module: str | None,
    data_dir: str | None,
    keep_checkouts: bool,
    outputs: Outputs,
) -> int:
    """Run a suite, or go on with it, and return the exit code of its verdict.

    Raises:
        UserError: A ref, suite or case that is not there; results of another question.
    """
    suite = choose_cases(load_suite(name, module=module), cases)
    repository = repository_root(Path.cwd())
    refs = {"A": resolve_ref(base, repository=repository),
            "B": resolve_ref(head, repository=repository)}  # fmt: skip
    extra = [f"--module={module}"] if module else []
    extra += [f"--data_dir={data_dir}"] if data_dir else []
    folder = folder or default_folder(suite, refs["A"], refs["B"], extra_flags=extra)
    session = Session(suite, refs["A"], refs["B"], repeats, folder, tuple(extra))
    open_session(session)
    say(f"suite {suite.name}: {len(suite.cases)} cases, {refs['A'].name} against {refs['B'].name}")
    say(f"results: {folder} (run the same command again to go on after an interruption)")
    checkouts = _checkouts(refs, repository=repository)
    try:
        found = run_session(session, checkouts, timeout_seconds=timeout_seconds, say=say)
    finally:
        if not keep_checkouts:
            for path in {checkout.path: checkout for checkout in checkouts.values()}.values():
                remove_checkout(path, repository=repository)
    result = suite_result(session, found, store=RunStore())
    tell(result, outputs=outputs)
    return result.exit_code


def choose_cases(suite: Suite, names: Sequence[str]) -> Suite:
    """Return the suite with the named cases alone; with all of them where none is named.

    A case whose losses a named one must have comes with it.

    Raises:
        UnknownCaseError: It has no such case; the message names the nearest.
    """
    known = {case.name: case for case in suite.cases}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f" It has: {', '.join(known)}."
            raise UnknownCaseError(f"suite {suite.name} has no case {name!r}.{hint}")
    wanted = set(names) | {known[name].losses_of for name in names}
    chosen = tuple(case for case in suite.cases if not names or case.name in wanted)
    return dataclasses.replace(suite, cases=chosen)


def tell(result: SuiteResult, *, outputs: Outputs) -> None:
    """Print the result and write its pages and, where asked for, its Markdown."""
    index = write_pages(result, result.session.folder)
    write_text(result.session.folder / "result.json", result_json(result) + "\n")
    if outputs.markdown is not None:
        write_text(outputs.markdown, markdown(result))
    if outputs.json:
        print(result_json(result))
    else:
        show(result, make_console())
    say(f"report: {index}")


def _checkouts(refs: dict[str, Ref], *, repository: Path) -> dict[str, Checkout]:
    folder = checkouts_folder(repository)
    found = {}
    for side, ref in refs.items():
        found[side] = check_out(ref, repository=repository, folder=folder, say=say)
        note = f" ({ref.note})" if ref.note else ""
        say(f"{side}: {ref.name} at {ref.commit[:12]}{note}, {found[side].note}")
    return found


def checkouts_folder(repository: Path) -> Path:
    """Return where this repository's worktrees go: never inside it."""
    digest = hashlib.sha256(str(repository).encode()).hexdigest()[:8]
    return home() / "checkouts" / f"{repository.name}-{digest}"


def say(line: str) -> None:
    """Print progress: on stderr, so that --json stays alone on stdout."""
    print(line, file=sys.stderr, flush=True)
