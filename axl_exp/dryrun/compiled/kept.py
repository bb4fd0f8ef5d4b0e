"""What compilers gave, kept by the program that they got.

The key is of the lowered program, the devices and the compiler, and of no code of ours: a compile
is due when the program differs, not when code is moved or reads it in another way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import importlib.metadata
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axl_exp.dryrun.compiled.topology import Topology
from axl_exp.run.files import RunFileError, write_bytes
from axl_exp.run.home import home

# What turns a lowered program into a compiled one, by platform.
_COMPILERS = {
    "tpu": ("jaxlib", "libtpu"),
    "cuda": ("jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin"),
}
# They reach a compiler beside its options.
FLAG_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# Of all together; an 8B step takes a fifth of a MB.
_MOST_BYTES = 4 * 2**30


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def digest_of(parts: Mapping[str, Any]) -> str:
    """Return a digest of plain values, as a file may be called by."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def surroundings(topology: Topology, *, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return, as plain values, what decides about a compiled program beside the program.

    Args:
        topology: What it is compiled for.
        options: What the compiler is told with it.
    """
    return {
        "topology": dataclasses.asdict(topology),
        "options": dict(options),
        "versions": versions_of(_COMPILERS[topology.platform]),
        "flags": {name: os.environ.get(name, "") for name in FLAG_VARIABLES},
    }


def read_kept(key: str) -> dict[str, Any] | None:
    """Return what is kept under a key; None where there is nothing, or nothing whole."""
    path = _path(key)
    try:
        values = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # The longest unused goes first.
    return values if isinstance(values, dict) else None


def keep(key: str, values: Mapping[str, Any]) -> None:
    """Keep plain values, as long as there is room; a full disk costs the next compile."""
    packed = gzip.compress(json.dumps(values).encode(), compresslevel=6)
    path = _path(key)
    with contextlib.suppress(RunFileError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, packed)
        _drop_oldest(path.parent, most_bytes=_MOST_BYTES)


def _path(key: str) -> Path:
    return home() / "dryrun" / "programs" / f"{key}.json.gz"


def _drop_oldest(folder: Path, *, most_bytes: int) -> None:
    found = [(path.stat(), path) for path in folder.glob("*.json.gz")]
    total = 0
    for status, path in sorted(found, key=lambda each: each[0].st_mtime, reverse=True):
        total += status.st_size
        if total > most_bytes:
            path.unlink(missing_ok=True)
