"""What attention keeps of the tokens before, so that a new one costs no more than itself.

B batch, T positions, K key/value heads, H head dim.

A token at position t of its row has its key and value in slot t, and a query at position p looks
at slots 0 ... p alone. So rows of different lengths need no mask of their own: what padding left
behind the end of a row is overwritten before anything looks at it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from axl_exp.model.sharding import constrain


class KVCache(NamedTuple):
    """Keys, as logits take them, and values: [B, T, K, H] each; [L, B, T, K, H] of L layers."""

    key: jax.Array
    value: jax.Array

    def written(self, key: jax.Array, value: jax.Array, *, positions_BS: jax.Array) -> "KVCache":
        """Return the cache with [B, S, K, H] in the slots of their positions; past T none is."""
        row_B1 = jnp.arange(positions_BS.shape[0])[:, None]
        return KVCache(
            self.key.at[row_B1, positions_BS].set(key.astype(self.key.dtype)),
            self.value.at[row_B1, positions_BS].set(value.astype(self.value.dtype)),
        ).laid_out()

    def laid_out(self) -> "KVCache":
        """Return the cache of a layer, each device with its rows and heads."""
        return KVCache(*(constrain(x, "batch", None, "heads", None) for x in self))

    def mask(self, positions_BS: jax.Array, *, sliding_window: int | None) -> jax.Array:
        """Return which slots each query sees, [B, S, T]: up to its own, or the last so many."""
        distance_BST = self.distance(positions_BS)
        is_seen_BST = distance_BST >= 0
        if sliding_window is not None:
            is_seen_BST &= distance_BST < sliding_window
        return is_seen_BST

    def distance(self, positions_BS: jax.Array) -> jax.Array:
        """Return how far each slot is behind each query, int32 [B, S, T]."""
        return positions_BS[:, :, None] - jnp.arange(self.key.shape[1])
