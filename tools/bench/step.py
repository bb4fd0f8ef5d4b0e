"""The steady step time of the whole trainer beside the same step by hand, in one process.

The trainer runs as in a launch: its data pipeline, its loop, its records. Every few steps, in its
`on_step` callback, the other sides take their turn. What a turn disturbs (the step in flight before
it, the two after it) is left out on every side.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from axl_exp.config import config_for_function
from axl_exp.data import use_embedded_corpus
from axl_exp.resolve import resolve
from axl_exp.run.layout import RunDir
from axl_exp.train import clock
from axl_exp.train.devices import select_devices
from axl_exp.train.loop import StepReport
from axl_exp.train.policy import never_policy
from axl_exp.train.session import Display, run_session
from axl_exp.train.stop import stop_on_signals
from axl_exp.train.trainer import SpmdTrainer
from tools.bench import bare
from tools.bench.measure import Report, Side
from tools.bench.parity import bare_batch, bare_params, check_parity, sizes_of

CONFIG = "fuji-tiny"
GOAL_RATIO = 1.02
# Steps of a turn; the first DISTURBED are left out.
TURN_STEPS = 12
DISTURBED_STEPS = 2
PARITY_STEPS = 3


def measure_step(*, num_rounds: int) -> Report:
    """Return seconds per steady step of each side.

    Raises:
        ParityError: The bare step does not compute what the trainer does.
    """
    # The first turn has the cold caches.
    trainer = _make_trainer(max_step=(num_rounds + 1) * TURN_STEPS)
    sizes = sizes_of(trainer.config)
    compiled = trainer.compile()
    batches = _first_batches(trainer, count=TURN_STEPS)
    parity = check_parity(trainer, compiled, sizes, batches[:PARITY_STEPS])

    def by_hand() -> Callable[[], float]:
        state = bare.init_state(bare_params(trainer.init_state().params))
        return _turns(
            lambda state, batch: bare.train_step(sizes, state, batch),
            state,
            [bare_batch(batch) for batch in batches],
        )

    def without_loop() -> Callable[[], float]:
        put_and_step = lambda state, batch: compiled(state, trainer.put(batch))  # noqa: E731
        return _turns(put_and_step, trainer.init_state(), batches)

    sides = {
        "step by hand": by_hand(),
        "the same again: noise": by_hand(),
        "our step without the loop": without_loop(),
    }
    collector = _Collector(sides)
    _train(trainer, compiled, on_step=collector.on_step)
    return Report(
        title=f"{CONFIG}: seconds per steady step",
        sides=collector.finish(),
        goal=f"SpmdTrainer at most {GOAL_RATIO} x the step by hand",
        notes=(
            f"{sizes.batch} x {sizes.sequence} tokens, {sizes.num_layers} layers of dim "
            f"{sizes.dim}, vocabulary {sizes.vocab_size}, unroll {sizes.unroll}; "
            f"{jax.devices()[0].device_kind}, jax {jax.__version__}",
            f"{num_rounds} rounds of {TURN_STEPS - DISTURBED_STEPS} steps each",
            parity,
        ),
    )


def _make_trainer(*, max_step: int) -> SpmdTrainer:
    resolved = resolve(
        CONFIG, selector=select_devices("auto"), adapt=lambda cfg: _steady_only(cfg, max_step)
    )
    trainer: Any = resolved.config.instantiate()  # pyright: ignore
    trainer.open_inputs(data_dir=None)
    return trainer


def _steady_only(cfg: Any, max_step: int) -> Any:
    """Return `cfg` on the embedded corpus, without evaluations and checkpoints."""
    cfg = cfg.clone(max_step=max_step, evalers={})
    cfg.checkpointer.save_policy = config_for_function(never_policy)
    cfg.input = use_embedded_corpus(cfg.input)
    return cfg


def _first_batches(trainer: SpmdTrainer, *, count: int) -> list[Any]:
    assert trainer.input is not None  # Inputs are open.
    iterator = trainer.input.iterator()
    try:
        return list(itertools.islice(iterator, count))
    finally:
        iterator.close()


def _turns(
    step: Callable[[Any, Any], tuple[Any, Any]], state: Any, batches: Sequence[Any]
) -> Callable[[], float]:
    """Return a function that trains for a turn and returns the seconds per undisturbed step.

    As in the trainer, one step is always in flight while the one before is waited for.
    """
    cycle = itertools.cycle(batches)

    def turn() -> float:
        nonlocal state
        before, start = None, 0.0
        for index in range(TURN_STEPS):
            state, metrics = step(state, next(cycle))
            jax.block_until_ready(before)
            if index == DISTURBED_STEPS:
                start = time.perf_counter()
            before = metrics
        jax.block_until_ready(before)
        # Between the ends of steps DISTURBED_STEPS - 1 and TURN_STEPS - 1, from 0.
        return (time.perf_counter() - start) / (TURN_STEPS - DISTURBED_STEPS)

    return turn


@dataclasses.dataclass
class _Collector:
    """Gives each side its turn between the trainer's, and keeps what all of them took."""

    sides: dict[str, Callable[[], float]]

    def __post_init__(self):
        self._own: list[float] = []
        self._seconds: dict[str, list[float]] = {name: [] for name in (*self.sides, "SpmdTrainer")}

    def on_step(self, report: StepReport) -> None:
        self._own.append(report.record["perf/step_seconds"])
        if report.record["time/class"] not in (clock.STEADY, clock.COMPILE):
            raise AssertionError(f"step {report.step} is {report.record['time/class']}")
        if len(self._own) == TURN_STEPS:
            self._seconds["SpmdTrainer"].append(statistics.mean(self._own[DISTURBED_STEPS:]))
            self._own.clear()
            for name, turn in self.sides.items():
                self._seconds[name].append(turn())

    def finish(self) -> list[Side]:
        return [Side(name, tuple(seconds[1:])) for name, seconds in self._seconds.items()]


def _train(
    trainer: SpmdTrainer, compiled: jax.stages.Compiled, *, on_step: Callable[[StepReport], None]
) -> None:
    with tempfile.TemporaryDirectory() as directory, stop_on_signals() as stop:
        result = run_session(
            trainer,
            compiled=compiled,
            plan=trainer.plan().with_compiled(compiled),
            run_dir=RunDir(Path(directory)),
            env={"config": CONFIG},
            display=Display(say=lambda text: None, on_step=on_step),
            stop=stop,
            compile_seconds=0.0,
            started=time.perf_counter(),
        )
    if result.exit_code:  # The session took the signal for itself and ended in order.
        raise SystemExit(result.exit_code)
