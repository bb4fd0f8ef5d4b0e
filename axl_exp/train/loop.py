"""The training loop: one step ahead of the device, and every second accounted for."""

import collections
import contextlib
import dataclasses
import faulthandler
import math
import time
from collections.abc import Callable
from typing import Any

import jax

from axl_exp.data import join_states
from axl_exp.errors import UserError
from axl_exp.train import clock as classes
from axl_exp.train.agree import exchange_json, should_stop
from axl_exp.train.checkpointer import Checkpointer
from axl_exp.train.clock import StepClock
from axl_exp.train.history import StepHistory
from axl_exp.train.plan import Plan
from axl_exp.train.state import TrainState, all_finite
from axl_exp.train.step import scalar_metrics
from axl_exp.train.stop import StopRequest
from axl_exp.train.summary_writer import Silence, SummaryWriter
from axl_exp.train.trace import Tracer
from axl_exp.train.trainer import SpmdTrainer

_AFTER_DIVERGENCE = (
    "Launch with a lower learning rate in another --run_dir, or go on regardless with "
    "--config.stop_on_nonfinite_loss=false."
)


class NonFiniteLossError(UserError):
    """Training diverged."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class StepReport:
    """What a progress display may show of one finished step."""

    step: int
    record: dict[str, Any]


@dataclasses.dataclass
class LoopResult:
    """How the loop ended.

    Attributes:
        first_step: The first step of this launch.
        step: The last step that was trained.
        history: Every step of the run.
        evals: The newest metrics of each evaluation.
        seconds: Wall time per bucket: steps, checkpoint, eval, profile, host.
        saved_step: The newest checkpoint, None if there is none.
    """

    first_step: int
    step: int
    history: StepHistory
    evals: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    saved_step: int | None = None


@dataclasses.dataclass(frozen=True)
class _Dispatched:
    step: int
    metrics: dict[str, jax.Array]
    data_wait_seconds: float
    step_class: str


class TrainLoop:
    """Trains from a state to `max_step`, or until a signal asks to stop."""

    def __init__(
        self,
        trainer: SpmdTrainer,
        *,
        compiled: jax.stages.Compiled,
        plan: Plan,
        batches: Any,
        checkpointer: Checkpointer,
        writer: SummaryWriter | Silence,
        tracer: Tracer,
        stop: StopRequest,
        on_step: Callable[[StepReport], None],
        say: Callable[[str], None],
    ):
        self._trainer, self._compiled, self._plan = trainer, compiled, plan
        self._batches, self._checkpointer, self._writer = batches, checkpointer, writer
        self._tracer, self._stop, self._on_step, self._say = tracer, stop, on_step, say
        self._cfg = trainer.config
        self._queue: collections.deque[_Dispatched] = collections.deque()
        self._clock = StepClock()

    def run(self, state: TrainState, *, history: StepHistory, first_step: int) -> LoopResult:
        """Train and return how it ended; the result's step is `first_step - 1` if none was left.

        `history` has the steps before the first, as far as they are known; these are added.
        """
        resumed = first_step > 1
        saved_step = first_step - 1 if resumed else None
        result = LoopResult(first_step, first_step - 1, history, saved_step=saved_step)
        next_class = classes.RESTART if resumed else classes.COMPILE
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.set_mesh(self._trainer.mesh))
            stack.callback(self._tracer.close)
            for step in range(first_step, self._cfg.max_step + 1):
                if self._tracer.is_due(step):
                    self._finish(result, keep_in_flight=0)  # or starting it counts as their time
                    with self._clock.book("profile"):
                        self._tracer.before_step(step)
                state = self._dispatch(step, state, next_class)
                next_class = classes.STEADY
                self._finish(result, keep_in_flight=1)
                if self._is_due(step):
                    self._finish(result, keep_in_flight=0)
                    next_class = self._pause(step, state, result)
                self._confirm_saves()
                if should_stop(self._stop, after_step=step):
                    break
            self._finish(result, keep_in_flight=0)
            if self._stop and result.step < self._cfg.max_step:
                self._save(result.step, state, result)
        with self._clock.book("checkpoint"):
            self._checkpointer.wait()
        result.seconds = dict(self._clock.seconds)
        return result

    # -- steps --------------------------------------------------------------------------------

    def _dispatch(self, step: int, state: TrainState, step_class: str) -> TrainState:
        start = time.perf_counter()
        batch = self._trainer.put(next(self._batches))
        waited = time.perf_counter() - start
        if self._tracer.is_tracing:
            step_class = classes.PROFILE
        elif step_class == classes.STEADY and self._checkpointer.is_saving():
            step_class = classes.CHECKPOINT
        state, metrics = self._compiled(state, batch)
        self._queue.append(_Dispatched(step, metrics, waited, step_class))
        return state

    def _finish(self, result: LoopResult, *, keep_in_flight: int) -> None:
        """Wait for dispatched steps, oldest first, and record them."""
        while len(self._queue) > keep_in_flight:
            done = self._queue.popleft()
            values = self._wait_for(done)
            record = self._record(done, values, self._clock.step_finished())
            self._writer.write(done.step, record)
            result.step = done.step
            result.history.add(done.step, record)
            self._tracer.after_step(done.step)
            self._on_step(StepReport(done.step, record))
            if self._cfg.stop_on_nonfinite_loss and not math.isfinite(values["loss"]):
                raise NonFiniteLossError(
                    f"Training diverged: the loss of step {done.step} is {values['loss']}. "
                    f"{_AFTER_DIVERGENCE}"
                )

    def _wait_for(self, done: _Dispatched) -> dict[str, float]:
        """Return the step's metrics once the device has them; the watchdog runs meanwhile."""
        timeout = self._cfg.watchdog_timeout_seconds
        if timeout is None:
            return jax.device_get(done.metrics)
        faulthandler.dump_traceback_later(timeout, exit=True)
        try:
            return jax.device_get(done.metrics)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _record(self, done: _Dispatched, values: Any, seconds: float) -> dict[str, Any]:
        plan = self._plan
        record = {f"train/{name}": value for name, value in scalar_metrics(values).items()}
        flops = plan.flops_per_token.causal * plan.tokens_per_step / plan.num_devices / seconds
        record |= {
            "perf/step_seconds": seconds,
            "perf/tokens_per_second": plan.tokens_per_step / seconds,
            "perf/tflops_per_device": flops / 1e12,
            "time/class": done.step_class,
            "time/data_wait_seconds": done.data_wait_seconds,
        }
        if self._trainer.peak_flops_per_second is not None:
            record["perf/mfu"] = flops / self._trainer.peak_flops_per_second
        return record

    # -- between steps ------------------------------------------------------------------------

    def _is_due(self, step: int) -> bool:
        max_step = self._cfg.max_step
        evals = (e.should_eval(step, max_step=max_step) for e in self._trainer.evalers.values())
        return any(evals) or self._checkpointer.should_save(step, max_step=max_step)

    def _pause(self, step: int, state: TrainState, result: LoopResult) -> str:
        """Evaluate and save whatever is due after `step`; returns the class of the next step."""
        max_step = self._cfg.max_step
        next_class = classes.STEADY
        for name, evaler in self._trainer.evalers.items():
            if evaler.should_eval(step, max_step=max_step):
                with self._clock.book("eval") as so_far:
                    params = self._trainer.learner.eval_params(state.opt_state, state.params)
                    metrics = evaler.evaluate(params, put=self._trainer.put)
                    metrics["seconds"] = so_far()
                record = {f"eval/{name}/{key}": value for key, value in metrics.items()}
                self._writer.write(step, record, rare=True)
                result.evals[name] = metrics
                self._say(
                    f"eval {name} at step {step}: loss {metrics['loss']:.4f}, perplexity "
                    f"{metrics['perplexity']:.2f}, bits per byte {metrics['bits_per_byte']:.4f}"
                )
                next_class = classes.EVAL
        # Saving last: a resume from this checkpoint finds the evaluation of its step done.
        if self._checkpointer.should_save(step, max_step=max_step):
            self._save(step, state, result)
            next_class = classes.CHECKPOINT
        return next_class

    def _save(self, step: int, state: TrainState, result: LoopResult) -> None:
        """Start a save of `step`, unless it is saved already or checkpoints are off."""
        if not self._checkpointer.is_on or result.saved_step == step:
            return
        if self._cfg.stop_on_nonfinite_loss and not all_finite(state.params):
            raise NonFiniteLossError(
                f"Training diverged: after step {step} parameters are NaN or infinite, and nothing "
                f"was saved of it. {_AFTER_DIVERGENCE}"
            )
        self._writer.sync()  # a resume from this checkpoint must find the records before it
        with self._clock.book("checkpoint") as so_far:
            data_state = join_states(exchange_json("data", self._batches.get_state()))
            self._checkpointer.save(step, state=state, data_state=data_state)
            seconds = so_far()
        result.saved_step = step
        self._writer.event("checkpoint", step=step, blocking_seconds=seconds)

    def _confirm_saves(self) -> None:
        for step in self._checkpointer.confirm():
            self._say(f"checkpoint saved at step {step}")
