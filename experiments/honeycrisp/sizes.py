"""What tells one honeycrisp from another; the numbers are those of AXLearn's family."""

from __future__ import annotations

import dataclasses

from axl_exp.mesh import MeshShape


@dataclasses.dataclass(frozen=True)
class Size:
    """A model and how long it trains."""

    num_layers: int
    dim: int
    num_heads: int
    num_kv_heads: int
    ffn_dim: int
    global_batch_size: int
    max_step: int
    save_every_n_steps: int
    mesh_shape: MeshShape


SIZES: dict[str, Size] = {
    # 1 Mi tokens per step, 600 thousand million in all.
    "85M": Size(
        num_layers=12,
        dim=768,
        num_heads=12,
        num_kv_heads=6,
        ffn_dim=2304,
        global_batch_size=256,
        max_step=600_000,
        save_every_n_steps=1000,
        mesh_shape=MeshShape(data=-1),
    ),
    # 8 Mi tokens per step, 6 million million in all.
    "3B": Size(
        num_layers=26,
        dim=3072,
        num_heads=24,
        num_kv_heads=8,
        ffn_dim=8064,
        global_batch_size=2048,
        max_step=750_000,
        save_every_n_steps=5000,
        mesh_shape=MeshShape(data=-1, fsdp=8),
    ),
}
