"""Plans of the configs that there are."""

from pathlib import Path

import pytest

from axl_exp.cli import rare_collections
from axl_exp.config import Override
from axl_exp.dryrun.facts import MemoryPlan
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.dryrun.sweep import find_pairs, like_pairs_together
from axl_exp.errors import UserError
from axl_exp.golden.folder import read_folder
from axl_exp.golden.layout import read_goldens
from axl_exp.golden.plans import plan_facts
from axl_exp.resolve import resolve

REPOSITORY = Path(__file__).parents[2]
PAIRS = find_pairs(config=None, mesh=None, module=None)


@pytest.fixture(scope="module")
def goldens():
    found, errors = read_goldens(read_folder(REPOSITORY / "configs_golden"))
    assert not errors
    return found


@pytest.fixture(scope="module", autouse=True)
def _rare_collections():
    with rare_collections():
        yield


@pytest.mark.parametrize(("name", "selector"), like_pairs_together(PAIRS))
def test_every_config_fits_on_every_hardware_as_its_golden_says(name, selector, goldens):
    plan = plan_dry_run(resolve(name, selector=selector))
    assert plan.memory.fits
    mesh = goldens[name].meshes.get(selector)
    if mesh is not None:  # If this is meant: python -m axl_exp.golden update --plans
        assert plan_facts(plan).items() <= mesh.facts.items()


@pytest.mark.parametrize("selector", ["tpu-v5e-8", "tpu-v6e-4"])
def test_where_the_optimizer_waits_on_the_host_it_has_no_room_on_the_devices(selector):
    assert plan_dry_run(resolve("fuji-7B-v2", selector=selector)).memory.fits
    stays = Override("learner.optimizer_memory", "None")
    there = resolve("fuji-7B-v2", selector=selector, overrides=[stays])
    assert not plan_dry_run(there).memory.fits


def test_what_waits_on_the_host_is_fetched_at_once_as_far_as_there_is_room():
    memory = plan_dry_run(resolve("fuji-7B-v2", selector="tpu-v6e-4")).memory
    # Parameters, gradients and two moments, in float32.
    assert memory.total_bytes == pytest.approx(16 * 6.61e9 / 4, rel=0.01)
    assert memory.fetched_ahead_bytes > 0
    memory = plan_dry_run(resolve("fuji-8B-v3-tiktoken", selector="tpu-v5e-8")).memory
    assert memory.total_bytes < 16 * 8.03e9 / 8
    assert memory.available_bytes is not None
    assert memory.total_bytes == int(0.9 * memory.available_bytes)


def test_a_step_that_fits_on_the_chip_takes_little_beside_its_state():
    def memory(selector: str, *overrides: Override) -> MemoryPlan:
        return plan_dry_run(resolve("core", selector=selector, overrides=overrides)).memory

    on_v5e, on_v5p = memory("tpu-v5e-4"), memory("tpu-v5p-8")
    state = on_v5e.params_bytes + on_v5e.opt_state_bytes
    assert on_v5e.total_bytes == state + 2 * 2**20
    # Two cores, of which neither sees what the other has on the chip.
    assert on_v5p.on_chip_bytes == 0
    assert on_v5p.total_bytes == on_v5e.total_bytes + on_v5e.on_chip_bytes
    blocks = Override("compiler_options", '{"xla_tpu_scoped_vmem_limit_kib": 120000}')
    # Half of too little room is used.
    assert memory("tpu-v5e-4", blocks).on_chip_bytes == (2**17 - 120000) * 2**10 // 2
    nonsense = Override("compiler_options", '{"xla_tpu_scoped_vmem_limit_kib": "many"}')
    with pytest.raises(UserError, match="'many' is no whole number of KiB; give it one, such as"):
        memory("tpu-v5e-4", nonsense)


def test_the_state_of_fsdp_is_the_published_sixteen_bytes_per_parameter_in_parts():
    plan = plan_dry_run(resolve("fuji-7B-v2", selector="tpu-v5e-256"))
    num_params = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096) + 4096 + 32768 * 4096
    state = plan.memory.params_bytes + plan.memory.opt_state_bytes
    assert state == pytest.approx(12 * num_params / 256, rel=0.02)  # Norms are on every device.


def test_fsdp_gathers_every_weight_forward_and_backward_and_scatters_every_gradient_once():
    """Zhao et al. 2023, arXiv:2304.11277: 3 times the parameters over the network, in bfloat16."""
    plan = plan_dry_run(
        resolve(
            "fuji-7B-v2",
            selector="tpu-v5e-256",
            overrides=[Override("accumulation_steps", "1")],
        )
    )
    layers = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) * 2
    table = 32768 * 4096 * 2
    sent = {(c.kind, c.mesh_axes): c.num_bytes for c in plan.collectives}
    # The table once: the head finds it where the lookup had it.
    assert sent["all-gather", ("fsdp",)] == 2 * layers + table
    # Its gradients by the lookup and by the head are added before they are scattered, over
    # every sixteenth device and then a sixteenth over 16 neighbours.
    assert sent["reduce-scatter", ("fsdp",)] == layers + table + table // 16
    assert sent["all-reduce", ("fsdp",)] < 0.01 * table  # Of norms.


def test_every_policy_computes_what_the_model_asks_for_or_more():
    for selector in ("tpu-v5e-256", "gpu-h100-256"):
        plan = plan_dry_run(resolve("fuji-7B-v2", selector=selector))
        assert 1.0 <= plan.executed_flops / plan.model_flops < 1.4


def test_quantized_products_take_half_the_time_where_a_chip_is_twice_as_fast():
    """An H100 is; head, embedding and attention core stay in bfloat16."""
    plan = plan_dry_run(resolve("fuji-1B-v3-fp8", selector="gpu-h100-8"))
    layers = 16 * (2048 * 64 * (32 + 8 + 8 + 32) + 3 * 2048 * 8192)
    batch, positions = plan.batch
    assert plan.roofline is not None
    # In one product of each weight.
    seconds = 2 * layers * batch * positions / plan.num_devices / 989e12
    saved = plan.executed_flops / 989e12 - plan.roofline.seconds["compute"]
    # Forward, and both products of the backward pass; some forward ones again.
    assert 3 * seconds / 2 * 0.999 <= saved <= 4 * seconds / 2
