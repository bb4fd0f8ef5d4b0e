"""What is concluded from two runs whose numbers are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from axl_exp.compare.comparison import Comparison, compare
from axl_exp.compare.sides import Side, Source, load_side
from axl_exp.compare.validity import Kind
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.run.files import write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import MetricsWriter
from axl_exp.run.params import write_params


def compared(a: RunDir, b: RunDir, **sides) -> Comparison:
    told = [Side(name, (Source((run.path,)),), **sides) for name, run in (("a", a), ("b", b))]
    (comparison,) = compare([load_side(side) for side in told])
    return comparison


def metric(comparison: Comparison, name: str) -> MetricResult:
    return next(m for m in comparison.metrics if m.name == name)


def falling(step: int) -> float:
    return 9 - step / 20


# -- losses -------------------------------------------------------------------------------------


def test_equal_runs_are_identical_to_the_bit_and_no_regression(make_run):
    found = compared(make_run("a", noise=0.01), make_run("b", noise=0.01, noise_seed=1))
    assert found.verdict.exit_code == 0
    assert found.verdict.headline == ("no difference beyond noise; losses are identical to the bit")
    assert found.losses.identical
    assert found.explanation == ""


def test_a_loss_that_is_higher_from_the_second_step_is_worse_and_names_the_setting(make_run):
    losses = {step: falling(step) * 1.02 for step in range(2, 61)}
    b = make_run("b", losses=losses)
    b.config.write_text(b.config.read_text().replace("0.001", "0.002"))
    found = compared(make_run("a"), b)
    loss = metric(found, "training loss, tail")
    assert loss.state is State.WORSE
    assert loss.a == pytest.approx(np.mean([falling(s) for s in range(51, 61)]))
    assert loss.relative == pytest.approx(0.02)
    assert found.verdict.exit_code == 1
    assert found.losses.parting is not None
    assert found.losses.parting.step == 2
    assert found.explanation == "can be explained by learner.learning_rate"


def test_a_lower_loss_is_better(make_run):
    losses = {step: falling(step) * 0.98 for step in range(1, 61)}
    found = compared(make_run("a"), make_run("b", losses=losses))
    assert metric(found, "training loss, tail").state is State.BETTER
    assert found.verdict.exit_code == 0


def test_losses_that_scatter_around_each_other_are_within_noise(make_run):
    rng = np.random.default_rng(0)
    losses = {step: falling(step) + 0.1 * rng.standard_normal() for step in range(1, 61)}
    loss = metric(compared(make_run("a"), make_run("b", losses=losses)), "training loss, tail")
    assert loss.state is State.WITHIN_NOISE
    assert "(2 sd)" in loss.reason


def test_a_difference_that_no_config_leaf_can_make_is_unexplained(make_run):
    b = make_run("b", losses={60: 5.0})
    b.config.write_text(b.config.read_text().replace("steps: 50", "steps: 51"))
    found = compared(make_run("a"), b)
    assert [change.path for change in found.changes] == ["checkpointer.save_every_steps"]
    assert found.explanation == (
        "unexplained: no config leaf that can change a loss and no environment fact differs"
    )


def test_a_loss_that_becomes_nan_is_worse_and_one_that_heals_is_better(make_run):
    broken = dict.fromkeys(range(30, 61), math.nan)
    a, b = make_run("a"), make_run("b", losses=broken)
    assert metric(compared(a, b), "training loss, tail").state is State.WORSE
    assert metric(compared(b, a), "training loss, tail").state is State.BETTER


def test_two_broken_losses_that_differ_are_not_comparable(make_run):
    a = make_run("a", losses=dict.fromkeys(range(30, 61), math.nan))
    b = make_run("b", losses=dict.fromkeys(range(30, 61), math.inf))
    assert metric(compared(a, b), "training loss, tail").state is State.NOT_COMPARABLE


def test_losses_on_other_data_are_not_comparable(make_run):
    data = {"dataset": "c4/en:3.0.1", "fingerprint": {"sha256": "e" * 8}}
    found = compared(make_run("a"), make_run("b", facts={"data": data}))
    loss = metric(found, "training loss, tail")
    assert loss.state is State.NOT_COMPARABLE
    assert loss.reason == "the training data differ (fingerprint)"
    assert "not comparable: training loss, tail" in found.verdict.headline


def test_the_verdict_on_perplexity_is_that_on_the_loss_of_the_last_common_evaluation(make_run):
    a = make_run("a", evals={20: 7.0, 40: 6.0, 60: 5.0})
    b = make_run("b", evals={20: 7.0, 40: 6.3})
    found = compared(a, b)
    loss, perplexity = metric(found, "held_out loss"), metric(found, "held_out perplexity")
    assert (loss.a, loss.b, loss.window) == (6.0, 6.3, "evaluation at step 40")
    assert loss.state is perplexity.state is State.WORSE


def test_evaluations_of_different_length_are_not_comparable(make_run):
    a, b = make_run("a", evals={60: 5.0}), make_run("b", evals={60: 5.0})
    b.metrics.write_text(b.metrics.read_text().replace('num_targets": 500', 'num_targets": 499'))
    loss = metric(compared(a, b), "held_out loss")
    assert loss.state is State.NOT_COMPARABLE
    assert loss.reason == "evaluated on 500 targets in A and 499 in B"


def test_bits_per_byte_alone_compare_across_vocabularies(make_run):
    def make(name: str, *, loss: float, bits: float) -> RunDir:
        data = {"fingerprint": "d" * 8, "vocabulary_sha256": name}
        run_dir = make_run(name, facts={"data": data}, evals={60: loss})
        with MetricsWriter(run_dir.metrics, header={}) as writer:
            writer.write({"step": 60, "eval/held_out/bits_per_byte": bits})
        return run_dir

    found = compared(make("a", loss=5.0, bits=2.0), make("b", loss=4.0, bits=2.1))
    for name in ("training loss, tail", "held_out loss", "held_out perplexity"):
        assert metric(found, name).reason == (
            "the vocabularies differ, so a token of A is not a token of B"
        )
    assert metric(found, "held_out bits per byte").state is State.WORSE


# -- speed --------------------------------------------------------------------------------------


def test_slower_steps_are_worse_in_time_and_in_throughput(make_run):
    found = compared(
        make_run("a", noise=0.01), make_run("b", noise=0.01, noise_seed=1, step_seconds=0.27)
    )
    step_time, tokens = metric(found, "step time, median (s)"), metric(found, "tokens/s")
    assert step_time.state is tokens.state is State.WORSE
    assert step_time.interval is not None
    assert 0.08 in step_time.interval
    assert step_time.window == "steps 1-60: 59 steady in A, 59 in B"
    assert found.verdict.exit_code == 1


def test_a_change_below_the_assumed_floor_is_noise_however_narrow_its_interval(make_run):
    found = compared(make_run("a"), make_run("b", step_seconds=0.2525))
    step_time = metric(found, "step time, median (s)")
    assert step_time.relative == pytest.approx(0.01)
    assert step_time.state is State.WITHIN_NOISE
    assert step_time.reason.endswith("but within the assumed run-to-run floor of 2 %")


def test_a_stall_that_is_no_steady_step_changes_no_verdict_and_is_told_in_the_time(make_run):
    a, b = make_run("a"), make_run("b")
    text = b.metrics.read_text().splitlines()
    record = {**json.loads(text[30]), "perf/step_seconds": 30.0, "time/class": "checkpoint"}
    b.metrics.write_text("\n".join([*text[:30], json.dumps(record), *text[31:]]) + "\n")
    found = compared(a, b)
    assert metric(found, "step time, median (s)").state is State.WITHIN_NOISE
    assert metric(found, "step time, p95 (s)").state is State.WITHIN_NOISE
    told = {use.what: use for use in found.time}
    assert told["checkpoint steps"].b_seconds == 30.0
    assert (told["steady steps"].a_num_steps, told["steady steps"].b_num_steps) == (59, 58)


def test_the_rows_of_time_add_up_to_the_time_of_the_runs(make_run):
    a = make_run("a", evals={30: 6.0, 60: 5.0})
    b = make_run("b", evals={30: 6.0, 60: 5.0}, noise=0.1)
    with MetricsWriter(b.metrics, header={}) as writer:
        writer.event("checkpoint", step=40, blocking_seconds=9.0)
        writer.event("checkpoint", step=40, blocking_seconds=1.5)
    found = compared(a, b)
    beside = [use for use in found.time if not use.is_within_steps]
    assert sum(use.a_seconds for use in beside) == pytest.approx(2 + 59 * 0.25 + 2 * 0.5)
    steps = found.b.metrics.numbers["perf/step_seconds"].values.sum()
    assert sum(use.b_seconds for use in beside) == pytest.approx(steps + 2 * 0.5 + 1.5)


def test_speed_on_other_hardware_is_not_comparable(make_run):
    hardware = {"platform": "tpu", "device_kind": "TPU v6e", "device_count": 4}
    found = compared(make_run("a"), make_run("b", hardware=hardware))
    assert metric(found, "step time, median (s)").reason == (
        "hardware differs: device_kind is TPU v5e in A and TPU v6e in B"
    )
    assert found.verdict.exit_code == 0  # The losses are comparable, and equal.
    assert "not comparable: step time" in found.verdict.headline


def test_steps_of_other_sizes_compare_by_tokens_and_not_by_step(make_run):
    found = compared(make_run("a"), make_run("b", facts={"tokens_per_step": 2048}))
    assert metric(found, "step time, median (s)").reason == (
        "a step is 1,024 tokens in A and 2,048 in B"
    )
    assert metric(found, "training loss, tail").state is State.NOT_COMPARABLE
    assert metric(found, "tokens/s").state is State.WITHIN_NOISE


def test_two_steady_steps_are_not_enough(make_run):
    found = compared(make_run("a", num_steps=3), make_run("b", num_steps=3))
    assert metric(found, "step time, median (s)").reason == (
        "too few steady steps: 2 in A and 2 in B, 3 needed"
    )


def test_few_steady_steps_can_show_no_change_and_nothing_else(make_run):
    a, same = make_run("a", num_steps=5), make_run("same", num_steps=5)
    slower = make_run("slower", num_steps=5, step_seconds=0.5)
    told = "too few steady steps to tell their noise: 4, 10 needed"
    found = metric(compared(a, same), "step time, median (s)")
    assert (found.state, found.reason) == (
        State.WITHIN_NOISE,
        f"apart by +0.00 %, within the assumed run-to-run floor of 2 %; {told}",
    )
    found = metric(compared(a, slower), "step time, median (s)")
    assert (found.state, found.reason) == (State.NOT_COMPARABLE, told)


def test_runs_without_a_record_are_not_comparable(make_run):
    found = compared(
        make_run("a", num_steps=0, status=None), make_run("b", num_steps=0, status=None)
    )
    assert found.verdict.exit_code == 3
    assert found.verdict.headline == "not comparable: no metric on either side"


def test_runs_that_share_no_step_are_not_comparable(make_run):
    a = make_run("a", num_steps=20, status=None)
    b = make_run("b", status=None)
    lines = b.metrics.read_text().splitlines(keepends=True)
    b.metrics.write_text("".join([lines[0], *lines[25:]]))
    found = compared(a, b)
    assert found.verdict.exit_code == 3
    assert found.losses.num_paired == 0


def test_the_resident_memory_of_a_cpu_process_decides_nothing(make_run):
    cpu = {"platform": "cpu", "device_kind": "cpu", "device_count": 1}
    a, b = make_run("a", hardware=cpu), make_run("b", hardware=cpu)
    write_json(b.summary, {"status": "finished", "peak_memory_bytes": 1.8 * 2**30})
    result = metric(compared(a, b), "peak memory (bytes)")
    assert result.state is State.NOT_COMPARABLE
    assert result.reason == (
        "on a CPU it is the process's resident memory, which its allocator decides"
    )


def test_more_memory_is_worse(make_run):
    b = make_run("b")
    write_json(b.summary, {"status": "finished", "peak_memory_bytes": 1.1 * 2**30})
    assert metric(compared(make_run("a"), b), "peak memory (bytes)").state is State.WORSE


# -- validity -----------------------------------------------------------------------------------


def kinds(comparison: Comparison) -> dict[str, Kind]:
    return {difference.what: difference.kind for difference in comparison.differences}


def test_another_commit_confounds_runs_and_is_what_branches_are_compared_by(make_run):
    a = make_run("a")
    b = make_run("b", git={"commit": "b" * 40, "branch": "x"})
    assert kinds(compared(a, b))["git.commit"] is Kind.CONFOUNDER
    assert kinds(compared(a, b, by_ref=True))["git.commit"] is Kind.DECLARED
    assert kinds(compared(a, b))["git.branch"] is Kind.HARMLESS


def test_a_dirty_tree_another_version_and_another_flag_are_confounders_and_named(make_run):
    git = {"commit": "a" * 40, "branch": "main", "dirty": True, "diff_sha256": "e" * 64}
    versions = {"python": "3.11.7", "jax": "0.12.0"}
    found = compared(make_run("a"), make_run("b", git=git, versions=versions, xla_flags="--x"))
    confounders = [name for name, kind in kinds(found).items() if kind is Kind.CONFOUNDER]
    assert confounders == ["git.diff_sha256", "versions.jax", "xla_flags"]
    assert "confounded by git.diff_sha256, versions.jax, xla_flags" in found.verdict.headline


def test_a_seed_is_declared_where_the_config_says_it(make_run):
    a, b = make_run("a"), make_run("b", facts={"seed": 1})
    assert kinds(compared(a, b))["seed"] is Kind.CONFOUNDER
    b.config.write_text(b.config.read_text().replace("seed: 0", "seed: 1"))
    assert kinds(compared(a, b))["seed"] is Kind.DECLARED


def test_the_host_matters_on_a_cpu_and_not_beside_an_accelerator(make_run):
    def of(platform: str, memory: int) -> RunDir:
        hardware = {"platform": platform, "host": {"memory_bytes": memory, "name": str(memory)}}
        return make_run(f"{platform}-{memory}", hardware=hardware)

    on_cpu = kinds(compared(of("cpu", 1), of("cpu", 2)))
    assert on_cpu["hardware.host.memory_bytes"] is Kind.CONFOUNDER
    assert on_cpu["hardware.host.name"] is Kind.HARMLESS
    on_tpu = kinds(compared(of("tpu", 1), of("tpu", 2)))
    assert on_tpu["hardware.host.memory_bytes"] is Kind.HARMLESS


def test_a_fact_that_nobody_knows_is_a_confounder(make_run):
    found = compared(make_run("a"), make_run("b", facts={"moon": "full"}))
    assert kinds(found) == {"moon": Kind.CONFOUNDER}


def test_a_run_resumed_on_another_commit_is_a_confounder(make_run):
    make_run("b", num_steps=0)
    b = make_run("b", git={"commit": "b" * 40, "branch": "main"})
    found = compared(make_run("a"), b)
    assert kinds(found)["B was resumed with another git.commit"] is Kind.CONFOUNDER


def test_a_missing_environment_is_a_confounder(make_run):
    b = make_run("b")
    b.env.unlink()
    found = compared(make_run("a"), b)
    assert kinds(found)["B has no env.json"] is Kind.CONFOUNDER
    assert kinds(found)["git.commit"] is Kind.CONFOUNDER


def test_the_growth_of_a_difference_is_told_from_its_first_to_its_last_tenth(make_run):
    # From step 11 on B is higher by 1e-3 · 1.1^(step - 11): 50 steps, tenths of five.
    apart = {step: 1e-3 * 1.1 ** (step - 11) for step in range(11, 61)}
    b = make_run("b", losses={step: 9 - step / 20 + value for step, value in apart.items()})
    growth = compared(make_run("a"), b).losses.growth
    told = [np.mean([apart[k] for k in steps]) for steps in (range(11, 16), range(56, 61))]
    assert growth == pytest.approx(told, rel=1e-9)


def test_the_first_loss_of_a_run_of_ours_is_held_against_the_rows_of_its_embedding(make_run):
    runs = []
    for name, vocab in (("a", 8192), ("b", 256)):
        run_dir = make_run(name)  # Its first loss is 8.95; ln 8192 = 9.01, ln 256 = 5.55.
        facts = {"shape": f"float32[{vocab}, 64]", "logical": "(vocab, embed)", "physical": "()"}
        write_params(run_dir.params, {"decoder/emb/token_emb/weight": facts})
        runs.append(run_dir)
    held = {check.side: check for check in compared(*runs).checks if "first loss" in check.what}
    assert held["A"].holds and "ln(8192) = 9.011" in held["A"].told
    assert not held["B"].holds


# -- notes --------------------------------------------------------------------------------------


def test_damage_restarts_and_missing_files_are_noted(make_run):
    a, b = make_run("a"), make_run("b", status=None, config=None)
    with b.metrics.open("ab") as file:
        file.write(b"torn\n")
    with MetricsWriter(b.metrics, header={}) as writer:
        writer.event("restart", step=58)
    assert compared(a, b).notes == [
        "B has no config.txt",
        "B is unfinished",
        "B: 1 lines of metrics.jsonl could not be read; the first is line 62: not JSON",
        "B was resumed behind step 58",
        "B: 2 records were trained again after a restart",
    ]


def test_a_run_against_itself_is_said_aloud(make_run):
    a = make_run("a")
    (note,) = compared(a, a).notes
    assert note == "A and B are the same run directory: this compares a run with itself"


def test_the_numbers_of_a_resumed_run_are_those_of_an_unbroken_one(make_run):
    a, b = make_run("a"), make_run("b", num_steps=40)
    whole = [json.loads(line) for line in a.metrics.read_text().splitlines()[1:]]
    with MetricsWriter(b.metrics, header={}) as writer:
        writer.event("restart", step=30)
        for record in whole[30:]:
            writer.write(record)
    found = compared(a, b)
    assert found.losses.identical
    assert found.losses.num_paired == 60
