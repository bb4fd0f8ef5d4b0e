"""Rules that are not published: one layout per size of model, on every size of a hardware.

Everything is split over all chips of a slice, a device takes one sequence at a time, and where a
model is large its layers keep their inputs alone. Needs and limits are those of the dry run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from axl_exp.mesh import (
    HybridMeshShape,
    LimitTokensPerDevice,
    MeshModifier,
    MeshRule,
    MeshShape,
    SetFields,
    SetMeshShape,
)

_SAVE = "model.decoder.transformer.layer.remat_spec.save"
# As far as the dims of the smallest vocabulary divide: 128256 is 256 * 501.
_MAX_FSDP = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """From which size on configs run on a hardware, and how."""

    configs: str
    """Pattern for the whole config name."""
    smallest: int
    """The smallest number in a selector on which they fit."""
    largest: int | None = None
    """The largest number that this is for; None: all."""
    smallest_slices: int = 1
    """How many slices of that size it takes."""
    model: int = 1
    """Devices that share heads and hidden units, where a sequence is too much for one."""
    keeps_products: bool = True
    """Whether layers keep what their recipe says; else their inputs alone."""
    optimizer_on_host: bool = False
    """Whether the optimizer's state waits in the hosts' memory between steps."""
    max_tokens: int = 8192
    """Tokens of a device at a time; at least one sequence."""
    others: tuple[MeshModifier, ...] = ()
    """What their rules do besides."""


def general_rules(
    hardware: str,
    numbers: Sequence[int],
    fits: Sequence[Fit],
    *,
    reviewed: bool = True,
    cores: int = 1,
    max_slices: int = 1,
    others: tuple[MeshModifier, ...] = (),
) -> Iterator[MeshRule]:
    """Yield the rules of one hardware; put them last.

    Args:
        hardware: A selector without its number: `tpu-v5e`.
        numbers: The numbers that there are, ascending.
        fits: What runs from which number on.
        reviewed: Whether what becomes of each config there is a golden file; a dry run is made.
        cores: What a number counts per chip.
        max_slices: Several slices of the largest number, up to so many.
        others: What every rule does besides.
    """
    for fit in fits:
        first = (_smallest(hardware, fit),)
        numbers_of_fit = [n for n in numbers if fit.smallest <= n <= (fit.largest or n)]
        slices = [n for n in (2, 4, 8) if fit.smallest_slices <= n <= max_slices]
        whole = [n for n in numbers_of_fit if n // cores // fit.model <= _MAX_FSDP]
        replicated = [n for n in numbers_of_fit if n not in whole]
        for some, shape in (
            (whole, MeshShape(fsdp=-1, model=fit.model)),
            (replicated, MeshShape(data=-1, fsdp=_MAX_FSDP, model=fit.model)),
        ):
            if some and fit.smallest_slices == 1:
                yield MeshRule(
                    selector=f"{hardware}-{_any_of(some)}",
                    configs=fit.configs,
                    modifiers=(SetMeshShape(shape), *_memory(fit), *fit.others, *others),
                    golden_selectors=first if reviewed and some is whole else (),
                    planned_selectors=first if not reviewed and some is whole else (),
                )
        if slices and fit.largest is None:
            yield MeshRule(
                selector=f"{hardware}-{numbers[-1]}-{_any_of(slices)}",
                configs=fit.configs,
                modifiers=(
                    SetMeshShape(_several_slices(fit, numbers[-1] // cores)),
                    *_memory(fit),
                    *fit.others,
                    *others,
                ),
                golden_selectors=first if reviewed and fit.smallest_slices > 1 else (),
            )
    for configs in dict.fromkeys(fit.configs for fit in fits):
        least = min((f for f in fits if f.configs == configs), key=lambda f: f.smallest)
        too_small = [f"{hardware}-{n}" for n in numbers if n < least.smallest]
        if least.smallest_slices > 1:
            too_small.append(f"{hardware}-{numbers[-1]}")
            few = [n for n in (2, 4, 8) if n < least.smallest_slices]
            too_small += [f"{hardware}-{numbers[-1]}-{n}" for n in few]
        if too_small:
            yield MeshRule(
                selector="|".join(too_small),
                configs=configs,
                modifiers=(),
                golden_selectors=(),
                smallest=_smallest(hardware, least),
            )


def _any_of(numbers: Sequence[int]) -> str:
    alternatives = "|".join(map(str, numbers))
    return f"({alternatives})" if len(numbers) > 1 else alternatives


def _smallest(hardware: str, fit: Fit) -> str:
    slices = f"-{fit.smallest_slices}" if fit.smallest_slices > 1 else ""
    return f"{hardware}-{fit.smallest}{slices}"


def _memory(fit: Fit) -> tuple[SetFields | LimitTokensPerDevice, ...]:
    fields = {} if fit.keeps_products else {_SAVE: ""}
    if fit.optimizer_on_host:
        fields["learner.optimizer_memory"] = "pinned_host"
    return (*([SetFields(fields)] if fields else []), LimitTokensPerDevice(fit.max_tokens))


def _several_slices(fit: Fit, num_chips: int) -> MeshShape | HybridMeshShape:
    """A replica per slice; where one slice cannot hold one, its parts lie over the slices."""
    fsdp = min(num_chips // fit.model, _MAX_FSDP)
    if fit.smallest_slices > 1:
        ici = MeshShape(fsdp=num_chips // fit.model, model=fit.model)
        return HybridMeshShape(ici=ici, dcn=MeshShape(fsdp=-1))
    return MeshShape(data=-1, fsdp=fsdp, model=fit.model)
