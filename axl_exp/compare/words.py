"""What a comparison says, in words: the terminal, Markdown and the page print these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axl_exp.compare.checks import Check
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.figures import TRAIN_LOSS
from axl_exp.compare.load import Run
from axl_exp.compare.losses import identical_told
from axl_exp.compare.theirs import Theirs
from axl_exp.compare.time_use import TimeUse
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.report.text import format_bytes, format_number, format_seconds

NONE = "–"
# Icon, and the style of it in report/: never colour alone.
LOOKS = {
    State.BETTER: ("▲", "better"),
    State.WORSE: ("▼", "worse"),
    State.WITHIN_NOISE: ("≈", "noise"),
    State.NOT_COMPARABLE: ("?", "unsure"),
}
_THOUSANDS = 1000  # Of runs: nobody launches so many, and the spread tells no more digits.
_ASSUMED = (
    "Fewer than three runs per side, and no three runs of one code stored: floors are assumed, not "
    "measured, and drift between runs is in no interval."
)


@dataclass(frozen=True)
class MetricRow:
    """One metric in words."""

    name: str
    a: str
    b: str
    delta: str
    change: str
    interval: str
    floor: str
    icon: str
    style: str
    state: str
    reason: str
    window: str
    formula: str


@dataclass(frozen=True)
class TimeRow:
    """Seconds that both sides spent on one thing, in words."""

    what: str
    a: str
    b: str
    delta: str


def run_facts(run: Run) -> list[tuple[str, str]]:
    """Return who a run is, where it ran, and how exactly it tells its losses."""
    git, versions, hardware, host = (
        told if isinstance(told := run.env.get(key), dict) else {}
        for key in ("git", "versions", "hardware", "host")
    )
    commit = str(git.get("commit") or "")[:10] + (" dirty" if git.get("dirty") else "")
    machine = (hardware.get("host") or {}).get("name")
    process = host.get("process_index")
    count, kind = hardware.get("device_count"), hardware.get("device_kind")
    quantum, has_losses = run.quanta.get(TRAIN_LOSS), TRAIN_LOSS in run.metrics.numbers
    precision = f"printed to {quantum:g}" if quantum else "raw floats"
    facts = [
        ("config", run.config_name),
        ("status", run.status),
        ("commit", commit),
        ("JAX", str(versions.get("jax") or "")),
        ("devices", f"{count or '?'} × {kind or '?'}" if count or kind else ""),
        ("host", str(machine or "") if process is None else f"process {process}"),
        ("seed", str(run.env.get("seed", ""))),
        ("losses", precision if has_losses else ""),
    ]
    return [(name, told) for name, told in facts if told]


def metric_rows(metrics: Sequence[MetricResult]) -> list[MetricRow]:
    """Return every metric as the tables show it."""
    return [_metric_row(m) for m in metrics]


def _metric_row(m: MetricResult) -> MetricRow:
    icon, style = LOOKS[m.state]
    floor, interval = floor_of(m), m.interval
    ends = interval and (percent(interval.low), percent(interval.high))
    return MetricRow(
        name=m.name,
        a=value_told(m, m.a),
        b=value_told(m, m.b),
        delta=NONE if m.delta is None else _signed(value_told(m, m.delta), m.delta),
        change=NONE if m.relative is None else percent(m.relative),
        interval=" … ".join(ends) if ends else NONE,
        floor=NONE if floor is None else floor_told(floor),
        icon=icon,
        style=style,
        state=str(m.state),
        reason=_reason(m),
        window=m.window,
        formula=m.formula,
    )


def floor_of(m: MetricResult) -> float | None:
    """Return the noise floor that stands beside a metric, relative; None where none was used."""
    if m.floor is None or not m.a_runs or not m.b_runs:
        return None
    return m.floor.between(len(m.a_runs), len(m.b_runs))


def floor_told(floor: float) -> str:
    """Return a noise floor in words: `±0.5 %`."""
    percents = 100 * floor
    return f"±{percents:.3g} %" if percents < 1000 else f"±{percents:,.0f} %"


def value_told(m: MetricResult, value: float | None) -> str:
    """Return a value of a metric in its unit."""
    if value is None:
        return NONE
    if m.key.endswith("_bytes"):
        return format_bytes(value)
    return format_number(value, digits=6 if "loss" in m.key else 4)


def percent(share: float) -> str:
    """Return a relative change: `+1.25 %`."""
    return f"{100 * share:+.2f} %"


def _reason(m: MetricResult) -> str:
    return m.reason if m.equivalence is None else f"{m.reason}; equivalence: {m.equivalence.told}"


def noise_told(metrics: Sequence[MetricResult]) -> list[str]:
    """Return what the verdicts rest on, and how many more runs would detect 1 %."""
    judged = [m for m in metrics if m.floor is not None]
    if not judged:
        return []
    lines = []
    fewest = min(min(len(m.a_runs), len(m.b_runs)) for m in judged)
    if not any(m.test for m in judged):
        if any(m.floor and m.floor.spread is None for m in judged):
            lines.append(_ASSUMED)
        if any(m.floor and m.floor.spread is not None for m in judged):
            runs = f"{fewest} run{'s' * (fewest > 1)}"
            lines.append(f"{runs} per side: no p-value; measured floors are of stored A/A runs.")
    known = [m for m in judged if m.more_runs is not None and not m.follows]
    more = [f"{m.name} {_count(m.more_runs or 0)}" for m in known]
    if more:
        lines.append(f"More runs per side that would detect a change of 1 %: {', '.join(more)}.")
    else:
        lines.append("How many more runs would detect 1 % is not known before 3 per side ran.")
    return lines


def _count(num_runs: int) -> str:
    return f"{num_runs:,}" if num_runs < _THOUSANDS else f"{_THOUSANDS:,} or more"


def time_with_total(uses: Sequence[TimeUse]) -> list[TimeUse]:
    """Return the decomposition of time with its total, what is within steps behind it."""
    beside = [use for use in uses if not use.is_within_steps]
    total = TimeUse("total", sum(u.a_seconds for u in beside), sum(u.b_seconds for u in beside))
    return [*beside, total, *(use for use in uses if use.is_within_steps)] if uses else []


def time_row(use: TimeUse) -> TimeRow:
    """Return one row of that table."""
    delta = use.b_seconds - use.a_seconds
    return TimeRow(
        what=use.what,
        a=_steps_told(use.a_seconds, use.a_num_steps),
        b=_steps_told(use.b_seconds, use.b_num_steps),
        delta=_signed(format_seconds(delta), delta),
    )


def _steps_told(seconds: float, num_steps: int | None) -> str:
    told = format_seconds(seconds)
    return told if num_steps is None else f"{told} in {num_steps:,}"


def _signed(text: str, value: float) -> str:
    return f"+{text}" if value > 0 else text


def losses_told(c: Comparison) -> str:
    """Return how far the training losses go together."""
    losses = c.losses
    if losses.window is None:
        return "the runs share no step with a training loss"
    paired = f"{losses.num_paired:,} paired steps ({losses.window[0]}-{losses.window[1]})"
    if losses.parting is None:
        return f"{identical_told(losses.quantum)} at all {paired}"
    return f"part at step {losses.parting.step:,} of {paired}"


def loss_facts(c: Comparison) -> list[tuple[str, str]]:
    """Return what is known of where and how the losses part; empty where they never do."""
    losses = c.losses
    if losses.parting is None or losses.cause is None:
        return []
    parted = losses.parting
    ulps = "" if parted.ulps is None else f", {format_number(parted.ulps, digits=2)} float32 ulp"
    first = ", ".join(f"{k} {'never' if s is None else s}" for k, s in losses.first_apart.items())
    facts = [
        ("first apart", f"step {parted.step:,}: A {parted.a!r}, B {parted.b!r}{ulps}"),
        ("class of cause", losses.cause.value),
        ("first step of each", first),
    ]
    if losses.quanta_apart is not None:
        low, high = losses.quanta_apart
        facts.append(("apart by", f"{low} to {high} print quanta of {losses.quantum:g}"))
    if losses.growth is not None:
        low, high = (f"{value:.2g}" for value in losses.growth)
        facts.append(("growth", f"|B - A| goes from {low} to {high} in the mean: the first and the "
                      "last tenth of the steps since"))  # fmt: skip
    if losses.share_higher is not None:
        share = f"B is higher at {100 * losses.share_higher:.0f} % of the steps that differ"
        facts.append(("sign", share))
    return facts


def config_told(c: Comparison) -> str:
    """Return how many leaves of the configs differ."""
    if c.a.config is None or c.b.config is None:
        return "cannot be compared: a side has no config"
    num_leaves = f"{len(c.a.config):,} leaves"
    return f"{len(c.changes):,} of {num_leaves} differ" if c.changes else f"the same {num_leaves}"


def check_told(check: Check) -> str:
    """Return whether a physical check holds."""
    return "✓ holds" if check.holds else "✗ FAILS"


def their_value(value: float | str | None) -> str:
    """Return a figure of MaxView's, as it follows from a log."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else f"{value:.4f}"


def theirs_lines(theirs: Theirs) -> list[str]:
    """Return what MaxView's average hides, and what its long steps are made of."""
    lines = [theirs.average_told] if theirs.average_told else []
    for long in theirs.long_steps:
        parts = " + ".join(f"{seconds:.3f} {what}" for what, seconds in long.parts)
        what = "" if long.is_printed else " waited in its save, in no printed step,"
        lines.append(f"{long.side}, step {long.step}:{what} {long.seconds:.3f} s = {parts}")
    return lines
