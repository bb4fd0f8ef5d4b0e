"""Own files become a dataset with one command, and are trained on with a few overrides."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from axl_exp.data import vocabulary_path
from axl_exp.data.corpus import documents
from axl_exp.registry import load_config
from axl_exp.run.metrics_reader import read_metrics
from tests.system.conftest import REPOSITORY, SMALL, losses

_TEXTS = [d.text for d in documents()][:150]


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "axl_exp.build_dataset", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _build(*arguments: str) -> dict:
    process = _start(*arguments, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """The first texts of the embedded corpus in three formats."""
    path = tmp_path_factory.mktemp("inputs")
    with (path / "a.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in _TEXTS[:50])
    pq.write_table(pa.table({"text": _TEXTS[50:100]}), path / "b.parquet")
    for i, text in enumerate(_TEXTS[100:]):
        (path / f"{i:03d}.txt").write_text(text)
    return path


@pytest.fixture(scope="module")
def tiktoken_data_dir(inputs, tmp_path_factory) -> Path:
    """Tokens of a tokenizer.json like that of the tiktoken versions, under its name."""
    path = tmp_path_factory.mktemp("data")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS[:20], trainer)
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    name = "Llama-3-tokenizer.json"
    Path(vocabulary_path(path, name)).parent.mkdir(parents=True)
    tokenizer.save(str(vocabulary_path(path, name)))
    common = (f"{inputs}/*", f"--data_dir={path}", "--validation_share=0.1")
    built = _build("mine/tokens:1.0.0", *common, f"--vocabulary={name}", "--num_processes=0")
    assert sum(built["num_documents"].values()) == len(_TEXTS) == built["num_records"]
    return path


def test_files_of_three_formats_train_fuji_tiny(launch, tiktoken_data_dir, tmp_path):
    flags = [f"--data_dir={tiktoken_data_dir}", f"--run_dir={tmp_path}/run", "--config.max_step=2"]
    for where in ("input", "evalers.validation.input"):
        flags += [
            f"--config.{where}.source.dataset_name=mine/tokens:1.0.0",
            f"--config.{where}.source.text_key=tokens",
            f"--config.{where}.vocabulary.model_name=Llama-3-tokenizer.json",
        ]
    # Id 0 is text, as in tiktoken's vocabularies.
    result = launch(*SMALL[:-1], *flags, "--config.model.decoder.pad_token_id=-1")
    assert result.returncode == 0, result.stderr
    assert list(losses(tmp_path / "run")) == [1, 2]
    # The share of the one steady step in which the host waited for its batch.
    found = read_metrics(tmp_path / "run" / "metrics.jsonl").numbers
    waited, took = (found[key].values[1] for key in ("time/data_wait_seconds", "perf/step_seconds"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert waited > 0
    assert summary["data_wait_share"] == pytest.approx(waited / took)


def test_the_tiktoken_configs_read_such_a_file(tiktoken_data_dir):
    cfg = load_config("fuji-1B-v3-tiktoken").config
    cfg.model.decoder.transformer.num_layers = 1
    cfg.model.decoder.dim = 64
    cfg.evalers = {}
    cfg.mesh_shape.fsdp = 1
    cfg.input.set(max_sequence_length=64, global_batch_size=8)
    cfg.input.source.set(dataset_name="mine/tokens:1.0.0", text_key="tokens")
    trainer = cfg.instantiate()
    trainer.open_inputs(data_dir=str(tiktoken_data_dir))
    batch = next(trainer.input.iterator())
    text = trainer.input.vocabulary.decode(batch["targets"][0][batch["segment_ids"][0] == 1])
    assert any(text in each for each in _TEXTS)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stopped_build_goes_on_to_the_same_bytes(tmp_path, stop, code):
    with (tmp_path / "a.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": f"{i} {'word ' * 800}"}) + "\n" for i in range(5_000))

    def flags(data_dir: str) -> list[str]:
        return [
            "mine:1.0.0",
            f"{tmp_path}/a.jsonl",
            f"--data_dir={tmp_path}/{data_dir}",
            "--shard_mib=1",
        ]

    process = _start(*flags("stopped"))
    journal = tmp_path / "stopped" / "mine" / ".1.0.0.unfinished" / "build.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_text().count("\n") > 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(stop)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("The same command goes on" in out) == (stop == signal.SIGINT)
    stopped, whole = _build(*flags("stopped")), _build(*flags("whole"))
    assert stopped["num_documents"] == whole["num_documents"]
    names = sorted(path.name for path in Path(whole["path"]).iterdir())
    assert names == sorted(path.name for path in Path(stopped["path"]).iterdir())
    for name in names:
        assert Path(whole["path"], name).read_bytes() == Path(stopped["path"], name).read_bytes()
