"""A CPU launch has its memory in huge pages, unless somebody said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.launch import huge_pages
from axl_exp.launch.huge_pages import huge_page_variables

REPOSITORY = Path(__file__).resolve().parents[2]
ASKED_FOR = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@pytest.fixture(autouse=True)
def on_request(monkeypatch, tmp_path) -> Path:
    """A host without accelerators that gives huge pages on request."""
    enabled = tmp_path / "enabled"
    enabled.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "_TRANSPARENT", enabled)
    monkeypatch.setattr(huge_pages, "may_have_accelerator", lambda: False)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    return enabled


@pytest.mark.parametrize("mesh", ["auto", "cpu-1", "cpu-8"])
def test_a_launch_on_a_cpu_asks_for_them(mesh):
    assert huge_page_variables(mesh) == ASKED_FOR


def test_tunables_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    assert huge_page_variables("auto") == {
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    }


@pytest.mark.parametrize("value", ["0", "1", "2"])
def test_a_user_who_chose_is_asked_no_more(monkeypatch, value):
    monkeypatch.setenv("GLIBC_TUNABLES", f"glibc.malloc.hugetlb={value}")
    assert huge_page_variables("cpu-1") == {}


@pytest.mark.parametrize("mesh", ["gpu-h100-8", "tpu-v5e-16"])
def test_a_launch_on_an_accelerator_stays_as_it_is(mesh):
    assert huge_page_variables(mesh) == {}


def test_a_host_with_an_accelerator_is_a_cpu_only_where_jax_is_told_so(monkeypatch):
    monkeypatch.setattr(huge_pages, "may_have_accelerator", lambda: True)
    assert huge_page_variables("auto") == {}
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert huge_page_variables("auto") == ASKED_FOR


@pytest.mark.parametrize("text", ["[always] madvise never\n", "always madvise [never]\n"])
def test_where_all_have_them_or_nobody_nothing_is_asked(on_request, text):
    on_request.write_text(text)
    assert huge_page_variables("auto") == {}


@pytest.mark.parametrize("library", ["glibc 2.34", "musl 1.2.4", "", None])
def test_a_c_library_without_the_tunable_is_not_asked(monkeypatch, library):
    monkeypatch.setattr(os, "confstr", lambda name: library)
    assert huge_page_variables("auto") == {}


def test_a_system_that_does_not_tell_is_not_asked(on_request, monkeypatch):
    on_request.unlink()
    assert huge_page_variables("auto") == {}


# Takes 64 MiB and tells its arguments, its process and how many pages it was given one by one.
ONE = """
import os, resource, sys
from axl_exp.launch.huge_pages import start_over_with_huge_pages
start_over_with_huge_pages("cpu-1")
import numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(2**23)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(os.getpid(), sys.argv[1:], os.environ["GLIBC_TUNABLES"], faults)
"""


def test_a_command_is_put_in_its_own_place_and_its_memory_comes_in_huge_pages(monkeypatch):
    monkeypatch.undo()
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if not huge_page_variables("cpu-1"):
        pytest.skip("this system gives no huge pages on request")
    process = subprocess.Popen(
        [sys.executable, "-c", ONE, "--a flag", "b"],
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    told, faults = out.rsplit(maxsplit=1)
    assert told == f"{process.pid} ['--a flag', 'b'] glibc.malloc.hugetlb=1"
    assert int(faults) < 2**26 // 4096 // 2
