"""One launch of a run: claims its directory, resumes or begins, trains, and leaves a summary."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from axl_exp.data import DataIterator
from axl_exp.run.environment import launch_facts, write_env
from axl_exp.run.files import write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import RESTART
from axl_exp.run.store import RunStore
from axl_exp.train.checkpointer import Restored
from axl_exp.train.devices import Devices
from axl_exp.train.loop import StepReport, TrainLoop
from axl_exp.train.plan import Plan
from axl_exp.train.state import TrainState
from axl_exp.train.stop import stop_on_signals
from axl_exp.train.summary import (
    FAILED,
    FINISHED,
    SCHEMA,
    STOPPED,
    reset_peak_memory,
    summarise,
)
from axl_exp.train.summary_writer import SummaryWriter
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
    compile_seconds: float,
    started: float,
) -> SessionResult:
    """Train `trainer`, whose inputs are open, in `run_dir`, which is claimed for its config.

    Resumes from the newest whole checkpoint where there is one. Every way of ending leaves a
    summary with its status and an entry in the run store.

    Args:
        env: Facts of the run for env.json: config name, mesh, overrides, data, seed.
        compile_seconds: What compiling took.
        started: `time.perf_counter()` when the process began its work.
    """
    facts = {**env, "flop_formula": plan.flop_formula, "tokens_per_step": plan.tokens_per_step}
    launch = launch_facts(hardware=hardware_facts(trainer.devices))
    write_env(run_dir, launch=launch, facts=facts)
    run_dir.summary.unlink(missing_ok=True)  # it told how an earlier launch ended
    RunStore().record(run_dir)
    cfg = trainer.config
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        checkpointer = cfg.checkpointer.instantiate(directory=run_dir.checkpoints)
        stack.callback(checkpointer.close)
        restored = checkpointer.restore(trainer.abstract_state, say=display.say)
        header = {"config": env["config"], "tokens_per_step": plan.tokens_per_step}
        continues = run_dir.metrics.exists()
        writer = cfg.summary_writer.instantiate(run_dir=run_dir, header=header)
        stack.callback(writer.close)
        batches = trainer.input.iterator()  # pyright: ignore  (inputs are open)
        stack.callback(batches.close)
        state, first_step = _begin(
            trainer,
            restored,
            batches=batches,
            writer=writer if continues else None,
            say=display.say,
        )
        loop = TrainLoop(
            trainer,
            compiled=compiled,
            plan=plan,
            batches=batches,
            checkpointer=checkpointer,
            writer=writer,
            tracer=cfg.tracer.instantiate(directory=run_dir.tensorboard),
            stop=stop,
            on_step=display.on_step,
            say=display.say,
        )
        startup_seconds = time.perf_counter() - started - compile_seconds
        del restored  # or its arrays would live through the whole run beside the donated state
        reset_peak_memory()
        with _failure_summary(run_dir):
            result = loop.run(state, first_step=first_step, resumed=first_step > 1)
    status = STOPPED if stop and result.step < cfg.max_step else FINISHED
    seconds = {"startup": startup_seconds, "compile": compile_seconds}
    summary = summarise(result, trainer=trainer, plan=plan, status=status, seconds=seconds)
    write_json(run_dir.summary, summary)
    RunStore().record(run_dir)
    return SessionResult(summary, exit_code=stop.exit_code if status == STOPPED else 0)


def _begin(
    trainer: SpmdTrainer,
    restored: Restored | None,
    *,
    batches: DataIterator,
    writer: SummaryWriter | None,
    say: Callable[[str], None],
) -> tuple[TrainState, int]:
    """Return the state to train from and the first step, with the data at its place.

    `writer` is given where records of an earlier launch exist: those of steps that are trained
    again become void.
    """
    first_step = 1
    if restored is not None:
        first_step = restored.step + 1
        batches.set_state(restored.data_state)
        say(f"resuming after step {restored.step}")
    if writer is not None:
        writer.event(RESTART, step=first_step - 1)
    state = trainer.init_state() if restored is None else restored.state
    # Waited for, so that drawing the parameters is no part of the first step.
    return jax.block_until_ready(state), first_step


def hardware_facts(devices: Devices) -> dict[str, Any]:
    """Return what jax knows of the hardware, for env.json."""
    return {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "process_count": jax.process_count(),
        "process_index": jax.process_index(),
    }


@contextlib.contextmanager
def _failure_summary(run_dir: RunDir) -> Iterator[None]:
    """Leave a summary that names the error if the block raises one."""
    try:
        yield
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        write_json(run_dir.summary, {"schema": SCHEMA, "status": FAILED, "error": reason})
        RunStore().record(run_dir)
        raise
