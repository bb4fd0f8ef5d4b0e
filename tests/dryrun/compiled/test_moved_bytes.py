"""Bytes that instructions of a GPU program move."""

from __future__ import annotations

from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.moved_bytes import moved_bytes

_TEXT = """\
HloModule m, is_scheduled=true

%take (p: f32[32,1000], i: s32[]) -> f32[1000] {
  %p = f32[32,1000]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %part = f32[1,1000]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,1000}
  %flat = f32[1000]{0} bitcast(%part)
  ROOT %twice = f32[1000]{0} add(%flat, %flat)
}

%put (s: f32[32,1000], v: f32[1000], j: s32[]) -> f32[32,1000] {
  %s = f32[32,1000]{1,0} parameter(0)
  %v = f32[1000]{0} parameter(1)
  %j = s32[] parameter(2)
  %nought = s32[] constant(0)
  %row = f32[1,1000]{1,0} bitcast(%v)
  ROOT %new = f32[32,1000]{1,0} dynamic-update-slice(%s, %row, %j, %nought)
}

ENTRY %e (stack: f32[32,1000], at: s32[]) -> f32[32,1000] {
  %stack = f32[32,1000]{1,0} parameter(0)
  %at = s32[] parameter(1)
  %value = f32[1000]{0} fusion(%stack, %at), kind=kLoop, calls=%take
  %whole = f32[32,1000]{1,0} add(%stack, %stack)
  ROOT %kept = f32[32,1000]{1,0} fusion(%stack, %value, %at), kind=kLoop, calls=%put
}
"""


def test_a_part_of_a_stack_counts_as_the_part_and_in_place():
    program = parse_program(_TEXT)
    entry = program.entry
    moved = {i.name: moved_bytes(program, entry, i) for i in entry.instructions}
    row, index = 4000, 4
    assert moved["value"] == row + index + row
    assert moved["kept"] == row + index + row
    assert moved["whole"] == 3 * 32 * row
