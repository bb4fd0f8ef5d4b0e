"""The compilers themselves: libtpu for every kind of TPU, where it is installed."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys

import jax
import pytest

from axl_exp.config import Override
from axl_exp.dryrun.__main__ import main
from axl_exp.dryrun.compiled import compile
from axl_exp.dryrun.compiled.child import Request, compile_request, left_out_for
from axl_exp.dryrun.compiled.compile import CompilerCrashError, compile_dry_run
from axl_exp.dryrun.compiled.facts import CompiledFacts, from_json
from axl_exp.dryrun.compiled.output import refusal_of
from axl_exp.dryrun.compiled.topology import (
    CompilerMissingError,
    NoTopologyError,
    devices_of,
    prepare_environment,
    topology_of,
)
from axl_exp.mesh import HardwareSelector, MeshShape, parse_selector
from axl_exp.resolve import Resolved, resolve
from axl_exp.train.compiler_options import CompilerOptionError
from axl_exp.train.memory import bytes_per_device

# A test model whose matrices fill a tile, so that it is sharded, gathered and multiplied as large
# ones are.
_SIZES = {
    "model.decoder.dim": "256",
    "model.decoder.vocab_size": "1024",
    "model.decoder.transformer.num_layers": "2",
    "model.decoder.transformer.layer.feed_forward.hidden_dim": "1024",
    "model.decoder.transformer.layer.self_attention.attention.num_heads": "2",
    "model.decoder.transformer.layer.self_attention.attention.input_linear.input_linear."
    "num_kv_heads": "1",
    "input.global_batch_size": "32",
    "evalers": "{}",
}


def _resolved(selector: str, **overrides: str) -> Resolved:
    fields = _SIZES | {path.replace("__", "."): text for path, text in overrides.items()}
    return resolve(
        "fuji-test-v2",
        selector=selector,
        overrides=[Override(path, text) for path, text in fields.items()],
    )


def _compile(resolved: Resolved) -> CompiledFacts:
    pytest.importorskip("libtpu")
    prepare_environment()
    assert resolved.hardware is not None
    return compile_request(Request(resolved.config, resolved.hardware), stage=lambda name: None)


@functools.cache
def _facts(selector: str) -> CompiledFacts:
    return _compile(_resolved(selector))


_SAME_PROGRAM = """
import jax
from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.model import qkv, rotary
from tests.dryrun.compiled.test_compile import _resolved
qkv.platform_in_use = rotary.platform_in_use = lambda: "tpu"
prepare_environment()
# In float32: of bfloat16 products JAX itself makes others on a CPU. Each hardware has an attention
# kernel of its own, plain JAX is the same; positions and groups of heads are asked for as on TPUs.
attention = "model__decoder__transformer__layer__self_attention__attention__backend"
resolved = _resolved("tpu-v5e-8", train_dtype="float32", **{attention: "xla"})
here, there = jax.devices(), devices_of(topology_of(resolved.hardware))
texts = {resolved.config.instantiate(devices=d).lower().as_text() for d in (here, there)}
assert len(here) == len(there) == 8
print(len(texts), "sharding" in texts.pop())
"""


def test_what_is_compiled_is_the_step_that_a_trainer_runs():
    pytest.importorskip("libtpu")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", _SAME_PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "True"], done.stderr[-2000:]


@pytest.mark.parametrize("selector", ["tpu-v4-8", "tpu-v5e-4", "tpu-v5p-8", "tpu-v6e-4"])
def test_a_small_model_compiles_for_every_tpu(selector):
    facts = _facts(selector)
    assert facts.num_devices == 4
    assert facts.fits and facts.memory.needed_bytes > 0
    assert facts.prediction is not None
    assert 0 < facts.prediction.compute_seconds <= facts.prediction.step_seconds < 0.1
    assert facts.largest and facts.largest[0].num_bytes > 0
    assert from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_a_compiler_is_told_the_options_of_the_config():
    told = _compile(
        _resolved(
            "tpu-v5e-4",
            compiler_options="{'xla_tpu_enable_async_collective_fusion': 'false'}",
        )
    )
    usual = _facts("tpu-v5e-4")
    assert told.prediction is not None and usual.prediction is not None
    # Nothing is computed any more while shards are gathered.
    assert told.prediction.exposed_seconds["ici"] > 1.2 * usual.prediction.exposed_seconds["ici"]


def test_an_option_that_libtpu_refuses_is_one_line():
    with pytest.raises(CompilerOptionError, match=r"no option 'xla_tpu_no_such'.*leave it out"):
        _compile(_resolved("tpu-v5e-4", compiler_options="{'xla_tpu_no_such': 'true'}"))


def test_arguments_are_the_shards_of_the_state_and_the_batch():
    facts = _facts("tpu-v5e-4")
    prepare_environment()
    trainer = _resolved("tpu-v5e-4").config.instantiate(
        devices=devices_of(topology_of(parse_selector("tpu-v5e-4")))
    )
    held = bytes_per_device(trainer.abstract_state)
    batch = 4 * 32 // 4 * 64 * 4  # inputs, targets, segments, positions: int32
    # A tile is the least that anything takes.
    assert held + batch <= facts.memory.argument_bytes < 1.1 * (held + batch)


def test_executed_operations_are_those_of_the_formula_and_of_what_is_computed_again():
    facts = _facts("tpu-v5e-4")
    dim, ffn, vocab, layers, tokens = 256, 1024, 1024, 2, 32 * 64 // 4
    q, kv, o = dim * dim, dim * dim // 2, dim * dim
    # Forward and twice backward; the remat rule keeps the products of attention, so that those of
    # the feed-forward's first half are computed again, and of logits and their weighing of values
    # half (all keys are multiplied: it is plain attention on this small head).
    kept = 3 * 2 * tokens * layers * (q + 2 * kv + o + 3 * dim * ffn)
    again = 2 * tokens * layers * 2 * dim * ffn
    head = 3 * 2 * tokens * dim * vocab
    attention = 2 * 2 * 32 * 64 * 64 * dim // 4 * layers  # One forward pass.
    # Two query heads and a key head of 128, forward and backward, by a matrix.
    rotations = 2 * 2 * tokens * layers * 3 * 128 * 128
    expected = kept + again + head + 3.5 * attention + rotations
    assert facts.executed_flops == pytest.approx(expected, rel=0.02)


def test_sharded_parameters_are_gathered_and_their_gradients_scattered():
    facts = _facts("tpu-v5e-4")
    assert {axis for c in facts.collectives for axis in c.mesh_axes} == {"fsdp"}
    assert {c.link for c in facts.collectives} == {"ici"}
    moved = sum(c.num_bytes for c in facts.collectives if c.kind != "all-reduce")
    weights = 2 * (2 * 256 * 256 + 256 * 256 + 3 * 256 * 1024) + 2 * 256 * 1024
    # In bfloat16: gathered forward and backward, and scattered once; rings may move their own part.
    assert 1.5 * 2 * weights < moved < 4 * 2 * weights


def test_slices_talk_over_the_network_between_them():
    one_slice = _resolved("tpu-v5e-8")
    two_slices = dataclasses.replace(
        one_slice,
        hardware=parse_selector("tpu-v5e-4-2"),
        config=one_slice.config.clone(mesh_shape=MeshShape(data=2, fsdp=4)),
    )
    facts = _compile(two_slices)
    assert facts.num_devices == 8
    assert facts.topology == "v5e:2x2, 2 slices"
    over = [c for c in facts.collectives if c.link == "dcn"]
    assert {(c.kind, c.mesh_axes) for c in over} == {("all-reduce", ("data",))}
    # Of every gradient, in bfloat16, the fourth that a chip holds; norms and counts add little.
    q, kv, ffn, vocab = 256 * 256, 256 * 128, 256 * 1024, 1024 * 256
    gradients = (2 * (2 * q + 2 * kv + 3 * ffn) + vocab) * 2 / 4
    assert gradients <= sum(c.num_bytes for c in over) < 1.25 * gradients
    within = [c for c in facts.collectives if c.link == "ici"]
    assert within and all(c.mesh_axes == ("fsdp",) for c in within)


def test_layers_that_offload_send_no_more_between_slices():
    remat = "model__decoder__transformer__layer__remat_spec__"
    moved = []
    for offloaded in ("", "q_proj"):
        one_slice = _resolved("tpu-v5e-8", **{f"{remat}save": "", f"{remat}offload": offloaded})
        two_slices = dataclasses.replace(
            one_slice,
            hardware=parse_selector("tpu-v5e-4-2"),
            config=one_slice.config.clone(mesh_shape=MeshShape(data=2, fsdp=4)),
        )
        facts = _compile(two_slices)
        assert (facts.offload_bytes > 0) == bool(offloaded)
        moved.append(sum(c.num_bytes for c in facts.collectives))
    # Where the partitioner has to do with how vectors lie, it gathers the whole batch: 1.4 times.
    assert moved[1] < 1.05 * moved[0]


def test_what_does_not_fit_gets_the_compilers_own_verdict():
    resolved = _resolved(
        "tpu-v5e-4",
        model__decoder__dim="16384",
        model__decoder__transformer__layer__feed_forward__hidden_dim="131072",
    )
    facts = _compile(resolved)
    assert not facts.fits
    assert facts.memory.verdict.startswith("Ran out of memory")
    assert facts.memory.available_bytes is not None
    assert facts.memory.available_bytes == pytest.approx(15.75 * 2**30)
    assert facts.memory.needed_bytes > facts.memory.available_bytes
    assert facts.prediction is None
    # The dump of the refused program still names who fills the memory.
    assert facts.largest[0].num_bytes > 2**29
    assert facts.largest[0].owner.startswith(("params/", "opt_state/"))


def test_a_child_process_compiles_once_and_the_cache_answers_then(monkeypatch, tmp_path):
    pytest.importorskip("libtpu")
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    stages = []
    resolved = _resolved("tpu-v5e-1")
    facts = compile_dry_run(resolved, progress=lambda stage, seconds: stages.append(stage))
    assert any(stage.startswith("compiling with libtpu") for stage in stages)
    assert facts.fits and facts.num_devices == 1
    # Code of ours that makes the same program, and reads it, has changed: no compile.
    monkeypatch.setattr(compile, "_code_digest", lambda: "other")
    stages.clear()
    assert compile_dry_run(resolved, progress=lambda stage, _: stages.append(stage)) == facts
    assert not any(stage.startswith("compiling") for stage in stages)
    monkeypatch.setattr(compile, "_compile_in_child", None)  # Would be called for a new one.
    assert compile_dry_run(resolved) == facts
    for path in (tmp_path / "dryrun").glob("*.json"):
        path.write_text("{}}")
    with pytest.raises(TypeError, match="not callable"):  # A damaged entry is no answer.
        compile_dry_run(resolved)


def test_another_config_hardware_or_code_is_another_entry(monkeypatch):
    one = compile.cache_key(_resolved("tpu-v5e-4"))
    assert one == compile.cache_key(_resolved("tpu-v5e-4"))
    assert one != compile.cache_key(_resolved("tpu-v5e-4", max_step="7"))
    assert one != compile.cache_key(_resolved("tpu-v6e-4"))
    monkeypatch.setattr(compile, "_code_digest", lambda: "other")
    assert one != compile.cache_key(_resolved("tpu-v5e-4"))


def test_a_compiler_that_dies_is_a_message(monkeypatch, tmp_path):
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    monkeypatch.setattr(compile, "_CHILD", "import os; os.kill(os.getpid(), 11)")
    with pytest.raises(CompilerCrashError, match="ended by signal 11 while starting"):
        compile_dry_run(_resolved("tpu-v5e-4"))
    monkeypatch.setattr(compile, "_CHILD", "raise ValueError('no such thing')")
    with pytest.raises(CompilerCrashError, match="exit code 1 .*ValueError: no such thing"):
        compile_dry_run(_resolved("tpu-v5e-4"))


def test_a_compiler_that_ends_itself_is_told_with_its_reason():
    said = (
        b"WARNING: something before\n"
        b"F1121 20:05:21.682492   20457 all_reduce_emitter.cc:175] Check failed: max_vmem_kib > 0 "
        b"(-1008 vs. 0) \n*** Check failure stack trace: ***\n    @     0x7f0f  (unknown)\n"
    )
    assert compile._last_words(-6, said, "compiling with libtpu 0.0.42.1") == (
        "The process that compiles was ended by signal 6 while compiling with libtpu 0.0.42.1: "
        "Check failed: max_vmem_kib > 0 (-1008 vs. 0) (compiler_options may be why: try without "
        "them)"
    )


_WITHOUT_PACKAGES = """
import importlib.metadata as metadata
real = metadata.version
def version(name):
    if name.startswith(("libtpu", "jax-cuda")):
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
"""


def _compile_by_command(selector, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    code = main(["--config=fuji-tiny", f"--mesh={selector}", "--level=compile"])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize(
    ("selector", "needs", "extra"),
    [
        ("tpu-v5e-4", "v5e:2x2 needs libtpu", "tpu"),
        ("gpu-h100-8", "1x1x8 needs XLA's CUDA plugin", "gpu"),
    ],
)
def test_without_the_compiler_the_command_names_the_extra_to_install(
    selector, needs, extra, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(compile, "_CHILD", f"{_WITHOUT_PACKAGES}\n{compile._CHILD}")
    text = (
        f"error: --level=compile for {needs} of the version that jax {jax.__version__} wants. "
        f"Install it: pip install 'axl_exp[{extra}]'.\n"
    )
    assert _compile_by_command(selector, monkeypatch, tmp_path, capsys) == (2, "", text)


def test_a_compiler_that_does_not_load_is_told_with_what_it_said(monkeypatch, tmp_path, capsys):
    pytest.importorskip("libtpu")
    broken = tmp_path / "libtpu.so"
    broken.write_text("no library")
    monkeypatch.setenv("TPU_LIBRARY_PATH", str(broken))
    code, out, said = _compile_by_command("tpu-v5e-4", monkeypatch, tmp_path, capsys)
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert f"wants (INTERNAL: Failed to open {broken}"[:100] in said
    assert said.endswith(". Install it: pip install 'axl_exp[tpu]'.\n")


def test_a_version_that_cannot_read_the_program_names_the_extra_too():
    tpu = topology_of(parse_selector("tpu-v5e-4"))
    said = refusal_of(RuntimeError("Failed to deserialize: StableHLO v9.9.9\nmore"), tpu)
    assert isinstance(said, CompilerMissingError)
    assert str(said) == (
        "The compiler cannot read this JAX's program back (Failed to deserialize: StableHLO "
        "v9.9.9): install the version that fits, pip install 'axl_exp[tpu]'."
    )
    for other in ("INTERNAL: Mosaic failed", "UNIMPLEMENTED: no such conversion"):
        said = refusal_of(RuntimeError(f"{other}\nmore"), tpu)
        assert not isinstance(said, CompilerMissingError)
        assert str(said) == f"The compiler refuses the program for v5e:2x2: {other}"


def test_hardware_that_no_compiler_has_is_an_error_that_names_what_there_is():
    with pytest.raises(NoTopologyError, match="tpu-v5e-<number>: 1, 4, 8, 16, 32, 64, 128, 256"):
        topology_of(HardwareSelector("tpu", "v5e", 12))
    with pytest.raises(NoTopologyError, match="Numbers that do in tpu-v5p-<number>: 8, 16"):
        topology_of(HardwareSelector("tpu", "v5p", 24))
    with pytest.raises(NoTopologyError, match="whole nodes of 8"):
        topology_of(HardwareSelector("gpu", "h100", 12))
    with pytest.raises(NoTopologyError, match="no compiler for cpu-1"):
        topology_of(parse_selector("cpu-1"))


def test_topologies_are_named_as_their_compilers_do():
    names = {
        "tpu-v5e-256": ("v5e:16x16", 1, False),
        "tpu-v5e-256-4": ("v5e:16x16", 4, False),
        "tpu-v4-1024": ("v4:8x8x8", 1, True),
        "tpu-v5p-4096": ("v5p:8x16x16", 1, True),
        "tpu-v6e-8": ("v6e:2x4", 1, False),
        "gpu-h100-8": ("1x1x8", 1, False),
        "gpu-h200-64": ("1x8x8", 1, False),
        "gpu-a100-4": ("1x1x4", 1, False),
    }
    for selector, expected in names.items():
        found = topology_of(parse_selector(selector))
        assert (found.name, found.num_slices, found.one_device_per_chip) == expected


def test_a_gpu_that_is_not_here_has_no_memory_of_a_host_for_arguments_and_that_is_told():
    on_host = _resolved("gpu-h100-8", learner__optimizer_memory="pinned_host").config
    (told,) = left_out_for("gpu", on_host)
    assert told.startswith("learner.optimizer_memory is not compiled")
    assert not list(left_out_for("tpu", on_host))
    assert not list(left_out_for("gpu", _resolved("gpu-h100-8").config))
