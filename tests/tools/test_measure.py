"""Turns and ratios of benchmarks."""

from __future__ import annotations

import pytest

from tools.bench.measure import Report, Side, measure_in_turns, ratio


def test_sides_take_turns_and_the_order_reverses():
    calls = []

    def side(name: str, seconds: float):
        return lambda: calls.append(name) or seconds

    sides = measure_in_turns({"a": side("a", 1.0), "b": side("b", 2.0)}, num_rounds=3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert sides == [Side("a", (1.0, 1.0, 1.0)), Side("b", (2.0, 2.0, 2.0))]


def test_a_ratio_is_taken_within_rounds_so_that_drift_cancels():
    drifting = Side("slow", (1.1, 2.2, 4.4))
    over = ratio(drifting, Side("base", (1.0, 2.0, 4.0)))
    assert [over.median, over.low, over.high] == pytest.approx([1.1, 1.1, 1.1])


def test_sides_of_different_length_have_no_ratio():
    with pytest.raises(ValueError):
        ratio(Side("a", (1.0,)), Side("b", (1.0, 2.0)))


def test_a_report_compares_every_side_with_the_first():
    sides = [Side("base", (2.0, 4.0)), Side("ours", (3.0, 5.0))]
    report = Report(title="t", sides=sides, goal="g", notes=())
    assert report.rows() == [
        ("base", "3.0000", "2.0000", "4.0000", "1.000", "1.000-1.000"),
        ("ours", "4.0000", "3.0000", "5.0000", "1.375", "1.250-1.500"),
    ]
    assert report.to_json()["sides"][1]["ratio"] == {"median": 1.375, "low": 1.25, "high": 1.5}
