"""What dry runs plan, as facts of goldens."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.dryrun.sweep import sweep
from axl_exp.golden.__main__ import main
from axl_exp.golden.golden import Golden, MeshGolden
from axl_exp.golden.layout import read_goldens, write_goldens
from axl_exp.golden.make import make_goldens
from axl_exp.golden.plans import plan_facts, with_plans
from axl_exp.resolve import resolve

REPOSITORY = Path(__file__).parents[2]
NAME = "gala-85M"


@pytest.fixture(scope="module")
def fast():
    """What goldens are without plans, on a CPU and two more."""
    golden = make_goldens([NAME], module=None)[NAME]
    some = ("cpu-1", *[s for s in golden.meshes if s.startswith("tpu-")][:2])
    return {NAME: dataclasses.replace(golden, meshes={s: golden.meshes[s] for s in some})}


def planned(goldens, *, before, anew=False):
    """The goldens with plans, and how many were made."""
    made = []
    found = with_plans(
        goldens,
        before=before,
        names={NAME},
        anew=anew,
        sweep=sweep,
        on_progress=lambda done, total: made.append(done),
    )
    return found, len(made)


def with_config(goldens, **texts):
    golden = goldens[NAME]
    return {NAME: dataclasses.replace(golden, config={**golden.config, **texts})}


def test_plans_stand_until_something_that_the_step_is_traced_from_differs(fast):
    first, num_made = planned(fast, before={})
    assert num_made == 2
    assert planned(fast, before=first) == (first, 0)
    assert planned(with_config(fast, max_step="7"), before=first)[1] == 0
    for traced in ({"seed": "1"}, {"model.decoder.dim": "96"}):
        assert planned(with_config(fast, **traced), before=first)[1] == num_made
    assert planned(fast, before=first, anew=True) == (first, num_made)
    *others, (selector, mesh) = first[NAME].meshes.items()
    edited = dict([*others, (selector, dataclasses.replace(mesh, changes=()))])
    one_rule_edited = {NAME: dataclasses.replace(first[NAME], meshes=edited)}
    assert planned(fast, before=one_rule_edited) == (first, 1)


def test_plans_that_stand_are_written_as_they_were_made():
    def golden(seed, **facts):
        made = {f"planned_{name}": text for name, text in facts.items()}
        meshes = {"tpu-v5e-8": MeshGolden((), {"devices": "8", **dict(sorted(made.items()))})}
        return Golden({"klass": "@m:Trainer", "seed": seed}, {}, {}, meshes)

    goldens = {
        "own": golden("0", memory_bytes="1", gather_over_data="3", scatter_over_data="5"),
        "own-x": golden("1", memory_bytes="2", reduce_over_data="4", scatter_over_data="6"),
    }
    tree = write_goldens(goldens)
    before, _ = read_goldens(tree)
    bare = {
        name: dataclasses.replace(g, meshes={"tpu-v5e-8": MeshGolden((), {"devices": "8"})})
        for name, g in goldens.items()
    }
    # Made in one order, read in another, written as if made again.
    made = with_plans(bare, before=goldens, names=set(goldens), anew=False, sweep=sweep)
    read = with_plans(bare, before=before, names=set(goldens), anew=False, sweep=sweep)
    assert made == read == goldens
    assert write_goldens(read) == write_goldens(made)


def test_the_facts_of_a_plan_are_those_of_fsdp_over_one_slice_and_data_over_slices():
    """Zhao et al. 2023, arXiv:2304.11277: in bfloat16 every weight is gathered twice and every
    gradient scattered once, within a slice; what is left of the gradients is summed over slices."""
    plan = plan_dry_run(resolve("fuji-7B-v2", selector="tpu-v5e-256-2"))
    facts = plan_facts(plan)
    layers_gib = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) * 2 / 2**30
    table_gib = 32768 * 4096 * 2 / 2**30
    # Seven weights of a layer. The tied table's gradient has two parts, which are added before they
    # are scattered, over 256 chips in two stages.
    scattered_gib = layers_gib + table_gib
    scattered = facts["planned_reduce-scatter_over_fsdp"]
    assert scattered == f"{7 * 32 + 2} times, {scattered_gib:.1f} GiB by ici"
    gathered = facts["planned_all-gather_over_fsdp"]
    assert gathered.endswith(f", {2 * layers_gib + table_gib:.1f} GiB by ici")
    over_slices = facts["planned_all-reduce_over_data"]
    assert over_slices == f"{7 * 32 + 1} times, {scattered_gib / 256 * 1024:.1f} MiB by dcn"


def test_a_plan_that_the_code_no_longer_makes_is_found_by_plans(tmp_path, monkeypatch, capsys):
    shutil.copytree(REPOSITORY / "configs_golden" / NAME, tmp_path / NAME)
    there = f"--dir={tmp_path}"
    file = sorted((tmp_path / NAME / "mesh").glob("tpu-*"))[0]
    text = file.read_text()
    (line,) = (line for line in text.splitlines() if "planned_memory_bytes" in line)
    file.write_text(text.replace(line, "# planned_memory_bytes: 12,300,000,000"))
    assert main(["check", NAME, there]) == 0
    assert "--plans makes them anew" in capsys.readouterr().out
    assert main(["check", NAME, there, "--plans"]) == 1
    said = capsys.readouterr().out
    assert f"{NAME} on {file.stem}: planned memory bytes 11.5 GiB -> " in said


def test_plans_are_no_business_of_the_other_actions(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["lint", "--plans"])
    assert "--plans is for check and update, not for lint" in capsys.readouterr().err
