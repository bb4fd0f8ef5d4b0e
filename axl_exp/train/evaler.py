"""Evaluation on held-out text: a weighted mean over every target, exact whatever the batching."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from axl_exp.config import (
    REQUIRED,
    Configurable,
    InstantiableConfig,
    Required,
    config_class,
    config_for_function,
)
from axl_exp.data import Input
from axl_exp.errors import UserError
from axl_exp.train.policy import every_n_steps_and_last_policy
from axl_exp.train.state import PureModel
from axl_exp.train.step import Batch, cast_floats


class Evaler(Configurable):
    """Evaluates the parameters on one input."""

    @config_class
    class Config(Configurable.Config):
        # Held-out text.
        input: Required[Input.Config] = REQUIRED
        # When to evaluate.
        eval_policy: InstantiableConfig = config_for_function(every_n_steps_and_last_policy).set(
            n=5000
        )
        # Dtype of the forward pass; None means the trainer's train_dtype.
        eval_dtype: jnp.dtype | None = None

    def __init__(self, cfg: Config, *, name: str, model: PureModel, input: Input, train_dtype: Any):
        """Args:
        name: Metrics are called `eval/<name>/...`.
        input: Already opened, with this process's share of the batches.
        """
        super().__init__(cfg)
        self.name = name
        self.input = input
        self._policy = cfg.eval_policy.instantiate()
        dtype = train_dtype if cfg.eval_dtype is None else cfg.eval_dtype

        def sums(params: Any, batch: Batch, totals: dict[str, jax.Array]) -> dict[str, jax.Array]:
            aux = model.bind(cast_floats(params, dtype)).loss(batch).aux
            return {name: totals[name] + getattr(aux, name) for name in totals}

        self._sums = jax.jit(sums, donate_argnums=2)

    def should_eval(self, step: int, *, max_step: int) -> bool:
        """Whether the policy asks for an evaluation after `step`."""
        return self._policy(step, max_step)

    def evaluate(self, params: Any, *, put: Callable[[Any], Batch]) -> dict[str, float]:
        """Return `loss` (nats per target), `perplexity`, `bits_per_byte` and `num_targets`.

        `put` lays a host batch on the devices. Bits per byte compares models of different
        vocabularies: all nats over all UTF-8 bytes of the text, over ln 2.

        Raises:
            UserError: The input gave no target at all.
        """
        totals = {name: jnp.zeros((), dtype) for name, dtype in _SUMS.items()}
        host = dict.fromkeys(_SUMS, 0.0)
        batches = self.input.iterator()
        pending = 0
        for batch in batches:
            totals = self._sums(params, put(batch), totals)
            pending += 1
            # The device sums in 32 bits: fold into the host's 64 before counts could overflow, and
            # rarely enough not to stall.
            if pending == _BATCHES_PER_FOLD:
                host, totals, pending = _fold(host, totals), _zeros(totals), 0
        host = _fold(host, totals)
        batches.close()
        if host["num_targets"] == 0:
            raise UserError(
                f"evalers[{self.name!r}].input has no target: its split is empty or shorter than a "
                "token. Name another split."
            )
        loss = host["loss_sum"] / host["num_targets"]
        metrics = {
            "loss": loss,
            "perplexity": perplexity(loss),
            "num_targets": int(host["num_targets"]),
        }
        if host["target_bytes"]:
            metrics["bits_per_byte"] = host["loss_sum"] / math.log(2) / host["target_bytes"]
        return metrics


def perplexity(loss: float) -> float:
    """Return exp(loss): infinite where a float cannot hold it, NaN for NaN."""
    return math.inf if loss > 700 else math.exp(loss)


_SUMS = {"loss_sum": jnp.float32, "num_targets": jnp.int32, "target_bytes": jnp.int32}
_BATCHES_PER_FOLD = 8


def _zeros(totals: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(jnp.zeros_like, totals)


def _fold(host: dict[str, float], totals: dict[str, jax.Array]) -> dict[str, float]:
    return {name: host[name] + float(totals[name]) for name in host}
