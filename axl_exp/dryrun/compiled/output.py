"""What a compiler gives for a program, as it stands: facts are read from it later."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from axl_exp.dryrun.compiled.kept import digest_of, keep, read_kept, surroundings
from axl_exp.dryrun.compiled.memory import MemoryAnalysis, verdict_of
from axl_exp.dryrun.compiled.topology import CompilerMissingError, Topology
from axl_exp.errors import UserError
from axl_exp.train.compiler_options import CompilerOptionError, naming_refused_options


class CompilationError(UserError):
    """The compiler refuses the program for another reason than memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompilerOutput:
    """What a compiler gave for one program."""

    text: str
    """The program; '' where the compiler gave none."""
    assignment: str
    """Its dump of who lies where in memory; '' where it gave none."""
    analysis: MemoryAnalysis | None
    """None where it refused the program."""
    refusal: str = ""
    """Its words where the program does not fit the memory."""
    seconds: float
    """That it took."""


def compiler_output(
    lowered: Any,
    topology: Topology,
    *,
    devices: Sequence[Any],
    options: Mapping[str, Any],
    on_compile: Callable[[], None],
) -> CompilerOutput:
    """Return what the compiler of a topology gives for a program, or gave when it last got it.

    Args:
        lowered: The program as the compiler gets it.
        topology: What it is for.
        devices: Those of the topology, in the order of the program's partitions.
        options: What the compiler is told with the program.
        on_compile: Called before it is compiled.

    Raises:
        UserError: It refuses an option, or the program, for another reason than memory.
    """
    key = digest_of(
        {
            "program": lowered.as_text(),
            "devices": [device.id for device in devices],
            **surroundings(topology, options=options),
        }
    )
    output = _from_json(read_kept(key))
    if output is None:
        on_compile()
        output = _compile(lowered, topology)
        keep(key, dataclasses.asdict(output))
    return output


def _from_json(values: Mapping[str, Any] | None) -> CompilerOutput | None:
    """Return what was kept; None of nothing, and of what another version of this kept."""
    if values is None:
        return None
    try:
        analysis = values["analysis"]
        return CompilerOutput(
            **{**values, "analysis": None if analysis is None else MemoryAnalysis(**analysis)}
        )
    except (KeyError, TypeError):
        return None


def _compile(lowered: Any, topology: Topology) -> CompilerOutput:
    started = time.perf_counter()
    analysis, refusal = None, ""
    with tempfile.TemporaryDirectory(prefix="axl_exp_hlo_") as folder:
        options = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        try:
            with naming_refused_options():
                compiled = lowered.compile(compiler_options=options)
        except CompilerOptionError:
            raise
        except Exception as error:  # XLA has no narrower one.
            refusal = str(error)
            if verdict_of(refusal) is None:
                raise refusal_of(error, topology) from error
            text = _dump(folder, "*after_optimizations.txt")
        else:
            analysis = MemoryAnalysis.of(compiled.memory_analysis())
            text = compiled.as_text() or ""
        return CompilerOutput(
            text=text,
            assignment=_dump(folder, "*buffer-assignment.txt"),
            analysis=analysis,
            refusal=refusal,
            seconds=time.perf_counter() - started,
        )


def refusal_of(error: Exception, topology: Topology) -> UserError:
    """Return a compiler's refusal as an error of ours: the program's fault, or the version's."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if re.search(r"deserialize|bytecode|\bversion\b", said, re.IGNORECASE):
        extra = "tpu" if topology.platform == "tpu" else "gpu"
        return CompilerMissingError(
            f"The compiler cannot read this JAX's program back ({said}): install the version that "
            f"fits, pip install 'axl_exp[{extra}]'."
        )
    return CompilationError(f"The compiler refuses the program for {topology.name}: {said}")


def _dump(folder: str, pattern: str) -> str:
    """Return the largest file of the pattern: the step's, not that of a helper program."""
    files = sorted(Path(folder).glob(pattern), key=lambda path: path.stat().st_size)
    return files[-1].read_text(errors="replace") if files else ""
