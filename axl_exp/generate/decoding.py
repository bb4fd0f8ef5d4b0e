"""Two compiled programs: one takes the prompts in, one goes on with them.

B rows, S padded length of the prompts, T positions in all, V vocabulary.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from axl_exp.generate.placement import num_row_shards
from axl_exp.generate.sampling import Sampling, next_tokens
from axl_exp.model.kv_cache import KVCache
from axl_exp.model.sharding import axis_rules
from axl_exp.train.state import Params, PureModel


class Decoding(NamedTuple):
    """Rows of different lengths on their way.

    Attributes:
        tokens: int32 [B, T]; each row's tokens from its first slot on.
        lengths: int32 [B]; how many they are.
        is_done: [B]; whether a row has come to its end.
        cache: Of all tokens but each row's last.
    """

    tokens: jax.Array
    lengths: jax.Array
    is_done: jax.Array
    cache: KVCache


class Decoder:
    """Goes on with a batch of prompts; every size is compiled once."""

    def __init__(self, model: PureModel, *, mesh: Mesh, sampling: Sampling, eos_id: int):
        """Args:
        mesh: Of the devices; parameters and cache lie on it as the model's axis rules say.
        eos_id: The token that ends a row; it is kept as the row's last.
        """
        self._model = model
        self._mesh = mesh
        self._sampling = sampling
        self._eos_id = eos_id
        self._prefill = jax.jit(self._take_in, static_argnames="num_positions")
        self._decode = jax.jit(self._go_on, donate_argnums=1)

    def start(
        self, params: Params, prompts: Sequence[Sequence[int]], limits: Sequence[int]
    ) -> Decoding:
        """Return the rows after their first new token, and maybe rows without a prompt behind them.

        Args:
            params: The parameters, in the dtype to compute in.
            prompts: Token ids of each row, one at least.
            limits: How long each row may become, its prompt included, and more than that.
        """
        width = _rounded_up(max(map(len, prompts)), 16)
        num_positions = _rounded_up(max(width, *limits), 64)
        num_rows = _rounded_up(len(prompts), num_row_shards(self._model, self._mesh))
        tokens_BS = np.zeros((num_rows, width), np.int32)
        lengths_B = np.ones(num_rows, np.int32)
        for i, prompt in enumerate(prompts):
            tokens_BS[i, : len(prompt)] = prompt
            lengths_B[i] = len(prompt)
        limits_B = self._limits(limits)
        with jax.set_mesh(self._mesh):
            return self._prefill(
                params, tokens_BS, lengths_B, limits_B, num_positions=num_positions
            )

    def go_on(
        self, params: Params, rows: Decoding, limits: Sequence[int], *, num_steps: int
    ) -> Decoding:
        """Return the rows after at most `num_steps` more tokens; `rows` is used up."""
        with jax.set_mesh(self._mesh):
            return self._decode(params, rows, self._limits(limits), num_steps)

    def _limits(self, limits: Sequence[int]) -> np.ndarray:
        """Return the limits of all rows, [B]: 0 of those that only fill up the devices."""
        num_rows = _rounded_up(len(limits), num_row_shards(self._model, self._mesh))
        return np.asarray([*limits, *[0] * (num_rows - len(limits))], np.int32)

    def _take_in(
        self,
        params: Params,
        tokens_BS: jax.Array,
        lengths_B: jax.Array,
        limits_B: jax.Array,
        *,
        num_positions: int,
    ) -> Decoding:
        batch, width = tokens_BS.shape
        dtype = jax.tree.leaves(params)[0].dtype
        positions_BS = jnp.broadcast_to(jnp.arange(width), tokens_BS.shape)
        with self._bound(params) as decoder:
            cache = decoder.empty_cache(batch_size=batch, num_positions=num_positions, dtype=dtype)
            hidden_BSD, cache = decoder.extend(tokens_BS, positions_BS=positions_BS, cache=cache)
            last_B1D = jnp.take_along_axis(hidden_BSD, lengths_B[:, None, None] - 1, axis=1)
            logits_BV = decoder.logits(last_B1D)[:, 0]
        rows = Decoding(
            tokens=jnp.pad(tokens_BS, ((0, 0), (0, num_positions - width))),
            lengths=lengths_B,
            is_done=jnp.zeros(batch, bool),
            cache=cache,
        )
        return self._appended(rows, logits_BV, limits_B)

    def _go_on(
        self, params: Params, rows: Decoding, limits_B: jax.Array, num_steps: jax.Array
    ) -> Decoding:
        def is_going(carry: Any) -> jax.Array:
            step, rows = carry
            return (step < num_steps) & ~jnp.all(rows.is_done)

        def body(carry: Any) -> Any:
            step, rows = carry
            positions_B1 = rows.lengths[:, None] - 1
            inputs_B1 = jnp.take_along_axis(rows.tokens, positions_B1, axis=1)
            with self._bound(params) as decoder:
                hidden_B1D, cache = decoder.extend(
                    inputs_B1, positions_BS=positions_B1, cache=rows.cache
                )
                logits_BV = decoder.logits(hidden_B1D)[:, 0]
            return step + 1, self._appended(rows._replace(cache=cache), logits_BV, limits_B)

        return jax.lax.while_loop(is_going, body, (jnp.zeros((), jnp.int32), rows))[1]

    @contextlib.contextmanager
    def _bound(self, params: Params) -> Iterator[Any]:
        """Give the decoder with its parameters, its tensors laid out while this lasts."""
        with axis_rules(self._model.axis_rules):
            yield self._model.bind(params).decoder

    def _appended(self, rows: Decoding, logits_BV: jax.Array, limits_B: jax.Array) -> Decoding:
        """Return the rows with a token more each, but for those that are done."""
        tokens_B = next_tokens(logits_BV, self._sampling, positions_B=rows.lengths)
        row = jnp.arange(len(tokens_B))
        # A row that is done writes past the end: nowhere.
        slots_B = jnp.where(rows.is_done, rows.tokens.shape[1], rows.lengths)
        lengths_B = rows.lengths + ~rows.is_done
        is_done_B = rows.is_done | (tokens_B == self._eos_id) | (lengths_B >= limits_B)
        tokens_BT = rows.tokens.at[row, slots_B].set(tokens_B, mode="drop")
        return Decoding(tokens_BT, lengths_B, is_done_B, rows.cache)


def _rounded_up(number: int, multiple: int) -> int:
    # So that prompts of nearly one length share a program.
    return -(-number // multiple) * multiple
