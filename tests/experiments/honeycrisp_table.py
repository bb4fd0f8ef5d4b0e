"""Where each field of AXLearn's honeycrisp-3B is in ours: the first row that matches says it."""

from __future__ import annotations

import re
from typing import Any

from axl_exp.config import ConfigBase
from axl_exp.mesh import MESH_AXES, SetMeshShape, parse_selector, select_rule
from axl_exp.registry import load_mesh_rules
from axl_exp.train.state import PureModel
from tests.experiments.equivalents import Becomes, Checked, Differs, Same, value_at

AXES = "model.logical_axis_rules"
EVALER = r"evalers\['openwebtext_2'\]"
OURS = 'evalers["openwebtext_2"]'
OPTIMIZER = "learner.optimizer"
LAYER = "model.decoder.transformer.layer"
ATTENTION = f"{LAYER}.self_attention.attention"
# What a layer names for the backward pass: see `axl_exp.model.remat`.
NAMES = ["q_proj", "k_proj", "v_proj", "context", "o_proj", "linear1_0", "linear1_1", "linear2"]

# AXLearn's selectors, as far as each of its five patterns reaches.
SELECTORS = (
    ("tpu-v4-256",),
    ("tpu-v5litepod-256",),
    tuple(
        f"gpu-{machine}-{number}"
        for machine in ("p5.48xlarge", "p4de.24xlarge", "a3-highgpu-8g")
        for number in (64, 128, 256, 512, 1024)
    ),
    ("gpu-p4d.24xlarge-256",),
    ("tpu-v5p-1024", "tpu-v5p-2048", "tpu-v5p-4096"),
)


def _check_selector(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str) -> None:
    for selector in SELECTORS[int(groups[0])]:
        assert re.fullmatch(theirs, selector)
        assert "honeycrisp-3B" in _rule(selector).configs, f"no rule of its own on {selector}"


def _check_mesh_of_rule(cfg: ConfigBase, groups: tuple[Any, ...], theirs: int) -> None:
    for selector in SELECTORS[int(groups[0])]:
        # Ours may divide the batch besides, where the published one does not fit.
        (modifier,) = (m for m in _rule(selector).modifiers if isinstance(m, SetMeshShape))
        assert getattr(modifier.shape, MESH_AXES[int(groups[1])]) == theirs  # pyright: ignore


def _rule(selector: str) -> Any:
    normal = str(parse_selector(selector))
    return select_rule(load_mesh_rules(), selector=normal, config="honeycrisp-3B")


def _check_mesh_axis(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str) -> None:
    assert MESH_AXES[int(groups[0])] == theirs


def _check_mesh_shape(cfg: ConfigBase, groups: tuple[Any, ...], theirs: int) -> None:
    assert value_at(cfg, f"mesh_shape.{MESH_AXES[int(groups[0])]}") == theirs


def _check_batch_axis(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str) -> None:
    # Theirs are all of a batch; ours tell rows from places within a row.
    axes = (*value_at(cfg, f"{AXES}.batch"), *value_at(cfg, f"{AXES}.sequence"))
    assert axes[int(groups[0])] == theirs


def _check_scaled_params(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str) -> None:
    # Ours reach the same product of queries, keys and values in a variant without rotation too.
    ours = value_at(cfg, f"{_SCALES}.scale_by_path[{groups[0]}][0]")
    assert _params(cfg, theirs) == _params(cfg, ours) != set()


def _check_no_such_param(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str | float) -> None:
    # The weights of experts, and their scale; ours names none that the model does not have.
    assert not isinstance(theirs, str) or _params(cfg, theirs) == set()


def _check_no_bias(cfg: ConfigBase, groups: tuple[Any, ...], theirs: bool) -> None:
    assert theirs is False
    assert _params(cfg, ".*bias") == set()


def _params(cfg: Any, pattern: str) -> set[str]:
    return {path for path in PureModel(cfg.model).logical_axes if re.fullmatch(pattern, path)}


def _check_saved_names(cfg: ConfigBase, groups: tuple[Any, ...], theirs: str) -> None:
    # Their names are prefixed with the class.
    ours = value_at(cfg, f"{LAYER}.remat_spec.save")
    saved = [name for name in NAMES if re.fullmatch(theirs, name)]
    assert saved == [name for name in NAMES if re.fullmatch(ours, name)] != []


_SCALES = f"{OPTIMIZER}.inner.adam_update_transformation.per_param_scale"
_NO_CACHE = "we train: there is no decoding, and no cache of keys and values"
_AXES_BY_NAME = "parameters and activations name their dims; rules say which mesh axes split each"
_ONE_INPUT = "Input is source, vocabulary, packing and batches in one; nothing is left to plug in"

TRAINER = (
    Same(r"(klass|learner\.klass|max_step|train_dtype)", r"\1"),
    Same(r"(learner\.ema\.fn|learner\.enable_per_variable_summaries)", r"\1"),
    Same(r"(summary_writer\.(klass|max_queue|write_every_n_steps))", r"\1"),
    Same(r"(checkpointer\.(klass|keep_every_n_steps|keep_last_n))", r"\1"),
    Same(r"(checkpointer\.save_policy\.(fn|min_step|n))", r"\1"),
    Same(r"checkpointer\.save_policy\.max_step", "max_step"),
    Same(r"(start_trace_process_indices\[0\])", r"tracer.\1"),
    Differs(
        r"checkpointer\.(gc_loop_interval_seconds|storage\..*)",
        "checkpointer.klass",
        "Checkpointer",
        "Orbax writes, waits and deletes; no thread of ours looks after it",
    ),
    Differs(
        r"save_input_iterator",
        "checkpointer.klass",
        "Checkpointer",
        "every checkpoint has the place of the data in it",
    ),
    Differs(
        r"prune_empty_state_updates",
        "klass",
        "SpmdTrainer",
        "the state is a plain tree of arrays: nothing in it is empty",
    ),
    Differs(r"name", "klass", "SpmdTrainer", "a run goes by the name of its config"),
    Checked(r"mesh_axis_names\[(\d)\]", _check_mesh_axis),
    Checked(r"mesh_shape\[(\d)\]", _check_mesh_shape),
    Checked(r"mesh_rules\[(\d)\]\[0\]", _check_selector),
    Checked(r"mesh_rules\[(\d)\]\[1\]\[(\d)\]", _check_mesh_of_rule),
    Checked(r"batch_axis_names\[(\d)\]", _check_batch_axis),
)

INPUTS = (
    Same(r"(input\.(klass|is_training))", r"\1"),
    Same(rf"{EVALER}\.input\.(klass|is_training)", rf"{OURS}.input.\1"),
    Same(r"(input\.source\.split)", r"\1"),
    Same(
        rf"{EVALER}\.input\.source\.(dataset_name|split|replace_newlines_with)",
        rf"{OURS}.input.source.\1",
    ),
    Same(rf"{EVALER}\.input\.source\.max_sequence_length", rf"{OURS}.input.max_sequence_length"),
    Same(
        rf"{EVALER}\.input\.source\.vocab_cfg\.sentencepiece_model_name",
        rf"{OURS}.input.vocabulary.model_name",
    ),
    Same(r"input\.batcher\.global_batch_size", "input.global_batch_size"),
    Same(rf"{EVALER}\.input\.batcher\.global_batch_size", rf"{OURS}.input.global_batch_size"),
    Becomes(
        r"input\.source\.dataset_name",
        "input.source.dataset_name",
        lambda name: f"{name}:1.0.0",
        "a dataset is named with its version",
    ),
    Becomes(
        r"input\.source\.(train_shuffle_buffer_size|train_shuffle_files)",
        "input.shuffle",
        bool,
        "documents have one global order, or that of the dataset: no buffer, no order of files",
    ),
    Differs(
        rf"{EVALER}\.input\.source\.train_shuffle_buffer_size",
        f"{OURS}.input.is_training",
        False,
        "an evaluation is never shuffled",
    ),
    Differs(
        r"input\.source\.(fn|download|is_training)",
        "input.source.klass",
        "TfdsTextSource",
        "a source is of text, is told nothing of its use, and never downloads",
    ),
    Differs(
        rf"{EVALER}\.input\.source\.(fn|is_training)",
        f"{OURS}.input.source.klass",
        "TfdsTextSource",
        "its windows are the input's: eval_stride_tokens",
    ),
    Differs(
        rf"{EVALER}\.input\.source\.vocab_cfg\.fn",
        f"{OURS}.input.vocabulary.klass",
        "Vocabulary",
        "a class, not a function",
    ),
    Differs(r"input\.(batcher|processor)\.fn", "input.klass", "Input", _ONE_INPUT),
    Differs(
        rf"{EVALER}\.input\.(batcher|processor)\.fn", f"{OURS}.input.klass", "Input", _ONE_INPUT
    ),
    Differs(r"input\.batcher\.pad_example_fn", "input.klass", "Input", "training never ends"),
    Differs(
        rf"{EVALER}\.input\.batcher\.pad_example_fn",
        f"{OURS}.input.is_training",
        False,
        "the last batch of an evaluation is filled up with rows that do not count",
    ),
    Differs(
        rf"(input|{EVALER}\.input)\.batcher\.prefetch_buffer_size",
        "input.num_prefetch_batches",
        2,
        "a number that is known, not one that tf.data tunes while it runs",
    ),
)

EVALUATION = (
    Same(rf"{EVALER}\.eval_dtype", "train_dtype"),  # Ours is None: that of training.
    Same(rf"{EVALER}\.eval_policy\.(min_step|n)", rf"{OURS}.eval_policy.\1"),
    Same(rf"{EVALER}\.eval_policy\.max_step", "max_step"),
    Differs(
        rf"{EVALER}\.eval_policy\.fn",
        f"{OURS}.eval_policy.fn",
        "every_n_steps_and_last_policy",
        "AXLearn's evaluates at the last step too, and does not say so in its name",
    ),
    Differs(
        rf"{EVALER}\.(klass|metric_calculator\..*)",
        f"{OURS}.klass",
        "Evaler",
        "it sums over targets, so that its mean is exact; there is no other calculator",
    ),
    Differs(
        rf"{EVALER}\.summary_writer\..*",
        "summary_writer.klass",
        "SummaryWriter",
        "one writer per run; it writes every evaluation",
    ),
)

LEARNER = (
    Checked(
        rf"{OPTIMIZER}\..*per_param_scale\.scale_by_path\[([0-4])\]\[0\]", _check_scaled_params
    ),
    Checked(
        rf"{OPTIMIZER}\..*per_param_scale\.scale_by_path\[[5-7]\]\[[01]\]", _check_no_such_param
    ),
    Same(rf"({OPTIMIZER}\..*)", r"\1"),
)

MODEL = (
    Same(r"model\.batch_axis_names\[(\d)\]", rf"{AXES}.batch[\1]"),
    Same(r"model\.seq_axis_names\[(\d)\]", rf"{AXES}.sequence[\1]"),
    # Where dims of parameters and activations lie.
    Same(r"model\..*\.token_emb\.param_partition_spec\[0\]\[(\d)\]", rf"{AXES}.vocab[\1]"),
    Same(r"model\..*\.token_emb\.param_partition_spec\[1\]", rf"{AXES}.vocab_embed[0]"),
    Same(
        r"model\..*\.(logits|output)_partition_spec\[0\]\[(\d)\]",
        rf"{AXES}.batch[\2]",
    ),
    Same(r"model\..*\.(logits|output)_partition_spec\[1\]", rf"{AXES}.sequence[0]"),
    Same(r"model\..*\.(logits|output)_partition_spec\[2\]", rf"{AXES}.hidden[0]"),
    Same(r"model\..*\.linear1\.param_partition_spec\[0\]\[(\d)\]", rf"{AXES}.embed[\1]"),
    Same(r"model\..*\.linear1\.param_partition_spec\[1\]", rf"{AXES}.feed_forward[0]"),
    Same(r"model\..*\.linear2\.param_partition_spec\[0\]", rf"{AXES}.feed_forward[0]"),
    Same(r"model\..*\.linear2\.param_partition_spec\[1\]\[(\d)\]", rf"{AXES}.embed[\1]"),
    Same(r"model\..*attention\..*\.param_partition_spec\[0\]\[(\d)\]", rf"{AXES}.embed[\1]"),
    Same(r"model\..*attention\..*\.param_partition_spec\[1\]", rf"{AXES}.heads[0]"),
    Differs(
        r"model\..*attention\..*\.param_partition_spec\[2\]",
        f"{AXES}.head_dim",
        (),
        _AXES_BY_NAME,
    ),
    # Parts that are only ever one way here.
    Differs(r"model\.klass", "model.klass", "CausalLM", "a name that says what it is"),
    Differs(
        r"model\.dtype",
        "model.klass",
        "CausalLM",
        "parameters are float32; train_dtype is what they are cast to",
    ),
    Differs(
        r"model\.decoder\.eos_token_id",
        "input.vocabulary.model_name",
        "bpe_48k_honeycrisp.model",
        "the vocabulary knows it; the model does not stop",
    ),
    Differs(
        r"model\.decoder\.attention_mask",
        f"{ATTENTION}.logit_bias",
        None,
        "attention is causal within documents; a bias by distance is attention's own",
    ),
    Differs(
        rf"{ATTENTION}\.causal",
        f"{ATTENTION}.klass",
        "GroupedQueryAttention",
        "its attention is causal",
    ),
    Differs(r"model\.decoder\.decoding\.klass", "model.decoder.klass", "Decoder", _NO_CACHE),
    Differs(
        rf"{ATTENTION}\..*cache_dtype",
        f"{ATTENTION}.input_linear.klass",
        "RoFormerQKVLinear",
        _NO_CACHE,
    ),
    Differs(
        r"(model\..*)\.forward_dtype",
        r"\1.klass",
        "RMSNorm",
        "its statistics are float32, its output in the dtype of its input",
    ),
    Checked(r"model\..*\.bias", _check_no_bias),
    # What the backward pass keeps, what the scan over layers puts out.
    Checked(rf"{LAYER}\.remat_spec\['policy'\]\.names_which_can_be_saved", _check_saved_names),
    Becomes(
        rf"{LAYER}\.remat_spec\['policy'\]\.names_which_can_be_offloaded",
        f"{LAYER}.remat_spec.offload",
        lambda names: names or "",
        "the empty pattern matches no name",
    ),
    Same(rf"{LAYER}\.remat_spec\['policy'\]\.offload_dst", f"{LAYER}.remat_spec.offload_dst"),
    Differs(
        rf"{LAYER}\.remat_spec\['(prevent_cse|policy)'\](\.fn|\.offload_src)?",
        f"{LAYER}.remat_spec.offload_dst",
        "pinned_host",
        "names decide, from the device, in a scan that needs no barrier: constants of RematSpec",
    ),
    Differs(
        r"model\.decoder\.transformer\.repeat\..*",
        "model.decoder.transformer.drop_output",
        (),
        "layers are functions: the scan puts out summaries, and no outputs of modules to drop",
    ),
    # Everything else has the same path.
    Same(r"(model\..*)", r"\1"),
)

TABLE = (*TRAINER, *EVALUATION, *INPUTS, *LEARNER, *MODEL)
