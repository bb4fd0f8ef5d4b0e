"""A compiled program, accounted for: from its text to facts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.execution import Execution, executions
from axl_exp.dryrun.compiled.facts import (
    CompiledCollective,
    CompiledFacts,
    CompiledMemory,
    StepPrediction,
)
from axl_exp.dryrun.compiled.hlo import Program, parse_program
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule
from axl_exp.dryrun.compiled.memory import largest_buffers
from axl_exp.dryrun.compiled.network import Network
from axl_exp.dryrun.compiled.owners import Owners
from axl_exp.dryrun.compiled.schedule import Schedule, host_copy_bytes
from axl_exp.dryrun.compiled.traffic import sum_traffic, traffic_of
from axl_exp.dryrun.compiled.warnings import Expected, find_warnings
from axl_exp.mesh import Chip


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What a compiler gave for the step."""

    text: str
    """The program; '' where the compiler gave none."""
    assignment: str
    """Its dump of who lies where in memory; '' where it gave none."""
    memory: CompiledMemory
    compiler: str
    topology: str
    seconds: float

    @functools.cached_property
    def program(self) -> Program | None:
        """The program, read; None where there is none."""
        return parse_program(self.text) if self.text else None


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The devices that the program was compiled for, partition by partition."""

    chip: Chip
    axis_sizes: Mapping[str, int]
    coords: Sequence[tuple[int, ...]]
    parts: Sequence[int]
    """The slice or node of each."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step is to do, on all devices together."""

    tokens: int
    model_flops: float
    """Causal."""


def account(
    compilation: Compilation,
    *,
    schedules: Mapping[str, KernelSchedule],
    hardware: Hardware,
    work: Work,
    expected: Expected,
) -> CompiledFacts:
    """Return the facts of a compiled step.

    Args:
        compilation: Of the step.
        schedules: Those that the compiler made of its kernels, by name of the call.
        hardware: What it was compiled for.
        work: What the step is to do.
        expected: What the config asks for.

    Raises:
        HloTextError: The program is not understood.
    """
    num_devices = len(hardware.parts)
    owners = Owners.of_text(compilation.text)
    program = compilation.program
    model_flops = work.model_flops / num_devices
    collectives: tuple[CompiledCollective, ...] = ()
    prediction, warnings = None, []
    flops = kernel_flops = 0.0
    offload_bytes = 0
    if program is not None:
        run = list(executions(program))
        network = Network(hardware.chip, coords=hardware.coords, parts=list(hardware.parts))
        costs = Costs(program, hardware.chip, schedules)
        flops, kernel_flops = _flops(costs, run)
        offload_bytes = sum(each.times * host_copy_bytes(each.instruction) for each in run)
        traffic = list(traffic_of(program, run))
        collectives = sum_traffic(
            traffic, network=network, owners=owners, axis_sizes=hardware.axis_sizes
        )
        warnings = find_warnings(program, traffic, owners=owners, expected=expected)
        if compilation.memory.fits and program.is_scheduled:
            prediction = _predict(
                program,
                network,
                costs,
                tokens=work.tokens / num_devices,
                model_flops=model_flops,
            )
        warnings += [
            f"kernel {name} is not known: its time and operations are not counted"
            for name in sorted(costs.unknown_kernels)
        ]
    return CompiledFacts(
        compiler=compilation.compiler,
        topology=compilation.topology,
        num_devices=num_devices,
        memory=compilation.memory,
        largest=largest_buffers(compilation.assignment, program=program, owners=owners),
        collectives=collectives,
        model_flops=model_flops,
        executed_flops=flops + kernel_flops,
        kernel_flops=kernel_flops,
        offload_bytes=offload_bytes,
        prediction=prediction,
        warnings=tuple(warnings),
        compile_seconds=compilation.seconds,
    )


def _flops(costs: Costs, run: Sequence[Execution]) -> tuple[float, float]:
    products = kernels = 0.0
    for each in run:
        in_products, in_kernels = costs.flops(each.computation, each.instruction)
        products += each.times * in_products
        kernels += each.times * in_kernels
    return products, kernels


def _predict(
    program: Program, network: Network, costs: Costs, *, tokens: float, model_flops: float
) -> StepPrediction:
    chip = costs.chip
    times = Schedule(program, network, costs.seconds, chip.host_bytes_per_second).step_times()
    seconds = times.total
    return StepPrediction(
        compute_seconds=times.compute,
        communication_seconds=times.transfers,
        exposed_seconds=times.exposed,
        step_seconds=seconds,
        tokens_per_second_per_device=tokens / seconds if seconds else 0.0,
        mfu=model_flops / seconds / chip.peak_flops_per_second if seconds else 0.0,
        how=costs.how,
    )
