"""Honest step time: when the device finished, not when the host dispatched.

One step is always queued on the device while the host waits for the one before, so waiting stalls
nothing, and the time between two completions is the time of a step. Whatever else the loop does
(evaluation, the blocking part of a checkpoint) is booked apart and never lands in a step.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

# What else went on while a step ran. Only steady steps make the headline.
COMPILE = "compile"  # the first step of a process: caches are cold
RESTART = "restart"  # the first step after a resume
STEADY = "steady"
CHECKPOINT = "checkpoint"  # a checkpoint was written in the background
EVAL = "eval"  # the queue was empty after an evaluation
PROFILE = "profile"  # a trace was recorded


@dataclasses.dataclass
class StepClock:
    """Books the wall time of a training loop: every second belongs to one thing.

    Attributes:
        seconds: Total per bucket: "steps", and whatever `book` was called with.
    """

    now: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self._mark = self.now()

    def step_finished(self) -> float:
        """Return the seconds since the last booking, and book them to "steps"."""
        return self._book("steps")

    @contextlib.contextmanager
    def book(self, bucket: str) -> Iterator[Callable[[], float]]:
        """Book the block to `bucket`; yields a function that gives its seconds so far.

        Time between the last booking and the block is booked to "host".
        """
        self._book("host")
        start = self._mark
        try:
            yield lambda: self.now() - start
        finally:
            self._book(bucket)

    def _book(self, bucket: str) -> float:
        now = self.now()
        spent, self._mark = now - self._mark, now
        self.seconds[bucket] = self.seconds.get(bucket, 0.0) + spent
        return spent
