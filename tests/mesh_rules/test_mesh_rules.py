import re
import subprocess
import sys

import numpy as np
import pytest

from axl_exp.config.diff import Changed
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.dryrun.search.search import HEADROOM
from axl_exp.dryrun.search.settings import Remat, Settings, accumulations
from axl_exp.dryrun.sweep import swept_selectors
from axl_exp.golden.lint import lint
from axl_exp.golden.make import golden_selectors
from axl_exp.mesh import (
    MeshShape,
    TooSmallError,
    axis_sizes,
    parse_selector,
)
from axl_exp.registry import list_configs, load_mesh_rules
from axl_exp.resolve import resolve

RULES = load_mesh_rules()


def split_axes(name: str, selector: str) -> dict[str, int]:
    sizes = axis_sizes(resolve(name, selector=selector).config.mesh_shape)
    return {axis: size for axis, size in sizes.items() if size > 1}


# AXLearn's rules as they stand; its numbers of v4 and v5p count two TensorCores per chip.
@pytest.mark.parametrize(
    ("name", "selector", "sizes"),
    [
        ("fuji-7B-v2", "tpu-v4-1024", {"data": 32, "fsdp": 16}),
        ("fuji-7B-v2", "tpu-v4-2048", {"data": 64, "fsdp": 16}),
        ("fuji-7B-v2", "tpu-v5litepod-256-4", {"data": 4, "fsdp": 256}),
        ("fuji-7B-v1", "tpu-v5p-512", {"data": 4, "fsdp": 64}),
        ("fuji-8B-v3-tiktoken", "tpu-v5p-512", {"data": 32, "fsdp": 8}),
        ("fuji-7B-v2", "gpu-p5.48xlarge-256", {"data": 32, "fsdp": 8}),
        ("fuji-7B-v2", "gpu-p4de.24xlarge-1024", {"data": 128, "fsdp": 8}),
        ("fuji-70B-v2", "gpu-p5.48xlarge-512", {"data": 4, "fsdp": 128}),
        ("fuji-70B-v2", "gpu-a3-highgpu-8g-256", {"data": 4, "fsdp": 64}),
        ("honeycrisp-85M", "tpu-v4-64", {"data": 32}),
        ("honeycrisp-85M", "tpu-v5litepod-32", {"data": 32}),
        ("honeycrisp-85M", "tpu-v5p-32", {"data": 16}),
        ("honeycrisp-85M", "gpu-p5.48xlarge-64", {"data": 64}),
        ("honeycrisp-85M", "gpu-a3-highgpu-8g-16", {"data": 16}),
        ("honeycrisp-85M", "gpu-p4d.24xlarge-128", {"data": 16, "fsdp": 8}),
        ("honeycrisp-3B", "tpu-v4-256", {"fsdp": 128}),
        ("honeycrisp-3B", "tpu-v5litepod-256", {"fsdp": 256}),
        ("honeycrisp-3B", "gpu-p4de.24xlarge-64", {"data": 8, "fsdp": 8}),
        ("honeycrisp-3B", "gpu-p4d.24xlarge-256", {"data": 32, "fsdp": 8}),
        ("honeycrisp-3B", "tpu-v5p-4096", {"data": 2048}),
        ("gala-85M", "tpu-v5litepod-256", {"data": 256}),
        ("gala-302M", "tpu-v5litepod-256", {"data": 256}),
        ("gala-1B", "tpu-v5litepod-256", {"data": 32, "fsdp": 8}),
        ("gala-1B-hybridnorm-alibi", "tpu-v5litepod-256", {"data": 32, "fsdp": 8}),
        ("gala-7B", "tpu-v4-2048", {"data": 64, "fsdp": 16}),
        ("gala-7B", "tpu-v5p-1024", {"data": 32, "fsdp": 16}),
        ("gala-7B-hybridnorm-alibi", "tpu-v5litepod-256", {"data": 8, "fsdp": 32}),
        ("gala-7B", "gpu-p5.48xlarge-256", {"data": 32, "fsdp": 8}),
    ],
)
def test_published_rules_are_as_they_were_published(name, selector, sizes):
    assert split_axes(name, selector) == sizes


ATTENTION = {"q_proj", "k_proj", "v_proj", "context", "o_proj"}
PRODUCTS = ATTENTION | {"linear1_0", "linear1_1", "linear2"}
QKV = {"q_proj", "k_proj", "v_proj"}


# What AXLearn's rules keep on the device and offload to the host, and into how many parts they
# divide a batch. Its policies of all products have no name for a layer's input.
@pytest.mark.parametrize(
    ("name", "selector", "saved", "offloaded", "num_parts"),
    [
        ("fuji-7B-v2", "tpu-v5litepod-256", set(), PRODUCTS, 4),
        ("fuji-7B-v2", "tpu-v5litepod-256-2", set(), PRODUCTS, 1),
        ("fuji-7B-v2", "tpu-v5litepod-256-4", PRODUCTS, set(), 1),
        # Published with every product offloaded; the machine types of its hosts lack the memory.
        ("fuji-70B-v2", "tpu-v5litepod-256-4", set(), ATTENTION, 1),
        ("fuji-7B-v2", "tpu-v5p-512", PRODUCTS, set(), 1),
        ("fuji-70B-v2", "tpu-v5p-1024", QKV, {"input"}, 1),
        ("fuji-7B-v2", "tpu-v6e-256-2", set(), ATTENTION, 1),
        ("fuji-70B-v2", "tpu-v6e-256", set(), ATTENTION, 4),
        ("fuji-70B-v1", "tpu-v6e-256-8", set(), QKV | {"input"}, 1),
        # Published without parts; by the dry run its sixteen sequences need 53 GiB at once.
        ("honeycrisp-3B", "tpu-v4-256", ATTENTION, set(), 4),
    ],
)
def test_published_rules_keep_and_offload_what_was_published(
    name, selector, saved, offloaded, num_parts
):
    cfg = resolve(name, selector=selector).config
    spec = cfg.model.decoder.transformer.layer.remat_spec
    names = PRODUCTS | {"input"}
    assert {n for n in names if re.fullmatch(spec.save, n)} - {"input"} == saved
    assert {n for n in names if re.fullmatch(spec.offload, n)} == offloaded
    assert cfg.accumulation_steps == num_parts


@pytest.mark.parametrize(
    ("name", "selector", "has_room"),
    [
        ("fuji-1B-v3", "gpu-h100-1", True),
        ("fuji-8B-v3-tiktoken", "gpu-h100-8", True),
        ("fuji-8B-v3-tiktoken-single-host", "gpu-h200-4", True),
        # State and gradients alone leave too little.
        ("fuji-3B-v3", "gpu-h100-1", False),
        ("fuji-7B-v3", "gpu-h100-4", False),
    ],
)
def test_gpus_with_room_run_no_product_and_no_attention_kernel_twice(name, selector, has_room):
    transformer = resolve(name, selector=selector).config.model.decoder.transformer
    names = PRODUCTS | {"flash_residuals"}
    saved = {n for n in names if re.fullmatch(transformer.layer.remat_spec.save, n)}
    # Of context and linear2 the backward pass needs nothing but what is made of them.
    assert saved == (names - {"context", "linear2"} if has_room else set())
    assert transformer.unroll == (True if has_room else 1)


@pytest.mark.parametrize(
    ("name", "selector", "smallest"),
    [
        ("fuji-7B-v2", "tpu-v5e-4", "tpu-v5e-8"),
        ("fuji-70B-v3", "tpu-v5e-64", "tpu-v5e-128"),
        ("fuji-70B-v3", "tpu-v4-64", "tpu-v4-128"),
        ("fuji-70B-v3", "tpu-v6e-32", "tpu-v6e-64"),
        ("fuji-70B-v2", "gpu-h100-8", "gpu-h100-32"),
        ("fuji-405B-v3", "tpu-v6e-256", "tpu-v6e-256-2"),
        ("fuji-405B-v3", "tpu-v4-512", "tpu-v4-1024"),
        ("fuji-405B-v3", "gpu-h100-64", "gpu-h100-128"),
        ("fuji-7B-v2", "gpu-h200-1", "gpu-h200-2"),
        # A larger vocabulary, 1.3 billion parameters more.
        ("fuji-8B-v3-tiktoken", "gpu-b200-1", "gpu-b200-2"),
        ("fuji-8B-v3-tiktoken", "gpu-a100-2", "gpu-a100-4"),
        ("fuji-8B-v3-tiktoken", "gpu-a100-40gb-4", "gpu-a100-40gb-8"),
    ],
)
def test_what_cannot_fit_says_the_smallest_hardware_on_which_it_does(name, selector, smallest):
    with pytest.raises(TooSmallError, match=f"smallest that does: {smallest} "):
        resolve(name, selector=selector)
    resolve(name, selector=smallest)


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("fuji-7B-v2", "tpu-v5e-4"),
        ("fuji-70B-v1", "tpu-v4-64"),
        ("fuji-70B-v1", "tpu-v5e-64"),
        ("fuji-70B-v1", "tpu-v6e-32"),
        ("fuji-405B-v3", "tpu-v6e-256"),
        ("fuji-7B-v3", "gpu-h100-1"),
        ("fuji-8B-v3-tiktoken", "gpu-a100-40gb-4"),
        ("fuji-8B-v3-tiktoken", "gpu-b200-1"),
        ("fuji-70B-v2", "gpu-h100-16"),
        ("fuji-405B-v3", "gpu-h100-64"),
    ],
)
def test_one_size_below_the_smallest_no_layout_leaves_a_tenth(name, selector):
    """Of the smallest model that a rule is for; layers keep their inputs alone, and the state is
    split over all chips in the ways that need the least."""
    hardware = parse_selector(selector)
    with pytest.raises(TooSmallError):
        resolve(name, selector=selector)
    for model in {min(size, hardware.num_devices) for size in (4, 8)}:
        mesh = MeshShape(fsdp=hardware.num_devices // model, model=model)
        rows = resolve(name).config.input.global_batch_size
        settings = Settings(mesh, Remat("inputs"), accumulations(mesh, rows=rows)[-1])
        rule = settings.rule(selector=selector, config=name)
        memory = plan_dry_run(resolve(name, selector=selector, rule=rule)).memory
        assert memory.available_bytes is not None
        assert memory.total_bytes > (1 - HEADROOM) * memory.available_bytes


_TPUS = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e")
_GPUS = ("gpu-a100", "gpu-h100", "gpu-h200", "gpu-b200")


@pytest.mark.parametrize("hardware", _TPUS + _GPUS)
@pytest.mark.parametrize("name", [n for n in list_configs() if re.search(r"-\d+[MB]", n)])
def test_every_config_has_a_rule_on_every_hardware(name, hardware):
    if "405B" in name and hardware == "tpu-v5e":
        with pytest.raises(TooSmallError, match="none of v5e, but tpu-v6e-256-2"):
            resolve(name, selector="tpu-v5e-256-8")
        return
    assert any(s.startswith(f"{hardware}-") for s in swept_selectors(RULES, config=name))


@pytest.mark.parametrize(
    "selector", ["gpu-h200-1", "gpu-h100-8", "tpu-v4-8", "tpu-v5e-8", "tpu-v5p-8", "tpu-v6e-4"]
)
@pytest.mark.parametrize("name", ["fuji-tiny", "fuji-1B-v3-single-host"])
def test_one_host_splits_everything_over_its_devices(name, selector):
    num_devices = parse_selector(selector).num_devices
    assert split_axes(name, selector) == ({"fsdp": num_devices} if num_devices > 1 else {})


@pytest.mark.parametrize("name", list_configs())
def test_every_config_has_a_rule_for_a_cpu(name):
    assert "cpu-1" in golden_selectors(RULES, config=name)


@pytest.mark.parametrize("num_devices", [1, 2, 8])
def test_a_model_for_accelerators_becomes_a_smoke_run_on_a_cpu(num_devices):
    resolved = resolve("fuji-1B", selector=f"cpu-{num_devices}")
    cfg = resolved.config
    assert cfg.input.global_batch_size == num_devices
    assert (cfg.input.max_sequence_length, cfg.max_step) == (128, 3)
    assert cfg.train_dtype == np.float32
    for policy in (
        cfg.checkpointer.save_policy,
        *(evaler.eval_policy for evaler in cfg.evalers.values()),
    ):
        is_due = policy.instantiate()
        assert not any(is_due(step, 3) for step in range(4))
    assert resolved.rule is not None
    assert resolved.rule.note.startswith("Smoke run:")


def test_a_smoke_run_of_fuji_1b_needs_less_than_17_gib_of_state():
    cfg = resolve("fuji-1B", selector="cpu-1").config
    moment = np.dtype(cfg.learner.optimizer.mu_dtype).itemsize
    num_params = (
        131072 * 2048 + 16 * (2048 * 64 * (32 + 16 + 32) + 3 * 2048 * 8192 + 2 * 2048) + 2048
    )
    assert num_params * (4 + 4 + moment + 4) / 2**30 < 17


def test_what_trains_on_a_cpu_stays_as_it_is_but_for_its_precision_and_loop():
    resolved = resolve("fuji-tiny", selector="cpu-1")
    assert resolved.rule is not None
    assert resolved.rule.note == ""
    assert {change.path for change in resolved.mesh_changes if isinstance(change, Changed)} == {
        "mesh_shape.data",
        "model.decoder.transformer.unroll",
        "train_dtype",
    }
    assert all(isinstance(change, Changed) for change in resolved.mesh_changes)


def test_no_rule_is_hidden_behind_earlier_ones():
    assert [finding for finding in lint(module=None) if "never reached" in finding] == []


def test_mesh_rules_come_without_jax():
    code = "import sys, mesh_rules; mesh_rules.mesh_rules(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Of TPUs as in MaxText's benchmarks: its v5e models overlap sums of data parallelism, what offloads
# has options for that. An operation has more than 16 MiB of VMEM where a core has more. Other
# hardware knows none of them.
@pytest.mark.parametrize(
    ("name", "selector", "has", "has_not"),
    [
        ("fuji-7B-v2", "tpu-v6e-256", {"xla_tpu_scoped_vmem_limit_kib": 98304}, "host_transfer"),
        ("fuji-70B-v2", "tpu-v6e-256", {"xla_tpu_host_transfer_overlap_limit": 24}, "permute"),
        (
            "gala-1B",
            "tpu-v5e-256",
            {
                "xla_tpu_enable_data_parallel_all_reduce_opt": "true",
                "xla_tpu_scoped_vmem_limit_kib": 32768,
            },
            "host_transfer",
        ),
        (
            "fuji-70B-v2",
            "tpu-v5p-1024",
            {
                "xla_tpu_megacore_fusion_allow_ags": "false",
                "xla_tpu_scoped_vmem_limit_kib": 50000,
            },
            "host_transfer",
        ),
        ("fuji-7B-v2", "tpu-v4-1024", {"xla_enable_async_all_gather": "true"}, "vmem"),
        ("fuji-7B-v2", "gpu-h100-256", {}, ""),
        # Where layers are unrolled.
        (
            "gala-1B",
            "gpu-h100-256",
            {"xla_gpu_reduce_scatter_combine_threshold_bytes": 131072},
            "tpu",
        ),
        ("fuji-tiny", "cpu-1", {}, ""),
    ],
)
def test_compilers_are_told_what_is_for_their_hardware(name, selector, has, has_not):
    options = resolve(name, selector=selector).config.compiler_options
    assert has.items() <= options.items()
    assert not any(has_not in option for option in options)
