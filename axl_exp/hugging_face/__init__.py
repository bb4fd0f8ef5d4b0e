"""Models of the Llama architecture as Hugging Face lays them out: config.json and safetensors."""

from axl_exp.hugging_face.errors import HuggingFaceError
from axl_exp.hugging_face.llama_config import llama_config, model_config, read_llama_config
from axl_exp.hugging_face.llama_weights import (
    LlamaTensor,
    check_tensors,
    llama_tensors,
    params_of_tensors,
)
from axl_exp.hugging_face.tensor_files import TensorReader, TensorWriter

__all__ = [
    "HuggingFaceError",
    "LlamaTensor",
    "TensorReader",
    "TensorWriter",
    "check_tensors",
    "llama_config",
    "llama_tensors",
    "model_config",
    "params_of_tensors",
    "read_llama_config",
]
