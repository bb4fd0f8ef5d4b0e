"""The pipeline's schedule of a trace, and the bubble that its arguments give."""

from __future__ import annotations

from pathlib import Path

import pytest

from axl_exp.compare.logs.log import Log
from axl_exp.compare.schedule import schedule_of

ARGUMENTS = {
    "pipeline_model_parallel_size": "4",
    "virtual_pipeline_model_parallel_size": "2",
    "global_batch_size": "16",
    "micro_batch_size": "2",
    "world_size": "8",
    "tensor_model_parallel_size": "2",
}


def log(trace, arguments=ARGUMENTS) -> Log:
    return Log(
        path=Path("x.log"), format="megatron", rows=None, evals=None,  # pyright: ignore
        trace=trace, arguments=arguments,
    )  # fmt: skip


def passes(rank: int, direction: str, tensors) -> list[tuple[int, str, str, int]]:
    return [(rank, direction, phase, t) for t in tensors for phase in ("start", "finished")]


def test_a_log_without_a_trace_has_no_schedule():
    assert schedule_of(log([])) is None


def test_the_bubble_is_that_of_narayanan_and_others():
    # p = 4 stages, v = 2 virtual, m = 16 / 2 = 8 microbatches: 3 / (2 * 8) of the ideal time is
    # 3 / 19 of all of it.
    schedule = schedule_of(log(passes(0, "forward", range(8))))
    assert schedule is not None
    assert schedule.bubble == pytest.approx((3 / 16) / (1 + 3 / 16))


def test_without_the_arguments_no_bubble_is_told():
    schedule = schedule_of(log(passes(0, "forward", range(2)), arguments={}))
    assert schedule is not None
    assert schedule.bubble is None
    assert {span.stage for span in schedule.spans} == {None}


def test_virtual_stages_take_turns_forward_and_in_reverse_backward():
    trace = [*passes(0, "forward", range(16)), *passes(0, "backward", range(16))]
    schedule = schedule_of(log(trace))
    assert schedule is not None
    forward = [s.stage for s in schedule.spans if s.direction == "forward"]
    backward = [s.stage for s in schedule.spans if s.direction == "backward"]
    assert forward == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert backward == [1] * 4 + [0] * 4 + [1] * 4 + [0] * 4


def test_events_without_a_partner_are_counted():
    trace = [(0, "forward", "start", 1), (0, "forward", "finished", 2)]
    schedule = schedule_of(log(trace))
    assert schedule is not None
    assert schedule.spans == []
    assert schedule.num_unmatched == 2
