"""The configs of the suites try what their names say."""

from typing import Any

import numpy as np

from experiments.core import named_suites, named_trainer_configs

CONFIGS = named_trainer_configs()


def test_every_case_of_a_suite_is_a_config_of_this_family():
    assert {case.config for suite in named_suites() for case in suite.cases} == CONFIGS.keys()


def test_in_core_packing_several_documents_meet_in_a_row_and_in_core_hardly_ever_two():
    assert _documents_per_row("core-packing") > 3
    assert _documents_per_row("core") < 1.2


def test_core_packing_evaluates_documents_packed_and_each_alone_in_a_padded_row():
    evalers: Any = CONFIGS["core-packing"]().evalers
    segments = {
        name: next(evaler.input.instantiate().iterator())["segment_ids"]
        for name, evaler in evalers.items()
    }
    assert segments["validation"].max() > 2
    alone = segments["alone"]
    assert alone.max() == 1 and (alone == 0).any(axis=1).all()


def _documents_per_row(name: str) -> float:
    cfg: Any = CONFIGS[name]()
    batches = cfg.input.instantiate().iterator()
    rows = np.concatenate([next(batches)["segment_ids"] for _ in range(5)])
    return float(np.mean([len(np.unique(row[row > 0])) for row in rows]))
