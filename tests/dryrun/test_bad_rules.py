"""A deliberately bad mesh rule of each kind, and what the command says of it."""

import re
import sys
import types

import pytest

from axl_exp.dryrun.__main__ import main
from axl_exp.mesh import (
    HybridMeshShape,
    LimitFields,
    MeshRule,
    MeshShape,
    SetFields,
    SetMeshShape,
)

_LAYER = "model.decoder.transformer.layer"
_OFFLOAD = SetFields({f"{_LAYER}.remat_spec.offload": ".*", f"{_LAYER}.remat_spec.save": ""})


def _mesh(**sizes) -> SetMeshShape:
    return SetMeshShape(MeshShape(**sizes))


_BAD = {
    "sizes that do not multiply": (
        "tpu-v5e-16",
        [_mesh(fsdp=8)],
        "{rule}: mesh_shape fsdp=8: fsdp=8 is not the number of devices, 16. Would do: fsdp=16.",
    ),
    "sizes that leave no whole axis": (
        "tpu-v5e-16",
        [_mesh(data=-1, fsdp=3)],
        "{rule}: mesh_shape data=-1, fsdp=3: fsdp=3 does not divide the number of devices, 16. "
        "Would do: fsdp=1|2|4|8|16.",
    ),
    "several -1": (
        "tpu-v5e-16",
        [_mesh(data=-1, fsdp=-1)],
        "{rule}: mesh_shape data=-1, fsdp=-1: only one axis can be -1; give data or fsdp a size.",
    ),
    "a size of 0": (
        "tpu-v5e-16",
        [_mesh(data=0, fsdp=-1)],
        "{rule}: mesh_shape data=0, fsdp=-1: data must be at least 1, or -1 for all that remain.",
    ),
    "slices of another number": (
        "tpu-v5e-16-2",
        [SetMeshShape(HybridMeshShape(ici=MeshShape(fsdp=-1), dcn=MeshShape(data=4)))],
        "{rule}: mesh_shape.dcn data=4: data=4 is not the number of slices, 2. Would do: data=2.",
    ),
    "an axis that no slice holds": (
        "tpu-v5e-16-8",
        [_mesh(data=4, fsdp=-1)],
        "mesh_shape data=4, fsdp=32 cannot lie over 8 slices: its outermost axis data=4 does not "
        "divide by 8. Give a HybridMeshShape.",
    ),
    "a batch": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"input.global_batch_size": 40})],
        "input.global_batch_size=40 does not divide into the 16 parts that mesh_shape fsdp=16 "
        "makes of it. Would do: 32 or 48.",
    ),
    "a sequence": (
        "tpu-v5e-16",
        [_mesh(seq=-1), SetFields({"input.max_sequence_length": 100})],
        "input.max_sequence_length=100 does not divide into the 16 parts that mesh_shape seq=16 "
        "makes of it. Would do: 96 or 112.",
    ),
    "parts of a batch": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"accumulation_steps": 7})],
        "accumulation_steps 7 does not divide input.global_batch_size 1024; change one.",
    ),
    "parts too small for the mesh": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"accumulation_steps": 128})],
        "one of 128 parts (accumulation_steps) of the batch (8, 4096): dim 0 of size 8 does not "
        "divide by mesh axes fsdp=16; change the mesh shape, or its rule in logical_axis_rules. "
        "Would do: fsdp=8 or a divisor of it.",
    ),
    "heads": (
        "tpu-v5e-64",
        [_mesh(model=-1)],
        "parameter decoder/transformer/layer/self_attention/attention/i_proj/i_proj/qkv_proj/"
        "weight (32, 4096, 96, 128): dim 2 of size 96 does not divide by mesh axes model=64; "
        "change the mesh shape, or its rule in logical_axis_rules. Would do: model=32 or a divisor "
        "of it.",
    ),
    "a field that is not there": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"accumulation_step": 2})],
        "{rule}: the config has no 'accumulation_step' (did you mean accumulation_steps?)",
    ),
    "a value of another type": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"accumulation_steps": "2"})],
        "{rule}: SpmdTrainer.Config.accumulation_steps: expected int, got str '2'",
    ),
    "a field that no model can have": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({"model.decoder.transformer.num_layers": 0})],
        "model.decoder.transformer.num_layers is 0: it must be at least 1.",
    ),
    "a path of nothing": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), LimitFields({"evalers.*.no_such_field": 2})],
        "{rule}: evalers.train has no 'no_such_field' (there are: eval_dtype, eval_policy, "
        "input, klass)",
    ),
    "an attention backend of nobody": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({f"{_LAYER}.self_attention.attention.backend": "flash4"})],
        "{rule}: GroupedQueryAttention.Config.backend: expected 'auto' | 'flash' | 'xla' | "
        "'cudnn' | 'splash' | 'blocks', got str 'flash4'",
    ),
    "an attention backend of another hardware": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({f"{_LAYER}.self_attention.attention.backend": "cudnn"})],
        "attention.backend is 'cudnn', but cudnn runs on GPUs alone, not on tpu; change that, or "
        "set it to 'auto' or 'xla'.",
    ),
    "names to keep that are no pattern": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({f"{_LAYER}.remat_spec.save": "(["})],
        "remat_spec.save is no pattern: '([' (unterminated character set at position 1)",
    ),
    "names to keep that no layer has": (
        "tpu-v5e-16",
        [_mesh(fsdp=-1), SetFields({f"{_LAYER}.remat_spec.save": "q_projection"})],
        f"{_LAYER}.remat_spec.save: 'q_projection' matches no value of the layers. There are: "
        "context, flash_residuals, input, k_proj, linear1_0, linear1_1, linear2, o_proj, q_proj, "
        "v_proj.",
    ),
}


# The line that makes the rule.
_HERE = "The mesh rule at tests/dryrun/test_bad_rules.py:"


def _dry_run(monkeypatch, mesh, modifiers, **fields):
    def rules():
        fields_of_rule = {"selector": mesh, "configs": ".*", "golden_selectors": (), **fields}
        return [MeshRule(**fields_of_rule, modifiers=tuple(modifiers))]

    module = types.ModuleType("bad_rules")
    module.__dict__.update(mesh_rules=rules, named_trainer_configs=dict)
    monkeypatch.setitem(sys.modules, "bad_rules", module)
    return main(["--config=fuji-7B-v2", f"--mesh={mesh}", "--module=bad_rules"])


@pytest.mark.parametrize("kind", _BAD)
def test_a_bad_rule_is_one_line_that_names_what_would_do(kind, monkeypatch, capsys):
    selector, modifiers, text = _BAD[kind]
    code = _dry_run(monkeypatch, selector, modifiers)
    told = capsys.readouterr()
    said = re.sub(re.escape(_HERE) + r"\d+", "{rule}", told.err)
    assert (code, told.out, said) == (2, "", f"error: {text}\n")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"selector": "tpu-(v5e"}, "'tpu-(v5e' is no pattern (missing ), unterminated subpattern"),
        ({"configs": "*"}, "'*' is no pattern (nothing to repeat at position 0)."),
        (
            {"selector": "tpu-v5e-16", "golden_selectors": ("tpu-v5e-8",)},
            "tpu-v5e-8 does not match its selector, 'tpu-v5e-16'.",
        ),
    ],
)
def test_a_rule_that_can_match_nothing_is_refused(fields, text, monkeypatch, capsys):
    assert _dry_run(monkeypatch, "tpu-v5e-16", [], **fields) == 2
    said = re.sub(re.escape(_HERE) + r"\d+", "{rule}", capsys.readouterr().err)
    assert said.startswith(f"error: {{rule}}: {text}")


# Much to keep, and little of it at once.
_DEEP = SetFields({"input.global_batch_size": 2048, "model.decoder.transformer.num_layers": 64})


@pytest.mark.parametrize(
    ("selector", "modifiers", "verdict"),
    [
        (
            "tpu-v5e-16",
            [_mesh(data=-1), SetFields({"accumulation_steps": 64})],
            r"does not fit: \S+ GiB of 15\.8 GiB per device, by plan",
        ),
        # Of 48 GB per chip, four fifths.
        (
            "tpu-v5e-256",
            [_mesh(fsdp=-1), _OFFLOAD, _DEEP],
            r"does not fit: \S+ GiB of 35\.8 GiB per device in the memory of the host, by plan",
        ),
    ],
)
def test_a_rule_that_does_not_fit_gets_a_verdict(selector, modifiers, verdict, monkeypatch, capsys):
    assert _dry_run(monkeypatch, selector, modifiers) == 1
    assert re.fullmatch(verdict, capsys.readouterr().out.splitlines()[-1])
