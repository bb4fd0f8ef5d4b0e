"""TensorBoard can read what a run writes, and forgets what a restart makes void."""

import os
import struct
import subprocess
import sys
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore (made at run time)

from axl_exp.run.layout import RunDir
from axl_exp.train.summary_writer import SummaryWriter


def _events(run_dir: RunDir) -> list[Event]:
    """Return all events, as TFRecord frames them: length, its checksum, the bytes, theirs."""
    events = []
    files = sorted(run_dir.tensorboard.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    for path in files:
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def _write(run_dir: RunDir, *, first_step: int, last_step: int) -> None:
    cfg = SummaryWriter.default_config().set(write_every_n_steps=2)
    writer = cfg.instantiate(run_dir=run_dir, header={}, first_step=first_step)
    for step in range(first_step, last_step + 1):
        writer.write(step, {"train/loss": 1.0 / step, "time/class": "steady"})
    writer.close()


def test_every_nth_step_is_a_scalar(tmp_path):
    _write(RunDir(tmp_path), first_step=1, last_step=5)
    values = [
        (e.step, v.tag, v.simple_value) for e in _events(RunDir(tmp_path)) for v in e.summary.value
    ]
    assert values == [(2, "train/loss", 0.5), (4, "train/loss", 0.25)]


def test_after_a_restart_the_steps_that_are_trained_again_are_purged(tmp_path):
    _write(RunDir(tmp_path), first_step=1, last_step=8)
    (earlier,) = RunDir(tmp_path).tensorboard.iterdir()
    earlier.rename(f"{earlier}.earlier")  # files are named by the second
    _write(RunDir(tmp_path), first_step=5, last_step=6)
    starts = [e.step for e in _events(RunDir(tmp_path)) if e.session_log.status == SessionLog.START]
    assert starts == [1, 5]


def test_events_are_written_without_torch_where_it_is_installed(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    program = "import axl_exp.train.event_writer, sys; print('torch' in sys.modules)"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False", done.stderr
