"""`compile_dry_run`: what the compiler of a hardware makes of a config's step; cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from axl_exp.config.text import config_text
from axl_exp.dryrun.compiled.child import Request
from axl_exp.dryrun.compiled.facts import CompiledFacts, from_json
from axl_exp.dryrun.compiled.kept import FLAG_VARIABLES, digest_of, versions_of
from axl_exp.errors import UserError
from axl_exp.resolve import Resolved
from axl_exp.run.files import RunFileError, read_json, write_json
from axl_exp.run.home import home

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the seconds since the start, twice a second."""

_CHILD = "from axl_exp.dryrun.compiled.child import main; raise SystemExit(main())"

# What decides about the program beside the config and our own code.
_PACKAGES = ("jax", "jaxlib", "libtpu", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "optax")
# Our own code that the program or its reading comes from, below the package's folder.
_CODE = ("model", "optim", "train", "mesh", "dryrun/compiled")

# How a compiler ends itself: `F1121 20:05:21.682492   20457 emitter.cc:175] Check failed: ...`; a
# trace of its stack may follow.
_FATAL = re.compile(r"F\d{4} [\d:.]+\s+\d+ [\w.]+:\d+\] (.*)")
_HINTS = {
    -signal.SIGKILL: " (the machine may have too little memory)",
    -signal.SIGABRT: " (compiler_options may be why: try without them)",
}


class CompilerCrashError(UserError):
    """The process that compiles has died."""


def compile_dry_run(
    resolved: Resolved,
    *,
    progress: Progress | None = None,
) -> CompiledFacts:
    """Return what the compiler makes of the step that a trainer of the config would run.

    Compiles in a process of its own, which ends when this is interrupted. The facts are kept under
    `axl_exp.run.home`, by all that they depend on: config, hardware, versions, and our code. So is
    what the compiler gave, by the program alone (`kept.py`): facts that have to be read anew, since
    our code has changed, take a compile only where the step has changed.

    Args:
        resolved: What `resolve` made of a name and a selector.
        progress: Told where it stands.

    Raises:
        UserError: There is no such topology, the compiler is missing or has crashed, or the config
            does not divide over the mesh.
    """
    if resolved.hardware is None:
        raise UserError("--level=compile needs a hardware: --mesh=tpu-v5e-256, for example.")
    path = home() / "dryrun" / f"{cache_key(resolved)}.json"
    if (cached := _read(path)) is not None:
        return cached
    request = Request(config=resolved.config, hardware=resolved.hardware)
    # What a compiler writes goes when this ends, whatever ends the process that compiles.
    with tempfile.TemporaryDirectory(prefix="axl_exp_compile_") as folder:
        facts = _compile_in_child(request, progress or (lambda stage, seconds: None), folder=folder)
    with contextlib.suppress(RunFileError, OSError):  # A full disk costs the cache alone.
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"config": resolved.name, "facts": facts.to_json()})
    return facts


def cache_key(resolved: Resolved) -> str:
    """Return a digest of all that the facts depend on."""
    return digest_of(
        {
            "config": config_text(resolved.config),
            "hardware": str(resolved.hardware),
            "versions": versions_of(_PACKAGES),
            "code": _code_digest(),
            "flags": {name: os.environ.get(name, "") for name in FLAG_VARIABLES},
        }
    )


def _code_digest() -> str:
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(path: Path) -> CompiledFacts | None:
    """Return the cached facts; None where there are none that can be read."""
    try:
        values = read_json(path)
        return from_json(values["facts"]) if values else None
    except (RunFileError, KeyError, TypeError, AttributeError):
        return None


def _compile_in_child(request: Request, progress: Progress, *, folder: str) -> CompiledFacts:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "JAX_PLATFORMS": "cpu",
        "TMPDIR": folder,
    }
    command = [sys.executable, "-c", _CHILD]
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors, _running(command, errors, environment) as process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pickle.dump(request, pipe)
        result: dict[str, Any] = {}
        reader = threading.Thread(target=_read_lines, args=(process, result), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(timeout=0.5)
            progress(result.get("stage", "starting"), time.monotonic() - started)
        code = process.wait()
        if "error" in result:
            raise UserError(result["error"])
        if "facts" not in result:
            errors.seek(0)
            raise CompilerCrashError(_last_words(code, errors.read(), result.get("stage", "")))
    return from_json(result["facts"])


@contextlib.contextmanager
def _running(
    command: list[str], errors: Any, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _read_lines(process: subprocess.Popen[bytes], result: dict[str, Any]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            result.update(json.loads(line))


def _last_words(code: int, errors: bytes, stage: str) -> str:
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
    fatal = [found[1] for found in map(_FATAL.match, lines) if found]
    said = (fatal[:1] or lines[-1:] or ["it said nothing"])[0].strip()[:300]
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return (
        f"The process that compiles {how} while {stage or 'starting'}: {said}{_HINTS.get(code, '')}"
    )
