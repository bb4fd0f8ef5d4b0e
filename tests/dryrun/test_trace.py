"""Steps traced for plans, and which configs and hardware share one."""

import pytest

from axl_exp.config import Override
from axl_exp.dryrun.trace import trace_step
from axl_exp.model.attention_backend import BackendError
from axl_exp.resolve import resolve


def traced(name, selector, **overrides):
    changes = [Override(path, text) for path, text in overrides.items()]
    resolved = resolve(name, selector=selector, overrides=changes)
    assert resolved.hardware is not None
    return trace_step(resolved.config, resolved.hardware)


def operations(program):
    """All of a program, in order and in depth."""
    for op in program.ops:
        yield op.name, [v.shape for v in op.inputs], [(v.shape, v.dtype) for v in op.outputs]
        if op.name in ("scan", "shard_map", "while", "cond"):
            yield from operations(op.body)


def test_chips_of_a_platform_on_one_mesh_share_a_step():
    step = traced("fuji-test-v3", "gpu-h100-8")
    assert traced("fuji-test-v3", "gpu-b200-8") is step
    assert traced("fuji-test-v3", "gpu-h100-8", max_step="7") is step


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "1"},
        {"accumulation_steps": "2"},
        {"input.global_batch_size": "64"},
        {"model.decoder.dim": "32"},
        {"learner.optimizer.b1": "0.5"},
        {"mesh_shape.data": "2", "mesh_shape.fsdp": "4"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_step_is_traced_from_makes_another(changes):
    step = traced("fuji-test-v3", "gpu-h100-8")
    assert traced("fuji-test-v3", "gpu-h100-8", **changes) is not step


def test_flash_is_the_step_of_auto_where_auto_takes_the_kernel():
    backend = "model.decoder.transformer.layer.self_attention.attention.backend"
    for selector, kernel in (("gpu-h100-8", "cudnn"), ("tpu-v5e-8", "splash")):
        auto = traced("fuji-1B-v3", selector)
        assert auto.attention == {kernel}
        assert traced("fuji-1B-v3-flash", selector) is auto
        # By its own name it is traced by itself.
        named = traced("fuji-1B-v3", selector, **{backend: kernel})
        assert named is not auto
        assert list(operations(named.program)) == list(operations(auto.program))


def test_flash_is_an_error_where_auto_falls_back():
    assert traced("fuji-test-v3", "tpu-v5e-8").attention == {"xla"}
    with pytest.raises(BackendError, match="splash wants a max_sequence_length"):
        traced("fuji-test-v3-flash", "tpu-v5e-8")
