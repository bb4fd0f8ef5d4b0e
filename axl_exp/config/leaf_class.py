"""What a leaf of a trainer config can have an effect on, by its path.

The comparator asks it which config changes can explain a change of the loss: a leaf of class `io`
cannot. So a path that no pattern knows is `numerics`, the class that explains everything.
"""

from __future__ import annotations

import enum
import re

from axl_exp.config.flat_path import split_path


class LeafClass(enum.StrEnum):
    """The classes, from what can change every number to what can change none of the training."""

    NUMERICS = "numerics"
    OPTIMIZER = "optimizer"
    DATA = "data"
    PARALLELISM = "parallelism"
    IO = "io"


# The first pattern that matches the whole path wins. Keys are not looked at: `evalers[*].input`.
_PATTERNS: tuple[tuple[str, LeafClass], ...] = (
    (r"(evalers\[\*\]\.)?input(\..*)?", LeafClass.DATA),
    (r"evalers\[\*\]\.(eval_policy|summary_writer)(\..*)?", LeafClass.IO),
    (r"(checkpointer|summary_writer|tracer)(\..*)?", LeafClass.IO),
    (r"name|start_trace_(steps|process_indices)(\[\*\])?|save_input_iterator", LeafClass.IO),
    (r"log_every_n_steps|watchdog_timeout_seconds|stop_on_nonfinite_loss", LeafClass.IO),
    (r"(mesh_shape|mesh_rules|(model\.)?logical_axis_rules)([.\[].*)?", LeafClass.PARALLELISM),
    (r"(.*\.)?(mesh|batch|seq)_axis_names(\[\*\])?", LeafClass.PARALLELISM),
    (r"(.*\.)?\w*partition_spec([.\[].*)?", LeafClass.PARALLELISM),
    (r"(.*\.)?remat\w*([.\[].*)?", LeafClass.PARALLELISM),
    (r"(learner|max_step)([.\[].*)?", LeafClass.OPTIMIZER),
)
_COMPILED = tuple((re.compile(pattern), leaf_class) for pattern, leaf_class in _PATTERNS)


def leaf_class(path: str) -> LeafClass:
    """Return the class of the leaf at `path` of a trainer config; unknown paths are NUMERICS.

    Raises:
        ParseError: `path` is not a path of flat text.
    """
    shape = "".join("[*]" if step.startswith("[") else step for step in split_path(path))
    for pattern, result in _COMPILED:
        if pattern.fullmatch(shape):
            return result
    return LeafClass.NUMERICS
