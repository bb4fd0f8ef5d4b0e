"""muP, the simple form: one learning rate found on a narrow model serves wider ones.

The updates of the weights inside the layers are scaled with base width / width; those of the
embedding, the norms and the head are not (Wortsman et al. 2023, https://arxiv.org/abs/2309.14322,
section 3.2.4).
"""

from __future__ import annotations

from axl_exp.config import InstantiableConfig, config_for_function
from axl_exp.optim import per_param_scale_by_path, scale_update_per_param

# The width at which the learning rates were found: that of the 85M models.
_BASE_DIM = 768

_SCALED_PARAMS = (
    ".*attention/o_proj/weight",
    ".*attention/i_proj/(i_proj/)?qkv_proj/weight",
    ".*feed_forward/linear1_0/weight",
    ".*feed_forward/linear1_1/weight",
    ".*feed_forward/linear2/weight",
)


def mup_simple(dim: int) -> InstantiableConfig:
    """Return the transformation of updates for a model of width `dim`.

    A model narrower than the base keeps its updates as they are.
    """
    scale = min(_BASE_DIM / dim, 1.0)
    return config_for_function(scale_update_per_param).set(
        per_param_scale=config_for_function(per_param_scale_by_path).set(
            scale_by_path=tuple((pattern, scale) for pattern in _SCALED_PARAMS),
            description="scale_by_mup_simple",
            default_scale=1.0,
        )
    )
