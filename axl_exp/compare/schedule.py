"""A pipeline's schedule as a trace tells it: which rank worked on what, in which order.

Megatron-LM's traces print no clock, so a chart of them shows order, not duration, and the bubble is
what follows from the arguments: of a step's time, stages idle (p - 1) / (v m + p - 1), with p
pipeline stages, m microbatches and v virtual stages per rank (Narayanan et al. 2021, Efficient
large-scale language model training on GPU clusters using Megatron-LM, section 2.2: (p - 1) / (v m)
of the ideal time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from axl_exp.compare.logs.log import Log


@dataclass(frozen=True)
class Span:
    """One pass of one tensor on one rank.

    Attributes:
        direction: forward or backward.
        tensor: Its number, as printed.
        start, end: Places in the log's order of events; end is after start.
        stage: Virtual stage on the rank, by Megatron's interleaved order; None where the
            arguments do not tell how many there are.
    """

    rank: int
    direction: str
    tensor: int
    start: int
    end: int
    stage: int | None


@dataclass(frozen=True)
class Schedule:
    """The passes of every rank that the trace tells of, and the bubble by the arguments.

    Attributes:
        num_events: Length of the log's order.
        num_unmatched: Events without a partner: a start that never finished, or the reverse.
        bubble: Share of a step's time in which a stage idles; None where arguments are missing.
        bubble_told: The formula with its numbers.
    """

    spans: list[Span]
    ranks: list[int]
    num_events: int
    num_unmatched: int
    bubble: float | None
    bubble_told: str


def schedule_of(log: Log) -> Schedule | None:
    """Return the schedule that `log` traces; None where it traces none."""
    if not log.trace:
        return None
    started: dict[tuple[int, str, int], int] = {}
    found, unmatched = [], 0
    for place, (rank, direction, phase, tensor) in enumerate(log.trace):
        key = (rank, direction, tensor)
        if phase.startswith("start"):
            unmatched += key in started
            started[key] = place
        elif key in started:
            found.append((rank, direction, tensor, started.pop(key), place))
        else:
            unmatched += 1
    stages = _num_stages(log.arguments)
    bubble, told = _bubble(log.arguments, num_virtual=stages)
    return Schedule(
        spans=_with_stages(found, log.arguments, num_virtual=stages),
        ranks=sorted({event[0] for event in log.trace}),
        num_events=len(log.trace),
        num_unmatched=unmatched + len(started),
        bubble=bubble,
        bubble_told=told,
    )


def _with_stages(
    found: Sequence[tuple[int, str, int, int, int]],
    arguments: Mapping[str, str],
    *,
    num_virtual: int | None,
) -> list[Span]:
    """Give each pass its virtual stage: ranks take p microbatches per stage in turn, backward from
    the last stage on."""
    num_ranks = _whole(arguments, "pipeline_model_parallel_size")
    counts: dict[tuple[int, str], int] = {}
    spans = []
    for rank, direction, tensor, start, end in sorted(found, key=lambda span: span[3]):
        count = counts.get((rank, direction), 0)
        counts[rank, direction] = count + 1
        stage = None
        if num_virtual and num_ranks:
            stage = count // num_ranks % num_virtual
            stage = stage if direction == "forward" else num_virtual - 1 - stage
        spans.append(Span(rank, direction, tensor, start, end, stage))
    return spans


def _num_stages(arguments: Mapping[str, str]) -> int | None:
    """Return the virtual stages per rank, 1 without interleaving."""
    if told := _whole(arguments, "virtual_pipeline_model_parallel_size"):
        return told
    per_stage = _whole(arguments, "num_layers_per_virtual_pipeline_stage")
    layers = _whole(arguments, "num_layers")
    ranks = _whole(arguments, "pipeline_model_parallel_size")
    if not ranks:
        return None
    return layers // ranks // per_stage if per_stage and layers else 1


def _bubble(arguments: Mapping[str, str], *, num_virtual: int | None) -> tuple[float | None, str]:
    p = _whole(arguments, "pipeline_model_parallel_size")
    sizes = [
        _whole(arguments, name) for name in ("global_batch_size", "micro_batch_size", "world_size")
    ]
    tensor = _whole(arguments, "tensor_model_parallel_size") or 1
    context = _whole(arguments, "context_parallel_size") or 1
    batch, micro, world = sizes
    if not (p and batch and micro and world and num_virtual):
        return None, "the arguments that the bubble follows from are not printed"
    replicas = max(1, world // (p * tensor * context))
    m = batch // (micro * replicas)
    share = (p - 1) / (num_virtual * m + p - 1)
    told = f"(p - 1) / (v m + p - 1) with p = {p} stages, v = {num_virtual} virtual, m = {m} "
    return share, told + "microbatches: what the arguments give at the least; no clock is printed"


def _whole(arguments: Mapping[str, str], name: str) -> int | None:
    text = arguments.get(name, "")
    return int(text) if text.isdecimal() and int(text) else None
