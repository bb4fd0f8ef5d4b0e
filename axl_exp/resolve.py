"""A name, a hardware and overrides to the config that runs: frozen, whole, and who set what.

recipe -> mesh rule -> inferred mesh -> what is at hand -> config file -> command line.
Each writer wins over those before it, and is remembered in the config (`cfg.writes`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from axl_exp.config import (
    ConfigBase,
    ConfigError,
    Override,
    OverrideError,
    apply_overrides,
    validate,
    written_by,
)
from axl_exp.config.diff import Change, diff
from axl_exp.config.path import parse_path
from axl_exp.config.text import flatten
from axl_exp.errors import UserError
from axl_exp.mesh import (
    BadMeshRuleError,
    HardwareSelector,
    MeshRule,
    MeshShapeError,
    apply_rule,
    axis_sizes,
    describe_mesh_shape,
    infer_mesh_shape,
    num_batch_shards,
    parse_selector,
    select_rule,
)
from axl_exp.registry import NamedConfig, load_config, load_mesh_rules


class BatchSizeError(UserError):
    """A batch or sequence that the mesh cannot divide evenly."""


class RangeError(UserError):
    """A number that no run can have, such as 0 layers."""


# By the last name of a path: what is counted from 1, seeds (JAX draws from 32 bits), durations.
_RANGES: tuple[tuple[re.Pattern[str], float, float, str], ...] = (
    (
        re.compile(
            r"(\w+_)?dim|vocab_size|num_(layers|heads|kv_heads|trace_steps)|n|keep_last_n|max_step"
            r"|\w+_every_n_steps|global_batch_size|max_sequence_length"
        ),
        *(1, math.inf, "at least 1"),
    ),
    (re.compile("seed"), 0, 2**32 - 1, "from 0 to 2**32 - 1"),
    (re.compile(r"\w+_seconds"), math.ulp(0), math.inf, "above 0"),
)


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What `resolve` made of a name."""

    name: str
    """The config's own name: no alias, no path."""

    config: ConfigBase
    """The trainer config, frozen."""

    hardware: HardwareSelector | None
    rule: MeshRule | None
    """Both None where no hardware was given."""

    recipe: ConfigBase
    """The config before the rule."""

    recipe_by_rule: ConfigBase
    """What the rule made of the recipe, the inferred mesh included."""

    overrides: tuple[Override, ...]
    """Those of the command line."""

    warnings: tuple[str, ...]
    """What the user should know though it is no error."""

    @functools.cached_property
    def mesh_changes(self) -> tuple[Change, ...]:
        """What the rule changed of the recipe: the golden's mesh delta."""
        if self.recipe_by_rule is self.recipe:
            return ()
        return tuple(diff(flatten(self.recipe), flatten(self.recipe_by_rule)))


def resolve(
    name: str,
    *,
    selector: str | HardwareSelector | None = None,
    overrides: Sequence[Override] = (),
    module: str | None = None,
    adapt: Callable[[Any], Any] | None = None,
    rule: MeshRule | None = None,
) -> Resolved:
    """Return the resolved config of `name` on the hardware `selector`.

    Args:
        name: A config name, alias or config file, as `registry.load_config` takes it.
        selector: The hardware; None leaves the recipe as it is for any hardware (its golden).
        overrides: The command line's, in its order.
        module: Name of a module with configs and mesh rules of the user's own.
        adapt: A further change, config in and copy out, by what is at hand here (the data, say). It
            comes after the mesh rule, so that overrides have the last word.
        rule: Applied in place of the one that is written for the hardware: a rule on trial.

    Raises:
        UserError: Its subclasses say which of the names, rules, values or sizes is wrong.
    """
    named = load_config(name, module=module)
    by_rule = cfg = named.config
    hardware = None
    if selector is not None:
        hardware = parse_selector(selector) if isinstance(selector, str) else selector
        rule = rule or select_rule(
            load_mesh_rules(module=module), selector=str(hardware), config=named.name
        )
        by_rule = cfg = _by_rule(cfg, rule, hardware)
    if adapt is not None:
        cfg = adapt(cfg)
    cfg = _apply_file_overrides(cfg, named)
    cfg, warnings = apply_overrides(cfg, overrides)
    cfg.visit(_check_range)
    if hardware is not None:
        cfg = _infer(cfg, hardware)
        _check_sizes(cfg)
    validate(cfg)
    return Resolved(
        name=named.name,
        config=cfg.freeze(),
        hardware=hardware,
        rule=rule,
        recipe=named.config,
        recipe_by_rule=by_rule,
        overrides=tuple(overrides),
        warnings=(*_overwritten(named, overrides), *warnings),
    )


def _check_range(path: str, value: Any) -> None:
    """Raise RangeError if the leaf at `path` is a number that no run can have."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    name = path.rpartition(".")[2]
    for pattern, least, most, words in _RANGES:
        if pattern.fullmatch(name) and not least <= value <= most:
            raise RangeError(f"{path} is {value}: it must be {words}.")


def _by_rule(cfg: Any, rule: MeshRule, hardware: HardwareSelector) -> Any:
    cfg = apply_rule(rule, cfg, hardware=hardware)
    try:
        return _infer(cfg, hardware)
    except MeshShapeError as error:
        raise BadMeshRuleError(f"The mesh rule at {rule.defined_at}: {error}") from error


def _infer(cfg: Any, hardware: HardwareSelector) -> Any:
    """Return `cfg` with the -1 of its mesh shape resolved for the hardware."""
    with written_by(f"inferred for {hardware}"):
        shape = infer_mesh_shape(
            cfg.mesh_shape, num_devices=hardware.num_devices, num_slices=hardware.num_slices
        )
        return cfg if shape == cfg.mesh_shape else cfg.clone(mesh_shape=shape)


def _apply_file_overrides(cfg: Any, named: NamedConfig) -> Any:
    cfg = cfg.clone()
    for path, value in named.overrides.items():
        try:
            with written_by("config file", where=named.source):
                cfg.set_recursively(parse_path(path), value=value)
        except ConfigError as error:
            raise OverrideError(f"{named.source}: {path}={value!r}: {error}") from error
    return cfg


def _overwritten(named: NamedConfig, overrides: Sequence[Override]) -> Iterator[str]:
    """Yield a warning for each field that the config file sets and the command line sets again."""
    by_keys = {parse_path(path): path for path in named.overrides}
    for override in overrides:
        path = by_keys.get(parse_path(override.path))
        if path is not None:
            yield f"{override.flag} overwrites {path}={named.overrides[path]!r} of {named.source}"


def _check_sizes(cfg: Any) -> None:
    """Check that the mesh divides every batch and sequence.

    Raises:
        BatchSizeError: One does not divide; the message names the nearest sizes that do.
    """
    num_shards = num_batch_shards(cfg.mesh_shape)
    num_seq_shards = axis_sizes(cfg.mesh_shape)["seq"]
    inputs: Mapping[str, Any] = {
        "input": cfg.input,
        **{f'evalers["{name}"].input': evaler.input for name, evaler in cfg.evalers.items()},
    }
    for path, input_cfg in inputs.items():
        for field, num_parts in (
            ("global_batch_size", num_shards),
            ("max_sequence_length", num_seq_shards),
        ):
            size = getattr(input_cfg, field)
            if size % num_parts:
                below = size - size % num_parts
                would_do = f"{below} or {below + num_parts}" if below else str(num_parts)
                raise BatchSizeError(
                    f"{path}.{field}={size} does not divide into the {num_parts} parts that "
                    f"mesh_shape {describe_mesh_shape(cfg.mesh_shape)} makes of it. "
                    f"Would do: {would_do}."
                )
