"""Bad input gets one clear line that names the fix, exit code 2 and no traceback."""

import os

import pytest

from axl_exp.launch.__main__ import main
from tests.system.conftest import SMALL

_CASES = {
    "unknown config": (
        ["--config=fuji-tinny", "--mesh=cpu-1"],
        ["'fuji-tinny'", "Did you mean fuji-tiny"],
    ),
    "unknown field": (
        [*SMALL, "--config.learner.optimizer.learning_rte=1"],
        ["learning_rte", "did you mean learning_rate"],
    ),
    "wrong type": (
        [*SMALL, "--config.seed=abc"],
        ["--config.seed=abc", "int"],
    ),
    "given twice": (
        [*SMALL, "--config.seed=1", "--config.seed=2"],
        ["--config.seed=1", "--config.seed=2", "same field"],
    ),
    "mesh that does not divide the devices": (
        [*SMALL, "--config.mesh_shape.fsdp=3"],
        ["fsdp=3", "1"],
    ),
    "unknown hardware": (
        ["--config=fuji-tiny", "--mesh=tpu-v55e-8"],
        ["v55e", "tpu-v5e-8"],
    ),
    "hardware that is not here": (
        ["--config=fuji-tiny", "--mesh=tpu-v5e-8"],
        ["tpu-v5e-8"],
    ),
    "option that the compiler does not have": (
        [*SMALL, "--config.compiler_options={'xla_tpu_scoped_vmem_limit_kib': 98304}"],
        ["compiler_options", "xla_tpu_scoped_vmem_limit_kib", "leave it out"],
    ),
    "missing data directory": (
        [*SMALL, "--data_dir=/no/such/directory"],
        ["/no/such/directory"],
    ),
    "unknown flag": (["--config=fuji-tiny", "--run_dirr=x"], ["run_dirr", "--run_dir"]),
    "too large for this machine": (
        ["--config=fuji-405B-v3", "--mesh=cpu-1"],
        ["does not fit", "(1)", "(2)", "(3)"],
    ),
    "run directory is a file": ([*SMALL, "--run_dir=a_file/run"], ["a_file"]),
    "run directory of something else": ([*SMALL, "--run_dir=foreign"], ["foreign", "not empty"]),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_mistake_is_one_line_that_names_the_fix(tmp_path, monkeypatch, capsys, case):
    flags, expected = _CASES[case]
    monkeypatch.chdir(tmp_path)
    # It is for good: JAX has one cache in a process.
    monkeypatch.setattr("axl_exp.launch.launching.keep_compiled_programs", lambda: None)
    (tmp_path / "a_file").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("")
    try:
        # On the device that there is: JAX refuses to be told of another number once it computes.
        code = main([flag for flag in flags if flag != "--mesh=cpu-1"])
    except SystemExit as stopped:  # As argparse leaves.
        code = stopped.code
    told = capsys.readouterr().err
    assert code == 2, told
    error = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(error) == 1, told
    for text in expected:
        assert text in error[0]
    assert "Traceback" not in told
    assert (tmp_path / "foreign" / "thesis.tex").exists()


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(launch):
    # By itself: a process that computes already has the number of devices that it has.
    done = launch(*(flag.replace("cpu-1", "cpu-3") for flag in SMALL))
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "global_batch_size=8" in error and "3" in error


def test_every_required_field_that_is_not_set_is_named(launch, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from axl_exp.config import REQUIRED\n"
        "from experiments import named_trainer_configs\n"
        "def get_config():\n"
        "    cfg = named_trainer_configs()['fuji-tiny']()\n"
        "    cfg.max_step = REQUIRED\n"
        "    cfg.model.decoder.dim = REQUIRED\n"
        "    return cfg\n"
    )
    done = launch("--config=mine.py", "--mesh=cpu-1")
    assert done.returncode == 2, done.stderr
    assert "max_step, model.decoder.dim" in done.stderr


def test_debug_shows_the_traceback(launch):
    done = launch("--config=fuji-tinny", "--mesh=cpu-1", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_run_directory_of_another_config_is_refused_with_the_difference(launch, tmp_path):
    first = launch(*SMALL, "--run_dir=run", "--config.checkpointer.keep_last_n=2")
    assert first.returncode == 0, first.stderr
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    other = launch(*SMALL, "--run_dir=run", "--config.seed=7")
    assert other.returncode == 2
    assert "belongs to a run of another config" in other.stderr
    assert "seed: 0 -> 7" in other.stderr
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_directory_without_permission_is_refused(launch, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    done = launch(*SMALL, "--run_dir=locked/run")
    assert done.returncode == 2
    assert "no permission" in done.stderr
