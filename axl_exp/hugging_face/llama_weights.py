"""The tensors of a Llama in Hugging Face's files, as parts of our parameters.

Ours: layers are stacked, queries, keys and values are one tensor, and weights are [in, out].
Theirs: a tensor per layer and product, [out, in]. D model dim, N heads of queries, H head dim.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from axl_exp.hugging_face.errors import HuggingFaceError
from axl_exp.hugging_face.tensor_files import TensorReader
from axl_exp.model import CausalLM
from axl_exp.model.rotary import PairLayout
from axl_exp.model.same_model import shown

_LAYER = "decoder/transformer/layer"
_QKV = f"{_LAYER}/self_attention/attention/i_proj/i_proj/qkv_proj/weight"
_OUT = f"{_LAYER}/self_attention/attention/o_proj/weight"


@dataclasses.dataclass(frozen=True)
class HeadLayout:
    """How the units of heads lie in our tensors."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    pairs: PairLayout

    def from_rows(self, rows: np.ndarray, *, turned: bool) -> np.ndarray:
        """Return our [D, heads, H] of their [heads · H, D]."""
        heads = rows.reshape(-1, self.head_dim, rows.shape[-1])
        if turned and self.pairs == "interleaved":
            # Theirs: the first of every pair, then the second of every pair.
            heads = heads.reshape(len(heads), 2, -1, heads.shape[-1]).swapaxes(1, 2)
            heads = heads.reshape(len(heads), self.head_dim, -1)
        return heads.transpose(2, 0, 1)

    def to_rows(self, heads_DNH: np.ndarray, *, turned: bool) -> np.ndarray:
        """Return their [heads · H, D] of our [D, heads, H]."""
        heads = heads_DNH.transpose(1, 2, 0)
        if turned and self.pairs == "interleaved":
            heads = heads.reshape(len(heads), -1, 2, heads.shape[-1]).swapaxes(1, 2)
        return heads.reshape(-1, heads_DNH.shape[0])


@dataclasses.dataclass(frozen=True)
class LlamaTensor:
    """One tensor of theirs: where it is in our parameters, and how to turn one into the other.

    Attributes:
        name: Its name in the files.
        shape: Its shape there.
        path: The path of our parameter that holds it.
        index: Where in that parameter it lies: the layer, and for queries, keys and values the
            heads.
        to_ours: From the tensor to what stands at `index`.
        to_theirs: And back.
    """

    name: str
    shape: tuple[int, ...]
    path: str
    index: tuple[Any, ...]
    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


def llama_tensors(cfg: CausalLM.Config) -> Iterator[LlamaTensor]:
    """Yield every tensor of the model `cfg`, those of one parameter of ours after another.

    The model must be a Llama, see `check_same_model`.
    """
    decoder: Any = cfg.decoder
    layer = decoder.transformer.layer
    attention = layer.self_attention.attention
    dim, hidden, vocab = decoder.dim, layer.feed_forward.hidden_dim, decoder.vocab_size
    heads = HeadLayout(
        num_heads=attention.num_heads,
        num_kv_heads=attention.input_linear.input_linear.num_kv_heads,
        head_dim=dim // attention.num_heads,
        pairs=attention.input_linear.rope_pos_emb_layer.layout,
    )

    def same(x: np.ndarray) -> np.ndarray:
        return x

    def whole(name: str, path: str, *shape: int) -> LlamaTensor:
        return LlamaTensor(name, shape, path, (), same, same)

    yield whole("model.embed_tokens.weight", "decoder/emb/token_emb/weight", vocab, dim)
    yield whole("model.norm.weight", "decoder/output_norm/scale", dim)
    if decoder.lm_head is not None:
        yield whole("lm_head.weight", "decoder/lm_head/weight", vocab, dim)
    for part in _layer_parts(heads, dim=dim, hidden=hidden):
        for i in range(decoder.transformer.num_layers):
            yield dataclasses.replace(
                part, name=f"model.layers.{i}.{part.name}", index=(i, *part.index)
            )


def _layer_parts(heads: HeadLayout, *, dim: int, hidden: int) -> Iterator[LlamaTensor]:
    """Yield the tensors of one layer, their names and places without the layer."""

    def norm(name: str, path: str) -> LlamaTensor:
        return LlamaTensor(name, (dim,), f"{_LAYER}/{path}/scale", (), lambda x: x, lambda x: x)

    def product(name: str, path: str, shape: tuple[int, int]) -> LlamaTensor:
        return LlamaTensor(name, shape, f"{_LAYER}/{path}/weight", (), np.transpose, np.transpose)

    yield norm("input_layernorm.weight", "self_attention/norm")
    yield norm("post_attention_layernorm.weight", "feed_forward/norm")
    n, k = heads.num_heads, heads.num_kv_heads
    for name, first, last in (("q", 0, n), ("k", n, n + k), ("v", n + k, n + 2 * k)):
        turned = name != "v"
        yield LlamaTensor(
            name=f"self_attn.{name}_proj.weight",
            shape=((last - first) * heads.head_dim, dim),
            path=_QKV,
            index=(slice(None), slice(first, last)),
            to_ours=lambda x, turned=turned: heads.from_rows(x, turned=turned),
            to_theirs=lambda x, turned=turned: heads.to_rows(x, turned=turned),
        )
    yield LlamaTensor(
        name="self_attn.o_proj.weight",
        shape=(dim, n * heads.head_dim),
        path=_OUT,
        index=(),
        to_ours=lambda x: x.reshape(dim, n, heads.head_dim),
        to_theirs=lambda x: x.reshape(dim, -1),
    )
    yield product("mlp.gate_proj.weight", "feed_forward/linear1_0", (hidden, dim))
    yield product("mlp.up_proj.weight", "feed_forward/linear1_1", (hidden, dim))
    yield product("mlp.down_proj.weight", "feed_forward/linear2", (dim, hidden))


def check_tensors(reader: TensorReader, tensors: list[LlamaTensor]) -> None:
    """Raise HuggingFaceError unless the files hold `tensors` in their shapes, and nothing else.

    Beside them there may be what follows from the rest: the angles of rotary positions, which old
    files have, and a copy of the embedding as the head that is tied to it.
    """
    wanted = {tensor.name: tensor.shape for tensor in tensors}
    missing = [name for name in wanted if name not in reader.names]
    if missing:
        raise HuggingFaceError(f"{reader.directory} lacks {shown(missing)}. Copy it again.")
    wrong = [
        f"{name} is {reader.shape(name)} and should be {shape}"
        for name, shape in wanted.items()
        if reader.shape(name) != shape
    ]
    if wrong:
        raise HuggingFaceError(f"{reader.directory}: {shown(wrong)} by its config.json.")
    extra = sorted(
        name
        for name in reader.names - wanted.keys()
        if name != "lm_head.weight" and not name.endswith("rotary_emb.inv_freq")
    )
    if extra:
        raise HuggingFaceError(
            f"{reader.directory} has {shown(extra)}, which no parameter of ours is."
        )


def params_of_tensors(
    reader: TensorReader, cfg: CausalLM.Config, *, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (path, float32 array) of every parameter of `cfg`, one at a time.

    Args:
        reader: The files of a Llama that `check_same_model` and `check_tensors` passed.
        cfg: The model whose parameters are wanted.
        shapes: The shape of each parameter by path.

    Raises:
        HuggingFaceError: A tensor cannot be read, or is of no float dtype.
    """
    for path, tensors in itertools.groupby(llama_tensors(cfg), key=lambda tensor: tensor.path):
        param = np.empty(shapes[path], np.float32)
        for tensor in tensors:
            theirs = reader.read(tensor.name)
            if theirs.dtype.name not in ("float32", "bfloat16", "float16"):
                raise HuggingFaceError(
                    f"{reader.directory}: {tensor.name} is {theirs.dtype.name}; weights must be "
                    "float32, bfloat16 or float16."
                )
            param[tensor.index] = tensor.to_ours(theirs)
        yield path, param
