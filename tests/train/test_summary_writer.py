"""TensorBoard can read what a run writes, and forgets what a restart makes void."""

import errno
import subprocess
import sys

from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore (made at run time)

from axl_exp.run.event_file import EventWriter
from axl_exp.run.layout import RunDir
from axl_exp.train.summary_writer import SummaryWriter
from tests.run.test_event_file import events_in


def _write(run_dir: RunDir, *, first_step: int, last_step: int) -> None:
    cfg = SummaryWriter.default_config().set(write_every_n_steps=2)
    writer = cfg.instantiate(run_dir=run_dir, header={}, first_step=first_step)
    for step in range(first_step, last_step + 1):
        writer.write(step, {"train/loss": 1.0 / step, "time/class": "steady"})
    writer.close()


def test_every_nth_step_is_a_scalar(tmp_path):
    _write(RunDir(tmp_path), first_step=1, last_step=5)
    values = [
        (e.step, v.tag, v.simple_value)
        for e in events_in(RunDir(tmp_path).tensorboard)
        for v in e.summary.value
    ]
    assert values == [(2, "train/loss", 0.5), (4, "train/loss", 0.25)]


def test_after_a_restart_the_steps_that_are_trained_again_are_purged(tmp_path):
    _write(RunDir(tmp_path), first_step=1, last_step=8)
    _write(RunDir(tmp_path), first_step=5, last_step=6)
    starts = [
        e.step
        for e in events_in(RunDir(tmp_path).tensorboard)
        if e.session_log.status == SessionLog.START
    ]
    assert starts == [1, 5]


def test_a_run_goes_on_when_the_disk_takes_no_events(tmp_path, monkeypatch, caplog):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    cfg = SummaryWriter.default_config().set(write_every_n_steps=1, max_queue=0)
    writer = cfg.instantiate(run_dir=RunDir(tmp_path), header={}, first_step=1)
    monkeypatch.setattr(EventWriter, "flush", full)
    writer.write(1, {"train/loss": 1.0})
    writer.close()
    assert caplog.messages == ["TensorBoard events are lost: No space left on device"] * 2
    assert '"train/loss": 1.0' in RunDir(tmp_path).metrics.read_text()


def test_a_launch_does_not_load_torch():
    code = "import sys, axl_exp.launch.launching; print({'torch', 'tensorboardX'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
