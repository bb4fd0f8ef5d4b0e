"""Event files: every scalar of every step, held against another writer."""

from __future__ import annotations

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from axl_exp.compare.__main__ import main
from axl_exp.compare.logs.log import LogError
from axl_exp.compare.logs.tensorboard import event_files, read_events


def write(directory, *, num_steps=20_000):
    with SummaryWriter(str(directory)) as writer:
        for step in range(num_steps):
            writer.add_scalar("loss", 10 - step / 4096, step)
        writer.add_text("note", "no scalar", 0)


def test_every_step_is_read_and_none_sampled(tmp_path):
    write(tmp_path)
    loss = read_events(event_files(tmp_path), root=tmp_path).numbers["train/loss"]
    assert loss.steps.tolist() == list(range(20_000))
    assert np.array_equal(loss.values, np.float32(10 - np.arange(20_000) / 4096))


def test_a_torn_tail_is_told_and_the_rest_counts(tmp_path):
    write(tmp_path, num_steps=10)
    (path,) = event_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-150])
    metrics = read_events([path], root=tmp_path)
    assert 0 < len(metrics.numbers["train/loss"]) <= 10
    assert "torn or damaged" in metrics.problems[0].reason


def test_garbage_under_the_name_of_an_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(LogError, match="none of 1 event files holds a scalar"):
        read_events([path], root=tmp_path)


def test_a_directory_of_event_files_is_a_side(tmp_path, capsys):
    write(tmp_path / "a", num_steps=30)
    write(tmp_path / "b", num_steps=30)
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "identical to the bit at all 30 paired steps" in capsys.readouterr().out
