"""`python -m axl_exp.compare` as a user runs it: what it prints and how it exits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.comparison import compare
from axl_exp.compare.show import show
from axl_exp.compare.sides import Side, Source, load_side
from axl_exp.config.provenance import DEFAULT, Write
from axl_exp.report.terminal import make_console
from axl_exp.run.layout import RunDir
from axl_exp.run.writers import write_writers

SAME = """\
≈ no difference beyond noise; losses are identical to the bit
  A  a
     config fuji-tiny; status finished; commit aaaaaaaaaa; JAX 0.10.2; devices 4
     × TPU v5e; seed 0; losses raw floats
  B  b
     config fuji-tiny; status finished; commit aaaaaaaaaa; JAX 0.10.2; devices 4
     × TPU v5e; seed 0; losses raw floats
  note: A and B ran the same code and config on the same hardware: any
  difference is noise

Validity: the environments are the same

Metrics
metric                        A         B  B against A  verdict
training loss, tail     6.22500   6.22500      +0.00 %  ≈ within noise
step time, median (s)    0.2500    0.2500      +0.00 %  ≈ within noise
step time, p95 (s)       0.2500    0.2500      +0.00 %  ≈ within noise
tokens/s                  4,096     4,096      +0.00 %  ≈ within noise
peak memory (bytes)    1.00 GiB  1.00 GiB      +0.00 %  ≈ within noise
  why, of which steps, by which formula:
  training loss, tail    identical to the bit at all 60 paired steps; steps
                         51-60, 10 paired; mean of train/loss over the last 10 %
                         of the paired steps, 10 or more
  step time, median (s)  +0.00 to +0.00 % by the noise inside each run; steps
                         1-60: 59 steady in A, 59 in B; median of
                         perf/step_seconds over the steps whose time/class is
                         steady
  step time, p95 (s)     +0.00 to +0.00 % by the noise inside each run; steps
                         1-60: 59 steady in A, 59 in B; 95th percentile of
                         perf/step_seconds over the steps whose time/class is
                         steady
  tokens/s               as step time, median (s); +0.00 to +0.00 % by the noise
                         inside each run; steps 1-60: 59 steady in A, 59 in B;
                         median of perf/tokens_per_second over the steps whose
                         time/class is steady
  peak memory (bytes)    within the assumed run-to-run floor of 1 %; the last
                         launch, whole; peak_memory_bytes of summary.json: of
                         one device; on a CPU, of the process
  Fewer than three runs per side, and no three runs of one code stored: floors
  are assumed, not measured, and drift between runs is in no interval.
  How many more runs would detect 1 % is not known before 3 per side ran.

Where the time went, over the steps that both have
                          A             B  B - A
steady steps   14.8 s in 59  14.8 s in 59    0 s
compile steps   2.00 s in 1   2.00 s in 1    0 s
total                16.8 s        16.8 s    0 s

Losses: identical to the bit at all 60 paired steps (1-60)

Config: the same 6 leaves
"""

WORSE_HEAD = """\
▼ worse: training loss, tail +2.00 %; losses part at step 2 (can be explained by
learner.learning_rate); not comparable: step time, median (s), step time, p95
(s), tokens/s, peak memory (bytes); confounded by hardware.device_count
  A  a
     config fuji-tiny; status finished; commit aaaaaaaaaa; JAX 0.10.2; devices 4
     × TPU v5e; seed 0; losses raw floats
  B  b
     config fuji-tiny; status stopped; commit aaaaaaaaaa; JAX 0.10.2; devices 8
     × TPU v5e; seed 0; losses raw floats
  note: B is stopped

Validity: 1 confounder, 1 harmless
  confounded by  hardware.device_count
  harmless       git.branch

Metrics
metric                        A         B  B against A  verdict
training loss, tail     6.22500   6.34950      +2.00 %  ▼ worse
step time, median (s)    0.2500    0.2500      +0.00 %  ? not comparable
"""

WORSE_TAIL = """\
Losses: part at step 2 of 60 paired steps (1-60)
  first apart         step 2: A 8.9, B 9.078000000000001, 186,647 float32 ulp
  class of cause      gradients or the optimizer: the first step is equal, the
                      second is not
  first step of each  train/loss 2, train/num_targets never
  growth              |B - A| goes from 0.18 to 0.12 in the mean: the first and
                      the last tenth of the steps since
  sign                B is higher at 100 % of the steps that differ
  why                 can be explained by learner.learning_rate,
                      hardware.device_count

Config: 2 of 6 leaves differ
class      path                           A      B
io         checkpointer.save_every_steps  50     60
optimizer  learner.learning_rate          0.001  0.002

Environment: what differs
          means       what                   A     B
hardware  confounder  hardware.device_count  4     8
git       harmless    git.branch             main  feat/x
"""


def shown(monkeypatch: pytest.MonkeyPatch, a: RunDir, b: RunDir) -> str:
    """Return what is printed at 80 columns, without spaces at the ends of lines."""
    monkeypatch.chdir(a.path.parent)
    sides = [Side(name, (Source((Path(name),)),)) for name in (a.path.name, b.path.name)]
    out = io.StringIO()
    (comparison,) = compare([load_side(side) for side in sides])
    show(comparison, make_console(out, width=80))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


@pytest.fixture
def worse(make_run) -> tuple[RunDir, RunDir]:
    b = make_run(
        "b",
        losses={step: (9 - step / 20) * 1.02 for step in range(2, 61)},
        git={"root": "/src", "commit": "a" * 40, "branch": "feat/x", "dirty": False},
        hardware={"platform": "tpu", "device_kind": "TPU v5e", "device_count": 8},
        status="stopped",
    )
    text = b.config.read_text().replace("0.001", "0.002").replace("steps: 50", "steps: 60")
    b.config.write_text(text)
    return make_run("a"), b


def test_two_equal_runs_look_like_this(make_run, monkeypatch):
    assert shown(monkeypatch, make_run("a"), make_run("b")) == SAME


def test_a_regression_looks_like_this(worse, monkeypatch):
    text = shown(monkeypatch, *worse)
    assert text.startswith(WORSE_HEAD)


def test_the_losses_and_the_config_look_like_this(worse, monkeypatch):
    text = shown(monkeypatch, *worse)
    assert text.endswith(WORSE_TAIL)


# -- exit codes, in processes of their own -------------------------------------------------------


def run(*arguments: object, cwd: Path, columns: int = 200) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "axl_exp.compare", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_regression_exits_0_and_prints_no_escape_code(make_run, tmp_path: Path):
    make_run("a")
    make_run("b")
    done = run("a", "b", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_regression_exits_1(worse, tmp_path: Path):
    assert run("a", "b", cwd=tmp_path).returncode == 1


def test_not_enough_data_exits_3(make_run, tmp_path: Path):
    for name in "ab":
        make_run(name, num_steps=0, status=None)
    done = run("a", "b", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("? not comparable: no metric on either side\n")


def test_a_path_that_does_not_exist_exits_2_with_one_line(make_run, tmp_path: Path):
    make_run("a")
    done = run("a", "runs/none", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: runs/none is neither a run directory nor")
    assert done.stderr.count("\n") == 1


def test_the_comparator_imports_no_accelerator_library(make_run, tmp_path: Path):
    make_run("a")
    make_run("b")
    script = (
        "import sys\n"
        "from axl_exp.compare.__main__ import main\n"
        "code = main(['a', 'b'])\n"
        "heavy = {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'tensorflow', 'grain'}\n"
        "sys.exit(code or sorted(heavy & set(sys.modules)) or 0)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


# -- bad input, in this process -----------------------------------------------------------------


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line with which the command fails, and demand exit code 2."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "\x1b" not in err
    return err


def test_a_directory_that_is_no_run_names_the_runs_in_it(make_run, tmp_path: Path, capsys):
    a = make_run("a").path
    assert failure(capsys, a, tmp_path) == (
        f"error: {tmp_path} is not a run directory: it holds neither config.txt nor "
        f"metrics.jsonl. It holds 1 of them; the newest is {a}.\n"
    )


def test_the_metrics_file_of_a_run_is_the_run(make_run, capsys):
    run_dir = make_run("a")
    assert main([str(run_dir.path), str(run_dir.metrics)]) == 0
    assert "identical to the bit at all 60 paired steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("metrics.jsonl", b"\x00\x01\x02" * 1000, "is not a metrics file: none of its"),
        ("metrics.jsonl", b'{"schema": "other/1"}\n', "has schema 'other/1'"),
        ("config.txt", b"\xff\xfe", "is not UTF-8 text"),
        ("config.txt", b"what is this\n", "config.txt:1: "),
        ("config.txt", b"a: \x1b[31m\n", "config.txt:1: "),
        ("env.json", b"{", "is not JSON"),
        ("summary.json", b"[]", "holds a list, not a JSON object"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(make_run, capsys, name, content, told):
    a, b = make_run("a"), make_run("b")
    (b.path / name).write_bytes(content)
    assert told in failure(capsys, a.path, b.path)


@pytest.mark.parametrize("content", [b"", b'{"schema": "axl_exp.metrics/1"}\n'])
def test_a_run_without_records_is_not_comparable(make_run, capsys, content: bytes):
    a, b = make_run("a", status=None), make_run("b", status=None)
    b.metrics.write_bytes(content)
    assert main([str(a.path), str(b.path)]) == 3
    assert "B has no train/loss" in capsys.readouterr().out


def test_env_values_of_any_kind_are_data(make_run, capsys):
    facts = {"hardware": ["not", "an", "object"], "data": 7, "launches_": None, "x": "\x1b]0;t\x07"}
    a, b = make_run("a"), make_run("b", facts=facts, hardware="\x1b[2J")
    assert main([str(a.path), str(b.path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


# -- JSON ---------------------------------------------------------------------------------------


def test_json_has_the_schema_and_says_what_the_terminal_says(worse, capsys):
    assert main([*(str(run.path) for run in worse), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "axl_exp.compare/2"
    assert told["verdict"]["state"] == "worse"
    assert told["verdict"]["exit_code"] == 1
    loss = told["metrics"][0]
    assert (loss["key"], loss["state"], loss["better"]) == ("train/loss", "worse", "lower")
    assert loss["relative"] == pytest.approx(0.02)
    assert told["losses"]["parting"]["step"] == 2
    assert told["losses"]["cause"]["class"] == "UPDATE"
    assert told["b"]["runs"][0]["status"] == "stopped"
    assert {
        "intent": "changed",
        "path": "learner.learning_rate",
        "before": "0.001",
        "after": "0.002",
        "leaf_class": "optimizer",
        "a_writer": None,  # Runs from before writers.json do not tell.
        "b_writer": None,
    } in told["config"]


def test_a_change_of_the_config_tells_who_set_it_on_each_side(make_run, capsys):
    path, other = "learner.learning_rate", "model.dim"
    a = make_run("a")
    text = a.config.read_text().replace("0.001", "0.002").replace("dim: 256", "dim: 512")
    b = make_run("b", config=text)
    recipe, default = Write("recipe", "experiments/x.py:7", 0.001), Write(DEFAULT, "C", 256)
    write_writers(a, {path: recipe, other: default})
    write_writers(b, {path: Write("command line", f"--config.{path}=0.002", 0.002)})
    main([str(a.path), str(b.path), "--json"])
    changes = {c["path"]: c for c in json.loads(capsys.readouterr().out)["config"]}
    assert changes[path]["a_writer"] == "recipe (experiments/x.py:7)"
    assert changes[path]["b_writer"] == f"command line (--config.{path}=0.002)"
    assert changes[other]["a_writer"] == changes[other]["b_writer"] == "default"
    page = a.path.parent / "page.html"
    main([str(a.path), str(b.path), f"--html={page}"])
    out = " ".join(capsys.readouterr().out.split())
    assert "A recipe (experiments/x.py:7); B command line" in out
    assert "recipe (experiments/x.py:7)" in page.read_text()
    a.writers.unlink()  # A run from before there was such a file.
    main([str(a.path), str(b.path), "--json"])
    assert json.loads(capsys.readouterr().out)["config"][0]["a_writer"] is None


def test_the_fields_of_the_json_are_frozen(make_run, capsys):
    main([str(make_run("a").path), str(make_run("b").path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        *("schema", "verdict", "margin", "a", "b", "notes", "differences"),
        *("metrics", "time", "losses", "explanations", "config", "parameters", "checks", "theirs"),
    ]
    assert set(told["metrics"][0]) == {
        *("name", "key", "better", "a", "b", "delta", "relative", "interval"),
        *("state", "reason", "window", "formula", "figure", "a_runs", "b_runs", "floor"),
        *("floor_relative", "test", "p_adjusted", "equivalence", "more_runs", "follows"),
    }


def test_json_is_strict_where_losses_are_not_finite(make_run, capsys):
    b = make_run("b", losses=dict.fromkeys(range(1, 61), float("nan")))
    assert main([str(make_run("a").path), str(b.path), "--json"]) == 1

    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    told = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert told["metrics"][0]["b"] == "nan"
