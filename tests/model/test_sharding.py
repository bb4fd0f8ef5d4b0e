import jax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from axl_exp.mesh import MESH_AXES
from axl_exp.model import (
    DEFAULT_LOGICAL_AXIS_RULES,
    ShardingError,
    abstract_model,
    constrain,
    param_partition_specs,
    partition_spec,
)

SHARDS = ("expert", "fsdp", "seq")


def specs_by_path(cfg, **kwargs):
    model = abstract_model(cfg)
    specs = param_partition_specs(model, model.axis_rules, **kwargs)
    return {"/".join(map(str, path)): param.get_value() for path, param in nnx.to_flat_state(specs)}


def test_parameters_lie_as_in_the_golden_of_axlearn(model_config):
    layer = "decoder/transformer/layer"
    assert specs_by_path(model_config(tied_head=False)) == {
        "decoder/emb/token_emb/weight": PartitionSpec(SHARDS, "model"),
        "decoder/lm_head/weight": PartitionSpec(SHARDS, "model"),
        "decoder/output_norm/scale": PartitionSpec(None),
        # Each with the dim of the layers in front.
        f"{layer}/feed_forward/linear1_0/weight": PartitionSpec(None, SHARDS, "model"),
        f"{layer}/feed_forward/linear1_1/weight": PartitionSpec(None, SHARDS, "model"),
        f"{layer}/feed_forward/linear2/weight": PartitionSpec(None, "model", SHARDS),
        f"{layer}/feed_forward/norm/scale": PartitionSpec(None, None),
        f"{layer}/self_attention/attention/i_proj/i_proj/qkv_proj/weight": PartitionSpec(
            None, SHARDS, "model", None
        ),
        f"{layer}/self_attention/attention/o_proj/weight": PartitionSpec(
            None, SHARDS, "model", None
        ),
        f"{layer}/self_attention/norm/scale": PartitionSpec(None, None),
    }


def test_activations_lie_as_in_the_golden_of_axlearn():
    spec = partition_spec(("batch", "sequence", "hidden"), DEFAULT_LOGICAL_AXIS_RULES)
    assert spec == PartitionSpec(("data", "expert", "fsdp"), "seq", "model")


def test_the_rules_name_axes_of_the_mesh_alone():
    used = {axis for axes in DEFAULT_LOGICAL_AXIS_RULES.values() for axis in axes}
    assert used <= set(MESH_AXES)


def test_the_specs_are_a_tree_like_the_parameters(model_config):
    state = nnx.state(abstract_model(model_config()), nnx.Param)
    specs = param_partition_specs(state, DEFAULT_LOGICAL_AXIS_RULES)
    assert jax.tree.structure(specs) == jax.tree.structure(state)


def test_a_dim_that_does_not_divide_is_refused_with_its_sizes(model_config):
    mesh_shape = dict.fromkeys(MESH_AXES, 1) | {"fsdp": 16, "seq": 2}
    with pytest.raises(ShardingError) as error:
        specs_by_path(model_config(), mesh_shape=mesh_shape)
    assert str(error.value) == (
        "parameter decoder/transformer/layer/feed_forward/linear1_0/weight (3, 24, 40): dim 1 of "
        "size 24 does not divide by mesh axes fsdp=16 * seq=2; change the mesh shape, or its rule "
        "in logical_axis_rules. "
        "Would do: fsdp*seq=8 or a divisor of it."
    )


def test_mesh_axes_of_one_device_divide_everything(model_config):
    mesh_shape = dict.fromkeys(MESH_AXES, 1)
    assert specs_by_path(model_config(), mesh_shape=mesh_shape)
    assert specs_by_path(model_config(), mesh_shape=mesh_shape | {"pipeline": 7, "data": 5})


def test_a_logical_axis_without_a_rule_is_refused_with_the_nearest():
    with pytest.raises(ShardingError) as error:
        partition_spec(("batch", "hiden"), DEFAULT_LOGICAL_AXIS_RULES)
    assert str(error.value) == (
        "logical_axis_rules: no rule for logical axis 'hiden' (nearest: hidden); "
        "add one, () leaves the dim whole."
    )


def test_two_dims_over_one_mesh_axis_are_refused():
    rules = {**DEFAULT_LOGICAL_AXIS_RULES, "feed_forward": ("fsdp",)}
    with pytest.raises(ShardingError) as error:
        partition_spec(("embed", "feed_forward"), rules)
    assert str(error.value) == (
        "logical_axis_rules: the dims ('embed', 'feed_forward') of one tensor are both split over "
        "mesh axis 'fsdp'; leave it out of one of their rules."
    )


def test_rules_are_a_field_of_the_model(model_config):
    cfg = model_config()
    cfg.logical_axis_rules["vocab"] = ("model",)
    cfg.logical_axis_rules["vocab_embed"] = ()
    assert specs_by_path(cfg)["decoder/emb/token_emb/weight"] == PartitionSpec("model", None)


def test_without_a_mesh_nothing_is_constrained(model_config, packed_batch):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    assert constrain(packed_batch["inputs"], "no such axis") is packed_batch["inputs"]
    jaxpr = jax.make_jaxpr(lambda batch: model.loss(batch).loss)(packed_batch)
    assert "sharding_constraint" not in str(jaxpr)
