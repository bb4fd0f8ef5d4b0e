"""How long a device computes an instruction.

On a TPU the compiler says so itself of products, in cycles, and of kernels in the schedule that it
makes of them. What passes over memory takes as long as its bytes. A GPU's compiler says nothing:
there an instruction takes as long as its operations or its bytes do at what is reached of the
chip's peaks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from axl_exp.dryrun.compiled.execution import called_once
from axl_exp.dryrun.compiled.hlo import Computation, HloTextError, Instruction, Program
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule
from axl_exp.dryrun.compiled.kernels import (
    Kernel,
    attention_kernel,
    custom_call_target,
    is_kernel,
)
from axl_exp.dryrun.compiled.moved_bytes import moved_bytes
from axl_exp.dryrun.compiled.operations import product_flops
from axl_exp.errors import UserError
from axl_exp.mesh import Chip

# Cycles per second of the TensorCores: the peak of the chip over the operations of a cycle, which
# are 2 * 128^2 for each of a core's 4 matrix units (v4, v5p: two cores; Jouppi et al. 2023,
# arXiv:2304.01433, has 1050 MHz for v4); v6e's 2 units of 256^2 work twice a cycle by that count.
_TPU_CLOCKS = {"v4": 1.05e9, "v5e": 1.5e9, "v5p": 1.75e9, "v6e": 1.75e9}
# Sides of a matrix unit ("How to Scale Your Model", chapter 2): a product that sums over fewer
# fills it in part.
_MATRIX_UNIT = {"v4": 128, "v5e": 128, "v5p": 128, "v6e": 256}

# Shares of the datasheet's peaks, the same for every chip and model.
# A splash kernel of full matrix units, where the compiler's schedule of it is not known: about what
# libtpu 0.0.42 makes of its forward and backward kernels together on v5e.
_SPLASH_SHARE = 0.75
# Large products: about 700 to 750 TFLOP/s of an H100's 989, at which it runs into its power limit
# ("How to Scale Your Model", chapter 12: 80 to 85 % are reached in practice at best).
_GPU_PRODUCT_SHARE = 0.75
# Of HLO's names of element types of 8 bits the first letters: the kinds that a chip's table has.
_KINDS_IN_8_BITS = {"s8": "int8", "u8": "int8", "f8": "float8"}
# cuDNN's attention, causal, head dim 128, 8k: about 550 forward, 450 backward of 989 TFLOP/s (Shah
# et al. 2024, arXiv:2407.08608, figures 5 and 6).
_CUDNN_SHARE = 0.5
# Streams through memory: 0.9 (the same chapter). libtpu counts 0.93 of v6e's for its best passes.
_MEMORY_SHARE = 0.9

_GEMM = re.compile(r"__cublas\$")
# These cost nothing, or are paid by whom they belong to.
_FREE = frozenset(
    ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all")
    + ("partition-id", "replica-id", "opt-barrier", "optimization-barrier", "add-dependency")
)


@dataclasses.dataclass
class Costs:
    """Prices the instructions of one program on one chip."""

    program: Program
    chip: Chip
    schedules: Mapping[str, KernelSchedule] = dataclasses.field(default_factory=dict)
    """What the compiler made of kernels, by name of the instruction."""
    unknown_kernels: set[str] = dataclasses.field(default_factory=set)
    """Targets or names of kernels whose work nobody told; they are counted as taking no time."""
    by_operations: set[str] = dataclasses.field(default_factory=set)
    """Attention kernels without a schedule."""

    def __post_init__(self):
        if self.chip.platform == "tpu" and self.chip.name not in _TPU_CLOCKS:
            raise UserError(
                f"--level=compile does not know the clock of {self.chip.name}; add it to "
                "axl_exp/dryrun/compiled/costs.py."
            )

    @property
    def how(self) -> str:
        """Where compute times come from."""
        if self.chip.platform == "tpu":
            clock = _TPU_CLOCKS[self.chip.name] / 1e9
            by_operations = "; attention kernels by operations" if self.by_operations else ""
            return f"libtpu's cycles at {clock:g} GHz, memory at {_MEMORY_SHARE:.0%}{by_operations}"
        return (
            f"operations at {_GPU_PRODUCT_SHARE:.0%} and bytes at {_MEMORY_SHARE:.0%} of the "
            "chip's peaks"
        )

    def seconds(self, where: Computation, instruction: Instruction) -> float:
        """Return how long the device is busy with one run of an instruction, communication apart.

        Raises:
            HloTextError: A product is not understood.
        """
        if is_kernel(instruction):
            return self._kernel_seconds(where, instruction)
        if self.chip.platform == "tpu":
            return self._tpu_seconds(where, instruction)
        return self._roofline_seconds(where, instruction)

    def flops(self, where: Computation, instruction: Instruction) -> tuple[float, float]:
        """Return the operations of products, and those of kernels by formula, of one instruction.

        Of the instruction alone: what it calls is an instruction of its own.
        """
        if is_kernel(instruction):
            kernel = attention_kernel(where, instruction)
            return 0.0, kernel.flops if kernel else 0.0
        return float(self._product_flops(where, instruction)), 0.0

    def _kernel_seconds(self, where: Computation, instruction: Instruction) -> float:
        kernel = attention_kernel(where, instruction)
        schedule = self.schedules.get(instruction.name)
        if schedule is not None:
            shares = {"longest": kernel.turns_seen, "others": kernel.first_turns} if kernel else {}
            return schedule.cycles(**shares) / _TPU_CLOCKS[self.chip.name]
        if kernel is None:
            self.unknown_kernels.add(instruction.op_name or instruction.name)
            return 0.0
        self.by_operations.add(instruction.name)
        return kernel.flops / (self.chip.peak_flops_per_second * self._kernel_share(kernel))

    def _kernel_share(self, kernel: Kernel) -> float:
        if self.chip.platform != "tpu":
            return _CUDNN_SHARE
        return _SPLASH_SHARE * min(1.0, kernel.head_dim / _MATRIX_UNIT[self.chip.name])

    def _tpu_seconds(self, where: Computation, instruction: Instruction) -> float:
        """Return the compiler's estimate; of a pass over memory at most the time of its bytes.

        libtpu's estimates of passes are 2 to 12 times the time of their bytes, and its schedules do
        not bear them out: nine kinds (sums, conversions, transposes, softmax) issue fewer bundles
        than the main memory takes cycles, but for softmax on v5p, 1.2 times as many.
        """
        cycles = instruction.estimated_cycles
        if cycles is None:
            return 0.0
        seconds = cycles / _TPU_CLOCKS[self.chip.name]
        if self._sum_over_parts(self._product_flops, where, instruction):
            return seconds
        return min(seconds, self._memory_seconds(where, instruction))

    def _roofline_seconds(self, where: Computation, instruction: Instruction) -> float:
        if instruction.opcode in _FREE or instruction.opcode.endswith(("-start", "-done")):
            return 0.0
        flops = self._sum_over_parts(self._paced_flops, where, instruction)
        return max(
            flops / (self.chip.peak_flops_per_second * _GPU_PRODUCT_SHARE),
            self._memory_seconds(where, instruction),
        )

    def _memory_seconds(self, where: Computation, instruction: Instruction) -> float:
        num_bytes = moved_bytes(self.program, where, instruction)
        return num_bytes / (self.chip.hbm_bytes_per_second * _MEMORY_SHARE)

    def _sum_over_parts(
        self,
        count: Callable[[Computation, Instruction], float],
        where: Computation,
        instruction: Instruction,
    ) -> float:
        """Return the sum over an instruction and what it calls."""
        total = count(where, instruction)
        for name in called_once(instruction):
            inner = self.program.computation(name)
            total += sum(count(inner, each) for each in inner.instructions)
        return total

    def _paced_flops(self, where: Computation, instruction: Instruction) -> float:
        """Operations of a product, as many as of bfloat16 would take its time."""
        flops = self._product_flops(where, instruction)
        if not flops:
            return 0.0
        left, right = (where.operand(instruction, i).arrays[0].dtype[:2] for i in (0, 1))
        kind = _KINDS_IN_8_BITS.get(left, "") if right in _KINDS_IN_8_BITS else ""
        return flops * self.chip.peak_flops_per_second / self.chip.peak_of(kind)

    def _product_flops(self, where: Computation, instruction: Instruction) -> int:
        if not _GEMM.match(custom_call_target(instruction)):
            return product_flops(where, instruction)
        dims = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.attributes)
        left = where.operand(instruction, 0).arrays[0]
        if not dims:
            raise HloTextError(f"compiled program: {instruction.name} has no contracting dims")
        summed = 1
        for dim in re.findall(r"\d+", dims[1]):
            summed *= left.dims[int(dim)]
        return 2 * instruction.arrays[0].num_elements * summed
