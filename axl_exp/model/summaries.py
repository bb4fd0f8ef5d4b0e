"""Figures that layers tell of themselves while a step is traced, such as a share of dead neurons.

Whoever wants them opens `collect_summaries` around the forward pass and returns them with its
result. Outside of it nothing is computed.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

# By name; those of layers in a stack are arrays [layers], with a `*` for the layer in their name.
Summaries = dict[str, jax.Array]

_collected: contextvars.ContextVar[Summaries | None] = contextvars.ContextVar(
    "collected", default=None
)


@contextlib.contextmanager
def collect_summaries() -> Iterator[Summaries]:
    """Give the dict that fills with what is recorded while this context lasts.

    A function that is traced by itself, such as the body of a scan, opens one of its own and
    returns the dict, since values may leave it in no other way.
    """
    summaries: Summaries = {}
    token = _collected.set(summaries)
    try:
        yield summaries
    finally:
        _collected.reset(token)


def is_collecting() -> bool:
    """Return whether a summary that is recorded now reaches anyone."""
    return _collected.get() is not None


def record_summary(name: str, value: jax.Array) -> None:
    """Add `value` to those collected, if any are; no gradient flows through it.

    Raises:
        ValueError: The name is taken: one of the two would be lost.
    """
    collected = _collected.get()
    if collected is None:
        return
    if name in collected:
        raise ValueError(f"summary {name!r} is recorded twice in one forward pass")
    collected[name] = jax.lax.stop_gradient(value)
