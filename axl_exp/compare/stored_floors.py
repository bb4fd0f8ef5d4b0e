"""Noise floors from the run store: repeated runs (A/A) of one config and hardware, by themselves.

Measured where the store knows such runs, assumed where it does not, and every verdict says which.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from axl_exp.compare.figures import run_figures
from axl_exp.compare.floors import Floors, floors_of
from axl_exp.compare.load import Run, load_run
from axl_exp.compare.validity import hardware
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.errors import UserError
from axl_exp.run.layout import RunDir
from axl_exp.run.store import FINISHED, RunFigure, RunStore

_MAX_LOADED = 30
_MAX_METRICS_BYTES = 64 << 20


def code_of(run: Run) -> str | None:
    """Return a digest of all that makes two runs A/A: code, config, versions, flags, data.

    Leaves that only write files and the seed are no part of it. None where the commit or the
    config is not known.
    """
    git, data = run.env.get("git"), run.env.get("data")
    if run.config is None or not isinstance(git, dict) or not git.get("commit"):
        return None
    leaves = {
        path: text
        for path, text in run.config.items()
        if path != "seed" and leaf_class(path) is not LeafClass.IO
    }
    told = {
        "git": [git["commit"], git.get("diff_sha256")],
        "leaves": leaves,
        "data": data.get("fingerprint") if isinstance(data, dict) else None,
        **{
            key: run.env.get(key)
            for key in ("versions", "xla_flags", "jax_flags", "glibc_tunables")
        },
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def hardware_of(run: Run) -> str:
    """Return the hardware that floors are kept by: `TPU v5e x 4`; of a CPU the processor too."""
    facts = hardware(run)
    told = f"{facts.get('device_kind', '?')} x {facts.get('device_count', '?')}"
    host = facts.get("host")
    if facts.get("platform") == "cpu" and isinstance(host, dict):
        told += f", {host.get('processor', '?')} x {host.get('num_cpus', '?')}"
    return told


def stored_floors(run: Run, store: RunStore) -> Floors:
    """Return the floors of `run`'s config and hardware, from every A/A run that the store knows.

    Figures of runs that finished since the last time are read and kept, so that they stay when the
    run directories go. A store or a run that cannot be read leaves floors assumed.
    """
    if run.log is not None or run.config_name == "?" or not hardware(run):
        return Floors()
    where = hardware_of(run)
    try:
        _keep_new(run.config_name, store)
        figures = store.figures(config=run.config_name, hardware=where)
    except UserError:
        return Floors()
    return floors_of(figures, config=run.config_name, where=where)


def all_floors(store: RunStore, *, config: str | None = None) -> list[Floors]:
    """Return the floors of every config and hardware that has at least MIN_RUNS A/A runs.

    Raises:
        RunStoreError: The store cannot be opened.
    """
    for name in {run.config for run in store.find(config=config)}:
        _keep_new(name, store)
    figures = store.figures(config=config)
    places = sorted({(figure.config, figure.hardware) for figure in figures})
    found = [
        floors_of(
            [f for f in figures if (f.config, f.hardware) == (name, where)],
            config=name,
            where=where,
        )
        for name, where in places
    ]
    return [floors for floors in found if floors.spreads]


def _keep_new(config: str, store: RunStore) -> None:
    known = {figure.run_dir for figure in store.figures(config=config)}
    num_loaded = 0
    for stored in store.find(config=config):
        run_dir = RunDir(Path(stored.run_dir))
        if stored.status != FINISHED or stored.run_dir in known or num_loaded >= _MAX_LOADED:
            continue
        try:
            if run_dir.metrics.stat().st_size > _MAX_METRICS_BYTES:
                continue
            num_loaded += 1
            run = load_run(run_dir)
        except (UserError, OSError):
            continue
        code, seed = code_of(run), json.dumps(run.env.get("seed"))
        if code is not None:
            where = hardware_of(run)
            figures = [
                RunFigure(stored.run_dir, config, where, code, seed, name, value)
                for name, value in run_figures(run).items()
            ]
            store.keep_figures(figures)
