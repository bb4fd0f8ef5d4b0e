"""Checkpoints: train state and data position together, written by Orbax in the background.

A save commits atomically (Orbax renames a finished temporary directory). After the commit a
manifest of the file sizes is written beside it, so that a checkpoint truncated later is recognised
before it is read. Resuming takes the newest checkpoint that is whole and sets newer, damaged ones
aside under `damaged_checkpoints/`; nothing is deleted.
"""

import contextlib
import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from axl_exp.config import Configurable, InstantiableConfig, config_class, config_for_function
from axl_exp.errors import UserError
from axl_exp.report.text import shorten
from axl_exp.run.files import write_text
from axl_exp.train.agree import exchange_json, from_first
from axl_exp.train.policy import Policy, every_n_steps_and_last_policy, never_policy
from axl_exp.train.processes import is_first

_MANIFESTS = "manifests"
_TEMPORARY = ".orbax-checkpoint-tmp"


class CheckpointError(UserError):
    """No checkpoint of a run can be read."""


class CheckpointWriteError(UserError):
    """A checkpoint could not be written: no space, no permission, a lost mount."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint held.

    Attributes:
        step: The step after which it was saved.
        state: As the abstract state that was asked for, with arrays.
        data_state: The data iterator's position.
        notes: What was wrong with newer checkpoints, one line each; empty if nothing was.
    """

    step: int
    state: Any
    data_state: dict[str, Any]
    notes: tuple[str, ...]


def saves(cfg: "Checkpointer.Config") -> bool:
    """Return whether checkpoints are made at all: not with `never_policy`."""
    return getattr(cfg.save_policy, "fn", None) is not never_policy


class Checkpointer(Configurable):
    """Saves, keeps and restores the checkpoints of one run."""

    @config_class
    class Config(Configurable.Config):
        # When to save.
        save_policy: InstantiableConfig = config_for_function(every_n_steps_and_last_policy).set(
            n=1000
        )
        # How many of the newest to keep.
        keep_last_n: int = 3
        # Of the older ones, keep those whose step this divides; None keeps none.
        keep_every_n_steps: int | None = None

    def __init__(self, cfg: Config, *, directory: Path):
        super().__init__(cfg)
        self._directory = directory.absolute()
        self._policy: Policy = cfg.save_policy.instantiate()
        # With `never_policy` a stop does not save either: a smoke run has no room for a copy.
        self.is_on = saves(cfg)
        keep: list[Any] = [ocp.checkpoint_managers.LatestN(cfg.keep_last_n)]
        if cfg.keep_every_n_steps is not None:
            keep.append(ocp.checkpoint_managers.EveryNSteps(cfg.keep_every_n_steps))
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(keep),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
        )
        self._opened: ocp.CheckpointManager | None = None
        self._unconfirmed: list[int] = []

    @property
    def _manager(self) -> ocp.CheckpointManager:
        # Opening removes what a killed save left behind, so `restore` looks first.
        if self._opened is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._opened = ocp.CheckpointManager(self._directory, options=self._options)
        return self._opened

    def should_save(self, step: int, *, max_step: int) -> bool:
        """Whether the policy asks for a checkpoint after `step`."""
        return self._policy(step, max_step)

    def save(self, step: int, *, state: Any, data_state: Mapping[str, Any]) -> None:
        """Copy `state` off the device and start writing it; returns before it is on disk.

        A save that is still being written is waited for first.
        """
        self.wait()
        with told_as_write_error(step, self._directory):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(dict(data_state))
                ),
            )
        self._unconfirmed.append(step)

    def is_saving(self) -> bool:
        """Whether a save is being written in the background."""
        return bool(self._unconfirmed) and self._manager.is_saving_in_progress()

    def confirm(self) -> list[int]:
        """Return the steps whose saves were committed since the last call; never blocks.

        Raises:
            CheckpointWriteError: Writing failed in the background (a full disk, say).
        """
        if not self._unconfirmed or self._manager.is_saving_in_progress():
            return []
        return self.wait()

    def wait(self) -> list[int]:
        """Block until every save is committed; return the steps that were.

        Raises:
            CheckpointWriteError: One failed; it is told once.
        """
        done, self._unconfirmed = self._unconfirmed, []
        if not done:
            return []
        with told_as_write_error(done[-1], self._directory):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        if is_first():
            for step in done:
                self._write_manifest(step)
        return done

    def close(self) -> None:
        """Wait for every save and release the directory."""
        self.wait()
        if self._opened is not None:
            self._opened.close()

    def restore(
        self, abstract_state: Any, *, say: Callable[[str], None] = logging.info
    ) -> Restored | None:
        """Return the newest checkpoint that is whole; None if the run has none at all.

        Args:
            abstract_state: The state as `jax.ShapeDtypeStruct`s with shardings.
            say: Told about every checkpoint that had to be passed over.

        Raises:
            CheckpointError: There are checkpoints, and none can be read.
        """
        if (self._directory / "0").is_dir() and not (self._directory / "0" / "data").exists():
            raise CheckpointError(
                f"{self._directory.parent} has imported parameters and no run to resume; train in "
                f"another --run_dir, with --config.init_from={self._directory.parent}."
            )
        # Processes see a shared directory at different times: what process 0 sees counts.
        half_written, steps = from_first("checkpoints", [self._half_written(), self.steps()])
        notes = [f"checkpoint {name} was never finished" for name in half_written]
        damaged: dict[int, str] = {}
        restored = None
        for step in sorted(steps, reverse=True):
            restored, reason = self._try_read(step, abstract_state)
            if reason is None:
                break
            damaged[step] = f"checkpoint {step} is damaged ({reason})"
        notes = [*notes, *damaged.values()]
        if restored is None and damaged:
            raise CheckpointError(
                f"no checkpoint under {self._directory} can be read: {'; '.join(damaged.values())}."
                " Train afresh in another --run_dir, or put back a good copy."
            )
        if damaged:
            if is_first():
                for step in damaged:
                    self._set_aside(step)
            from_first("set aside", None)
            self._manager.reload()
        used = f"using checkpoint {restored[0]}" if restored else "starting from the beginning"
        for note in notes:
            say(f"{note}; {used}")
        if restored is None:
            return None
        return Restored(restored[0], restored[1], restored[2], tuple(notes))

    def _try_read(self, step: int, abstract_state: Any) -> tuple[Any, str | None]:
        """Return the checkpoint and None, or None and why it cannot be read: by any process."""
        damage = from_first("files", self._damage(step))
        if damage is not None:
            return None, damage
        read, reason = None, None
        try:
            read = self._read(step, abstract_state)
        except Exception as error:  # Orbax raises many kinds on damaged files.
            reason = _reason(error)
        reason = next((each for each in exchange_json("read", reason) if each is not None), None)
        return (read, None) if reason is None else (None, reason)

    def _read(self, step: int, abstract_state: Any) -> tuple[int, Any, dict[str, Any]]:
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
            ),
        )
        return step, items["state"], items["data"]

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, whole or not."""
        return [int(p.name) for p in self._directory.glob("[0-9]*") if p.name.isdigit()]

    def _half_written(self) -> list[str]:
        names = [p.name for p in self._directory.glob(f"*{_TEMPORARY}*")]
        return sorted(name.partition(_TEMPORARY)[0] for name in names)

    def _set_aside(self, step: int) -> None:
        aside = self._directory.parent / "damaged_checkpoints"
        aside.mkdir(exist_ok=True)
        target = aside / str(step)
        count = 1
        while target.exists():
            count += 1
            target = aside / f"{step}-{count}"
        shutil.move(self._directory / str(step), target)
        # Or it would judge the checkpoint that will be saved at this step again.
        self._manifest(step).unlink(missing_ok=True)

    # -- manifests ----------------------------------------------------------------------------

    def _manifest(self, step: int) -> Path:
        return self._directory / _MANIFESTS / f"{step}.json"

    def _file_sizes(self, step: int) -> dict[str, int]:
        root = self._directory / str(step)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        return {p.relative_to(root).as_posix(): p.stat().st_size for p in files}

    def _write_manifest(self, step: int) -> None:
        self._manifest(step).parent.mkdir(exist_ok=True)
        write_text(self._manifest(step), json.dumps(self._file_sizes(step)))
        kept = set(self.steps())
        for old in self._manifest(step).parent.glob("*.json"):
            if old.stem.isdigit() and int(old.stem) not in kept:
                old.unlink()

    def check_files(self, step: int) -> None:
        """Raise ValueError naming the first file that is missing or has another size."""
        if not self._manifest(step).is_file():
            return  # killed between commit and manifest: reading it will tell
        sizes = self._file_sizes(step)
        for name, size in json.loads(self._manifest(step).read_text()).items():
            if name not in sizes:
                raise ValueError(f"{name} is missing")
            if sizes[name] != size:
                raise ValueError(f"{name} has {sizes[name]} of {size} bytes")

    def _damage(self, step: int) -> str | None:
        """Return what is wrong with the files of a checkpoint; None if nothing is."""
        try:
            self.check_files(step)
        except (OSError, ValueError) as error:
            return _reason(error)
        return None


@contextlib.contextmanager
def told_as_write_error(step: int, directory: Path) -> Iterator[None]:
    """Turn whatever the block raises into a CheckpointWriteError."""
    try:
        yield
    except Exception as error:  # Orbax raises many kinds.
        raise CheckpointWriteError(
            f"the checkpoint of step {step} could not be written under {directory}: "
            f"{_reason(error)}. Mend that and launch again: training resumes from the one before."
        ) from error


def _reason(error: Exception) -> str:
    """Return an error's text in one line: its beginning and its end, where the cause stands."""
    return shorten(" ".join(str(error).split()), width=300)
