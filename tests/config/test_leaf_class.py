"""The class of a leaf by its path."""

import pytest

from axl_exp.config.leaf_class import LeafClass, leaf_class


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("train_dtype", "numerics"),
        ("seed", "numerics"),
        ("model.decoder.dim", "numerics"),
        ('evalers["valid"].eval_dtype', "numerics"),
        ("a_field_of_tomorrow", "numerics"),
        ("learner.optimizer.learning_rate", "optimizer"),
        ("max_step", "optimizer"),
        ("input.global_batch_size", "data"),
        ('evalers["valid"].input.source.split', "data"),
        ("mesh_shape", "parallelism"),
        ("mesh_shape.ici.fsdp", "parallelism"),
        ("batch_axis_names", "parallelism"),
        ('model.logical_axis_rules["embed"]', "parallelism"),
        ("model.decoder.emb.param_partition_spec", "parallelism"),
        ("model.decoder.transformer.layer.remat.policy", "parallelism"),
        ("name", "io"),
        ("checkpointer.keep_last_n", "io"),
        ("summary_writer.write_every_n_steps", "io"),
        ('evalers["valid"].summary_writer.max_queue', "io"),
        ('evalers["valid"].eval_policy.n', "io"),
        ("tracer.num_steps", "io"),
    ],
)
def test_the_class_follows_from_the_path(path, expected):
    assert leaf_class(path) == expected


@pytest.mark.parametrize(
    "path", ["checkpointer_like.x", 'model["checkpointer.x"].y', "model.input.x", "model.name"]
)
def test_only_what_is_known_to_touch_no_number_is_io(path):
    assert leaf_class(path) is LeafClass.NUMERICS
