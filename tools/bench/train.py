"""Training side by side: our trainer, the same step by hand in JAX, and transformers in PyTorch.

Each side is a process of its own; they take turns of a few steps. Wall time needs a quiet machine,
CPU time less so, and the compiler's count of memory not at all.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from axl_exp.launch.huge_pages import huge_page_variables
from tools.bench.measure import Report, Side
from tools.bench.processes import DISTURBED_STEPS, TURN_STEPS, SideProcess

_JAX, _TORCH = "tools.bench.train_side", "tools.bench.torch_side"
OURS, BY_HAND, TORCH = "SpmdTrainer", "step by hand", "PyTorch eager"
_MIB = 2**20


def measure_train(root: Path, case: str, *, num_rounds: int) -> list[Report]:
    """Return seconds, CPU seconds and memory of each side; PyTorch only where it is installed.

    Raises:
        SideError: A side ended early, as by a ParityError of the first.
    """
    with tempfile.TemporaryDirectory() as directory:
        sides: dict[str, SideProcess] = {}
        # As a launch starts itself. The step by hand has it too: ours is to be no faster for that.
        variables = huge_page_variables("auto")

        def start(name: str, module: str, *arguments: str) -> SideProcess:
            own = variables if module == _JAX else {}
            sides[name] = SideProcess(root, module, *arguments, work=Path(directory), variables=own)
            return sides[name]

        try:
            common = start("parity", _JAX, "parity", case).facts
            sides.pop("parity").end()
            sizes = json.dumps(common["sizes"])
            start(OURS, _JAX, "ours", case)
            start(BY_HAND, _JAX, "by_hand", sizes)
            if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
                start(TORCH, _TORCH, sizes)
            samples = _in_turns(sides, num_rounds=num_rounds)
            peaks = {name: side.end()["peak_bytes"] for name, side in sides.items()}
            return _reports(case, common, sides, samples, peaks)
        finally:
            for side in sides.values():
                side.kill()


def _pages_note() -> str:
    settings = [f"{name}={value}" for name, value in huge_page_variables("auto").items()]
    return f"JAX's sides run with {settings[0]}, as a launch does" if settings else "pages as usual"


def _in_turns(
    sides: dict[str, SideProcess], *, num_rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Return every side's turns after a first one, which has the cold caches."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for index in range(num_rounds + 1):
        for name in list(sides) if index % 2 else list(sides)[::-1]:
            samples[name].append(sides[name].turn())
    return {name: turns[1:] for name, turns in samples.items()}


def _reports(
    case: str,
    common: dict[str, Any],
    sides: dict[str, SideProcess],
    samples: dict[str, list[dict[str, float]]],
    peaks: dict[str, float],
) -> list[Report]:
    names = [BY_HAND, *(name for name in sides if name != BY_HAND)]
    facts, sizes = sides[OURS].facts, common["sizes"]
    notes = (
        f"{sizes['batch']} x {sizes['sequence']} tokens, {sizes['num_layers']} layers of dim "
        f"{sizes['dim']}, vocabulary {sizes['vocab_size']}, {sizes['dtype']}; attention "
        f"{facts['attention']}",
        f"{len(samples[OURS])} rounds of {TURN_STEPS - DISTURBED_STEPS} steps each",
        common["parity"],
        _pages_note(),
        ", ".join(f"{name} {version}" for name, version in sides[TORCH].facts.items())
        if TORCH in sides
        else "PyTorch and transformers are not installed: pip install -e '.[oracles]'",
    )

    def report(title: str, key: str, *, goal: str, notes: tuple[str, ...]) -> Report:
        of = [Side(name, tuple(turn[key] for turn in samples[name])) for name in names]
        return Report(title=f"{case}: {title}", sides=of, goal=goal, notes=notes)

    def memory(title: str, values: dict[str, float], goal: str) -> Report:
        of = [Side(name, (values[name] / _MIB,)) for name in names if name in values]
        return Report(title=f"{case}: {title}", sides=of, goal=goal, notes=())

    compiled = {name: side.facts.get("compiled_bytes") for name, side in sides.items()}
    counted = {name: count for name, count in compiled.items() if count}
    goal = "SpmdTrainer at most 1.02 x the step by hand, and 1.0 x PyTorch on a CPU"
    return [
        report("seconds per step", "seconds", goal=goal, notes=()),
        report("CPU seconds per step", "cpu_seconds", goal=goal, notes=notes),
        memory("peak memory of training, MiB", peaks, "at most 1.05 x the step by hand"),
        memory("memory by the compiler's count, MiB", counted, "at most 1.05 x the step by hand"),
    ]
