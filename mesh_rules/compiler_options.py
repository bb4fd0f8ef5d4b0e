"""What compilers are told: those of TPUs in the groups in which it is published.

MaxText's benchmarks/xla_flags_library.py has the groups and its files of models say which run with
which; AXLearn's axlearn/common/compiler_options.py sets much the same for v6e. Options that libtpu
no longer knows are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from axl_exp.mesh import SetFields

Options = Mapping[str, bool | int | str]

# 96 of a core's 128 MiB of VMEM (v5e, v6e) for what one operation works on: products and attention
# kernels take larger blocks of which each byte is read less often.
LARGE_BLOCKS: Options = {"xla_tpu_scoped_vmem_limit_kib": 98304}
# The more an operation has, the less is fetched ahead: on v5e this much is best for a 1B and does
# most for a 7B and a 32B, by libtpu's estimates (docs/compile_level.md).
BLOCKS_OF_V5E: Options = {"xla_tpu_scoped_vmem_limit_kib": 32768}
# Of a v5p's core, which has 64 MiB, by Marin's policy for its benchmarks. A v4's has 16.
BLOCKS_OF_V5P: Options = {"xla_tpu_scoped_vmem_limit_kib": 50000}
# Shards are gathered in pieces, between which products go on.
ASYNC_GATHER: Options = {
    "xla_enable_async_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion": "true",
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
    "xla_tpu_overlap_compute_collective_tc": "true",
}
# What libtpu does unasked from v5 on, by AXLearn's axlearn/common/compiler_options.py.
ASYNC_ON_V4: Options = {
    "xla_enable_async_all_gather": "true",
    "xla_enable_async_collective_permute": "true",
}
# A sum of which each device keeps its shard is laid out so that it is scattered at once.
SCATTER_LAYOUT: Options = {
    "xla_tpu_assign_all_reduce_scatter_layout": "true",
    "xla_tpu_relayout_group_size_threshold_for_reduce_scatter": 1,
    "xla_tpu_use_minor_sharding_for_major_trivial_input": "true",
}
# Gradients are summed over replicas while the next ones are computed.
DATA_PARALLEL: Options = {
    "xla_tpu_data_parallel_opt_different_sized_ops": "true",
    "xla_tpu_enable_data_parallel_all_reduce_opt": "true",
}
# What two layers gather on a chip with two cores may overlap.
GATHER_ACROSS_LAYERS: Options = {
    "xla_enable_async_collective_permute": "true",
    "xla_tpu_enable_ag_backward_pipelining": "true",
    "xla_tpu_megacore_fusion_allow_ags": "false",
}
# Copies to the host and back are started early, many at a time.
HOST_OFFLOAD: Options = {
    "xla_latency_hiding_scheduler_rerun": 2,
    "xla_lhs_prioritize_async_depth_over_stall": "ENABLED",
    "xla_max_concurrent_host_send_recv": 100,
    "xla_should_add_loop_invariant_op_in_chain": "ENABLED",
    "xla_should_allow_loop_variant_parameter_in_chain": "ENABLED",
    "xla_tpu_aggressive_opt_barrier_removal": "ENABLED",
    "xla_tpu_enable_ag_backward_pipelining": "true",
    "xla_tpu_enable_all_experimental_scheduler_features": "true",
    "xla_tpu_enable_scheduler_memory_pressure_tracking": "true",
    "xla_tpu_host_transfer_overlap_limit": 24,
    "xla_tpu_scheduler_percent_shared_memory_limit": 100,
}
# The gradient of each weight is summed as soon as it is there. Else XLA:GPU gathers gradients until
# 30 MiB of their sums are a device's own, which is that of many layers where devices are many: it
# holds them all that long, and nothing is left to hide the sum behind.
SCATTER_AT_ONCE: Options = {"xla_gpu_reduce_scatter_combine_threshold_bytes": 2**17}


def tell_compiler(*groups: Options) -> SetFields:
    """Return the modifier that sets exactly the options of these groups."""
    return SetFields({"compiler_options": {k: v for group in groups for k, v in group.items()}})
