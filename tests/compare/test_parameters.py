from __future__ import annotations

from pathlib import Path

import pytest

from axl_exp.compare.load import Run, load_run, run_of_log
from axl_exp.compare.logs.read import parse_log
from axl_exp.compare.parameters import ParameterChange, compare_parameters
from axl_exp.run.files import RunFileError
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics_reader import Metrics
from axl_exp.run.params import read_params, write_params

WEIGHT = {"shape": "float32[4, 8]", "logical": "(embed, mlp)", "physical": "(fsdp, None)"}
SCALE = {"shape": "float32[4]", "logical": "(norm)", "physical": "(None)"}


def side(**parameters: dict[str, str]) -> Run:
    told = {path.replace("__", "/"): facts for path, facts in parameters.items()}
    return Run(RunDir(Path("x")), None, {}, {}, Metrics(Path("x")), parameters=told)


def test_linen_and_nnx_names_are_one_parameter():
    found = compare_parameters(
        side(params__params__decoder__mlp__kernel=WEIGHT, params__params__norm__scale=SCALE),
        side(decoder__mlp__kernel__value=WEIGHT, norm__scale__value=SCALE),
    )
    assert (found.num_matched, found.is_wrapped, found.changes) == (2, True, [])


def test_a_head_that_is_called_value_is_no_wrapper():
    names = ("attention__value__kernel", "attention__key__kernel")
    found = compare_parameters(side(**dict.fromkeys(names, WEIGHT)), side(**{names[0]: WEIGHT}))
    path = "attention/key/kernel"
    assert found.changes == [ParameterChange("removed", path, path, "")]


def test_another_shape_dtype_or_sharding_is_told():
    found = compare_parameters(
        side(a__kernel=WEIGHT, b__kernel=WEIGHT),
        side(
            a__kernel=WEIGHT | {"shape": "bfloat16[4, 8]"},
            b__kernel=WEIGHT | {"physical": "(None, fsdp)"},
        ),
    )
    assert found.changes == [
        ParameterChange("shape", "a/kernel", "float32[4, 8]", "bfloat16[4, 8]"),
        ParameterChange("physical", "b/kernel", "(fsdp, None)", "(None, fsdp)"),
    ]


def test_a_parameter_alone_with_its_shape_and_last_name_was_renamed():
    found = compare_parameters(side(old__mlp__kernel=WEIGHT), side(new__ffn__kernel=WEIGHT))
    assert found.changes == [
        ParameterChange("renamed", "old/mlp/kernel", "old/mlp/kernel", "new/ffn/kernel")
    ]
    two = side(x__kernel=WEIGHT, y__kernel=WEIGHT)
    found = compare_parameters(side(old__kernel=WEIGHT), two)  # Which of the two is not told.
    assert sorted(change.what for change in found.changes) == ["added", "added", "removed"]


def test_a_fact_that_one_side_never_tells_is_not_compared():
    b = {"shape": WEIGHT["shape"], "logical": "", "physical": WEIGHT["physical"]}
    found = compare_parameters(side(a__kernel=WEIGHT), side(a__kernel=b))
    assert (found.changes, found.untold) == ([], ["logical"])


def test_a_side_without_parameters_says_nothing():
    found = compare_parameters(side(), side(a__kernel=WEIGHT))
    assert (found.num_a, found.num_b, found.changes) == (0, 1, [])


def test_params_are_read_as_they_were_written(make_run):
    run_dir = make_run("a")
    params = {"decoder/mlp/weight": WEIGHT, "decoder/norm/scale": SCALE}
    write_params(run_dir.params, params)
    assert read_params(run_dir.params) == params == load_run(run_dir).parameters
    run_dir.params.write_text("what is this\n")
    with pytest.raises(RunFileError, match="params.txt:1 is no parameter"):
        read_params(run_dir.params)


def log_with(layout: str, name: str = "attentions/out") -> Run:
    prefix = "I0205 08:54:25.569170 13 a.py:9] "
    text = (
        f"{prefix}params/x/kernel\n    Shape:     float32[4,8]\n    Logical:   P('embed', 'mlp')\n"
        "    Physical:  ('fsdp', None)\n"
        f"{prefix}{name} Logical: bfloat16[8,128]....... ('batch', 'embed').\n"
        f"{prefix}{name} Physical: bfloat16[8,128]...... {layout}.\n"
        f"{prefix}completed step: 3, seconds: 0.100, loss: 2.125\n"
    )
    return run_of_log(parse_log(text.encode(), path=Path("x.log")))


def test_an_activation_that_is_split_otherwise_is_told():
    a = log_with("(('data', 'fsdp'), None)")
    assert compare_parameters(a, a).changes == []
    found = compare_parameters(a, log_with("('fsdp', None)"))
    name, was, now = "attentions/out", "(('data', 'fsdp'), None)", "('fsdp', None)"
    assert found.changes == [ParameterChange("activation, physical", name, was, now)]
    assert compare_parameters(a, log_with("(None, None)", name="other")).changes == []
