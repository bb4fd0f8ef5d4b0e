"""What compilers gave is kept by what decides about it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from axl_exp.dryrun.compiled import kept
from axl_exp.dryrun.compiled.kept import keep, program_key, read_kept
from axl_exp.dryrun.compiled.memory import MemoryAnalysis
from axl_exp.dryrun.compiled.output import CompilerOutput
from axl_exp.dryrun.compiled.topology import Topology

_FITS = CompilerOutput(
    text="HloModule m, \u00fc",
    assignment="allocation 0",
    analysis=MemoryAnalysis(1, 2, 3, 4, 5, 6, 7, 8, 9),
    seconds=1.5,
)
_REFUSED = CompilerOutput(text="", assignment="", analysis=None, refusal="no room", seconds=2.0)


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    return tmp_path


def _program(text="module", devices=(0, 1), name="v5e:2x2", **options):
    lowered = SimpleNamespace(as_text=lambda: text)
    return program_key(
        lowered,
        devices=[SimpleNamespace(id=number) for number in devices],
        topology=Topology("tpu", name),
        options=options,
    )


def test_the_key_is_of_program_devices_options_compiler_and_flags(monkeypatch):
    keys = [
        _program(),
        _program(text="another"),
        _program(devices=(1, 0)),
        _program(name="v6e:2x2"),
        _program(xla_option=1),
    ]
    assert keys[0] == _program()
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_flag=true")
    keys.append(_program())
    monkeypatch.setattr(kept, "versions_of", lambda packages: {"libtpu": "0.0.0"})
    keys.append(_program())
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("output", [_FITS, _REFUSED], ids=["fits", "refused"])
def test_what_is_kept_is_read_back(output):
    assert read_kept("a") is None
    keep("a", output)
    assert read_kept("a") == output
    assert read_kept("b") is None


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_damaged_file_holds_nothing(damage, _home):
    keep("a", _FITS)
    (path,) = (_home / "dryrun" / "programs").iterdir()
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    assert read_kept("a") is None
    keep("a", _FITS)
    assert read_kept("a") == _FITS


def test_the_longest_unused_goes_where_there_is_too_much(monkeypatch, _home):
    for age, key in ((3, "a"), (2, "b"), (1, "c")):
        keep(key, _FITS)
        path = _home / "dryrun" / "programs" / f"{key}.json.gz"
        os.utime(path, (path.stat().st_mtime - 100 * age,) * 2)
    size = path.stat().st_size
    assert read_kept("a") == _FITS  # Used now.
    monkeypatch.setattr(kept, "_MOST_BYTES", int(3.5 * size))
    keep("d", _FITS)
    assert [read_kept(key) is None for key in "abcd"] == [False, True, False, False]


def test_what_cannot_be_kept_is_no_error(_home):
    (_home / "dryrun").write_text("a file where a folder is to be")
    keep("a", _FITS)
    assert read_kept("a") is None
