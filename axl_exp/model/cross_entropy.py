"""Cross-entropy of next-token logits, all at once or a stretch of each sequence at a time.

B batch, S sequence, D model dim, V vocabulary.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from axl_exp.errors import UserError


@jax.custom_vjp
def token_losses(logits_BSV: jax.Array, targets_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return -log p(target) and logsumexp(logits) of every position, float32 [B, S] each.

    The backward pass keeps the logits in their own dtype and nothing else of that size.
    """
    return _token_losses_forward(logits_BSV, targets_BS)[0]


def _token_losses_forward(logits_BSV, targets_BS):
    logits = logits_BSV.astype(jnp.float32)
    max_BS = jnp.max(logits, axis=-1)
    log_sum_BS = max_BS + jnp.log(jnp.sum(jnp.exp(logits - max_BS[..., None]), axis=-1))
    # A sum, not a gather, since the vocabulary may lie over several devices.
    target_logit_BS = jnp.sum(jnp.where(_is_target(logits, targets_BS), logits, 0.0), axis=-1)
    return (log_sum_BS - target_logit_BS, log_sum_BS), (logits_BSV, targets_BS, log_sum_BS)


def _token_losses_backward(residuals, gradients):
    logits_BSV, targets_BS, log_sum_BS = residuals
    loss_gradient_BS, log_sum_gradient_BS = gradients
    softmax = jnp.exp(logits_BSV.astype(jnp.float32) - log_sum_BS[..., None])
    gradient = softmax * (loss_gradient_BS + log_sum_gradient_BS)[..., None] - jnp.where(
        _is_target(softmax, targets_BS), loss_gradient_BS[..., None], 0.0
    )
    return gradient.astype(logits_BSV.dtype), None


def _is_target(logits: jax.Array, targets_BS: jax.Array) -> jax.Array:
    return jnp.arange(logits.shape[-1]) == targets_BS[..., None]


token_losses.defvjp(_token_losses_forward, _token_losses_backward)


def loss_sums(
    logits_fn: Callable[[jax.Array], jax.Array],
    hidden_BSD: jax.Array,
    targets_BS: jax.Array,
    weights_BS: jax.Array,
    *,
    chunk_tokens: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return the weighted sums of -log p(target) and of logsumexp(logits)², float32 scalars.

    Args:
        logits_fn: From hidden vectors to logits.
        hidden_BSD: Hidden vectors.
        targets_BS: Token ids.
        weights_BS: What each target counts; 0 or 1, float32.
        chunk_tokens: None makes the logits of all S positions at once. A number makes those of so
            many positions of each sequence at a time, and makes them again in the backward pass:
            the same sums, B·chunk_tokens·V logits in memory, one more product with the head.

    Raises:
        UserError: chunk_tokens does not divide S.
    """

    def sums(hidden, targets, weights):
        losses, log_sums = token_losses(logits_fn(hidden), targets)
        return jnp.sum(losses * weights), jnp.sum(log_sums * log_sums * weights)

    if chunk_tokens is None:
        return sums(hidden_BSD, targets_BS, weights_BS)
    seq = hidden_BSD.shape[1]
    if chunk_tokens < 1 or seq % chunk_tokens:
        raise UserError(
            f"model.loss_chunk_tokens {chunk_tokens} does not divide the sequence length {seq}; "
            "set a divisor of it, or None."
        )

    def chunks(x):
        return x.reshape(x.shape[0], -1, chunk_tokens, *x.shape[2:]).swapaxes(0, 1)

    @jax.checkpoint
    def body(carry, chunk):
        return jax.tree.map(jnp.add, carry, sums(*chunk)), None

    start = (jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))
    chunked = (chunks(hidden_BSD), chunks(targets_BS), chunks(weights_BS))
    return jax.lax.scan(body, start, chunked)[0]
