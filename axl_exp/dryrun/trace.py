"""The train step as a program for a mesh, traced with shapes alone: no device is touched."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from axl_exp.config.path import Key, parse_path
from axl_exp.config.text import config_text
from axl_exp.dryrun.no_cudnn import as_if_cudnn_were_here
from axl_exp.dryrun.once import layers_once, on_any_mesh, quantized_products_once
from axl_exp.dryrun.program import Program, read_program
from axl_exp.errors import UserError
from axl_exp.mesh import CHIPS, HardwareSelector, axis_sizes
from axl_exp.model import FlopsPerToken
from axl_exp.model.attention import GroupedQueryAttention
from axl_exp.model.flops import model_flops_per_token
from axl_exp.model.sharding import axis_rules, check_divides, partition_spec
from axl_exp.optim import Learner
from axl_exp.train.state import PureModel, TrainState, abstract_train_state
from axl_exp.train.step import make_train_step
from axl_exp.train.trainer import BATCH_KEYS

# Neighbours in a sweep are much alike. A traced step takes some MiB, a model without weights few
# KiB.
_NUM_STEPS_KEPT = 16
_NUM_MODELS_KEPT = 128


@dataclasses.dataclass(frozen=True)
class _ByText:
    """A config as its text, since configs have no hash of their own."""

    text: str
    cfg: Any = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class _Source:
    """All that a step is traced from: whatever else configs or chips differ in, theirs is one."""

    model: _ByText
    learner: _ByText
    train_dtype: Any
    seed: int
    accumulation_steps: int
    rows: int
    positions: int
    mesh_sizes: tuple[tuple[str, int], ...]
    platform: str

    def mesh(self) -> AbstractMesh:
        """Return the mesh, without devices."""
        # What a layer asks to choose the kernel of the hardware. That is chosen by platform: the
        # first chip stands for all of it.
        kinds = (chip.device_kinds[0] for chip in CHIPS if chip.platform == self.platform)
        device = AbstractDevice(next(kinds, self.platform), None, self.platform)
        names, sizes = zip(*self.mesh_sizes, strict=True)
        types = (AxisType.Auto,) * len(sizes)
        return AbstractMesh(sizes, names, axis_types=types, abstract_device=device)


@dataclasses.dataclass(frozen=True, eq=False)
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
    platform: str
    attention: frozenset[str]
    """What computes attention, of every layer: names of `Backend`s."""


def trace_step(cfg: Any, hardware: HardwareSelector) -> TracedStep:
    """Return the step of a trainer config that is resolved for `hardware`.

    Steps are kept: configs and hardware that differ in nothing that a step is traced from share it.

    Raises:
        UserError: A parameter, an activation or the batch does not divide over the mesh.
    """
    auto = _with_auto(cfg.model)
    if auto is not None:
        traced = _trace(_source(cfg, auto, hardware))
        if "xla" not in traced.attention:
            return traced
    return _trace(_source(cfg, cfg.model, hardware))


def _with_auto(model_cfg: Any) -> Any | None:
    """Return the config with attention "auto" for "flash", None where no layer says "flash".

    Both are one step unless "auto" falls back to plain JAX, where "flash" is an error.
    """
    found: list[tuple[Key, ...]] = []

    def look(path: str, value: Any) -> None:
        if value is GroupedQueryAttention:  # As the `klass` of its config.
            *layer, _ = parse_path(path)
            if model_cfg.get_recursively(layer).backend == "flash":
                found.append((*layer, "backend"))

    model_cfg.visit(look)
    if not found:
        return None
    changed = model_cfg.clone()
    for path in found:
        changed.set_recursively(path, value="auto")
    return changed


def _source(cfg: Any, model_cfg: Any, hardware: HardwareSelector) -> _Source:
    return _Source(
        model=_ByText(config_text(model_cfg), model_cfg),
        learner=_ByText(config_text(cfg.learner), cfg.learner),
        train_dtype=cfg.train_dtype,
        seed=cfg.seed,
        accumulation_steps=cfg.accumulation_steps,
        rows=cfg.input.global_batch_size,
        positions=cfg.input.max_sequence_length,
        mesh_sizes=tuple(axis_sizes(cfg.mesh_shape).items()),
        platform=hardware.platform,
    )


@functools.lru_cache(maxsize=_NUM_MODELS_KEPT)
def _model(model: _ByText) -> PureModel:
    return PureModel(model.cfg)


@functools.lru_cache(maxsize=_NUM_MODELS_KEPT)
def _learner(learner: _ByText, logical_axes: tuple[tuple[str, Any], ...]) -> Learner:
    """Return a learner whose update is traced once for steps that have parameters alike."""
    made = learner.cfg.instantiate(logical_axes=dict(logical_axes))
    made.update = on_any_mesh(made.update)
    return made


@functools.lru_cache(maxsize=_NUM_STEPS_KEPT)
def _trace(source: _Source) -> TracedStep:
    mesh = source.mesh()
    model = _model(source.model)
    learner = _learner(source.learner, tuple(model.logical_axes.items()))
    state = abstract_train_state(model, learner, mesh)
    step = make_train_step(
        model,
        learner,
        train_dtype=source.train_dtype,
        seed=source.seed,
        accumulation_steps=source.accumulation_steps,
    )
    rows, num_parts = source.rows, source.accumulation_steps
    spec = partition_spec(("batch", "sequence"), model.axis_rules)
    if num_parts < 1 or rows % num_parts:
        raise UserError(
            f"accumulation_steps {num_parts} does not divide input.global_batch_size {rows}; "
            "change one."
        )
    of_part = f"one of {num_parts} parts (accumulation_steps) of the batch"
    check_divides(of_part, (rows // num_parts, source.positions), spec, mesh.shape)
    leaf = jax.ShapeDtypeStruct((rows, source.positions), jnp.int32)
    batch = dict.fromkeys(BATCH_KEYS, leaf)
    with (
        jax.sharding.use_abstract_mesh(mesh),
        as_if_cudnn_were_here(),
        layers_once(),
        quantized_products_once(),
    ):
        jaxpr = jax.make_jaxpr(step)(state, batch)
        attention = _attention(model, source)
    return TracedStep(
        program=read_program(jaxpr),
        state=state,
        batch_spec=spec,
        num_batch_leaves=len(BATCH_KEYS),
        model=model,
        flops_per_token=model_flops_per_token(model.abstract, sequence_length=source.positions),
        mesh_sizes={axis: size for axis, size in mesh.shape.items() if size > 1},
        platform=source.platform,
        attention=attention,
    )


def _attention(model: PureModel, source: _Source) -> frozenset[str]:
    """The backends of the layers, on the mesh in use."""
    with axis_rules(model.axis_rules):
        return frozenset(
            layer.choose_backend(dtype=source.train_dtype, sequence_length=source.positions).name
            for _, layer in nnx.iter_modules(model.abstract)
            if isinstance(layer, GroupedQueryAttention)
        )
