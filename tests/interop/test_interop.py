"""Weights out to Hugging Face's layout and back in, by the commands."""

import json
import os
import shutil

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from axl_exp.interop.__main__ import main
from axl_exp.model import ALiBi, LmHead, RMSNorm
from axl_exp.run.layout import RunDir
from axl_exp.train.state import PureModel
from axl_exp.trained_run import TrainedRun
from tests.hugging_face.ours import case_batch
from tests.trained_runs import make_run, small_config

try:
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]
except ImportError:
    torch = transformers = None

SMALL = (
    "--config=fuji-tiny",
    "--config.model.decoder.dim=32",
    "--config.model.decoder.vocab_size=640",
    "--config.model.decoder.transformer.num_layers=2",
    "--config.model.decoder.transformer.layer.feed_forward.hidden_dim=48",
    "--config.model.decoder.transformer.layer.self_attention.attention.num_heads=4",
    "--config.model.decoder.transformer.layer.self_attention.attention.input_linear.input_linear"
    ".num_kv_heads=2",
    "--config.input.vocabulary.model_name=small.model",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run at steps 2 and 3 with running means, and its newest parameters."""
    cfg = small_config()
    cfg.learner.ema.decay = 0.5
    path = tmp_path_factory.mktemp("interop") / "run"
    return path, make_run(path, cfg, steps=(2, 3))


def export(run_dir, to, *flags):
    return main(["export", f"--run_dir={run_dir}", f"--to={to}", *flags])


def import_(source, run_dir, *flags):
    return main(["import", f"--from={source}", f"--run_dir={run_dir}", *(flags or SMALL)])


def files(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def params_of(run_dir):
    reader = TrainedRun(RunDir(run_dir)).open_params()
    return reader.step, reader.read(list(reader.shapes))


def flat(params, prefix=""):
    for name, value in params.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def test_out_and_in_again_is_the_same_to_the_bit(run, tmp_path):
    path, params = run
    assert export(path, tmp_path / "out") == 0
    assert import_(tmp_path / "out", tmp_path / "in") == 0
    step, again = params_of(tmp_path / "in")
    assert step == 0
    for name, param in flat(params):
        assert again[name].tobytes() == param.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_and_out_again_is_the_same_to_the_byte(run, tmp_path, dtype):
    flags = (f"--dtype={dtype}", "--max_shard_bytes=50KB")
    assert export(run[0], tmp_path / "out", *flags) == 0
    assert import_(tmp_path / "out", tmp_path / "in") == 0
    assert export(tmp_path / "in", tmp_path / "again", *flags) == 0
    before, after = files(tmp_path / "out"), files(tmp_path / "again")
    assert len([name for name in before if name.startswith("model-0")]) >= 2
    assert before == after


def test_shards_hold_what_one_file_holds_and_keep_to_their_size(run, tmp_path):
    assert export(run[0], tmp_path / "one") == 0
    assert export(run[0], tmp_path / "many", "--max_shard_bytes=50KB") == 0
    whole = load_file(tmp_path / "one" / "model.safetensors")
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == whole.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())
    for name, file in index["weight_map"].items():
        shard = load_file(tmp_path / "many" / file)
        assert shard[name].tobytes() == whole[name].tobytes()
        assert len(shard) == 1 or sum(t.nbytes for t in shard.values()) <= 50_000


def test_bfloat16_is_the_nearest_to_each_number(run, tmp_path):
    export(run[0], tmp_path / "full")
    export(run[0], tmp_path / "half", "--dtype=bfloat16")
    full = load_file(tmp_path / "full" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "half" / "model.safetensors").items():
        assert tensor.dtype == ml_dtypes.bfloat16
        # Half a unit in the last of 8 digits.
        error = np.abs(tensor.astype(np.float32) - full[name])
        assert (error <= np.abs(full[name]) * 2**-8).all()


def test_a_step_and_the_running_means_are_what_is_asked_for(run, tmp_path):
    for name, flags in {"new": (), "old": ("--step=2",), "means": ("--ema",)}.items():
        assert export(run[0], tmp_path / name, *flags) == 0
    norm = {
        name: load_file(tmp_path / name / "model.safetensors")["model.norm.weight"]
        for name in ("new", "old", "means")
    }
    scale = run[1]["decoder"]["output_norm"]["scale"]
    assert norm["new"].tobytes() == scale.tobytes()
    assert norm["means"].tobytes() == (scale + 1).tobytes()


@pytest.mark.skipif(transformers is None, reason="torch and transformers are not installed")
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_what_is_exported_and_computes_the_same(tmp_path, tied, compiled):
    assert transformers is not None and torch is not None
    cfg = small_config()
    if not tied:
        cfg.model.decoder.lm_head = LmHead.default_config()
    params = make_run(tmp_path / "run", cfg)
    assert export(tmp_path / "run", tmp_path / "out", "--max_shard_bytes=50KB") == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    batch = case_batch({"vocab_size": cfg.model.decoder.vocab_size})
    with torch.no_grad():
        expected = theirs(torch.from_numpy(np.array(batch["inputs"]))).logits.numpy()
    model = PureModel(cfg.model)
    ours = compiled(lambda p, b: model.bind(p)(b))(params, batch)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.skipif(transformers is None, reason="torch and transformers are not installed")
def test_transformers_reads_the_exported_vocabulary_as_we_do(run, tmp_path):
    assert transformers is not None
    export(run[0], tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = TrainedRun(RunDir(run[0])).open_vocabulary()
    for text in ("def f(x):\n    return x + 1\n", "  two  spaces", "é, 東京"):
        assert theirs(text, add_special_tokens=False).input_ids == ours.encode(text)


def test_files_are_readable_by_others_and_no_unfinished_ones_are_left(run, tmp_path):
    before = os.umask(0o022)
    try:
        export(run[0], tmp_path / "out")
    finally:
        os.umask(before)
    modes = {oct(p.stat().st_mode & 0o777) for p in (tmp_path / "out").iterdir()}
    assert modes == {"0o644"} and oct((tmp_path / "out").stat().st_mode & 0o777) == "0o755"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# -- mistakes ---------------------------------------------------------------------------------


def error_of(code, capsys):
    """Return the one line of the error of a command that must have failed by the user's fault."""
    assert code == 2
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    return line


def capped(cfg):
    cfg.model.decoder.logit_cap = 30.0


def with_query_norm(cfg):
    attention = cfg.model.decoder.transformer.layer.self_attention.attention
    attention.query_scale.norm = RMSNorm.default_config()


def with_alibi(cfg):
    attention = cfg.model.decoder.transformer.layer.self_attention.attention
    attention.set(
        input_linear=attention.input_linear.input_linear, logit_bias=ALiBi.default_config()
    )


def with_other_eps(cfg):
    cfg.model.decoder.transformer.layer.feed_forward.norm.eps = 1e-3


def with_plain_feed_forward(cfg):
    cfg.model.decoder.transformer.layer.feed_forward.activation = "nn.relu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (capped, "model.decoder.logit_cap is 30.0 and not None"),
        (with_query_norm, "attention.query_scale.norm.eps is 1e-05 and not None"),
        (with_alibi, "attention.input_linear.klass is @axl_exp.model.qkv:FusedGroupedQKVLinear"),
        (with_other_eps, "feed_forward.norm.eps is 0.001 and not 1e-05"),
        (with_plain_feed_forward, 'feed_forward.activation is "nn.relu" and not ("nn.silu"'),
    ],
)
def test_what_a_llama_does_not_compute_is_refused_by_its_field(tmp_path, capsys, change, words):
    cfg = small_config()
    change(cfg)
    make_run(tmp_path / "run", cfg, steps=())
    error = error_of(export(tmp_path / "run", tmp_path / "out"), capsys)
    assert "LlamaForCausalLM cannot say" in error and words in error
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_another_model_is_refused_by_its_fields_with_the_flags_that_would_do(run, tmp_path, capsys):
    export(run[0], tmp_path / "out")
    capsys.readouterr()
    wider = [flag.replace("dim=32", "dim=64") for flag in SMALL]
    error = error_of(import_(tmp_path / "out", tmp_path / "in", *wider), capsys)
    assert "model.decoder.dim is 64, there 32" in error
    assert error.endswith("It would fit with --config.model.decoder.dim=32")
    assert not (tmp_path / "in").exists()


def change_config(directory, **fields):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def cut(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


MISTAKES = {
    "no config": (lambda d: (d / "config.json").unlink(), "has no config.json"),
    "broken config": (lambda d: (d / "config.json").write_text("{"), "is not JSON"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "has neither model.safetensors"),
    "cut off": (cut, "is no safetensors file, or is cut off"),
    "other architecture": (
        lambda d: change_config(d, model_type="gpt2"),
        "config.json: model_type is 'gpt2': ours are llama, mistral",
    ),
    "biases": (lambda d: change_config(d, attention_bias=True), "attention_bias is True"),
    "heads of their own width": (lambda d: change_config(d, head_dim=16), "head_dim is 16"),
    "other scaling": (
        lambda d: change_config(d, rope_scaling={"rope_type": "yarn"}),
        "rope_scaling.rope_type is 'yarn': ours are default, llama3",
    ),
    "Llama 3.1's scaling": (
        lambda d: change_config(
            d,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        ),
        "rope_pos_emb_layer.scaling.factor is None, there 8.0",
    ),
    "no size": (lambda d: change_config(d, hidden_size=None), "hidden_size is None: it must be"),
    "missing tensor": (
        lambda d: change_tensors(d, lambda t: t.pop("model.norm.weight")),
        "lacks model.norm.weight",
    ),
    "extra tensor": (
        lambda d: change_tensors(d, lambda t: t.update({"x.bias": np.ones(3, np.float32)})),
        "has x.bias, which no parameter of ours is",
    ),
    "wrong shape": (
        lambda d: change_tensors(
            d, lambda t: t.update({"model.norm.weight": np.ones(31, np.float32)})
        ),
        "model.norm.weight is (31,) and should be (32,)",
    ),
    "whole numbers": (
        lambda d: change_tensors(
            d, lambda t: t.update({"model.norm.weight": np.ones(32, np.int32)})
        ),
        "model.norm.weight is int32",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_imported_is_said_in_one_line(run, tmp_path, capsys, name):
    spoil, words = MISTAKES[name]
    export(run[0], tmp_path / "out")
    spoil(tmp_path / "out")
    capsys.readouterr()
    assert words in error_of(import_(tmp_path / "out", tmp_path / "in"), capsys)


def test_a_shard_that_is_missing_or_lies_elsewhere_is_named(run, tmp_path, capsys):
    export(run[0], tmp_path / "out", "--max_shard_bytes=50KB")
    capsys.readouterr()
    shutil.copytree(tmp_path / "out", tmp_path / "away")
    index = json.loads((tmp_path / "away" / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.norm.weight"] = "../out/model-00001-of-00004.safetensors"
    (tmp_path / "away" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "no name of a file beside it" in error_of(
        import_(tmp_path / "away", tmp_path / "in"), capsys
    )
    first = next(p for p in sorted((tmp_path / "out").iterdir()) if p.name.startswith("model-"))
    first.unlink()
    assert f"{first.name} is missing" in error_of(
        import_(tmp_path / "out", tmp_path / "in"), capsys
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--run_dir=nowhere", "--to=x"], "nowhere is no directory: name the directory of a run"),
        (["--run_dir={run}", "--to={run}"], "is there already; name a new directory with --to"),
        (["--run_dir={run}", "--to=x", "--step=7"], "no checkpoint of step 7; it has 2, 3"),
    ],
)
def test_an_export_that_cannot_be_says_why(run, tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    code = main(["export", *(flag.format(run=run[0]) for flag in flags)])
    assert words in error_of(code, capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "--run_dir=x"], "export needs --to"),
        (["import", "--from=x", "--config=y", "--run_dir=z", "--ema"], "--ema is not for import"),
        (["export", "--run_dir=x", "--to=y", "--max_shard_bytes=5XB"], "'5XB' is no size"),
        (["export", "--run_dir=x", "--to=y", "--config.model.z=1"], "is for import"),
    ],
)
def test_flags_that_do_not_go_together_are_said(arguments, words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2 and words in capsys.readouterr().err


def test_the_index_is_of_the_library_s_own_kind(run, tmp_path):
    export(run[0], tmp_path / "out")
    with safetensors.safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
