"""The train step as a program for a mesh, traced with shapes alone: no device is touched."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from axl_exp.dryrun.no_cudnn import as_if_cudnn_were_here
from axl_exp.dryrun.program import Program, read_program
from axl_exp.errors import UserError
from axl_exp.mesh import HardwareSelector, axis_sizes
from axl_exp.model import FlopsPerToken
from axl_exp.model.flops import model_flops_per_token
from axl_exp.model.sharding import check_divides, partition_spec
from axl_exp.train.state import PureModel, TrainState, abstract_train_state
from axl_exp.train.step import make_train_step
from axl_exp.train.trainer import BATCH_KEYS


@dataclasses.dataclass(frozen=True)
class TracedStep:
    """The step that a trainer of the config would run, and the layout of what goes in."""

    program: Program
    """Inputs are constants, the leaves of `state`, then of the batch; outputs are a state, then
    metrics."""
    state: TrainState
    """Of `ShapeDtypeStruct`s with shardings."""
    batch_spec: Any
    num_batch_leaves: int
    model: PureModel
    flops_per_token: FlopsPerToken
    mesh_sizes: dict[str, int]


def abstract_mesh(cfg: Any, hardware: HardwareSelector) -> AbstractMesh:
    """Return the mesh of a resolved trainer config, without devices."""
    sizes = axis_sizes(cfg.mesh_shape)
    kind = hardware.chip.device_kinds[0] if hardware.chip else "cpu"
    return AbstractMesh(
        tuple(sizes.values()),
        tuple(sizes),
        axis_types=(AxisType.Auto,) * len(sizes),
        # What a layer asks to choose the kernel of the hardware.
        abstract_device=AbstractDevice(kind, None, hardware.platform),
    )


def trace_step(cfg: Any, hardware: HardwareSelector) -> TracedStep:
    """Return the step of a trainer config that is resolved for `hardware`.

    Raises:
        UserError: A parameter, an activation or the batch does not divide over the mesh.
    """
    mesh = abstract_mesh(cfg, hardware)
    model = PureModel(cfg.model)
    learner = cfg.learner.instantiate(logical_axes=model.logical_axes)
    state = abstract_train_state(model, learner, mesh)
    step = make_train_step(
        model,
        learner,
        train_dtype=cfg.train_dtype,
        seed=cfg.seed,
        accumulation_steps=cfg.accumulation_steps,
    )
    rows, positions = cfg.input.global_batch_size, cfg.input.max_sequence_length
    spec = partition_spec(("batch", "sequence"), model.axis_rules)
    if cfg.accumulation_steps < 1 or rows % cfg.accumulation_steps:
        raise UserError(
            f"accumulation_steps {cfg.accumulation_steps} does not divide "
            f"input.global_batch_size {rows}; change one."
        )
    of_part = f"one of {cfg.accumulation_steps} parts (accumulation_steps) of the batch"
    check_divides(of_part, (rows // cfg.accumulation_steps, positions), spec, mesh.shape)
    leaf = jax.ShapeDtypeStruct((rows, positions), jnp.int32)
    batch = dict.fromkeys(BATCH_KEYS, leaf)
    with jax.sharding.use_abstract_mesh(mesh), as_if_cudnn_were_here():
        jaxpr = jax.make_jaxpr(step)(state, batch)
    return TracedStep(
        program=read_program(jaxpr),
        state=state,
        batch_spec=spec,
        num_batch_leaves=len(BATCH_KEYS),
        model=model,
        flops_per_token=model_flops_per_token(model.abstract, sequence_length=positions),
        mesh_sizes={axis: size for axis, size in mesh.shape.items() if size > 1},
    )
