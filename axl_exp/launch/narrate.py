"""What a person reads while a run goes: the plan, progress, and the summary at the end.

On a terminal a progress bar moves; elsewhere plain lines appear every so many steps. Everything
that is said also lands in the run's log, with the time.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from axl_exp.cli import drop_stdout
from axl_exp.report.bar import make_bar
from axl_exp.report.terminal import make_facts, make_table
from axl_exp.report.text import format_bytes, format_number, format_seconds, printable
from axl_exp.run.files import RunFileError
from axl_exp.train.loop import StepReport
from axl_exp.train.plan import Plan


class Narrator:
    """Tells a person, and the log, what happens. A context manager around the whole session."""

    def __init__(self, console: Console, *, on_lost_reader: Callable[[], None]):
        """Args:
        on_lost_reader: Called when whoever read our output has closed it (`| head`); from then on
            only the log is told.
        """
        self._console = console
        self._on_lost_reader = on_lost_reader
        self._log: Path | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._log_every_n_steps = 1
        self._last_line_step = 0
        self._max_step = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_progress()

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print a line, above the progress bar if there is one, and log it."""
        self._print(printable(text), style=style)
        self._note(text)

    def _print(self, *what: Any, style: str | None = None) -> None:
        try:
            self._console.print(*what, style=style)
        except BrokenPipeError:
            self._console.quiet = True
            drop_stdout()
            self._on_lost_reader()

    def log_to(self, path: Path) -> None:
        """Append everything said from now on to the file at `path` too."""
        self._log = path

    def _note(self, text: str) -> None:
        if self._log is None:
            return
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}\n")
        except OSError as error:
            raise RunFileError(f"cannot write {self._log}: {error.strerror}") from error

    # -- progress -----------------------------------------------------------------------------

    def start_steps(self, *, max_step: int, log_every_n_steps: int) -> None:
        """Show progress towards `max_step` from the next `on_step` on."""
        self._max_step, self._log_every_n_steps = max_step, log_every_n_steps
        if self._console.is_terminal:
            self._progress = make_bar(
                self._console,
                TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(),
            )
            self._task = self._progress.add_task("", total=max_step, numbers="starting")

    def on_step(self, report: StepReport) -> None:
        """Show one finished step."""
        line = step_line(report, max_step=self._max_step)
        due = report.step % self._log_every_n_steps == 0 or report.step in (1, self._max_step)
        if due:
            self._note(line)
        if self._progress is not None and self._task is not None:
            self._progress.start()
            numbers = step_numbers(report)
            self._progress.update(self._task, completed=report.step, numbers=numbers)
        elif due:
            self._print(line)

    def _stop_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    # -- before and after ---------------------------------------------------------------------

    def show_plan(self, facts: list[tuple[str, str]]) -> None:
        """Print facts about the run that is about to start."""
        self._print(make_facts(facts))
        for name, value in facts:
            self._note(f"{name}: {value}")

    def show_summary(self, summary: Mapping[str, Any], *, run_dir: Path) -> None:
        """Print how the run went and what to do next."""
        self._stop_progress()
        self._print()
        facts = summary_facts(summary)
        self._print(make_facts(facts))
        for name, value in facts:
            self._note(f"{name}: {value}")
        self._print()
        self._print(time_table(summary["seconds"]))


def step_numbers(report: StepReport) -> str:
    """Return the numbers beside the bar: loss, time per step, tokens per second."""
    record = report.record
    return (
        f"loss {record['train/loss']:.4f}  {format_seconds(record['perf/step_seconds'])}/step  "
        f"{record['perf/tokens_per_second']:,.0f} tok/s"
    )


def step_line(report: StepReport, *, max_step: int) -> str:
    """Return the plain line of a step: `step 10/150  loss 7.1234  1.02 s/step  2,008 tok/s`."""
    return f"step {report.step}/{max_step}  {step_numbers(report)}"


def plan_facts(plan: Plan, *, config: str, hardware: str) -> list[tuple[str, str]]:
    """Return the plan in words, for `show_plan`."""
    rows, positions = plan.batch
    memory = plan.memory
    need = f"{format_bytes(memory.needed_bytes)} per device"
    if plan.available_bytes is not None:
        need += f" of {format_bytes(plan.available_bytes)}"
    flops = plan.flops_per_token
    return [
        ("config", config),
        ("hardware", hardware),
        ("mesh", plan.mesh),
        ("parameters", f"{plan.num_params:,} ({plan.num_embedding_params:,} in the embedding)"),
        ("batch", f"{rows:,} rows of {positions:,} = {plan.tokens_per_step:,} tokens per step"),
        ("steps", f"{plan.max_step:,} = {plan.max_step * plan.tokens_per_step:,} tokens"),
        (
            "model FLOPs",
            f"{format_number(flops.causal / 1e9)} G per token, forward and backward "
            f"({plan.flop_formula}, causal)",
        ),
        ("attention", f"{plan.attention.name}: {plan.attention.why}"),
        (
            "memory",
            f"{need}: parameters {format_bytes(memory.params_bytes)}, optimizer "
            f"{format_bytes(memory.opt_state_bytes)}, gradients "
            f"{format_bytes(memory.gradients_bytes)}"
            + (f"; {format_bytes(memory.host_bytes)} on the host" if memory.host_bytes else "")
            + ("; activations by the compiler's count" if memory.compiled_bytes else ""),
        ),
    ]


def summary_facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return summary.json in words."""
    facts = [("status", f"{summary['status']} after step {summary['step']:,}")]
    if summary["first_loss"] is not None:
        trained = f"{summary['first_loss']:.4f} -> {summary['last_loss']:.4f}"
        facts.append(("loss", f"{trained} (nats per token, first and last step)"))
    for name, metrics in summary["evals"].items():
        bits = metrics.get("bits_per_byte")
        extra = f", bits per byte {bits:.4f}" if bits is not None else ""
        facts.append(
            (
                f"eval {name}",
                f"loss {metrics['loss']:.4f}, perplexity {metrics['perplexity']:.2f}{extra} "
                f"({metrics['num_targets']:,} tokens)",
            )
        )
    if "window" in summary:
        first, last, count = summary["window"]
        facts += [
            (
                "step time",
                f"p50 {format_seconds(summary['step_seconds_p50'])}, p95 "
                f"{format_seconds(summary['step_seconds_p95'])} "
                f"({count} steady steps of {first}-{last})",
            ),
            ("tokens/s", f"{summary['tokens_per_second']:,.0f} (from the median step)"),
            ("TFLOP/s", f"{format_number(summary['tflops_per_device'])} per device{_mfu(summary)}"),
            ("data wait", f"{summary['data_wait_share']:.1%} of steady step time"),
        ]
    if summary["peak_memory_bytes"] is not None:
        facts.append(("peak memory", format_bytes(summary["peak_memory_bytes"])))
    facts += [("dry run", told) for told in _against_dry_run(summary.get("dry_run", {}))]
    return facts


def _against_dry_run(dry_run: Mapping[str, Any]) -> Iterator[str]:
    if "error" in dry_run:
        yield f"none: {dry_run['error']}"
    if "memory_ratio" in dry_run:
        yield (
            f"memory {dry_run['memory_ratio']:.2f} times the planned "
            f"{format_bytes(dry_run['memory_bytes'])} per device, by the "
            f"{dry_run['memory_measured_by']}"
        )
    if "step_ratio" in dry_run:
        yield (
            f"step {dry_run['step_ratio']:.2f} times the least planned "
            f"{format_seconds(dry_run['step_seconds'])}, bound by {dry_run['bound_by']}"
        )


def _mfu(summary: Mapping[str, Any]) -> str:
    if "mfu" not in summary:
        return " (no MFU: this device's peak is not in the hardware table)"
    return f", MFU {summary['mfu']:.1%} of the chip's bf16 peak"


def time_table(seconds: Mapping[str, float]) -> Any:
    """Return the table of where the wall time went, longest first."""
    total = sum(seconds.values())
    rows = [
        (name, format_seconds(spent), f"{spent / total:.1%}")
        for name, spent in sorted(seconds.items(), key=lambda item: -item[1])
        if total and spent / total >= 0.0005
    ]
    rows.append(("total", format_seconds(total), ""))
    return make_table("where the time went", "", "", rows=rows, right=(1, 2))
