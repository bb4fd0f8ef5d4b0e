"""Where a run happened: commit, versions, host, flags. What needs jax is passed in."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from axl_exp.run.files import RunFileError, read_json, write_json
from axl_exp.run.layout import RunDir

SCHEMA = "axl_exp.env/1"

# What can change a number or a step time. Those that are not installed are left out.
_PACKAGES = (
    *("axl_exp", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections"),
    *("grain", "tensorflow-datasets", "array_record", "sentencepiece", "libtpu"),
    *("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm7-plugin"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu13"),
)
_MAX_HASHED_BYTES = 2**20


def launch_facts(*, hardware: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of this process: git, versions, hardware, flags, command line, start time.

    Args:
        hardware: What jax knows: platform, device_kind, device_count, process_count. Facts of the
            host (name, processor, memory) are added.
    """
    return {
        "started_unix_seconds": time.time(),
        "command_line": [sys.executable, *sys.argv],
        "git": code_state(),
        "versions": package_versions(),
        "hardware": {**hardware, "host": host_facts()},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        # A CPU launch sets it, see `axl_exp.launch.huge_pages`.
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "jax_flags": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("JAX_") or name == "LIBTPU_INIT_ARGS"
        },
    }


def write_env(run_dir: RunDir, *, launch: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write env.json: `facts` of the run, the facts of this launch, and the list of all launches.

    A resumed run has one entry of `launches` per start, oldest first, so that a change of commit or
    machine in the middle of a run stays visible; the top level tells of the newest.

    Raises:
        RunFileError: An env.json is there and cannot be read.
    """
    try:
        launches = [*read_json(run_dir.env).get("launches", []), launch]
    except RunFileError as error:
        raise RunFileError(
            f"{error}. Put back a good copy, or remove it: it only tells of earlier launches."
        ) from error
    write_json(run_dir.env, {"schema": SCHEMA, **facts, **launch, "launches": launches})


def code_state() -> dict[str, Any] | None:
    """Return `git_state` of the working directory; outside a repository, of this package."""
    return git_state(Path.cwd()) or git_state(Path(__file__).parent)


def git_state(directory: Path) -> dict[str, Any] | None:
    """Return commit, branch, dirty and diff_sha256 of the git tree around `directory`.

    `branch` is None for a detached HEAD. `diff_sha256` is None for a clean tree; otherwise it is
    over `git diff HEAD` and the names of untracked files, with their contents up to 1 MiB each;
    files of run directories are no part of the code and do not count.
    None where there is no git, no repository or no commit.
    """
    try:
        root = Path(_git(directory, "rev-parse", "--show-toplevel").decode().strip())
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        diff = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")
        untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    except (OSError, subprocess.SubprocessError):
        return None
    names = (os.fsdecode(name) for name in untracked.split(b"\0") if name)
    ours = _outside_runs(root, names)
    dirty = bool(diff or ours)
    return {
        "root": str(root),
        "commit": commit,
        "branch": None if branch == "HEAD" else branch,
        "dirty": dirty,
        "diff_sha256": _digest(root, diff, ours) if dirty else None,
    }


def _git(directory: Path, *arguments: str) -> bytes:
    """Return the output of a git command that takes no lock and asks nothing."""
    return subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout


def _outside_runs(root: Path, names: Iterable[str]) -> list[str]:
    """Return the files, by path from `root`, that lie in no run directory, sorted."""

    @functools.cache
    def in_run(directory: Path) -> bool:
        run = RunDir(directory)
        is_run = run.config.is_file() and run.metrics.is_file()
        return is_run or (directory != root and in_run(directory.parent))

    return sorted(name for name in names if not in_run((root / name).parent))


def _digest(root: Path, diff: bytes, untracked: list[str]) -> str:
    digest = hashlib.sha256(diff)
    for name in untracked:
        digest.update(b"\0" + os.fsencode(name) + b"\0")
        path = root / name
        if path.is_file() and path.stat().st_size <= _MAX_HASHED_BYTES:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the version of Python and of every installed package that can change a result."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def host_facts() -> dict[str, Any]:
    """Return name, system, processor, the CPUs that we may use, and memory in bytes."""
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "num_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
