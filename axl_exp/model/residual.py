"""A branch around which the input is carried: what both halves of a layer are.

B batch, S sequence, D model dim.
"""

from collections.abc import Callable
from typing import Literal

import jax

from axl_exp.config import Configurable, InstantiableConfig, config_class
from axl_exp.model.base import BaseLayer
from axl_exp.model.dropout import Dropout, Key, StochasticDepth, split_key
from axl_exp.model.norm import RMSNorm


class ResidualLayer(BaseLayer):
    """x + branch(x), with norms where `structure` says (Xiong et al. 2020, arXiv 2002.04745).

    With d = dropout, then stochastic depth, then `residual_weight`:

        prenorm:    x + d(branch(norm(x)))
        postnorm:   norm(x + d(branch(x)))
        hybridnorm: x + d(postnorm(branch(prenorm(x))))
    """

    @config_class
    class Config(Configurable.Config):
        """What surrounds a branch."""

        # Where the norms are.
        structure: Literal["prenorm", "postnorm", "hybridnorm"] = "prenorm"
        # The norm, or each of the two.
        norm: InstantiableConfig = RMSNorm.default_config()
        # Of what the branch puts out, and of what the branch drops within.
        dropout: InstantiableConfig = Dropout.default_config()
        # Leaves out whole branches.
        stochastic_depth: InstantiableConfig = StochasticDepth.default_config()
        # What the branch counts beside its input.
        residual_weight: float = 1.0

    def __init__(self, cfg: Config, *, dim: int, dropout_rate: float = 0.0):
        self.structure = cfg.structure
        self.residual_weight = cfg.residual_weight
        if cfg.structure == "hybridnorm":
            self.prenorm = cfg.norm.instantiate(dim=dim)
            self.postnorm = cfg.norm.instantiate(dim=dim)
        else:
            self.norm = cfg.norm.instantiate(dim=dim)
        self.dropout = cfg.dropout.instantiate(default_rate=dropout_rate)
        self.stochastic_depth = cfg.stochastic_depth.instantiate()

    def add_branch(
        self, x_BSD: jax.Array, branch: Callable[[jax.Array, Key], jax.Array], *, key: Key
    ) -> jax.Array:
        """Return x with `branch` of it added, [B, S, D]; the branch takes a key of its own."""
        branch_key, dropout_key, depth_key = split_key(key, 3)
        match self.structure:
            case "prenorm":
                added_BSD = branch(self.norm(x_BSD), branch_key)
            case "postnorm":
                added_BSD = branch(x_BSD, branch_key)
            case _:
                added_BSD = self.postnorm(branch(self.prenorm(x_BSD), branch_key))
        added_BSD = self.dropout(added_BSD, key=dropout_key)
        added_BSD = self.stochastic_depth(added_BSD, key=depth_key)
        if self.residual_weight != 1:
            added_BSD = added_BSD * self.residual_weight
        x_BSD = x_BSD + added_BSD
        return self.norm(x_BSD) if self.structure == "postnorm" else x_BSD
