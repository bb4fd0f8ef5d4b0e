"""What devices say to each other in a compiled step is what the layout of the state asks for.

By libtpu, for a model whose matrices fill its tiles. Every transfer that is expected stands with
the reason why the sharding needs it, its bytes by the shapes alone.
"""

from __future__ import annotations

import collections

import pytest

from axl_exp.config import Override
from axl_exp.dryrun.compiled.child import Request, compile_request
from axl_exp.dryrun.compiled.topology import prepare_environment
from axl_exp.mesh import MeshShape, parse_selector
from axl_exp.resolve import resolve

LAYERS, DIM, HIDDEN, VOCAB, HEADS, HEAD_DIM, BATCH = 2, 512, 1024, 4096, 4, 128, 16
_LAYER = "model.decoder.transformer.layer."
_ATTENTION = _LAYER + "self_attention.attention."
_FIELDS = {
    "model.decoder.dim": DIM,
    "model.decoder.vocab_size": VOCAB,
    "model.decoder.transformer.num_layers": LAYERS,
    _LAYER + "feed_forward.hidden_dim": HIDDEN,
    _LAYER + "remat_spec": None,
    _ATTENTION + "num_heads": HEADS,
    _ATTENTION + "input_linear.input_linear.num_kv_heads": HEADS,
    "input.global_batch_size": BATCH,
    "evalers": {},
}
# Bytes in bfloat16: a layer's weights, the table, which is the head too, and the scales of norms.
QKV = 2 * 3 * DIM * HEADS * HEAD_DIM
WEIGHTS = QKV + 2 * (HEADS * HEAD_DIM * DIM + 3 * DIM * HIDDEN)
TABLE = 2 * VOCAB * DIM
NORMS = 2 * (2 * LAYERS + 1) * DIM


# Of what is not split over `model`.
_OF_NORMS = [("all-reduce", NORMS, "gradients of norms, which every device holds whole")]


def _of_shards(model: int = 1) -> list[tuple[str, int, str]]:
    """What each device needs of the others' shards of parameters, over `fsdp` (and `seq`)."""
    return [
        ("all-gather", 2 * LAYERS * WEIGHTS // model, "a layer's weights, forward and backward"),
        ("all-gather", TABLE // model, "the table, once for the lookup and the head"),
        ("reduce-scatter", LAYERS * WEIGHTS // model, "gradients of a layer's weights"),
        ("reduce-scatter", TABLE // model, "the table's gradient, the head's and lookup's in one"),
    ]


def _of_hidden(size: int, tokens: int) -> list[tuple[str, int, str]]:
    """What it takes that vectors, heads, hidden units and logits are split over `model`."""
    vectors = 2 * tokens * DIM
    return [
        ("all-gather", 4 * LAYERS * vectors, "input of both halves of a layer, of products and of "
         "the gradients of their weights"),
        ("all-gather", 2 * LAYERS * vectors, "gradients of what both halves put out"),
        ("all-gather", vectors, "input of the head"),
        ("reduce-scatter", 4 * LAYERS * vectors, "what both halves put out; gradients of inputs"),
        ("reduce-scatter", vectors, "gradient of the input of the head"),
        ("all-to-all", 2 * TABLE // size, "the head by vocabulary, the table by units; back"),
        ("all-reduce", tokens * (4 * (2 * (2 * LAYERS + 1) + 2) + 2), "squares of norms and "
         "their gradients; sum, target and maximum (bfloat16) of logits"),
        ("all-gather", NORMS, "gradients of norms, split as the vectors are"),
    ]  # fmt: skip


def _of_sequence(tokens: int) -> list[tuple[str, int, str]]:
    """What it takes that queries are split over `seq` and see all keys before them."""
    heads = 2 * tokens * HEADS * HEAD_DIM
    return [
        ("all-gather", LAYERS * 2 * heads, "keys and values of the whole sequence"),
        ("reduce-scatter", LAYERS * 2 * heads, "their gradients"),
    ]


# Hardware, mesh, length of sequences, and what is expected along which axes.
CASES = [
    ("tpu-v5e-4", {"fsdp": 4}, 128, {"fsdp": _of_shards() + _OF_NORMS}),
    (
        "tpu-v6e-8",
        {"data": 2, "fsdp": 4},
        128,
        {
            "fsdp": _of_shards(),
            "data,fsdp": _OF_NORMS,
            "data": [
                ("all-reduce", (LAYERS * WEIGHTS + TABLE) // 4, "a shard's gradient, of each half")
            ],
        },
    ),
    (
        "tpu-v6e-4",
        {"fsdp": 2, "model": 2},
        128,
        {
            "fsdp": [*_of_shards(model=2), ("all-reduce", NORMS // 2, "gradients of norms")],
            "model": _of_hidden(2, BATCH // 2 * 128),
        },
    ),
    (
        "tpu-v5e-4",
        {"fsdp": 2, "seq": 2},
        256,
        {"fsdp,seq": _of_shards() + _OF_NORMS, "seq": _of_sequence(BATCH // 2 * 256)},
    ),
]


@pytest.mark.parametrize(("selector", "mesh", "seq", "expected"), CASES)
def test_a_compiled_step_moves_and_multiplies_what_is_required_and_nothing_else(
    selector, mesh, seq, expected
):
    pytest.importorskip("libtpu")
    prepare_environment()
    fields = _FIELDS | {"input.max_sequence_length": seq}
    overrides = [Override(path, str(value)) for path, value in fields.items()]
    config = resolve("fuji-test-v2", selector="tpu-v5e-8", overrides=overrides).config
    config = config.clone(mesh_shape=MeshShape(**mesh))
    facts = compile_request(Request(config, parse_selector(selector)), stage=lambda name: None)

    moved: collections.Counter[tuple[str, str]] = collections.Counter()
    for each in facts.collectives:
        if each.num_bytes // each.count > 64:  # Not the loss, counts, and norms of gradients.
            moved[",".join(each.mesh_axes), each.kind] += each.num_bytes
    required: collections.Counter[tuple[str, str]] = collections.Counter()
    for axes, transfers in expected.items():
        for kind, num_bytes, _ in transfers:
            required[axes, kind] += num_bytes
    if "model" in mesh:
        # Rows of queries, keys and values, which lie in one weight, go to the devices of their
        # heads, and their gradients back: how is the compiler's choice, each at most once.
        exchanged = moved.pop(("model", "collective-permute")) + moved["model", "all-to-all"]
        table = moved["model", "all-to-all"] = required["model", "all-to-all"]
        assert table < exchanged <= table + 2 * LAYERS * QKV // mesh["model"]
    assert moved.keys() == required.keys()
    for key, num_bytes in required.items():
        assert moved[key] == pytest.approx(num_bytes, rel=0.01), key
    # Nor is anything multiplied twice: forward, and for the gradients of both operands. Beside it,
    # positions: queries and keys by a matrix, forward and backward.
    tokens = BATCH * seq // facts.num_devices
    products = 6 * tokens * (LAYERS * WEIGHTS + TABLE) // 2
    rotations = 2 * 2 * tokens * LAYERS * 2 * HEADS * HEAD_DIM**2
    executed = facts.executed_flops - facts.kernel_flops - rotations
    assert products <= executed <= 1.02 * products
