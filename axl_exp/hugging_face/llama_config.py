"""A Llama's config.json as our model config, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axl_exp.config.text import flatten
from axl_exp.hugging_face.errors import HuggingFaceError
from axl_exp.model import CausalLM, Llama31RotaryScaling, LmHead
from axl_exp.model.same_model import differences, shown
from axl_exp.run.files import RunFileError, read_json

CONFIG_FILE = "config.json"

_ACTIVATIONS = {"silu": ("nn.silu", "linear"), "gelu_pytorch_tanh": ("nn.gelu", "linear")}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"}


def read_llama_config(directory: Path) -> dict[str, Any]:
    """Return the content of `directory`/config.json.

    Raises:
        HuggingFaceError: It is not there, or is no JSON object.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise HuggingFaceError(
            f"{directory} has no {CONFIG_FILE}: name a directory in Hugging Face's layout, with "
            f"{CONFIG_FILE} and *.safetensors."
        )
    try:
        return read_json(path)
    except RunFileError as error:
        raise HuggingFaceError(f"{error}. Put a good copy there.") from error


def model_config(llama: Mapping[str, Any]) -> CausalLM.Config:
    """Return the model that a config.json of `llama` or `mistral` means; absent fields as there.

    Queries and keys are in Hugging Face's layout, `half_split`.

    Raises:
        HuggingFaceError: It is of another architecture, or has what our layers have not.
    """
    model_type = llama.get("model_type")
    if model_type not in _ARCHITECTURES:
        raise _wrong("model_type", model_type, f"ours are {', '.join(_ARCHITECTURES)}")
    dim, num_heads = _size(llama, "hidden_size"), _size(llama, "num_attention_heads")
    if llama.get("head_dim") not in (None, dim / num_heads):
        raise _wrong(
            "head_dim", llama["head_dim"], f"ours is hidden_size / heads, {dim}/{num_heads}"
        )
    for name in ("attention_bias", "mlp_bias"):
        if llama.get(name):
            raise _wrong(name, llama[name], "no product of ours has a bias")
    cfg: Any = CausalLM.default_config()
    decoder = cfg.decoder.set(vocab_size=_size(llama, "vocab_size"), dim=dim)
    if not llama.get("tie_word_embeddings", False):
        decoder.lm_head = LmHead.default_config()
    decoder.transformer.num_layers = _size(llama, "num_hidden_layers")
    layer = decoder.transformer.layer
    layer.feed_forward.hidden_dim = _size(llama, "intermediate_size")
    layer.feed_forward.activation = _activation(llama.get("hidden_act", "silu"))
    attention = layer.self_attention.attention.set(num_heads=num_heads)
    if model_type == "mistral":
        attention.sliding_window = llama.get("sliding_window")
    num_kv_heads = llama.get("num_key_value_heads")
    attention.input_linear.input_linear.num_kv_heads = (
        num_heads if num_kv_heads is None else _size(llama, "num_key_value_heads")
    )
    rope = attention.input_linear.rope_pos_emb_layer.set(layout="half_split")
    rope.theta, rope.scaling = _rope(llama)
    for norm in (decoder.output_norm, layer.self_attention.norm, layer.feed_forward.norm):
        norm.eps = float(llama.get("rms_norm_eps", 1e-6))
    return cfg


def llama_config(cfg: CausalLM.Config) -> dict[str, Any]:
    """Return the fields of config.json that say which model `cfg` is.

    They are read off `cfg`, and what they mean must be `cfg` again. So whatever a Llama does not
    have (a cap, another norm, ALiBi) is found without a list of it.

    Raises:
        HuggingFaceError: No Llama computes this; the message names the fields that differ.
    """
    decoder: Any = cfg.decoder
    layer = decoder.transformer.layer
    attention = layer.self_attention.attention
    rope = _find(attention.input_linear, "rope_pos_emb_layer")
    window = attention.sliding_window
    llama: dict[str, Any] = {
        "model_type": "llama" if window is None else "mistral",
        "vocab_size": decoder.vocab_size,
        "hidden_size": decoder.dim,
        "intermediate_size": layer.feed_forward.hidden_dim,
        "num_hidden_layers": decoder.transformer.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": _find(attention.input_linear, "num_kv_heads"),
        "head_dim": decoder.dim // attention.num_heads,
        "hidden_act": _activation_name(layer.feed_forward.activation),
        "rms_norm_eps": decoder.output_norm.eps if "eps" in decoder.output_norm else 1e-6,
        "rope_theta": 10000.0 if rope is None else rope.theta,
        "rope_scaling": None if rope is None else _scaling_fields(rope.scaling),
        "tie_word_embeddings": decoder.lm_head is None,
    }
    if window is not None:
        llama["sliding_window"] = window
    llama["architectures"] = [_ARCHITECTURES[llama["model_type"]]]
    means = flatten(model_config(llama))
    found = [
        f"{d.path} is {d.ours} and not {d.theirs}"
        for d in differences(flatten(cfg), means, any_layout=True)
    ]
    if found:
        raise HuggingFaceError(
            f"{llama['architectures'][0]} cannot say what this model computes: {shown(found)}."
        )
    return llama


def _wrong(name: str, value: Any, why: str) -> HuggingFaceError:
    return HuggingFaceError(f"{CONFIG_FILE}: {name} is {value!r}: {why}.")


def _size(llama: Mapping[str, Any], name: str) -> int:
    value = llama.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(name, value, "it must be a number from 1")
    return value


def _activation(name: Any) -> tuple[str, ...]:
    if name not in _ACTIVATIONS:
        raise _wrong("hidden_act", name, f"ours are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _activation_name(activation: Any) -> str:
    # One that they lack becomes theirs, and is told as a difference.
    return next((name for name, ours in _ACTIVATIONS.items() if ours == activation), "silu")


def _find(input_linear: Any, name: str) -> Any:
    """Return the field `name` of an input linear, or of the one within it; None if none has it."""
    while input_linear is not None and name not in input_linear:
        input_linear = input_linear.input_linear if "input_linear" in input_linear else None
    return None if input_linear is None else getattr(input_linear, name)


def _rope(llama: Mapping[str, Any]) -> tuple[float, Llama31RotaryScaling.Config | None]:
    """Return theta and scaling, of `rope_parameters` or of the two older fields."""
    fields = {**(llama.get("rope_scaling") or {}), **(llama.get("rope_parameters") or {})}
    theta = float(fields.get("rope_theta", llama.get("rope_theta", 10000.0)))
    kind = fields.get("rope_type", fields.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise _wrong("rope_scaling.rope_type", kind, "ours are default, llama3")
    try:
        return theta, Llama31RotaryScaling.default_config().set(
            factor=float(fields["factor"]),
            low_freq_factor=float(fields["low_freq_factor"]),
            high_freq_factor=float(fields["high_freq_factor"]),
            original_max_positions=fields["original_max_position_embeddings"],
        )
    except KeyError as error:
        raise _wrong("rope_scaling", fields, f"llama3 needs {error}") from error


def _scaling_fields(scaling: Any) -> dict[str, Any] | None:
    if not isinstance(scaling, Llama31RotaryScaling.Config):
        return None
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_max_positions,
    }
