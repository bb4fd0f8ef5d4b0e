"""The process that compiles: a request comes on its standard input, progress and facts go out.

A process of its own, so that a compilation can be cancelled, its memory comes back, and a compiler
that crashes takes nothing with it.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from axl_exp.dryrun.compiled.account import Compilation, Hardware, Work, account
from axl_exp.dryrun.compiled.facts import CompiledFacts
from axl_exp.dryrun.compiled.kernel_schedule import (
    KernelSchedule,
    kernel_names,
    kernel_schedule,
)
from axl_exp.dryrun.compiled.memory import memory_of, verdict_of
from axl_exp.dryrun.compiled.topology import (
    CompilerMissingError,
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
from axl_exp.train.compiler_options import CompilerOptionError, naming_refused_options


class CompilationError(UserError):
    """The compiler refuses the program for another reason than memory."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be compiled."""

    config: Any
    """A resolved trainer config."""
    hardware: HardwareSelector
    program_file: str | None = None
    """Where the text of the program is to be written too."""
    dump_to: str | None = None
    """An empty folder for what libtpu writes when it compiles, much of it; the caller removes it,
    since this process may be ended at any time. None: kernels are priced by their operations."""


def main() -> int:
    """Compile what standard input asks for; returns the exit code."""
    request: Request = pickle.load(sys.stdin.buffer)
    output, sys.stdout = sys.stdout, sys.stderr  # What a library prints is no line of ours.

    def tell(**line: Any) -> None:
        print(json.dumps(line), file=output, flush=True)

    prepare_environment(schedules=Path(request.dump_to) if request.dump_to else None)
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
    chip = request.hardware.chip
    topology = topology_of(request.hardware)
    compiler = compiler_version(topology)
    stage("describing the hardware")
    devices = devices_of(topology)
    assert chip is not None
    stage("tracing the step")
    trainer = request.config.instantiate(devices=devices)
    lowered = trainer.lower()
    stage(f"compiling with {compiler}")
    compilation = _compile(lowered, topology, compiler, available=chip.usable_hbm_bytes)
    if request.program_file and compilation.text:
        Path(request.program_file).write_text(compilation.text)
    stage("reading the program")
    if request.dump_to:
        kernels = _kernels(compilation.text, Path(request.dump_to))
        compilation = dataclasses.replace(compilation, kernels=kernels)
    batch = request.config.input
    tokens = batch.global_batch_size * batch.max_sequence_length
    per_token = flops_per_token(request.config.model, sequence_length=batch.max_sequence_length)
    return account(
        compilation,
        hardware=_hardware(trainer, request),
        work=Work(tokens=tokens, model_flops=per_token.causal * tokens),
        expected=_expected(trainer),
    )


_ASSIGNMENT = "*buffer-assignment.txt"


def _compile(lowered: Any, topology: Topology, compiler: str, *, available: int) -> Compilation:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="axl_exp_hlo_") as folder:
        options = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        try:
            with naming_refused_options():
                compiled = lowered.compile(compiler_options=options)
        except CompilerOptionError:
            raise
        except Exception as error:  # XLA has no narrower one.
            memory = verdict_of(str(error))
            if memory is None:
                raise _refusal(error, topology) from error
            text = _dump(folder, "*after_optimizations.txt")
        else:
            analysis = compiled.memory_analysis()
            memory = memory_of(
                analysis,
                assignment=_dump(folder, _ASSIGNMENT),
                available_bytes=available,
            )
            text = compiled.as_text()
        return Compilation(
            text=text or "",
            assignment=_dump(folder, _ASSIGNMENT),
            memory=memory,
            compiler=compiler,
            topology=topology.name
            + (f", {topology.num_slices} slices" if topology.num_slices > 1 else ""),
            seconds=time.perf_counter() - started,
        )


def _kernels(text: str, schedules: Path) -> dict[str, KernelSchedule]:
    found = {}
    for name in kernel_names(text):
        schedule = kernel_schedule(schedules, name)
        if schedule is not None:
            found[name] = schedule
    return found


def _dump(folder: str, pattern: str) -> str:
    """Return the largest file of the pattern: the step's, not that of a helper program."""
    files = sorted(Path(folder).glob(pattern), key=lambda path: path.stat().st_size)
    return files[-1].read_text(errors="replace") if files else ""


def _refusal(error: Exception, topology: Topology) -> UserError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if re.search(r"deserialize|bytecode|\bversion\b", said, re.IGNORECASE):
        extra = "tpu" if topology.platform == "tpu" else "gpu"
        return CompilerMissingError(
            f"The compiler cannot read this JAX's program back ({said}): install the version that "
            f"fits, pip install 'axl_exp[{extra}]'."
        )
    return CompilationError(f"The compiler refuses the program for {topology.name}: {said}")


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
