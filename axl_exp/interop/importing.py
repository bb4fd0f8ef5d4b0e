"""Import: a Llama of Hugging Face's layout as a run directory with one checkpoint, of step 0."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from axl_exp.config import Override
from axl_exp.config.text import config_text
from axl_exp.data.vocabulary_copy import adopt_vocabulary
from axl_exp.resolve import resolve
from axl_exp.run.claim import claim
from axl_exp.run.layout import RunDir, RunDirError
from axl_exp.train.checkpoint_params import save_params
from axl_exp.train.initial_params import open_initial_params
from axl_exp.train.state import PureModel


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        config: The config's own name.
        num_params: Numbers in its tensors.
        has_vocabulary: Whether there was a vocabulary of the config's kind.
    """

    config: str
    num_params: int
    has_vocabulary: bool


def import_weights(
    source: Path,
    run_dir: RunDir,
    *,
    config: str,
    overrides: Sequence[Override] = (),
    module: str | None = None,
    say: Callable[[str], None],
) -> Imported:
    """Make `run_dir` a run of `config` at step 0 with the weights of the directory `source`.

    The config is that for any hardware. What is there is what a run's reader needs (`generate`,
    export, `init_from`); it has no optimizer state and no place in the data, so that it is no run
    to resume. One copy of the parameters is held, in float32, and of the files one tensor.

    Raises:
        HuggingFaceError: The files are missing, broken or of another model than the config.
        RunDirError: `run_dir` is taken.
        UserError: What `resolve` raises.
    """
    resolved = resolve(config, overrides=overrides, module=module)
    cfg: Any = resolved.config
    initial = open_initial_params(source, cfg.model)
    if run_dir.checkpoints.is_dir() and any(run_dir.checkpoints.iterdir()):
        raise RunDirError(f"{run_dir.path} has checkpoints already; name a new directory.")
    say(f"importing {source} as {resolved.name}")
    model = PureModel(cfg.model)
    with claim(run_dir, config_text=config_text(cfg)):
        params = {path: jax.device_put(p) for path, p in initial.read(model.param_shapes)}
        save_params(run_dir.checkpoints, nnx.traversals.unflatten_mapping(params, sep="/"))
        has_vocabulary = adopt_vocabulary(
            source, model_name=cfg.input.vocabulary.model_name, data_dir=run_dir.data
        )
    num_params = sum(param.size for param in params.values())
    return Imported(resolved.name, num_params, has_vocabulary)
