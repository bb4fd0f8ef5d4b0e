"""The schedules that libtpu writes of its kernels."""

from __future__ import annotations

import dataclasses

import pytest

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule, read_schedule
from axl_exp.mesh.hardware import CHIPS

V5E = next(chip for chip in CHIPS if chip.name == "v5e")

# A grid of 6 steps: all of the loop but its last bundles is skipped where the pipeline fills or
# drains; within, 2 bundles begin a row, 5 are the work, of which 2 are a loop of 10 turns.
_BUNDLES = """\
= control target key start
LB: loop body
PF: predicated region fallthrough
= control target key end
     0   :  { %s1_s0 = smov 0 }
   0x1   :  { %s2_s0 = smov 0 } /* Start region 1 */
   0x2 LB: > { %s3_s1 = sphi %s1_s0, %s4_s1 /* iteration index, stage = 0 */ }
   0x3   : > { %9 = sbr.rel (%p1_p0) target = $region9 }
   0x4   : > { %10 = sbr.rel (%p2_p0) target = $region5 }
   0x5   : > { %v1 = vst [vmem:[%s1]] %v0 /* a comment
that goes on in another line */ }
   0x6   : > { %v1 = vst [vmem:[%s1]] %v0 }
   0x7 PF: > { %p3_p0 = scmp.ne.s32.totalorder %s1, 3 }
   0x8   : > { %11 = sbr.rel (%p3_p0) target = $region6 }
   0x9   : > { %v2 = vld [vmem:[%s1]] }
   0xa LB: >> { %v3 = vmatmul %v2 }
   0xb   : >> { %p7_p1 = scmp.ge.s32.totalorder %s7, 10 /* loop exit test */ }
   0xc   : >> { %12 = sbr.rel (!%p7_p1) target = $region7 }
   0xd   : > { %v4 = vpop %v3 }
   0xe PF: > { %v5 = vst [vmem:[%s1]] %v4 }
   0xf PF: > { %s4_s1 = sadd.s32 1, %s3_s1 }
  0x10   : > { %p8_p0 = scmp.ge.s32.totalorder %s4_s1, 8 /* loop exit test */ }
  0x11   : > { %37 = sbr.rel (!%p8_p0) target = $region9 }
  0x12   :  { %71967 = vsyncpa [#allocation6], 1 }
"""


def test_bundles_count_by_the_steps_that_go_through_them():
    schedule = read_schedule(_BUNDLES)
    # From 0x8 to 0xe with 9 further turns of 2; from 0x4 to 0x7; the rest of 0x2 to 0x11.
    assert schedule is not None
    assert schedule == KernelSchedule(num_steps=6, every_step=6, skipped=(6 + 9 * 2, 3))
    assert schedule.cycles() == 6 * (6 + 24 + 3)
    assert schedule.cycles(longest=0.75, others=0.5) == 6 * (6 + 18 + 1.5)


def test_a_stretch_may_be_skipped_where_something_does_not_hold():
    assert read_schedule(_BUNDLES.replace("(%p2_p0)", "(!%p2_p0)")) == read_schedule(_BUNDLES)


@pytest.mark.parametrize("cut", ["/* loop exit test */", "sbr.rel (!%p8_p0)"])
def test_a_loop_of_unknown_turns_has_no_schedule(cut):
    assert read_schedule(_BUNDLES.replace(cut, "")) is None
    assert read_schedule("") is None


def test_a_kernel_takes_the_cycles_of_its_schedule():
    text = (
        "HloModule m, is_scheduled=true\n\nENTRY %e () -> bf16[] {\n"
        "  %q = bf16[2,4096,128]{2,1,0} parameter(0)\n"
        "  %splash_mha_fwd.1 = bf16[2,4096,128]{2,1,0} custom-call(%q, %q, %q), "
        'custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={"x":'
        '"{\\"block_q\\": 1024, \\"block_kv\\": 1024}"}}\n'
        "  ROOT %mine.2 = bf16[] custom-call(%q), "
        'custom_call_target="tpu_custom_call"\n}\n'
    )
    program = parse_program(text)
    schedule = KernelSchedule(num_steps=32, every_step=100, skipped=(3000, 200))
    costs = Costs(program, V5E, {"splash_mha_fwd.1": schedule, "mine.2": schedule})
    splash, mine = (program.entry.by_name[name] for name in ("splash_mha_fwd.1", "mine.2"))
    # Of 4 x 4 blocks, 10 are on the diagonal or below; a row begins once in 4.
    expected = 32 * (100 + 10 / 16 * 3000 + 200 / 4) / 1.5e9
    assert costs.seconds(program.entry, splash) == pytest.approx(expected)
    assert costs.seconds(program.entry, mine) == pytest.approx(32 * 3300 / 1.5e9)
    assert not costs.unknown_kernels
    assert costs.how == "libtpu's cycles at 1.5 GHz, memory at 90%"
    unscheduled = dataclasses.replace(costs, schedules={})
    assert costs.seconds(program.entry, splash) < unscheduled.seconds(program.entry, splash)
    assert unscheduled.how.endswith("; attention kernels by operations")
