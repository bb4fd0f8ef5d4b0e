"""Checkpoints survive kills and damage, and say what happened."""

import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.train.checkpointer import Checkpointer, CheckpointError, CheckpointWriteError
from axl_exp.train.policy import every_n_steps_policy, never_policy


def _state(step: int):
    # Random, so that compression leaves files of a size that truncation can cut.
    weights = jax.random.normal(jax.random.key(step), (64, 64))
    return {"step": jnp.int32(step), "params": {"w": weights}}


def _abstract():
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), _state(0)
    )


def _open(path, **fields) -> Checkpointer:
    return Checkpointer.default_config().set(**fields).instantiate(directory=path / "checkpoints")


def _save(path, *steps: int, **fields) -> None:
    checkpointer = _open(path, **fields)
    for step in steps:
        checkpointer.save(step, state=_state(step), data_state={"batches": step})
    checkpointer.close()


def _restore(path) -> tuple[Any, list[str]]:
    said = []
    checkpointer = _open(path)
    try:
        return checkpointer.restore(_abstract(), say=said.append), said
    finally:
        checkpointer.close()


def _largest_file(path):
    files = [p for p in path.rglob("*") if p.is_file()]
    return max(files, key=lambda p: p.stat().st_size)


def test_a_run_without_checkpoints_restores_nothing(tmp_path):
    assert _restore(tmp_path) == (None, [])


def test_the_newest_checkpoint_comes_back_to_the_bit_with_the_data_position(tmp_path):
    _save(tmp_path, 2, 4)
    restored, said = _restore(tmp_path)
    assert restored.step == 4
    assert restored.data_state == {"batches": 4}
    np.testing.assert_array_equal(restored.state["params"]["w"], _state(4)["params"]["w"])
    assert said == []


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path, damage):
    _save(tmp_path, 2, 4)
    victim = _largest_file(tmp_path / "checkpoints" / "4")
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    else:
        victim.unlink()
    restored, said = _restore(tmp_path)
    assert restored.step == 2
    assert len(said) == 1
    assert said[0].startswith("checkpoint 4 is damaged (")
    assert said[0].endswith("using checkpoint 2")
    assert victim.name in said[0]


def test_a_damaged_checkpoint_is_set_aside_so_that_its_step_can_be_saved_again(tmp_path):
    _save(tmp_path, 2, 4)
    victim = _largest_file(tmp_path / "checkpoints" / "4")
    victim.write_bytes(b"")
    checkpointer = _open(tmp_path)
    restored = checkpointer.restore(_abstract())
    assert restored is not None and restored.step == 2
    checkpointer.save(4, state=_state(4), data_state={})
    checkpointer.close()
    assert (tmp_path / "damaged_checkpoints" / "4").is_dir()
    assert _restore(tmp_path)[0].step == 4


def test_damage_inside_a_file_of_the_right_size_is_noticed_by_reading(tmp_path):
    _save(tmp_path, 2, 4)
    victim = _largest_file(tmp_path / "checkpoints" / "4")
    victim.write_bytes(bytes(victim.stat().st_size))
    restored, said = _restore(tmp_path)
    assert restored.step == 2
    assert said[0].startswith("checkpoint 4 is damaged (")


def test_a_half_written_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path):
    _save(tmp_path, 2)
    root = tmp_path / "checkpoints"
    shutil.copytree(root / "2", root / "4.orbax-checkpoint-tmp")
    restored, said = _restore(tmp_path)
    assert restored.step == 2
    assert said == ["checkpoint 4 was never finished; using checkpoint 2"]


def test_if_every_checkpoint_is_damaged_nothing_is_moved_and_the_error_names_them(tmp_path):
    _save(tmp_path, 2, 4)
    for step in (2, 4):
        _largest_file(tmp_path / "checkpoints" / str(step)).write_bytes(b"")
    with pytest.raises(CheckpointError, match="checkpoint 4 is damaged .*checkpoint 2 is damaged"):
        _restore(tmp_path)
    assert (tmp_path / "checkpoints" / "4").is_dir()


def test_the_newest_are_kept_and_of_the_rest_one_every_so_many_steps(tmp_path):
    _save(tmp_path, *range(1, 11), keep_last_n=2, keep_every_n_steps=4)
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert kept == [4, 8, 9, 10]
    manifests = (tmp_path / "checkpoints" / "manifests").glob("*.json")
    assert sorted(int(p.stem) for p in manifests) == kept


def test_a_step_is_confirmed_once_it_is_on_disk(tmp_path):
    checkpointer = _open(tmp_path)
    checkpointer.save(3, state=_state(3), data_state={})
    confirmed = checkpointer.wait()
    assert confirmed == [3]
    assert (tmp_path / "checkpoints" / "3").is_dir()
    assert checkpointer.confirm() == []
    checkpointer.close()


def test_never_policy_turns_checkpoints_off(tmp_path):
    assert not _open(tmp_path, save_policy=config_for_function(never_policy)).is_on
    assert _open(tmp_path, save_policy=config_for_function(every_n_steps_policy).set(n=2)).is_on


def test_a_checkpoint_saved_again_is_not_judged_by_the_manifest_of_a_damaged_one(tmp_path):
    _save(tmp_path, 2, 4)
    victim = _largest_file(tmp_path / "checkpoints" / "4")
    victim.write_bytes(victim.read_bytes()[:10])
    assert _restore(tmp_path)[0].step == 2
    # Killed between the commit of 4 and its manifest: what is left must stand for itself.
    assert not (tmp_path / "checkpoints" / "manifests" / "4.json").exists()


def test_a_save_that_fails_is_one_error_that_names_step_and_place(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    checkpointer = _open(tmp_path)
    with pytest.raises(CheckpointWriteError) as error:
        checkpointer.save(4, state=_state(4), data_state={})
    assert str(error.value).startswith(
        f"the checkpoint of step 4 could not be written under {tmp_path}"
    )
    assert error.value.exit_code == 1
    checkpointer.close()  # told once


def test_a_save_that_fails_in_the_background_is_told_once(tmp_path, monkeypatch):
    checkpointer = _open(tmp_path)
    checkpointer.save(4, state=_state(4), data_state={})

    def full():
        raise ValueError("No space left on device")

    monkeypatch.setattr(checkpointer._manager, "check_for_errors", full)
    with pytest.raises(CheckpointWriteError, match="No space left on device. Mend that"):
        checkpointer.wait()
    checkpointer.close()
