"""Turns of loops and operations of products, against closed forms and XLA's own count."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.dryrun.compiled.execution import executions
from axl_exp.dryrun.compiled.hlo import HloTextError, parse_program
from axl_exp.dryrun.compiled.operations import _valid_positions, product_flops
from tests.dryrun.compiled.programs import LOOP


def _flops(text: str) -> int:
    run = executions(parse_program(text))
    return sum(each.times * product_flops(each.computation, each.instruction) for each in run)


def _without_counts(text: str) -> str:
    return re.sub(r'"known_trip_count":\{"n":"\d+"\},?', "", text)


def test_what_stands_in_a_loop_counts_as_often_as_it_turns():
    assert _flops(LOOP) == 3 * 2 * 64 * 512 * 256
    times = {each.instruction.name: each.times for each in executions(parse_program(LOOP))}
    assert (times["loop"], times["gather"], times["whole"]) == (1, 3, 3)


@pytest.mark.parametrize(
    ("old", "new", "turns"),
    [
        ("direction=LT", "direction=LE", 4),
        ("direction=LT", "direction=NE", 3),
        ("constant(3)", "constant(0)", 0),
        ("compare(%turn_number, %limit), direction=LT", "compare(%limit, %turn_number), "
         "direction=GT", 3),
        ("%one = s32[] constant(1)", "%one = s32[] constant(2)", 2),
    ],
)  # fmt: skip
def test_turns_follow_from_what_is_compared(old, new, turns):
    assert _flops(LOOP.replace(old, new)) == turns * 2 * 64 * 512 * 256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%one = s32[] constant(1)", "%one = s32[] get-tuple-element(%carry), index=0"),
        ("direction=LT", "direction=GT"),
        ("direction=LT", "direction=EQ"),
        ("%limit = s32[] constant(3)", "%limit = s32[] partition-id()"),
    ],
)
def test_a_loop_of_unknown_turns_is_an_error_not_a_guess(old, new):
    with pytest.raises(HloTextError, match="loop"):
        _flops(LOOP.replace(old, new))


def test_turns_and_operations_of_a_scan_in_a_scan_are_those_of_the_program():
    def f(x, w):
        def inner(c, _):
            return jnp.tanh(c @ w), None

        def outer(c, _):
            return jax.lax.scan(inner, c, None, length=5)[0] @ w, None

        return jax.lax.scan(outer, x, None, length=7)[0]

    x, w = jnp.zeros((8, 32)), jnp.zeros((32, 32))
    text = jax.jit(f).lower(x, w).compile().as_text()
    expected = 7 * (5 + 1) * 2 * 8 * 32 * 32
    assert text is not None and "known_trip_count" in text
    assert _flops(text) == expected
    assert _flops(_without_counts(text)) == expected


def test_operations_of_a_convolution_are_those_of_xlas_own_cost_analysis():
    def f(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (2, 1), ((1, 2), (0, 3)), lhs_dilation=(1, 2), rhs_dilation=(2, 1)
        )

    compiled = jax.jit(f).lower(jnp.zeros((2, 3, 9, 7)), jnp.zeros((4, 3, 3, 2))).compile()
    text, analysis = compiled.as_text(), compiled.cost_analysis()
    assert text is not None and analysis is not None
    assert " convolution(" in text
    assert _flops(text) == analysis["flops"]


@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3),
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 4),
)  # fmt: skip
def test_window_positions_on_the_input_are_counted_as_by_hand(
    input_size, output_size, size, stride, lhs_dilate, rhs_dilate, pad_low
):
    dilated = {i * lhs_dilate for i in range(input_size)}
    by_hand = sum(
        o * stride + p * rhs_dilate - pad_low in dilated
        for o in range(output_size)
        for p in range(size)
    )
    counted = _valid_positions(
        input_size=input_size,
        output_size=output_size,
        size=size,
        stride=stride,
        lhs_dilate=lhs_dilate,
        rhs_dilate=rhs_dilate,
        pad_low=pad_low,
    )
    assert counted == by_hand
