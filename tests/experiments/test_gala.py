"""gala against the published numbers of AXLearn's family."""

import numpy as np
import pytest

from axl_exp.model import num_params
from axl_exp.registry import list_configs, load_config
from axl_exp.train.state import PureModel

# Layers, width, heads, hidden width, rows per batch, steps, and what muP multiplies updates with.
SIZES = {
    "85M": (12, 768, 12, 2048, 256, 400_000, 1.0),
    "302M": (24, 1024, 16, 2816, 256, 400_000, 0.75),
    "1B": (24, 2048, 32, 5632, 256, 300_000, 0.375),
    "7B": (32, 4096, 32, 11008, 1024, 250_000, 0.1875),
}
HYBRID = ("1B", "7B")


def config_of(name: str):
    return load_config(name).config


def test_the_family_is_complete():
    names = [name for name in list_configs() if name.startswith("gala-")]
    assert names == sorted(
        [*(f"gala-{s}" for s in SIZES), *(f"gala-{s}-hybridnorm-alibi" for s in HYBRID)]
    )


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_its_published_numbers(size):
    cfg = config_of(f"gala-{size}")
    layers, dim, heads, ffn_dim, batch, steps, scale = SIZES[size]
    decoder = cfg.model.decoder
    layer = decoder.transformer.layer
    attention = layer.self_attention.attention
    assert (decoder.transformer.num_layers, decoder.dim, decoder.vocab_size) == (layers, dim, 32768)
    assert attention.num_heads == attention.input_linear.input_linear.num_kv_heads == heads
    assert layer.feed_forward.hidden_dim == ffn_dim
    assert attention.input_linear.rope_pos_emb_layer.theta == 1e4
    assert (cfg.input.global_batch_size, cfg.input.max_sequence_length) == (batch, 4096)
    assert cfg.max_step == cfg.learner.optimizer.update_schedule.max_step == steps
    scales = cfg.learner.optimizer.adam_update_transformation.per_param_scale.scale_by_path
    assert {value for _, value in scales} == {scale}


@pytest.mark.parametrize("name", [n for n in list_configs() if n.startswith(("gala", "honey"))])
def test_mup_scales_every_product_within_the_layers_and_nothing_else(name):
    cfg = config_of(name)
    transformation = (
        cfg.learner.optimizer.inner if name.startswith("honey") else cfg.learner.optimizer
    ).adam_update_transformation
    scales_of = transformation.per_param_scale.set(default_scale=-1.0).instantiate()
    axes = PureModel(cfg.model).logical_axes
    for path in axes:
        tree: dict = {}
        node = tree
        *parents, leaf = path.split("/")
        for key in parents:
            node = node.setdefault(key, {})
        node[leaf] = 0.0
        (scale,) = _leaves(scales_of(tree))
        assert (scale > 0) == ("/layer/" in path and path.endswith("/weight")), path
        assert scale in (-1.0, min(1.0, 768 / cfg.model.decoder.dim))


def _leaves(tree) -> list[float]:
    return [x for v in tree.values() for x in (_leaves(v) if isinstance(v, dict) else [v])]


@pytest.mark.parametrize("size", HYBRID)
def test_hybridnorm_alibi_has_other_norms_and_positions_and_nothing_else(size):
    cfg, base = config_of(f"gala-{size}-hybridnorm-alibi"), config_of(f"gala-{size}")
    # A norm more at the end of each branch.
    layers, dim = SIZES[size][:2]
    assert num_params(cfg.model) == num_params(base.model) + 2 * layers * dim
    layer = cfg.model.decoder.transformer.layer
    base_layer = base.model.decoder.transformer.layer
    assert layer.self_attention.structure == layer.feed_forward.structure == "hybridnorm"
    layer.feed_forward.structure = layer.self_attention.structure = "prenorm"
    attention, base_attention = layer.self_attention.attention, base_layer.self_attention.attention
    assert attention.logit_bias.klass.__name__ == "ALiBi"
    attention.logit_bias = None
    assert attention.input_linear == base_attention.input_linear.input_linear
    attention.input_linear = base_attention.input_linear.clone()
    assert cfg == base


def test_the_mixture_has_axlearns_weights():
    components = config_of("gala-7B").input.source.components
    weights = {name: part.weight for name, part in components.items()}
    assert weights == {
        "common_crawl": 0.726,
        "c4": 0.081,
        "github": 0.049,
        "book": 0.021,
        "arxiv": 0.023,
        "wikipedia": 0.05,
        "stackexchange": 0.05,
    }
    assert sum(weights.values()) == pytest.approx(1.0)


def test_gala_takes_adamw_steps_whose_decay_is_not_multiplied_with_the_rate():
    """The optimizer, against AdamW's equations with m̂ and v̂ in NumPy (float64)."""
    cfg = config_of("gala-7B").learner.optimizer
    cfg.update_schedule.set(warmup_steps=2, max_step=10)
    optimizer = cfg.instantiate()
    rng = np.random.default_rng(0)
    p = rng.normal(size=5)
    params = {"linear1_0": {"weight": p.astype(np.float32)}}
    scaled = {"feed_forward": params}
    state = optimizer.init(scaled)
    m = v = np.zeros(5)
    for t, schedule in enumerate((0.5, 1.0, 1 - 0.45 * (1 - np.cos(np.pi / 8))), start=1):
        g = rng.normal(size=5)
        update, state = optimizer.update(
            {"feed_forward": {"linear1_0": {"weight": g.astype(np.float32)}}}, state, scaled
        )
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
        u = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        expected = -schedule * (1e-2 * 0.1875 * u + 1e-4 * p)
        found = np.asarray(update["feed_forward"]["linear1_0"]["weight"])
        np.testing.assert_allclose(found, expected, rtol=2e-5)
