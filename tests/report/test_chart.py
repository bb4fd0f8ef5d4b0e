"""Charts: nothing that matters vanishes in the drawing, and the drawing says what it leaves out."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.report.html.chart import HEIGHT, WIDTH, Band, Chart, Line
from axl_exp.report.html.scale import Scale, scale_of, thin
from axl_exp.report.html.strip import make_strip


def chart(values: list[float], **options) -> Chart:
    return Chart("c", "Loss", [Line("A", "a", np.arange(len(values)), np.array(values))], **options)


def points(drawing: Chart) -> list[tuple[float, float]]:
    path = str(drawing.paths[0][1])
    return [tuple(map(float, p.split())) for p in re.split("[ML]", path) if p]  # pyright: ignore


def test_a_thinned_line_covers_the_same_pixels_in_every_column():
    rng = np.random.default_rng(0)
    steps, values = np.arange(100_000), rng.normal(size=100_000).cumsum()
    chosen = thin(steps, values, columns=100)
    assert len(chosen) <= 4 * 100
    for column in range(100):
        part = slice(1000 * column, 1000 * (column + 1))
        kept = chosen[(chosen >= part.start) & (chosen < part.stop)]
        assert values[kept].min() == values[part].min()
        assert values[kept].max() == values[part].max()
        assert (kept[0], kept[-1]) == (part.start, part.stop - 1)


def test_one_stall_in_a_million_steps_is_drawn():
    values = np.full(1_000_000, 0.25)
    values[123_457] = 30.0
    assert 123_457 in thin(np.arange(1_000_000), values)


@settings(deadline=None)  # The machine may be busy.
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50))
def test_every_point_stands_within_the_drawing(values):
    for across, down in points(chart(values)):
        assert 0 <= across <= WIDTH
        assert 0 <= down <= HEIGHT


def test_values_that_are_not_finite_are_left_out_and_told():
    drawing = chart([1.0, math.nan, 2.0, math.inf])
    assert len(points(drawing)) == 2
    assert drawing.notes == ["A: 2 values cannot be drawn: not finite."]


def test_a_logarithmic_chart_leaves_out_zero_and_says_so():
    drawing = chart([0.0, 0.1, 10.0], is_log=True)
    assert "A: 1 values cannot be drawn" in drawing.notes[0]
    assert 0 < drawing.y.low < 0.1


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.0], [0.0, 0.0], [math.nan]])
def test_a_chart_of_few_or_equal_values_can_be_drawn(values):
    drawing = chart(values)
    assert drawing.y.low < drawing.y.high
    assert drawing.x.low < drawing.x.high
    assert drawing.told


def test_a_band_much_wider_than_the_lines_does_not_flatten_them():
    drawing = chart([-0.001, 0.002], band=Band(-1.0, 1.0, "floor"), zero=True)
    assert drawing.y.high < 0.01
    assert drawing.band_box == (0, HEIGHT)
    assert "wider than the chart" in drawing.notes[0]


@pytest.mark.parametrize("low,high", [(0, 1), (-3, 7), (0.00012, 0.00019), (1e6, 9e6), (9.3, 9.4)])
def test_ticks_are_round_ascending_and_inside(low, high):
    ticks = Scale(low, high).ticks()
    assert 2 <= len(ticks) <= 6
    assert all(low <= t <= high for t in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


def test_logarithmic_ticks_are_powers_of_ten():
    assert scale_of(np.array([0.01, 100.0]), is_log=True).ticks() == [0.01, 0.1, 1, 10, 100]


def test_a_rare_step_keeps_its_colour_among_many():
    classes = ["steady"] * 50_000
    classes[31_415] = "stall"
    seconds = np.full(50_000, 0.25)
    seconds[31_415] = 30.0
    strip = make_strip(
        "A", np.arange(50_000), classes, seconds,
        window=(0, 49_999), styles={"steady": "steady", "stall": "stall"}, usual="steady",
    )  # fmt: skip
    stalls = [box for box in strip.boxes if box.style == "stall"]
    assert len(stalls) == 1
    assert stalls[0].told == "step 31,415: stall, 30 s"
    assert stalls[0].left == pytest.approx(WIDTH * 31_415 / 50_000, abs=1)


def test_a_strip_leaves_a_gap_where_a_run_has_no_step():
    strip = make_strip(
        "A", np.array([0, 1, 8, 9]), ["steady"] * 4, np.ones(4),
        window=(0, 9), styles={}, usual="steady",
    )  # fmt: skip
    assert [(box.left, box.width) for box in strip.boxes] == [(0, 200), (800, 200)]
