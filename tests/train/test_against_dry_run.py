"""A run's figures over those of its dry run."""

from types import SimpleNamespace

import pytest

from axl_exp.compare.checks import physical_checks
from axl_exp.launch.narrate import summary_facts
from axl_exp.launch.prediction import predict
from axl_exp.resolve import resolve
from axl_exp.train.summary import against_dry_run

PREDICTED = {"memory_bytes": 1000, "step_seconds": 2.0, "bound_by": "compute"}
PLAN = SimpleNamespace(memory=SimpleNamespace(compiled_bytes=900), num_devices=1)
SUMMARY = {"peak_memory_bytes": 1100, "step_seconds_p50": 3.0}


def against(platform="tpu", predicted=PREDICTED, summary=SUMMARY):
    return against_dry_run(predicted, summary, plan=PLAN, platform=platform)  # pyright: ignore


def checks(dry_run):
    run = SimpleNamespace(
        summary={"dry_run": dry_run},
        env={},
        metrics=SimpleNamespace(numbers={}),
        parameters={},
        log=None,
    )
    return {check.what.split()[0]: check for check in physical_checks("A", run)}  # pyright: ignore


def test_measured_is_told_over_predicted():
    found = against()
    assert found["memory_ratio"] == pytest.approx(1.1)
    assert found["memory_measured_by"] == "device"
    assert found["step_ratio"] == pytest.approx(1.5)


def test_on_a_host_the_memory_is_the_compilers_and_there_is_no_least_time():
    found = against("cpu", {"memory_bytes": 1000})
    assert found["memory_ratio"] == pytest.approx(0.9)
    assert found["memory_measured_by"] == "compiler"
    assert "step_ratio" not in found


def test_over_several_devices_of_a_host_no_check_is_made_of_memory():
    several = SimpleNamespace(memory=PLAN.memory, num_devices=2)
    found = against_dry_run({"memory_bytes": 600}, SUMMARY, plan=several, platform="cpu")  # pyright: ignore
    assert found["compiled_memory_bytes"] == 900
    assert checks(found) == {}
    told = against_dry_run(PREDICTED, SUMMARY, plan=several, platform="tpu")  # pyright: ignore
    assert "memory" in checks(told)


def test_a_step_shorter_than_its_dry_run_and_memory_far_from_it_are_broken_checks():
    assert checks(against())["no"].holds
    assert checks(against())["memory"].holds
    wrong = against(summary={"peak_memory_bytes": 1200, "step_seconds_p50": 1.0})
    assert not checks(wrong)["no"].holds
    assert not checks(wrong)["memory"].holds
    assert checks({}) == {}


def test_a_launch_predicts_time_where_the_chip_has_a_peak():
    here = predict(resolve("fuji-tiny", selector="cpu-1"))
    assert set(here) == {"memory_bytes"}
    there = predict(resolve("fuji-tiny", selector="tpu-v5e-1"))
    assert there["step_seconds"] > 0


def test_the_end_of_a_launch_tells_both():
    summary = {"status": "finished", "step": 1, "first_loss": None, "evals": {}}
    facts = summary_facts({**summary, "peak_memory_bytes": None, "dry_run": against()})
    told = [words for name, words in facts if name == "dry run"]
    assert [words.split()[:2] for words in told] == [["memory", "1.10"], ["step", "1.50"]]
