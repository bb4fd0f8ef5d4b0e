"""The parameters in a checkpoint, read one at a time on the host, without the optimizer's state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx

from axl_exp.report.text import shorten
from axl_exp.train.checkpointer import Checkpointer, CheckpointError, told_as_write_error
from axl_exp.train.state import Params

# Where they stand in a train state, and where their running means do.
_PARAMS, _MEANS = ("params",), ("opt_state", "ema", "ema")


def save_params(checkpoints: Path, params: Params) -> None:
    """Write a checkpoint of step 0 with parameters and nothing else, to begin with.

    Unlike the trainer's own, this holds no copy of them while it writes.

    Raises:
        CheckpointWriteError: It cannot be written.
    """
    # Of JAX's arrays at most so much is on its way at a time; NumPy's would all be copied first.
    handler = ocp.PyTreeCheckpointHandler(save_concurrent_gb=1)
    with (
        told_as_write_error(0, checkpoints),
        ocp.Checkpointer(ocp.CompositeCheckpointHandler(state=handler)) as writer,
    ):
        state = ocp.args.PyTreeSave({"params": params})
        writer.save(checkpoints.absolute() / "0", args=ocp.args.Composite(state=state))


class CheckpointParams:
    """The parameters that one checkpoint of a run holds; or their running means.

    Attributes:
        step: The step after which it was saved.
        is_imported: Whether nobody trained it here: there is no optimizer's state.
    """

    def __init__(self, checkpoints: Path, *, step: int | None = None, ema: bool = False):
        """Choose the checkpoint.

        Args:
            checkpoints: A run's directory of checkpoints.
            step: Its step; None for the newest that is whole.
            ema: Take the running means, which evaluation looks at.

        Raises:
            CheckpointError: There is none, it is damaged, or the run keeps no running means.
        """
        self.step = _pick(checkpoints, step)
        self._directory = checkpoints.absolute() / str(self.step) / "state"
        self._above = _MEANS if ema else _PARAMS
        try:
            tree: Any = ocp.PyTreeCheckpointHandler().metadata(epath.Path(self._directory)).tree
        except Exception as error:  # Orbax raises many kinds.
            raise _unreadable(self._directory, error) from error
        self.is_imported = "opt_state" not in tree
        for name in self._above:
            tree = tree.get(name) if isinstance(tree, dict) else None
        if tree is None:
            raise CheckpointError(
                f"checkpoint {self.step} of {checkpoints.parent} holds no running mean of the "
                "parameters: the run's learner.ema has no decay, or it was imported."
            )
        flat = nnx.traversals.flatten_mapping(tree, sep="/")
        self.shapes: dict[str, tuple[int, ...]] = {p: tuple(m.shape) for p, m in flat.items()}

    def read(self, paths: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the parameters at `paths` (`decoder/output_norm/scale`) in the dtype saved.

        Raises:
            CheckpointError: They cannot be read.
        """
        leaves = {path: jax.ShapeDtypeStruct(self.shapes[path], np.float32) for path in paths}
        item: Any = nnx.traversals.unflatten_mapping(leaves, sep="/")
        for name in reversed(self._above):
            item = {name: item}
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        args = ocp.args.PyTreeRestore(item=item, restore_args=as_numpy, partial_restore=True)
        try:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
                tree: Any = reader.restore(self._directory, args=args)
        except Exception as error:  # Orbax raises many kinds.
            raise _unreadable(self._directory, error) from error
        for name in self._above:
            tree = tree[name]
        return nnx.traversals.flatten_mapping(tree, sep="/")

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise CheckpointError unless these are the parameters that there are."""
        for path in sorted({*shapes, *self.shapes}):
            wanted, there = shapes.get(path), self.shapes.get(path)
            if wanted != there:
                raise CheckpointError(
                    f"{self._directory}: parameter {path} is {there or 'not there'}, and the model "
                    f"has {wanted or 'none'}."
                )


def _unreadable(directory: Path, error: Exception) -> CheckpointError:
    reason = shorten(" ".join(str(error).split()), width=300)
    return CheckpointError(f"{directory} cannot be read ({reason}).")


def _pick(checkpoints: Path, step: int | None) -> int:
    """Return `step`, or the newest, of those with a whole checkpoint."""
    checkpointer = Checkpointer.default_config().instantiate(directory=checkpoints)
    steps = sorted(checkpointer.steps())
    if not steps:
        raise CheckpointError(
            f"{checkpoints.parent} has no checkpoint; it has one once its run has saved."
        )
    if step is not None and step not in steps:
        raise CheckpointError(
            f"{checkpoints.parent} has no checkpoint of step {step}; it has "
            f"{', '.join(map(str, steps))}."
        )
    damaged = []
    for candidate in reversed(steps) if step is None else [step]:
        try:
            checkpointer.check_files(candidate)
            return candidate
        except ValueError as error:
            damaged.append(f"checkpoint {candidate} is damaged ({error})")
    raise CheckpointError(f"{checkpoints.parent}: {'; '.join(damaged)}.")
