"""Training that begins with the parameters of another run, or of files."""

import jax
import numpy as np
import pytest

from axl_exp.errors import UserError
from axl_exp.interop.exporting import export
from axl_exp.run.layout import RunDir
from axl_exp.train.checkpoint_params import save_params
from axl_exp.train.checkpointer import Checkpointer, CheckpointError
from axl_exp.train.initial_params import open_initial_params
from axl_exp.trained_run import TrainedRun
from tests.trained_runs import make_run, small_config


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A run and what it exports, and their parameters."""
    path = tmp_path_factory.mktemp("sources")
    params = make_run(path / "run", small_config())
    run = TrainedRun(RunDir(path / "run"))
    export(run, path / "files", max_shard_bytes=10**9, say=lambda text: None)
    return path, params


@pytest.mark.parametrize("kind", ["run", "files"])
def test_a_state_begins_with_them_to_the_bit_and_with_a_new_optimizer(sources, kind):
    path, params = sources
    cfg = small_config().set(init_from=str(path / kind))
    state = cfg.instantiate().init_state()
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, params)
    drawn = small_config().instantiate().init_state()
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, drawn.opt_state)
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(lambda x: x.sharding, drawn)


@pytest.mark.parametrize("kind", ["run", "files"])
def test_parameters_of_another_model_are_refused_by_its_field(sources, kind):
    cfg = small_config()
    cfg.model.decoder.transformer.layer.feed_forward.hidden_dim = 64
    with pytest.raises(UserError, match="hidden_dim is 64, there 48") as error:
        open_initial_params(sources[0] / kind, cfg.model)
    assert "--config.model.decoder.transformer.layer.feed_forward.hidden_dim=48" in str(error.value)


def test_a_run_s_parameters_stay_in_its_own_layout(sources):
    cfg = small_config()
    attention = cfg.model.decoder.transformer.layer.self_attention.attention
    attention.input_linear.rope_pos_emb_layer.layout = "half_split"
    with pytest.raises(UserError, match='layout is "half_split", there "interleaved"'):
        open_initial_params(sources[0] / "run", cfg.model)
    open_initial_params(sources[0] / "files", cfg.model)


def test_what_is_no_source_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is no directory"):
        open_initial_params(tmp_path / "nowhere", small_config().model)
    with pytest.raises(UserError, match=r"has no config\.json"):
        open_initial_params(tmp_path, small_config().model)


def test_an_imported_checkpoint_is_none_to_resume_from_and_says_what_to_do(sources, tmp_path):
    save_params(tmp_path / "checkpoints", sources[1])
    checkpointer = Checkpointer.default_config().instantiate(directory=tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match=f"--config.init_from={tmp_path}"):
        checkpointer.restore(None)
