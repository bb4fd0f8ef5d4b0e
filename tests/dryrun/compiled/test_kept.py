"""What compilers gave is kept by what decides about it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from axl_exp.dryrun.compiled import kept, output
from axl_exp.dryrun.compiled.kept import keep, read_kept
from axl_exp.dryrun.compiled.memory import MemoryAnalysis
from axl_exp.dryrun.compiled.output import compiler_output
from axl_exp.dryrun.compiled.topology import Topology

_VALUES = {"text": "HloModule m, \u00fc", "seconds": 1.5}


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    return tmp_path


class _Lowered:
    """A program that is compiled by writing down that it was."""

    def __init__(self, text: str):
        self._text = text

    def as_text(self):
        return self._text

    def compile(self, compiler_options):
        name = "module_0001.buffer-assignment.txt"
        Path(compiler_options["xla_dump_to"], name).write_text("allocation 0")
        return SimpleNamespace(
            memory_analysis=lambda: MemoryAnalysis(1, 2, 3, 4, 5, 6, 7, 8, 9),
            as_text=lambda: f"HloModule {self._text}, \u00fc",
        )


class _Refused(_Lowered):
    def compile(self, compiler_options):
        raise RuntimeError(_REFUSAL)


_REFUSAL = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(80.63G) exceeds available HBM (15.75G)."
)


def _output(lowered, devices=(0, 1), name="v5e:2x2", **options):
    """Return what is given for a program, and whether it was compiled for that."""
    compiled = []
    given = compiler_output(
        lowered,
        Topology("tpu", name),
        devices=[SimpleNamespace(id=number) for number in devices],
        options=options,
        on_compile=lambda: compiled.append(1),
    )
    return given, bool(compiled)


def test_a_program_is_compiled_anew_for_other_devices_options_compilers_and_flags(monkeypatch):
    one = _Lowered("one")
    first, was_compiled = _output(one)
    assert was_compiled and first.text == "HloModule one, \u00fc"
    assert first.assignment == "allocation 0"
    assert _output(one) == (first, False)
    assert _output(_Lowered("two"))[1]
    assert _output(one, devices=(1, 0))[1]
    assert _output(one, name="v6e:2x2")[1]
    assert _output(one, xla_option=1)[1]
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_flag=true")
    assert _output(one)[1]
    monkeypatch.setattr(kept, "versions_of", lambda packages: {"libtpu": "0.0.0"})
    assert _output(one)[1]


def test_a_refusal_for_memory_is_kept_too():
    refused, was_compiled = _output(_Refused("large"))
    assert was_compiled and refused.analysis is None and refused.refusal == _REFUSAL
    assert _output(_Refused("large")) == (refused, False)


@pytest.mark.parametrize("damage", [b"", b"{}", gzip.compress(b"[]", mtime=0), None])
def test_a_damaged_file_holds_nothing(damage, _home):
    keep("a", _VALUES)
    (path,) = (_home / "dryrun" / "programs").iterdir()
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    assert read_kept("a") is None
    keep("a", _VALUES)
    assert read_kept("a") == _VALUES


def test_what_another_version_kept_is_compiled_anew(monkeypatch):
    monkeypatch.setattr(output, "read_kept", lambda key: _VALUES)
    assert _output(_Lowered("one"))[1]


def test_the_longest_unused_goes_where_there_is_too_much(monkeypatch, _home):
    for age, key in ((3, "a"), (2, "b"), (1, "c")):
        keep(key, _VALUES)
        path = _home / "dryrun" / "programs" / f"{key}.json.gz"
        os.utime(path, (path.stat().st_mtime - 100 * age,) * 2)
    size = path.stat().st_size
    assert read_kept("a") == _VALUES  # Used now.
    monkeypatch.setattr(kept, "_MOST_BYTES", int(3.5 * size))
    keep("d", _VALUES)
    assert [read_kept(key) is None for key in "abcd"] == [False, True, False, False]


def test_what_cannot_be_kept_is_no_error(_home):
    (_home / "dryrun").write_text("a file where a folder is to be")
    keep("a", _VALUES)
    assert read_kept("a") is None
