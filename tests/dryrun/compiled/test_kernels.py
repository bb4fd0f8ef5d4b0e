"""Kernels in compiled programs: what they multiply by formula."""

from __future__ import annotations

import pytest

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.kernels import attention_kernel
from axl_exp.mesh import CHIPS

(V5E,) = (chip for chip in CHIPS if chip.name == "v5e")


def _kernel_line(name: str, *, num_gradients: int = 2, scope: str = "") -> str:
    arrays = "".join(f"  %{n} = bf16[2,8,4096,128]{{3,2,1,0}} parameter({i})\n"
                     for i, n in enumerate("qkv"))  # fmt: skip
    sizes = ", ".join(
        f'\\"{block}\\": 512' for block in ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv")
    )
    return (
        f"HloModule m, is_scheduled=true\n\nENTRY %e () -> bf16[] {{\n{arrays}  ROOT %{name}.1 = "
        f"({', '.join(['bf16[2,8,4096,128]{3,2,1,0}'] * num_gradients)}) custom-call(%q, %k, %v), "
        'custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={"x":"{'
        f'{sizes}}}"}}}}, metadata={{op_name="{scope}"}}\n}}\n'
    )


@pytest.mark.parametrize(
    ("name", "num_gradients", "products"),
    [
        ("splash_mha_fwd_segmented_residuals", 1, 2),
        ("splash_mha_dkv_segmented_no_residuals", 2, 4),
        ("splash_mha_dkv_segmented_no_residuals", 3, 5),
    ],
)
def test_an_attention_kernel_works_on_the_blocks_below_the_diagonal(name, num_gradients, products):
    entry = parse_program(_kernel_line(name, num_gradients=num_gradients)).entry
    kernel = attention_kernel(entry, entry.root)
    assert kernel is not None
    blocks = 4096 // 512
    seen = blocks * (blocks + 1) // 2 * 512 * 512  # Whole blocks.
    assert kernel.flops == products * 2 * 2 * 8 * 128 * seen


@pytest.mark.parametrize(
    ("name", "num_gradients", "seen", "turns"),
    [
        # Each block of 512 sees itself and two before it; the first two see less.
        ("splash_mha_fwd_segmented_residuals", 1, 8 * 3 - 3, 8 * 3),
        ("splash_mha_dkv_segmented_no_residuals", 2, 8 * 3 - 3, 8 * 3),
        # The fused kernel goes through all blocks.
        ("splash_mha_dkv_segmented_no_residuals", 3, 8 * 3 - 3, 8 * 8),
    ],
)
def test_of_a_sliding_window_seen_blocks_count_alone(name, num_gradients, seen, turns):
    line = _kernel_line(name, num_gradients=num_gradients, scope="jit(step)/sliding_window_1024")
    entry = parse_program(line).entry
    kernel, whole = (
        attention_kernel(where, where.root)
        for where in (entry, parse_program(_kernel_line(name, num_gradients=num_gradients)).entry)
    )
    assert kernel is not None
    assert whole is not None
    assert kernel.flops / whole.flops == pytest.approx(seen / (8 * 9 / 2))
    assert kernel.turns_seen == pytest.approx(seen / turns)
    assert whole.turns_seen == pytest.approx(9 / 16)


def test_cudnn_says_its_window_itself():
    array = "bf16[2,8192,32,64]{3,2,1,0}"

    def flops(window: int) -> float:
        entry = parse_program(
            f"HloModule m, is_scheduled=true\n\nENTRY %e () -> f32[] {{\n"
            f"  %q = {array} parameter(0)\n  %k = {array} parameter(1)\n"
            f'  ROOT %f = {array} custom-call(%q, %k), custom_call_target="__cudnn$fmhaSoftmax", '
            f'backend_config={{"cudnn_fmha_backend_config":{{"sliding_window_length":{window}}}}}'
            "\n}\n"
        ).entry
        kernel = attention_kernel(entry, entry.root)
        assert kernel is not None
        return kernel.flops

    num_blocks = 8192 // 128
    of_window = sum(min(row, 1024 // 128 + 1) for row in range(1, num_blocks + 1))
    assert flops(1024) / flops(0) == pytest.approx(of_window / (num_blocks * (num_blocks + 1) / 2))


def test_a_kernel_that_nobody_knows_is_told_not_guessed():
    program = parse_program(_kernel_line("my_kernel"))
    costs = Costs(program, V5E)
    assert costs.seconds(program.entry, program.entry.root) == 0.0
    assert costs.unknown_kernels == {"my_kernel.1"}
