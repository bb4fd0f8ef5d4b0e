"""The proof at run time that the light rooms load without JAX: import them with JAX made absent.

The import graph of layers.py cannot see what a library imports in turn; this can.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.check.layers import HEAVY, LIGHT, is_within
from tools.check.source import Finding, Module

# Runs in a process of its own: argument 1 has the heavy libraries and the modules to import.
PROBE = """
import importlib, json, sys, traceback

heavy, names = json.loads(sys.argv[1])


class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ImportError(f"imports {name}")


sys.meta_path.insert(0, Block())
failures = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        frames = [[f.filename, f.lineno] for f in traceback.extract_tb(error.__traceback__)]
        failures[name] = [f"{type(error).__name__}: {error}", frames]
print(json.dumps(failures))
"""


def check_startup(modules: dict[str, Module], *, root: Path) -> Iterator[Finding]:
    """Yield each light module that does not load while the heavy libraries are absent."""
    names = [name for name in modules if is_within(name, LIGHT)]
    probe = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([HEAVY, names])],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        yield Finding("tools/check/startup.py", 1, "light", f"probe failed: {probe.stderr[-500:]}")
        return
    # One cause, one finding, however many modules it stops.
    stopped: dict[tuple[str, int, str], list[str]] = {}
    for name, (error, frames) in json.loads(probe.stdout.splitlines()[-1]).items():
        path, line = modules[name].path, 1
        for filename, lineno in frames:  # The innermost frame that is ours.
            if Path(filename).is_relative_to(root):
                path, line = Path(filename).relative_to(root).as_posix(), lineno
        stopped.setdefault((path, line, error), []).append(name)
    for (path, line, error), names in stopped.items():
        others = f" and {len(names) - 1} more modules" if len(names) > 1 else ""
        text = f"{names[0]}{others} must load without JAX: {error}"
        yield Finding(path, line, "light", text)
