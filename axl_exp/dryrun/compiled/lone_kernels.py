"""TPU kernels compiled apart, each on one device alone, for the schedule that libtpu makes of it.

The text of a program shows a kernel as one call, with all that libtpu compiles it from. So it is
compiled again by itself, in a process whose libtpu writes the bundles of what it schedules: seconds
for a kernel, where the whole program would take twice its time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from axl_exp.dryrun.compiled.hlo import Array, Computation, Instruction, Program
from axl_exp.dryrun.compiled.kept import digest_of, keep, read_kept, surroundings
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule, read_schedule
from axl_exp.dryrun.compiled.kernels import is_tpu_kernel
from axl_exp.dryrun.compiled.topology import Topology, devices_of, prepare_environment

_CHILD = "from axl_exp.dryrun.compiled.lone_kernels import main; raise SystemExit(main())"

# HLO's names of element types, and NumPy's.
_DTYPES = {
    "pred": "bool", "s4": "int4", "u4": "uint4", "s8": "int8", "u8": "uint8", "s16": "int16",
    "u16": "uint16", "s32": "int32", "u32": "uint32", "bf16": "bfloat16", "f16": "float16",
    "f32": "float32", "f8e4m3fn": "float8_e4m3fn", "f8e5m2": "float8_e5m2",
}  # fmt: skip
# What libtpu adds to a call when it compiles it.
_RESULTS = ("used_scoped_memory_configs", "retry_config", "aliasing_operands")


@dataclasses.dataclass(frozen=True)
class LoneKernel:
    """What libtpu needs to compile a kernel."""

    config: str
    """The call's `backend_config`, which holds the kernel's own program."""
    operands: tuple[tuple[str, tuple[int, ...]], ...]
    """Element type and dims of each."""
    results: tuple[tuple[str, tuple[int, ...]], ...]


def schedules_of(
    program: Program,
    topology: Topology,
    *,
    options: Mapping[str, Any],
    on_compile: Callable[[], None],
) -> dict[str, KernelSchedule]:
    """Return the schedules of a program's kernels by the name of their calls, as far as known.

    Those that are the same are compiled once, and what libtpu made of each is kept.

    Args:
        program: Compiled for TPUs.
        topology: What it was compiled for.
        options: What the compiler was told with it.
        on_compile: Called before any is compiled.
    """
    kernels = {
        instruction.name: _kernel(computation, instruction)
        for computation in program.computations.values()
        for instruction in computation.instructions
        if is_tpu_kernel(instruction)
    }
    keys = {kernel: _key(kernel, topology, options) for kernel in kernels.values()}
    found = {kernel: read_kept(key) for kernel, key in keys.items()}
    missing = [kernel for kernel, values in found.items() if values is None]
    if missing:
        on_compile()
    for kernel, bundles in _compiled_apart(missing, topology, options).items():
        found[kernel] = {"bundles": bundles}
        keep(keys[kernel], {"bundles": bundles})
    schedules = {}
    for name, kernel in kernels.items():
        schedule = read_schedule(str((found[kernel] or {}).get("bundles", "")))
        if schedule is not None:
            schedules[name] = schedule
    return schedules


def _kernel(where: Computation, instruction: Instruction) -> LoneKernel:
    operands = [
        array
        for index in range(len(instruction.operands))
        for array in where.operand(instruction, index).arrays
    ]
    config = json.loads(instruction.attribute("backend_config") or "{}")
    for name in _RESULTS:
        config.pop(name, None)
    return LoneKernel(
        config=json.dumps(config),
        operands=tuple(map(_plain, operands)),
        results=tuple(map(_plain, instruction.arrays)),
    )


def _plain(array: Array) -> tuple[str, tuple[int, ...]]:
    return array.dtype, array.dims


def _key(kernel: LoneKernel, topology: Topology, options: Mapping[str, Any]) -> str:
    return digest_of(
        {"kernel": dataclasses.asdict(kernel), **surroundings(topology, options=options)}
    )


def _compiled_apart(
    kernels: Sequence[LoneKernel], topology: Topology, options: Mapping[str, Any]
) -> dict[LoneKernel, str]:
    """Return what a process of its own gives for each; nothing of any if it dies."""
    if not kernels:
        return {}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=pickle.dumps((kernels, topology, dict(options))),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        return {}
    return dict(zip(kernels, pickle.loads(done.stdout), strict=True))


def main() -> int:
    """Write the bundles of the kernels that standard input has; '' for what is not compiled."""
    kernels, topology, options = pickle.load(sys.stdin.buffer)
    output, sys.stdout = sys.stdout.buffer, sys.stderr  # What a library prints is no answer.
    with tempfile.TemporaryDirectory(prefix="axl_exp_kernels_") as folder:
        own = os.environ.get("LIBTPU_INIT_ARGS", "")
        os.environ["LIBTPU_INIT_ARGS"] = f"{own} {_dump_flags(folder)}".strip()
        prepare_environment()
        device = devices_of(topology)[0]
        bundles = [_bundles(each, device, options, Path(folder)) for each in kernels]
    output.write(pickle.dumps(bundles))
    return 0


def _dump_flags(folder: str) -> str:
    return (
        f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true "
        "--xla_jf_dump_llo_pass_label_regex=final_bundles"
    )


def _bundles(kernel: LoneKernel, device: Any, options: Mapping[str, Any], folder: Path) -> str:
    """Return what libtpu writes when it compiles a kernel, '' where it does not."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    with contextlib.suppress(Exception):  # A kernel that does not go alone has no schedule.
        call = jax.ffi.ffi_call(
            "tpu_custom_call",
            [jax.ShapeDtypeStruct(dims, _DTYPES[dtype]) for dtype, dims in kernel.results],
            custom_call_api_version=1,
            legacy_backend_config=kernel.config,
        )
        operands = [
            jax.ShapeDtypeStruct(dims, _DTYPES[dtype], sharding=sharding)
            for dtype, dims in kernel.operands
        ]
        jax.jit(call, compiler_options=dict(options)).lower(*operands).compile()
    files = folder.glob("*-ffi_call*-final_bundles.txt")
    written = [file for file in files if "analysis" not in file.name]
    text = max(written).read_text(errors="replace") if written else ""
    for file in folder.iterdir():  # What the next kernel writes has the same names.
        if file.is_file():
            file.unlink()
    return text
