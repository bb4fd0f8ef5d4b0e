"""One launch of a run: claims its directory, resumes or begins, trains, and leaves a summary."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from axl_exp.data import DataIterator
from axl_exp.data.vocabulary_copy import keep_vocabulary
from axl_exp.run.environment import launch_facts, write_env
from axl_exp.run.files import RunFileError, read_json, write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import RESTART
from axl_exp.run.metrics_reader import read_metrics
from axl_exp.run.params import Params, write_params
from axl_exp.run.store import RunStore
from axl_exp.train.agree import from_first
from axl_exp.train.checkpointer import Restored
from axl_exp.train.devices import Devices
from axl_exp.train.history import StepHistory
from axl_exp.train.loop import StepReport, TrainLoop
from axl_exp.train.plan import Plan
from axl_exp.train.processes import is_first
from axl_exp.train.state import TrainState
from axl_exp.train.stop import StopRequest
from axl_exp.train.summary import (
    FAILED,
    FINISHED,
    SCHEMA,
    STOPPED,
    reset_peak_memory,
    summarise,
)
from axl_exp.train.summary_writer import Silence, SummaryWriter
from axl_exp.train.trainer import SpmdTrainer


@dataclasses.dataclass(frozen=True)
class Display:
    """Where a session tells a person what happens."""

    say: Callable[[str], None]
    on_step: Callable[[StepReport], None]


@dataclasses.dataclass(frozen=True)
class SessionResult:
    """How a session ended.

    Attributes:
        summary: What summary.json holds.
        exit_code: 0, or 128 + the signal that stopped it.
    """

    summary: dict[str, Any]
    exit_code: int


def run_session(
    trainer: SpmdTrainer,
    *,
    compiled: jax.stages.Compiled,
    plan: Plan,
    run_dir: RunDir,
    env: Mapping[str, Any],
    display: Display,
    stop: StopRequest,
    compile_seconds: float,
    started: float,
    dry_run: Mapping[str, Any] | None = None,
) -> SessionResult:
    """Train `trainer`, whose inputs are open, in `run_dir`, which is claimed for its config.

    Resumes from the newest whole checkpoint where there is one. summary.json tells of the run up to
    the end of the newest launch that had steps to train: every way of ending leaves one, except
    being killed. Of several processes each calls this, and the first one writes.

    Args:
        env: Facts of the run for env.json: config name, mesh, overrides, data, seed.
        stop: Set by whoever wants it to end early.
        compile_seconds: What compiling took.
        started: `time.perf_counter()` when the process began its work.
        dry_run: What was predicted: `memory_bytes` of a device, `step_seconds` where it is known.
    """
    cfg = trainer.config
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.held())
        checkpointer = cfg.checkpointer.instantiate(directory=run_dir.checkpoints)
        stack.callback(checkpointer.close)
        restored = checkpointer.restore(trainer.abstract_state, say=display.say)
        first_step = 1 if restored is None else restored.step + 1
        earlier = from_first("summary", _summary(run_dir))
        is_done = first_step > cfg.max_step and earlier.get("status") == FINISHED
        history = _history(run_dir, before_step=first_step)
        writer = _open_writer(
            trainer, run_dir, env=env, plan=plan, first_step=first_step, say=display.say
        )
        stack.callback(writer.close)
        batches = trainer.input.iterator()  # pyright: ignore  (inputs are open)
        stack.callback(batches.close)
        state = _begin(trainer, restored, batches=batches, say=display.say)
        tracer = cfg.tracer.instantiate(directory=run_dir.tensorboard)
        loop = TrainLoop(
            trainer,
            compiled=compiled,
            plan=plan,
            batches=batches,
            checkpointer=checkpointer,
            writer=writer,
            tracer=tracer,
            stop=stop,
            on_step=display.on_step,
            say=display.say,
        )
        startup_seconds = time.perf_counter() - started - compile_seconds
        del restored  # or its arrays would live through the whole run beside the donated state
        reset_peak_memory()
        if is_done:
            display.say(f"nothing left to train: the run finished after step {cfg.max_step}")
            return SessionResult(earlier, exit_code=0)
        with _summary_if_it_fails(run_dir):
            result = loop.run(state, history=history, first_step=first_step)
        status = STOPPED if stop and result.step < cfg.max_step else FINISHED
        before = {"startup": startup_seconds, "compile": compile_seconds}
        facts = {"trainer": trainer, "plan": plan, "status": status, "dry_run": dry_run}
        summary = summarise(result, **facts, before=before, earlier=earlier)
        _leave(run_dir, summary)
    return SessionResult(summary, exit_code=stop.exit_code if status == STOPPED else 0)


def _leave(run_dir: RunDir, summary: Mapping[str, Any]) -> None:
    if is_first():
        write_json(run_dir.summary, summary)
        RunStore().record(run_dir)


def _open_writer(
    trainer: SpmdTrainer,
    run_dir: RunDir,
    *,
    env: Mapping[str, Any],
    plan: Plan,
    first_step: int,
    say: Callable[[str], None],
) -> SummaryWriter | Silence:
    """Open what the run is recorded in, and record this launch."""
    if not is_first():
        return Silence()
    continues = run_dir.metrics.exists()
    if first_step > 1 and not continues:
        say(f"{run_dir.metrics} is gone: the records up to here are lost")
    writer = trainer.config.summary_writer.instantiate(
        run_dir=run_dir,
        header={"config": env["config"], "tokens_per_step": plan.tokens_per_step},
        first_step=first_step,
    )
    _record_launch(run_dir, trainer, env=env, plan=plan)
    if continues:  # records of steps that are trained again become void
        writer.event(RESTART, step=first_step - 1)
    return writer


def _history(run_dir: RunDir, *, before_step: int) -> StepHistory:
    """Return the steps that earlier launches trained and this one does not train again."""
    history = StepHistory()
    if is_first() and before_step > 1 and run_dir.metrics.exists():
        history.add_records(read_metrics(run_dir.metrics), before_step=before_step)
    return history


def _record_launch(
    run_dir: RunDir, trainer: SpmdTrainer, *, env: Mapping[str, Any], plan: Plan
) -> None:
    """Keep the vocabulary, write env.json and params.txt, and enter the run in the store.

    Once metrics.jsonl is there: by it, git's untracked files of this run are known as such.
    """
    facts = {
        **env,
        "flop_formula": plan.flop_formula,
        "tokens_per_step": plan.tokens_per_step,
        "attention_backend": plan.attention.name,
    }
    vocabulary = trainer.input.vocabulary  # pyright: ignore  (inputs are open)
    keep_vocabulary(vocabulary, data_dir=run_dir.data)
    launch = launch_facts(hardware=hardware_facts(trainer.devices))
    write_env(run_dir, launch=launch, facts=facts)
    write_params(run_dir.params, _param_facts(trainer))
    RunStore().record(run_dir)


def _param_facts(trainer: SpmdTrainer) -> Params:
    """Return shape, logical axes and sharding of every parameter, as text."""
    logical_axes, facts = trainer.model.logical_axes, {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(trainer.abstract_state.params):
        path = "/".join(str(key.key) for key in keys)
        sharding = [*leaf.sharding.spec, *[None] * leaf.ndim][: leaf.ndim]
        facts[path] = {
            "shape": f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]",
            "logical": f"({', '.join(logical_axes[path])})",
            "physical": f"({', '.join(map(str, sharding))})",
        }
    return facts


def _begin(
    trainer: SpmdTrainer,
    restored: Restored | None,
    *,
    batches: DataIterator,
    say: Callable[[str], None],
) -> TrainState:
    """Return the state to train from, with the data at its place."""
    if restored is not None:
        batches.set_state(restored.data_state)
        say(f"resuming after step {restored.step}")
    elif trainer.config.init_from is not None:
        say(f"beginning with the parameters of {trainer.config.init_from}")
    state = trainer.init_state() if restored is None else restored.state
    # Waited for, so that drawing the parameters is no part of the first step.
    return jax.block_until_ready(state)


def hardware_facts(devices: Devices) -> dict[str, Any]:
    """Return what jax knows of the hardware, for env.json."""
    return {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "process_count": jax.process_count(),
        "process_index": jax.process_index(),
    }


def _summary(run_dir: RunDir) -> dict[str, Any]:
    """Return how the run stood when the launch before ended; {} if nothing good tells."""
    try:
        summary = read_json(run_dir.summary)
    except RunFileError:
        return {}
    return summary if summary.get("schema") == SCHEMA else {}


@contextlib.contextmanager
def _summary_if_it_fails(run_dir: RunDir) -> Iterator[None]:
    """Leave a summary that names the error if the block raises one, else none."""
    if is_first():
        run_dir.summary.unlink(missing_ok=True)  # it told how an earlier launch ended
    try:
        yield
    except BaseException as error:
        if not is_first():
            raise
        reason = f"{type(error).__name__}: {error}"
        with contextlib.suppress(RunFileError):  # a full disk, say, must not hide the error
            write_json(run_dir.summary, {"schema": SCHEMA, "status": FAILED, "error": reason})
        RunStore().record(run_dir)
        raise
