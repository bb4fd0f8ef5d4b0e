"""The process that compiles: a request comes on its standard input, progress and facts go out.

A process of its own, so that a compilation can be cancelled, its memory comes back, and a compiler
that crashes takes nothing with it.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import jax

from axl_exp.dryrun.compiled.account import Compilation, Hardware, Work, account
from axl_exp.dryrun.compiled.facts import CompiledFacts
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule
from axl_exp.dryrun.compiled.lone_kernels import schedules_of
from axl_exp.dryrun.compiled.memory import memory_of, verdict_of
from axl_exp.dryrun.compiled.output import compiler_output
from axl_exp.dryrun.compiled.topology import (
    Topology,
    compiler_version,
    devices_of,
    prepare_environment,
    topology_of,
)
from axl_exp.dryrun.compiled.warnings import Expected
from axl_exp.errors import UserError
from axl_exp.mesh import HardwareSelector
from axl_exp.model import flops_per_token


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be compiled."""

    config: Any
    """A resolved trainer config."""
    hardware: HardwareSelector


def main() -> int:
    """Compile what standard input asks for; returns the exit code."""
    request: Request = pickle.load(sys.stdin.buffer)
    output, sys.stdout = sys.stdout, sys.stderr  # What a library prints is no line of ours.

    def tell(**line: Any) -> None:
        print(json.dumps(line), file=output, flush=True)

    prepare_environment()
    try:
        facts = compile_request(request, stage=lambda name: tell(stage=name))
    except UserError as error:
        tell(error=str(error))
        return 0
    tell(facts=facts.to_json())
    return 0


def compile_request(request: Request, *, stage: Any) -> CompiledFacts:
    """Return the facts of a request; `stage` is called with the name of each stage.

    Raises:
        UserError: The config does not fit its mesh, or there is no compiler or topology for it.
    """
    topology = topology_of(request.hardware)
    compiler = compiler_version(topology)
    stage("describing the hardware")
    devices = devices_of(topology)
    stage("tracing the step")
    trainer = request.config.instantiate(devices=devices)
    compilation = _compilation(trainer, topology, compiler, request=request, stage=stage)
    stage("reading the program")
    schedules: dict[str, KernelSchedule] = {}
    if topology.platform == "tpu" and compilation.program and compilation.memory.fits:
        schedules = schedules_of(
            compilation.program,
            topology,
            options=request.config.compiler_options,
            on_compile=lambda: stage(f"compiling kernels apart with {compiler}"),
        )
    batch = request.config.input
    tokens = batch.global_batch_size * batch.max_sequence_length
    per_token = flops_per_token(request.config.model, sequence_length=batch.max_sequence_length)
    facts = account(
        compilation,
        schedules=schedules,
        hardware=_hardware(trainer, request),
        work=Work(tokens=tokens, model_flops=per_token.causal * tokens),
        expected=_expected(trainer),
    )
    left_out = tuple(left_out_for(topology.platform, request.config))
    return dataclasses.replace(facts, warnings=(*left_out, *facts.warnings))


def left_out_for(platform: str, config: Any) -> Iterator[str]:
    """Yield what of a trainer config a compilation without devices does not show."""
    if platform == "gpu" and config.learner.optimizer_memory:
        # GPUs of a target description have one memory in JAX (0.10.2), and an argument lies there.
        yield (
            "learner.optimizer_memory is not compiled: without a GPU, the optimizer's state counts "
            "as memory of the device; the plan has it where it will be"
        )


def _compilation(
    trainer: Any, topology: Topology, compiler: str, *, request: Request, stage: Any
) -> Compilation:
    """Return what the compiler gave for the step, now or when it last got this program."""
    output = compiler_output(
        trainer.lower(),
        topology,
        devices=list(trainer.mesh.devices.flat),
        options=request.config.compiler_options,
        on_compile=lambda: stage(f"compiling with {compiler}"),
    )
    chip = request.hardware.chip
    assert chip is not None
    memory = verdict_of(output.refusal)
    if memory is None:
        assert output.analysis is not None
        memory = memory_of(
            output.analysis, assignment=output.assignment, available_bytes=chip.usable_hbm_bytes
        )
    slices = f", {topology.num_slices} slices" if topology.num_slices > 1 else ""
    return Compilation(
        text=output.text,
        assignment=output.assignment,
        memory=memory,
        compiler=compiler,
        topology=topology.name + slices,
        seconds=output.seconds,
    )


def _hardware(trainer: Any, request: Request) -> Hardware:
    devices = list(trainer.mesh.devices.flat)
    chip = request.hardware.chip
    assert chip is not None
    if chip.ici is None:
        return Hardware(
            chip=chip,
            axis_sizes=dict(trainer.mesh.shape),
            coords=[()] * len(devices),
            parts=[device.id // chip.node_devices for device in devices],
        )
    return Hardware(
        chip=chip,
        axis_sizes=dict(trainer.mesh.shape),
        coords=[tuple(device.coords) for device in devices],
        parts=[getattr(device, "slice_index", 0) or 0 for device in devices],
    )


def _expected(trainer: Any) -> Expected:
    sizes: set[int] = set()
    sharded_sizes: set[int] = set()
    replicated: list[tuple[str, int]] = []
    leaves = jax.tree_util.tree_leaves_with_path(trainer.abstract_state.params)
    is_split = any(not leaf.sharding.is_fully_replicated for _, leaf in leaves)
    for path, leaf in leaves:
        own = {leaf.size, leaf.size // leaf.shape[0]}
        sizes |= own
        sharded_sizes |= set() if leaf.sharding.is_fully_replicated else own
        if is_split and leaf.sharding.is_fully_replicated:
            name = "/".join(str(key.key) for key in path)
            replicated.append((name, leaf.size * leaf.dtype.itemsize))
    return Expected(param_sizes=sizes, sharded_sizes=sharded_sizes, replicated=replicated)
