"""May these two runs be compared? Every difference of their environments, and what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from axl_exp.compare.config_changes import ConfigChange, config_changes
from axl_exp.compare.environment import Difference, Kind, group_of
from axl_exp.compare.load import Run
from axl_exp.config.leaf_class import LeafClass

# The first pattern that matches the whole name decides; a fact that none knows is a confounder.
_KINDS = (
    (r"git\.branch", Kind.HARMLESS),
    (r"hardware\.host\.(name|system)", Kind.HARMLESS),
    (r"format", Kind.DECLARED),
    (r"jax_flags\.JAX_(COMPILATION_CACHE|LOG|TRACEBACK|DEBUG_LOG).*", Kind.HARMLESS),
    # Where data and rules were read; the fingerprint and the config say what they are.
    (r"data\.source|embedded_data|module|mesh_rule", Kind.HARMLESS),
)
# Facts that say nothing of their own: they follow from others, or differ between any two runs (the
# folder of a checkout is where the code lay, and the commit says what it was).
_UNTOLD = r"schema|started_unix_seconds|command_line.*|launches.*|git\.(dirty|root)|overrides.*"
_UNKNOWN = "unknown"
_MAX_TOKEN_RATIO = 1.05  # Packing fills batches unevenly; a real change of the batch is larger.


def differences(a: Run, b: Run, *, changes: list[ConfigChange], by_ref: bool) -> list[Difference]:
    """Return how the environments of `a` and `b` differ, confounders first.

    Args:
        a: One run.
        b: The other.
        changes: The differences of their configs, which declare those of seed, mesh and data.
        by_ref: Whether commits are what the user compares.
    """
    facts_a, facts_b = _facts(a.env), _facts(b.env)
    declared = _declared(changes, by_ref=by_ref)
    on_cpu = "cpu" in (facts_a.get("hardware.platform"), facts_b.get("hardware.platform"))
    found = [
        Difference(
            what, facts_a.get(what, _UNKNOWN), facts_b.get(what, _UNKNOWN), kind, group_of(what)
        )
        for what in sorted(facts_a.keys() | facts_b.keys())
        if facts_a.get(what) != facts_b.get(what)
        for kind in [_kind(what, declared, on_cpu=on_cpu)]
    ]
    for name, run in (("A", a), ("B", b)):
        if not run.env and run.log is None:
            found.append(Difference(f"{name} has no env.json", _UNKNOWN, _UNKNOWN, Kind.CONFOUNDER))
        found.extend(_changed_between_launches(name, run))
    return sorted(found, key=lambda difference: list(Kind).index(difference.kind))


def within_side(name: str, runs: Sequence[Run]) -> list[Difference]:
    """Return how the repeats of one side differ from its first run, but in seed, host and time."""
    found: dict[str, Difference] = {}
    for run in runs[1:]:
        for leaf in config_changes(runs[0].config, run.config):
            if leaf.path != "seed" and leaf.leaf_class is not LeafClass.IO:
                what = f"{name}'s repeats differ in {leaf.path}"
                told = leaf.before or "-", leaf.after or "-"
                found.setdefault(what, Difference(what, *told, Kind.CONFOUNDER))
        for difference in differences(runs[0], run, changes=[], by_ref=False):
            is_told = difference.kind is Kind.CONFOUNDER and difference.what not in ("seed", "host")
            if is_told and not difference.what.startswith("host."):
                what = f"{name}'s repeats differ in {difference.what}"
                found.setdefault(what, replace(difference, what=what))
    return list(found.values())


def incomparable_time(a: Run, b: Run) -> str:
    """Return why times of the two cannot be compared at all; empty where they can."""
    for fact in ("platform", "device_kind", "device_count"):
        of_a, of_b = (hardware(run).get(fact) for run in (a, b))
        if of_a is not None and of_b is not None and of_a != of_b:
            return f"hardware differs: {fact} is {of_a} in A and {of_b} in B"
    trainers = [run.env.get("format") for run in (a, b)]
    if trainers[0] != trainers[1] and None not in trainers:
        for name, run in (("A", a), ("B", b)):
            if not hardware(run).get("device_kind"):
                return f"the trainers differ, and {name} does not tell its hardware"
    return ""


def incomparable_steps(a: Run, b: Run) -> str:
    """Return why a step of A is not a step of B; empty where they can be paired."""
    tokens_a, tokens_b = _tokens_per_step(a), _tokens_per_step(b)
    if tokens_a and tokens_b and max(tokens_a / tokens_b, tokens_b / tokens_a) > _MAX_TOKEN_RATIO:
        return f"a step is {tokens_a:,.0f} tokens in A and {tokens_b:,.0f} in B"
    return ""


def incomparable_loss(a: Run, b: Run) -> str:
    """Return why training losses of the two cannot be compared; empty where they can."""
    if _differ(a, b, "fingerprint"):
        return "the training data differ (fingerprint)"
    return incomparable_tokens(a, b) or incomparable_steps(a, b)


def incomparable_tokens(a: Run, b: Run) -> str:
    """Return why a loss per token means different things in the two; empty where it does not."""
    if _differ(a, b, "vocabulary_sha256"):
        return "the vocabularies differ, so a token of A is not a token of B"
    return ""


def _differ(a: Run, b: Run, fact: str) -> bool:
    """Return whether both runs tell this fact of their data, and not the same."""
    data = [run.env.get("data") for run in (a, b)]
    of_a, of_b = (facts.get(fact) if isinstance(facts, dict) else None for facts in data)
    return of_a is not None and of_b is not None and of_a != of_b


def ran_one_after_other(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """Return whether every run of one side began before any of the other, of several per side.

    Then a drift of the machine is in the difference; runs in turns (A B A B) would cancel it.
    """
    starts = [[run.env.get("started_unix_seconds") for run in side] for side in (a, b)]
    times_a, times_b = ([t for t in side if isinstance(t, (int, float))] for side in starts)
    if len(times_a) < 2 or len(times_b) < 2:
        return False
    return max(times_a) < min(times_b) or max(times_b) < min(times_a)


def platform(run: Run) -> str:
    """Return `cpu`, `gpu`, `tpu`, or `unknown`."""
    return str(hardware(run).get("platform", _UNKNOWN))


def hardware(run: Run) -> Mapping[str, Any]:
    """Return what env.json tells of the hardware; empty where it tells nothing."""
    told = run.env.get("hardware")
    return told if isinstance(told, dict) else {}


def _tokens_per_step(run: Run) -> float:
    told = run.env.get("tokens_per_step")
    if isinstance(told, int) and told > 0:
        return float(told)
    series = run.metrics.numbers.get("train/num_targets")
    return float(np.nanmedian(series.values)) if series is not None and len(series) else 0.0


def _facts(env: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of an env.json by dotted name, as text."""
    facts: dict[str, str] = {}

    def add(name: str, value: Any) -> None:
        if re.fullmatch(_UNTOLD, name):
            return
        if isinstance(value, dict):
            for key, item in value.items():
                add(f"{name}.{key}" if name else key, item)
        elif isinstance(value, str):
            facts[name] = value
        elif value is not None:
            facts[name] = json.dumps(value)

    add("", env)
    return facts


def _declared(changes: list[ConfigChange], *, by_ref: bool) -> str:
    """Return the pattern of the facts whose difference is what the user asked for."""
    classes = {change.leaf_class for change in changes}
    patterns = ["config"]  # Its name: the config diff tells the rest.
    if by_ref:
        patterns.append(r"git\.commit")
    if any(change.path == "seed" for change in changes):
        patterns.append("seed")
    if LeafClass.PARALLELISM in classes:
        patterns.append(r"mesh.*")
    if LeafClass.DATA in classes:
        patterns.append(r"data\..*|tokens_per_step")
    return "|".join(patterns)


def _kind(what: str, declared: str, *, on_cpu: bool) -> Kind:
    if re.fullmatch(declared, what):
        return Kind.DECLARED
    if what.startswith("hardware.host.") and not on_cpu:
        return Kind.HARMLESS
    return next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, what)), Kind.CONFOUNDER)


def _changed_between_launches(name: str, run: Run) -> list[Difference]:
    """Return what changed inside one run, from its first launch to its last."""
    launches = run.env.get("launches")
    if not isinstance(launches, list) or len(launches) < 2:
        return []
    told = [_facts(launch) if isinstance(launch, dict) else {} for launch in launches]
    first, last = told[0], told[-1]
    return [
        Difference(
            f"{name} was resumed with another {what}",
            first.get(what, _UNKNOWN),
            last.get(what, _UNKNOWN),
            kind,
            group_of(what),
        )
        for what in sorted(first.keys() | last.keys())
        if first.get(what) != last.get(what)
        for kind in [_kind(what, "config", on_cpu=platform(run) == "cpu")]
        if kind is Kind.CONFOUNDER
    ]
