"""A pipeline's schedule as a chart: one lane per rank, one box per pass."""

from __future__ import annotations

from dataclasses import dataclass

from axl_exp.compare.logs.log import Log
from axl_exp.compare.schedule import Schedule, schedule_of

_STAGE_COLOURS = 8  # Of page.css; further stages begin again.


@dataclass(frozen=True)
class PassBox:
    """A box of a lane: places from 0 to 1000."""

    left: float
    width: float
    style: str
    told: str


@dataclass(frozen=True)
class Gantt:
    """What the page draws of a schedule."""

    side: str
    schedule: Schedule
    lanes: list[tuple[str, list[PassBox]]]
    stages: list[tuple[str, str]]


def gantt_of(side: str, log: Log) -> Gantt | None:
    """Return the chart of the schedule that `log` traces; None where it traces none."""
    schedule = schedule_of(log)
    if schedule is None:
        return None
    unit = 1000 / schedule.num_events
    lanes = []
    for rank in schedule.ranks:
        boxes = [
            PassBox(
                left=round(span.start * unit, 2),
                width=round(max(span.end - span.start, 1) * unit, 2),
                style=f"{span.direction} stage{(span.stage or 0) % _STAGE_COLOURS}",
                told=f"rank {rank}: {span.direction} of tensor {span.tensor}"
                + ("" if span.stage is None else f", virtual stage {span.stage}")
                + f", events {span.start + 1} to {span.end + 1}",
            )
            for span in schedule.spans
            if span.rank == rank
        ]
        lanes.append((f"rank {rank}", boxes))
    known = sorted({span.stage for span in schedule.spans if span.stage is not None})
    stages = [(f"stage{stage % _STAGE_COLOURS}", f"virtual stage {stage}") for stage in known]
    return Gantt(side, schedule, lanes, stages)
