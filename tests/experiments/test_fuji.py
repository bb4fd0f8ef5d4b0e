import jax.numpy as jnp
import pytest

from axl_exp.config import validate
from axl_exp.config.text import flatten
from axl_exp.model import num_params
from axl_exp.registry import list_configs, load_config
from axl_exp.resolve import resolve

# AXLearn's fuji.py: version -> (vocabulary, sequence length, rotary theta, tokens per step).
MI = 1024**2
VERSIONS = {
    "v1": (32768, 2048, 1e4, 4 * MI),
    "v2": (32768, 4096, 1e4, 4 * MI),
    "v3": (131072, 8192, 5e5, 16 * MI),
    "v3-tiktoken": (128256, 8192, 5e5, 16 * MI),
}
MAX_STEP = {"v1": 262144, "v2": 524288, "v3": 983040, "v3-tiktoken": 983040}
MODELS = [
    *(("1B", v) for v in ("v3", "v3-tiktoken")),
    *(("3B", v) for v in ("v3", "v3-tiktoken")),
    *(("7B", v) for v in ("v1", "v2", "v3")),
    ("8B", "v3-tiktoken"),
    *(("70B", v) for v in ("v1", "v2", "v3", "v3-tiktoken")),
    *(("405B", v) for v in ("v3", "v3-tiktoken")),
]
SINGLE_HOST = [(size, version) for size, version in MODELS if size in ("1B", "3B", "7B", "8B")]
NAMES = ["fuji-test-v1", "fuji-test-v3", *(f"fuji-{s}-{v}" for s, v in MODELS)]
_LAYER = "model.decoder.transformer.layer"


def config_of(name: str):
    return load_config(name).config


def test_the_family_is_complete():
    assert set(list_configs()) >= {
        "fuji-tiny",
        *(f"fuji-test-{version}" for version in ("v1", "v3")),
        *(f"fuji-{size}-{version}" for size, version in MODELS),
        *(f"fuji-{size}-{version}-single-host" for size, version in SINGLE_HOST),
        *(f"{name}-{variant}" for name in NAMES for variant in ("flash", "fp8")),
    }


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("flash", {f"{_LAYER}.self_attention.attention.backend": '"flash"'}),
        (
            "fp8",
            {
                "model.quantization.backward_dtype": 'dtype("float8_e5m2")',
                "model.quantization.forward_dtype": 'dtype("float8_e4m3fn")',
            },
        ),
    ],
)
def test_a_variant_changes_what_its_name_says_and_nothing_else(variant, changes):
    for name in NAMES:
        base, found = flatten(config_of(name)), flatten(config_of(f"{name}-{variant}"))
        assert {path: text for path, text in found.items() if base.get(path) != text} == changes
        assert set(base) <= set(found)


@pytest.mark.parametrize("size", ["7B-v2", "8B-v3-tiktoken", "70B-v3"])
def test_a_variant_runs_by_the_mesh_rule_of_its_base(size):
    for selector in ("tpu-v5p-1024", "gpu-h100-512"):
        rules = {
            resolve(f"fuji-{size}{variant}", selector=selector).rule.defined_at  # pyright: ignore
            for variant in ("", "-flash", "-fp8")
        }
        assert len(rules) == 1


@pytest.mark.parametrize(("size", "version"), MODELS)
def test_every_version_has_its_published_data_and_length(size, version):
    cfg = config_of(f"fuji-{size}-{version}")
    vocab_size, seq_len, theta, tokens_per_step = VERSIONS[version]
    layer = cfg.model.decoder.transformer.layer
    assert cfg.model.decoder.vocab_size == vocab_size
    assert cfg.input.max_sequence_length == seq_len
    assert cfg.input.global_batch_size * seq_len == tokens_per_step
    assert layer.self_attention.attention.input_linear.rope_pos_emb_layer.theta == theta
    assert cfg.max_step == (367001 if (size, version) == ("70B", "v1") else MAX_STEP[version])
    assert cfg.learner.optimizer.update_schedule.max_step == cfg.max_step
    assert cfg.train_dtype == jnp.bfloat16


# Parameters of the published models of the same shape: Llama 3.2 1B and 3B, Llama 3 8B, 70B and
# Llama 3.1 405B. Llama 2 7B has 6738415616 with a head of its own and 32000 tokens; tied, with
# 32768 tokens, it has the number below.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("fuji-1B-v3-tiktoken", 1_235_814_400),
        ("fuji-3B-v3-tiktoken", 3_212_749_824),
        ("fuji-7B-v2", 6_738_415_616 - 2 * 32000 * 4096 + 32768 * 4096),
        ("fuji-8B-v3-tiktoken", 8_030_261_248),
        ("fuji-70B-v3-tiktoken", 70_553_706_496),
        ("fuji-405B-v3-tiktoken", 405_853_388_800),
    ],
)
def test_parameter_counts_are_those_of_the_published_models(name, count):
    assert num_params(config_of(name).model) == count


@pytest.mark.parametrize(("size", "version"), SINGLE_HOST)
def test_a_single_host_variant_divides_the_batches_and_nothing_else(size, version):
    cfg, whole = (
        config_of(f"fuji-{size}-{version}-single-host"),
        config_of(f"fuji-{size}-{version}"),
    )
    divisor = 128 if version.startswith("v3") else 32
    for each in (cfg.input, *(evaler.input for evaler in cfg.evalers.values())):
        assert each.global_batch_size == whole.input.global_batch_size // divisor
        each.global_batch_size = whole.input.global_batch_size
    assert flatten(cfg) == flatten(whole)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("fuji-1B", "fuji-1B-v3"),
        ("fuji-7B", "fuji-7B-v3"),
        ("fuji-8B", "fuji-8B-v3-tiktoken"),
        ("fuji-405B", "fuji-405B-v3"),
        ("fuji-test", "fuji-test-v3"),
        ("fuji-test-v2", "fuji-test-v1"),
        ("fuji-test-v3-tiktoken", "fuji-test-v3"),
    ],
)
def test_a_bare_size_means_its_version_3(alias, name):
    assert load_config(alias).name == name


@pytest.mark.parametrize("name", list_configs())
def test_every_config_is_whole(name):
    validate(config_of(name))


def test_fuji_test_has_axlearns_shape():
    cfg = config_of("fuji-test-v1")
    decoder = cfg.model.decoder
    layer = decoder.transformer.layer
    assert (decoder.vocab_size, decoder.dim, decoder.transformer.num_layers) == (32, 8, 4)
    assert layer.feed_forward.hidden_dim == 32
    assert layer.self_attention.attention.num_heads == 4
    assert (cfg.input.max_sequence_length, cfg.input.global_batch_size) == (64, 32)
    assert (cfg.max_step, cfg.learner.optimizer.weight_decay) == (3000, 0.01)


def test_fuji_tiny_needs_no_download():
    cfg = config_of("fuji-tiny")
    inputs = (cfg.input, *(evaler.input for evaler in cfg.evalers.values()))
    for each in inputs:
        assert each.source.dataset_name.startswith("python_text")
        assert each.source.replace_newlines_with is None
    assert cfg.input.source.split == "train"
    assert cfg.evalers["validation"].input.source.split == "validation"
    assert cfg.model.decoder.vocab_size == 8192
