"""Mesh rules: what a config becomes on a given hardware."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

from axl_exp.config import ConfigBase
from axl_exp.config.provenance import written_by
from axl_exp.errors import UserError
from axl_exp.mesh.selector import HardwareSelector

C = TypeVar("C", bound=ConfigBase)


class NoMeshRuleError(UserError):
    """No rule is written for this config on this hardware."""


class BadMeshRuleError(UserError):
    """A rule that cannot be applied to its config on its hardware."""


class TooSmallError(UserError):
    """A config that no mesh, remat or accumulation makes fit on the hardware, 5 % left free.

    Attributes:
        smallest: The hardware on which it does, as the rule has it.
    """

    def __init__(self, message: str, *, smallest: str):
        super().__init__(message)
        self.smallest = smallest


class MeshModifier(Protocol):
    """A pure change of a trainer config for a hardware: config in, changed copy out."""

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshRule:
    """The modifiers for the configs and the hardware that two patterns match."""

    selector: str
    """Pattern for the whole hardware selector in normal form, such as `tpu-v5e-256-(2|4)`."""

    configs: str
    """Pattern for the whole config name, such as `fuji-7B-.*`."""

    modifiers: tuple[MeshModifier, ...]
    """Applied in order."""

    golden_selectors: tuple[str, ...]
    """The selectors whose resolved text is reviewed in `configs_golden/`: the sizes that the rule
    was written for. Each must match `selector`."""

    planned_selectors: tuple[str, ...] = ()
    """Further selectors that a sweep of dry runs takes in."""

    smallest: str = ""
    """Where no mesh, remat or accumulation leaves 5 % of the memory free: the smallest selector of
    this chip on which one does, or in words that there is none. Such a rule has no modifiers, and a
    launch stops with it."""

    note: str = ""
    """One sentence that a launch prints loudly: what is not as the recipe says."""

    defined_at: str = dataclasses.field(init=False, compare=False)
    """Where the rule stands: `mesh_rules/v5e.py:41`."""

    def __post_init__(self):
        caller = sys._getframe(2)  # Over this method and the generated __init__.
        module = caller.f_globals["__name__"].replace(".", "/")
        object.__setattr__(self, "defined_at", f"{module}.py:{caller.f_lineno}")
        for pattern in (self.selector, self.configs):
            try:
                re.compile(pattern)
            except re.error as error:
                raise self._bad(f"{pattern!r} is no pattern ({error})") from error
        for text in (*self.golden_selectors, *self.planned_selectors):
            if not re.fullmatch(self.selector, text):
                raise self._bad(f"{text} does not match its selector, {self.selector!r}")

    def _bad(self, what: str) -> BadMeshRuleError:
        return BadMeshRuleError(f"The mesh rule at {self.defined_at}: {what}.")

    def matches(self, *, selector: str, config: str) -> bool:
        """Return whether both patterns match in full."""
        return bool(re.fullmatch(self.selector, selector) and re.fullmatch(self.configs, config))


def select_rule(rules: Sequence[MeshRule], *, selector: str, config: str) -> MeshRule:
    """Return the first rule whose patterns match the whole selector and the whole config name.

    Order matters: put `tpu-v5e-256-4` before `tpu-v5e-256-.*`, and one config before `.*`.

    Args:
        rules: In order of precedence.
        selector: A hardware selector in normal form.
        config: A config name, such as `fuji-7B-v2`.

    Raises:
        TooSmallError: The rule says that nothing makes the config fit.
        NoMeshRuleError: No rule matches. The message lists what was tried for this config; there
            is no silent default, since a run on the wrong mesh costs more than a failed launch.
    """
    for rule in rules:
        if rule.matches(selector=selector, config=config):
            if rule.smallest:
                raise TooSmallError(
                    f"{config} does not fit on {selector} by any mesh, remat or accumulation that "
                    f"leaves 5 % free; the smallest that does: {rule.smallest} "
                    f"({rule.defined_at}).",
                    smallest=rule.smallest,
                )
            return rule
    of_config = [r.selector for r in rules if re.fullmatch(r.configs, config) and not r.smallest]
    hardware = re.sub(r"-\d.*", "", selector)
    # Those of this hardware say what is missing; of another, all say what there is.
    of_hardware = [s for s in of_config if s.startswith(hardware)]
    tried = dict.fromkeys(of_hardware or of_config)
    raise NoMeshRuleError(
        f"No mesh rule for {config} on {selector}. Tried: {', '.join(tried) or 'none'}. "
        "Choose one of these with --mesh, or add a rule to mesh_rules/ or to your --module."
    )


def apply_rule(rule: MeshRule, cfg: C, *, hardware: HardwareSelector) -> C:
    """Return `cfg` as the rule wants it; `cfg` itself stays as it is.

    Every field that changes remembers the rule and its line as its writer.

    Raises:
        BadMeshRuleError: A modifier does not go with the config; the message names the rule's line.
    """
    try:
        with written_by(f"mesh rule {hardware}", where=rule.defined_at):
            for modify in rule.modifiers:
                cfg = modify(cfg, hardware=hardware)
        return cfg
    except UserError as error:
        raise BadMeshRuleError(f"The mesh rule at {rule.defined_at}: {error}") from error
