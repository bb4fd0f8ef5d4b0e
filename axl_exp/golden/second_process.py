"""Half of a check in a second process, started before this one has imported anything heavy.

Importing JAX and the experiments takes as long as making all goldens does, so the second process
must begin at once and find out by itself what its half is.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

_CODE = "from axl_exp.golden.check import write_second_half; write_second_half()"

Second = subprocess.Popen[bytes]


@contextlib.contextmanager
def second_process(*, wanted: bool) -> Iterator[Second | None]:
    """Start the second process; yields None where it is not wanted or there is one core only."""
    if not wanted or _num_cores() < 2:
        yield None
        return
    command = [sys.executable, "-c", _CODE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        try:
            yield process
        finally:
            process.kill()


def output_of(process: Second) -> bytes | None:
    """Return what the process wrote; None if it failed, for whatever reason."""
    output, _ = process.communicate()
    return output if process.returncode == 0 else None


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
