"""Profiler traces of chosen steps on chosen processes, into the run's TensorBoard directory."""

from collections.abc import Sequence
from pathlib import Path

import jax

from axl_exp.config import Configurable, config_class


class Tracer(Configurable):
    """Starts and stops `jax.profiler` traces as the steps go by."""

    @config_class
    class Config(Configurable.Config):
        # A trace starts before each of these steps.
        start_trace_steps: Sequence[int] = ()
        # How many steps a trace covers.
        num_trace_steps: int = 3
        # The processes that trace.
        start_trace_process_indices: Sequence[int] = (0,)

    def __init__(self, cfg: Config, *, directory: Path):
        super().__init__(cfg)
        traces_here = jax.process_index() in cfg.start_trace_process_indices
        self._starts = set(cfg.start_trace_steps) if traces_here else set()
        self._num_steps = cfg.num_trace_steps
        self._directory = directory
        self._last_step: int | None = None

    @property
    def is_tracing(self) -> bool:
        """Whether a trace is being recorded."""
        return self._last_step is not None

    def is_due(self, step: int) -> bool:
        """Whether a trace starts before `step`."""
        return step in self._starts and not self.is_tracing

    def before_step(self, step: int) -> None:
        """Start a trace if one is due."""
        if self.is_due(step):
            jax.profiler.start_trace(str(self._directory))
            self._last_step = step + self._num_steps - 1

    def after_step(self, step: int) -> None:
        """Write the trace out if `step` was its last."""
        if self._last_step is not None and step >= self._last_step:
            self.close()

    def close(self) -> None:
        """Write out a trace that is still being recorded."""
        if self.is_tracing:
            jax.profiler.stop_trace()
            self._last_step = None
