"""Language models on flax nnx, made from configs."""

from axl_exp.model.abstract import abstract_model, num_params
from axl_exp.model.alibi import ALiBi
from axl_exp.model.attention import (
    GroupedQueryAttention,
    ScaleKey,
    ScaleQuery,
    TransformerAttentionLayer,
)
from axl_exp.model.attention_backend import SplashSpec
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.causal_lm import CausalLM, LossOutput, LossSums
from axl_exp.model.decoder import Decoder
from axl_exp.model.dropout import Dropout, StochasticDepth
from axl_exp.model.embedding import Embedding, LmHead, TransformerTextEmbeddings
from axl_exp.model.feed_forward import TransformerFeedForwardLayer
from axl_exp.model.flops import FLOP_FORMULA, FlopsPerToken, flops_per_token
from axl_exp.model.initializer import DefaultInitializer, WeightInitializer
from axl_exp.model.linear import Linear
from axl_exp.model.norm import RMSNorm
from axl_exp.model.qkv import (
    FusedGroupedQKVLinear,
    MultiheadInputLinear,
    MultiheadOutputLinear,
    RoFormerQKVLinear,
)
from axl_exp.model.quantization import QuantizationSpec
from axl_exp.model.remat import RematSpec
from axl_exp.model.residual import ResidualLayer
from axl_exp.model.rotary import Llama31RotaryScaling, RoFormerSinusoidalPositionalEmbedding
from axl_exp.model.sharding import (
    DEFAULT_LOGICAL_AXIS_RULES,
    ShardingError,
    constrain,
    param_partition_specs,
    partition_spec,
)
from axl_exp.model.transformer import RepeatedTransformerLayer, TransformerLayer

__all__ = [
    "ALiBi",
    "BaseLayer",
    "CausalLM",
    "DEFAULT_LOGICAL_AXIS_RULES",
    "Decoder",
    "DefaultInitializer",
    "Dropout",
    "Embedding",
    "FLOP_FORMULA",
    "FlopsPerToken",
    "FusedGroupedQKVLinear",
    "GroupedQueryAttention",
    "Linear",
    "Llama31RotaryScaling",
    "LmHead",
    "LossOutput",
    "LossSums",
    "MultiheadInputLinear",
    "MultiheadOutputLinear",
    "QuantizationSpec",
    "RMSNorm",
    "RematSpec",
    "RepeatedTransformerLayer",
    "ResidualLayer",
    "RoFormerQKVLinear",
    "RoFormerSinusoidalPositionalEmbedding",
    "ScaleKey",
    "ScaleQuery",
    "ShardingError",
    "SplashSpec",
    "StochasticDepth",
    "TransformerAttentionLayer",
    "TransformerFeedForwardLayer",
    "TransformerLayer",
    "TransformerTextEmbeddings",
    "WeightInitializer",
    "abstract_model",
    "constrain",
    "flops_per_token",
    "num_params",
    "param_partition_specs",
    "parameter",
    "partition_spec",
]
