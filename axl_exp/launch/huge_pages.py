"""A CPU run's memory in huge pages; standard library only, for it comes before anything heavy.

A step of XLA's CPU backend takes its temporaries from the allocator and gives them back: at 4 KiB a
page, the system spends a fifth of the step's CPU time on handing out the same memory again. glibc
asks for pages of 2 MiB where a variable says so, which it reads once, when a process begins.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from axl_exp.run.accelerators import may_have_accelerator

_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
# The first with that tunable (https://sourceware.org/glibc/manual/latest/html_node/
# Memory-Allocation-Tunables.html).
_FIRST_GLIBC = (2, 35)
_TRANSPARENT = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_over_with_huge_pages(mesh: str) -> None:
    """Put this command in its own place once more, same arguments, with huge pages.

    Returns where nothing is to be gained: see `huge_page_variables`.
    """
    variables = huge_page_variables(mesh)
    if variables and sys.executable:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **variables})


def huge_page_variables(mesh: str) -> dict[str, str]:
    """Return the environment variables with which a launch on `mesh` has huge pages.

    None where the run is not a CPU's, where the variables say already how it is to be (0 keeps
    small pages), and where the system has no such pages or gives them to everybody.

    Args:
        mesh: The hardware selector of the launch, or `auto`.
    """
    tunables = os.environ.get(_VARIABLE, "")
    if _TUNABLE in tunables or not _runs_on_cpu(mesh) or not _are_given_on_request():
        return {}
    return {_VARIABLE: ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))}


def _runs_on_cpu(mesh: str) -> bool:
    if mesh != "auto":
        return mesh.startswith("cpu")
    return os.environ.get("JAX_PLATFORMS") == "cpu" or not may_have_accelerator()


def _are_given_on_request() -> bool:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        numbers = tuple(int(part) for part in version.split("."))
        is_on_request = "[madvise]" in _TRANSPARENT.read_text()
    except (OSError, ValueError, AttributeError):  # Not Linux, or another C library.
        return False
    return name == "glibc" and numbers >= _FIRST_GLIBC and is_on_request
